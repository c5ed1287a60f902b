/* The gradient of a sequence in one call and in pieces, bit by bit: of a cell whose gradients
 * follow from complete sums. Exits with the number of what went wrong. */
#include <stdlib.h>
#include <string.h>

#include "slim_form_3.h"

enum { STEPS = 18, PIECE = 8, ROWS = 2, IN = 3, WIDTH = 19, STATE = ROWS * WIDTH };
enum { GRADS = WIDTH * (IN + WIDTH + 4), INPUTS = STEPS * ROWS * IN };
typedef slim_form_3_f64_forward_args forward_args;
typedef slim_form_3_f64_backward_args backward_args;

static const size_t ends[ROWS] = {18, 10};

static double *numbers(size_t count)
{
    double *data = malloc((count ? count : 1) * sizeof *data);
    for (size_t k = 0; k < count; ++k) {
        data[k] = (double)((k * 37) % 11) / 11.0 - 0.4;
    }
    return data;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

typedef struct span {
    size_t begin;
    size_t steps;
    int64_t lengths[ROWS];
} span;

/* Piece p of `piece` steps, counted from where the recurrence starts. */
static span piece_of(size_t p, size_t piece, size_t reverse)
{
    const size_t steps = least(piece, STEPS - p * piece);
    span s = {.begin = reverse ? STEPS - p * piece - steps : p * piece, .steps = steps};
    for (size_t n = 0; n < ROWS; ++n) {
        s.lengths[n] = (int64_t)least(ends[n] < s.begin ? 0 : ends[n] - s.begin, steps);
    }
    return s;
}

/* Saved only where `saved` is given; buffers of exactly the size that the query names. */
static int forward(forward_args f, const span *s, double **saved)
{
    slim_form_3_memory need;
    f.sizes.steps = s->steps;
    f.lengths = s->lengths;
    f.inputs.x += s->begin * ROWS * IN;
    f.outputs.h_next += s->begin * ROWS * WIDTH;
    if (slim_form_3_f64_memory_needed(&f.sizes, 1, &need) != DK_OK) {
        return 1;
    }
    f.saved = saved != NULL ? *saved = numbers(need.saved) : NULL;
    f.saved_count = need.saved;
    f.workspace_count = saved != NULL ? need.forward : need.inference;
    f.workspace = numbers(f.workspace_count);
    const int failed = slim_form_3_f64_forward(&f, NULL) != DK_OK;
    free(f.workspace);
    return failed ? 2 : 0;
}

static int backward(backward_args b, const span *s)
{
    slim_form_3_memory need;
    b.sizes.steps = s->steps;
    b.lengths = s->lengths;
    b.inputs.x += s->begin * ROWS * IN;
    b.d_outputs.h_next += s->begin * ROWS * WIDTH;
    b.d_inputs.x += s->begin * ROWS * IN;
    if (slim_form_3_f64_memory_needed(&b.sizes, 1, &need) != DK_OK) {
        return 3;
    }
    b.saved_count = need.saved;
    return slim_form_3_f64_backward(&b, NULL) != DK_OK ? 4 : 0;
}

/* The gradient in pieces of `piece` steps: params, inputs, first states. */
static int gradient(forward_args f, size_t piece, double *grads, double *d_inputs, double *d_first)
{
    const size_t pieces = (STEPS + piece - 1) / piece;
    double *states[STEPS + 1] = {numbers(2 * STATE)};
    double *d_state = numbers(2 * STATE), *other = numbers(2 * STATE);
    slim_form_3_memory need;
    backward_args b = {.sizes = f.sizes, .reverse = f.reverse, .params = f.params};
    int failed = slim_form_3_f64_memory_needed(&f.sizes, 1, &need) != DK_OK ? 5 : 0;
    b.workspace = numbers(need.backward);
    b.workspace_count = need.backward;
    b.inputs.x = f.inputs.x;
    b.d_outputs.h_next = numbers(STEPS * STATE);
    b.d_inputs.x = d_inputs;
    b.d_params.W_g = grads;
    b.d_params.U_g = grads + WIDTH * IN;
    b.d_params.b_i = b.d_params.U_g + WIDTH * WIDTH;
    b.d_params.b_f = b.d_params.b_i + WIDTH;
    b.d_params.b_g = b.d_params.b_f + WIDTH;
    b.d_params.b_o = b.d_params.b_g + WIDTH;
    for (size_t p = 0; p < pieces && !failed; ++p) {
        const span s = piece_of(p, piece, f.reverse);
        states[p + 1] = numbers(2 * STATE);
        f.first.h = states[p];
        f.first.c = states[p] + STATE;
        f.last.h = states[p + 1];
        f.last.c = states[p + 1] + STATE;
        failed = forward(f, &s, NULL);
    }
    for (size_t p = pieces; p-- > 0 && !failed;) {
        const span s = piece_of(p, piece, f.reverse);
        double *saved = NULL, *const after = d_state;
        f.first.h = states[p];
        f.first.c = states[p] + STATE;
        f.last.h = states[p + 1];
        f.last.c = states[p + 1] + STATE;
        failed = forward(f, &s, &saved);
        b.saved = saved;
        b.d_last.h = after;
        b.d_last.c = after + STATE;
        b.d_first.h = other;
        b.d_first.c = other + STATE;
        b.resume = p + 1 < pieces;
        b.more = p > 0;
        failed = failed ? failed : backward(b, &s);
        free(saved);
        d_state = other;
        other = after;
    }
    memcpy(d_first, d_state, 2 * STATE * sizeof *d_first);
    return failed;
}

int main(void)
{
    slim_form_3_memory need;
    forward_args f = {.sizes = {.steps = STEPS, .rows = ROWS, .dim_I = IN, .dim_H = WIDTH}};
    if (slim_form_3_f64_memory_needed(&f.sizes, 1, &need) != DK_OK || PIECE % need.chunk_steps) {
        return 10;
    }
    f.params.W_g = numbers(WIDTH * IN);
    f.params.U_g = numbers(WIDTH * WIDTH);
    f.params.b_i = f.params.b_f = f.params.b_g = f.params.b_o = numbers(WIDTH);
    f.inputs.x = numbers(INPUTS);
    f.outputs.h_next = numbers(STEPS * STATE);
    for (f.reverse = 0; f.reverse < 2; ++f.reverse) {
        double *grads[2], *d_inputs[2], *d_first[2];
        for (size_t cut = 0; cut < 2; ++cut) {
            grads[cut] = numbers(GRADS);
            d_inputs[cut] = numbers(INPUTS);
            d_first[cut] = numbers(2 * STATE);
            const int failed =
                gradient(f, cut ? PIECE : STEPS, grads[cut], d_inputs[cut], d_first[cut]);
            if (failed) {
                return failed;
            }
        }
        if (memcmp(grads[0], grads[1], GRADS * sizeof(double)) != 0) {
            return 11;
        }
        if (memcmp(d_inputs[0], d_inputs[1], INPUTS * sizeof(double)) != 0) {
            return 12;
        }
        if (memcmp(d_first[0], d_first[1], 2 * STATE * sizeof(double)) != 0) {
            return 13;
        }
    }
    return 0;
}
