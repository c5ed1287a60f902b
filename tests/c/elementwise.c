/* minGRU by a team of three, in buffers of exactly the size that the query names: less than a
 * vector a step, tails, more chunks than one, more vectors than go through time together; lengths
 * and both directions. For the sanitizers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "min_gru.h"

enum { THREADS = 3, SHAPES = 5 };

static const size_t shapes[SHAPES][4] = {
    {5, 3, 7, 19}, {400, 1, 3, 70}, {9, 40, 2, 3}, {3, 2, 4, 1500}, {50, 1, 1, 1}};

static min_gru_f32_forward_args f;
static min_gru_f32_backward_args b;
static dk_team teams[THREADS];

static float *numbers(size_t count)
{
    float *data = malloc((count ? count : 1) * sizeof *data);
    for (size_t k = 0; k < count; ++k) {
        data[k] = (float)((k * 37) % 11) / 11.0f - 0.4f;
    }
    return data;
}

static int yield(void)
{
    return sched_yield();
}

static void *run(void *team)
{
    if (min_gru_f32_forward(&f, team) != DK_OK || min_gru_f32_backward(&b, team) != DK_OK) {
        abort();
    }
    return NULL;
}

static void call(const size_t shape[4], size_t reverse, int with_lengths)
{
    const min_gru_sizes sizes = {.steps = shape[0], .rows = shape[1], .dim_I = shape[2], .dim_H = shape[3]};
    const size_t input = sizes.steps * sizes.rows * sizes.dim_I, state = sizes.rows * sizes.dim_H;
    min_gru_memory need;
    int64_t *lengths = malloc(sizes.rows * sizeof *lengths);
    dk_barrier barrier;
    pthread_t threads[THREADS];
    for (size_t n = 0; n < sizes.rows; ++n) {
        lengths[n] = (int64_t)((n * 5 + 3) % (sizes.steps + 1));
    }
    if (min_gru_f32_memory_needed(&sizes, THREADS, &need) != DK_OK) {
        abort();
    }
    f = (min_gru_f32_forward_args){.sizes = sizes, .reverse = reverse};
    b = (min_gru_f32_backward_args){.sizes = sizes, .reverse = reverse};
    f.lengths = b.lengths = with_lengths ? lengths : NULL;
    f.params.W_z = numbers(sizes.dim_H * sizes.dim_I);
    f.params.W_n = numbers(sizes.dim_H * sizes.dim_I);
    f.params.b_z = numbers(sizes.dim_H);
    f.params.b_n = numbers(sizes.dim_H);
    b.params = f.params;
    f.inputs.x = b.inputs.x = numbers(input);
    f.outputs.h_next = numbers(sizes.steps * state);
    f.last.h = numbers(state);
    f.saved = numbers(need.saved);
    f.saved_count = need.saved;
    f.workspace = numbers(need.forward);
    f.workspace_count = need.forward;
    b.d_params.W_z = numbers(sizes.dim_H * sizes.dim_I);
    b.d_params.W_n = numbers(sizes.dim_H * sizes.dim_I);
    b.d_params.b_z = numbers(sizes.dim_H);
    b.d_params.b_n = numbers(sizes.dim_H);
    b.d_outputs.h_next = f.outputs.h_next;
    b.d_inputs.x = numbers(input);
    b.d_first.h = numbers(state);
    b.saved = f.saved;
    b.saved_count = need.saved;
    b.workspace = numbers(need.backward);
    b.workspace_count = need.backward;
    dk_barrier_init(&barrier, THREADS, yield);
    for (size_t i = 0; i < THREADS; ++i) {
        teams[i] = (dk_team){i, THREADS, &barrier};
        if (pthread_create(&threads[i], NULL, run, &teams[i]) != 0) {
            abort();
        }
    }
    for (size_t i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
    }
}

int main(void)
{
    for (size_t k = 0; k < SHAPES; ++k) {
        for (size_t way = 0; way < 4; ++way) {
            call(shapes[k], way & 1, (int)(way & 2));
        }
    }
    return 0;
}
