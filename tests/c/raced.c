/* Calls of a generated kernel by teams of 1, 2 and 3 threads, for a thread sanitizer, which sees two
 * members at one element, and for itself: every team must give the bits of one thread. Compiled
 * for a cell by -DHEADER="NAME.h" -DCELL=NAME.
 *
 *   raced < SIZES
 *
 * SIZES is any number of cases, six lists of numbers each, a list being its length and its numbers:
 * T, B and the widths; the elements of each parameter, input, state and output; and how many times
 * to call. The exit status is 0, 1 where bits differ or a call was refused, or what the sanitizer says.
 *
 * An argument structure is an array of machine words in the order of the header. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include HEADER

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(suffix) JOIN(JOIN(CELL, f32), suffix)

enum { LISTS = 6, SIZES = 0, PARAMS, INPUTS, STATES, OUTPUTS, CALLS, MOST = 64, WORDS = 256, TEAM = 3 };

typedef struct {
    size_t count;
    size_t value[MOST];
} list;

/* Arrays that a call writes, and how many elements they have. */
typedef struct {
    size_t count;
    float *at[4 * MOST];
    size_t elements[4 * MOST];
} results;

typedef struct {
    size_t words[WORDS];
    size_t count;
    results made;
} request;

static void need(int good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

static float *array(size_t elements, int drawn)
{
    static uint32_t random = 1;
    float *const found = malloc(elements * sizeof *found + 1);
    need(found != NULL, "no memory");
    memset(found, 0xff, elements * sizeof *found + 1);
    for (size_t i = 0; drawn && i < elements; ++i) {
        random = random * 1664525u + 1013904223u;
        found[i] = (float)(random >> 8) / (float)(1 << 23) - 1.0f;
    }
    return found;
}

static void add(request *own, const void *word)
{
    need(own->count < WORDS, "too many words");
    memcpy(&own->words[own->count++], &word, sizeof word);
}

static void add_size(request *own, size_t word)
{
    need(own->count < WORDS, "too many words");
    own->words[own->count++] = word;
}

static void add_given(request *own, float *const *arrays, const list *sizes)
{
    for (size_t i = 0; i < sizes->count; ++i) {
        add(own, arrays[i]);
    }
}

static void add_made(request *own, const list *sizes)
{
    for (size_t i = 0; i < sizes->count; ++i) {
        results *const made = &own->made;
        made->at[made->count] = array(sizes->value[i], 0);
        made->elements[made->count] = sizes->value[i];
        add(own, made->at[made->count++]);
    }
}

typedef dk_status (*kernel)(const void *args, const dk_team *team);

static dk_status run_forward(const void *args, const dk_team *team)
{
    return NAME(forward)(args, team);
}

static dk_status run_backward(const void *args, const dk_team *team)
{
    return NAME(backward)(args, team);
}

typedef struct {
    kernel function;
    const void *args;
    dk_team team;
    dk_status status;
} member;

static void *work(void *argument)
{
    member *const self = argument;
    self->status = self->function(self->args, &self->team);
    return NULL;
}

static void call(kernel function, const request *own, size_t threads)
{
    pthread_t thread[TEAM];
    member members[TEAM];
    dk_barrier barrier;
    dk_barrier_init(&barrier, threads, sched_yield);
    for (size_t i = threads; i-- > 0;) {
        members[i] = (member){function, own->words, {i, threads, &barrier}, DK_OK};
        if (i > 0) {
            need(pthread_create(&thread[i], NULL, work, &members[i]) == 0, "no thread");
        } else {
            (void)work(&members[i]);
        }
    }
    for (size_t i = 0; i < threads; ++i) {
        need(i == 0 || pthread_join(thread[i], NULL) == 0, "not joined");
        need(members[i].status == DK_OK, "refused");
    }
}

static void compare(const results *a, const results *b)
{
    for (size_t i = 0; i < a->count; ++i) {
        need(memcmp(a->at[i], b->at[i], a->elements[i] * sizeof(float)) == 0, "other bits");
    }
}

static void drop(results *made)
{
    for (size_t i = 0; i < made->count; ++i) {
        free(made->at[i]);
    }
    made->count = 0;
}

static request started(const list *lists, const int64_t *lengths, int reverse)
{
    request own = {.count = 0};
    for (size_t i = 0; i < lists[SIZES].count; ++i) {
        add_size(&own, lists[SIZES].value[i]);
    }
    add(&own, lengths);
    add_size(&own, (size_t)reverse);
    return own;
}

/* given: parameters, inputs, states, cotangents of outputs. */
static void one_way(const list *lists, float *(*given)[MOST], const int64_t *lengths, int reverse)
{
    results first[2] = {{.count = 0}, {.count = 0}};
    JOIN(CELL, sizes) sizes;
    memcpy(&sizes, lists[SIZES].value, sizeof sizes);
    for (size_t threads = 1; threads <= TEAM; ++threads) {
        JOIN(CELL, memory) memory;
        need(NAME(memory_needed)(&sizes, threads, &memory) == DK_OK, "no memory sizes");
        float *const saved = array(memory.saved + 1, 0);
        float *const workspace = array(memory.forward + memory.backward + 1, 0);
        request forward = started(lists, lengths, reverse);
        request backward = forward;
        for (size_t i = PARAMS; i <= STATES; ++i) {
            add_given(&forward, given[i], &lists[i]);
        }
        add_made(&forward, &lists[OUTPUTS]);
        add_made(&forward, &lists[STATES]);
        for (size_t i = PARAMS; i <= INPUTS; ++i) {
            add_given(&backward, given[i], &lists[i]);
        }
        add_given(&backward, given[OUTPUTS], &lists[OUTPUTS]);
        add_given(&backward, given[STATES], &lists[STATES]);
        for (size_t i = PARAMS; i <= STATES; ++i) {
            add_made(&backward, &lists[i]);
        }
        for (size_t i = 0; i < 2; ++i) {
            request *const own = i == 0 ? &forward : &backward;
            add(own, NULL);
            add_size(own, 0);
            add(own, saved);
            add_size(own, memory.saved + 1);
            add(own, workspace);
            add_size(own, memory.forward + memory.backward + 1);
            add_size(own, 0); /* resume and more: of the backward pass */
            add_size(own, 0);
        }
        call(run_forward, &forward, threads);
        call(run_backward, &backward, threads);
        if (threads == 1) {
            first[0] = forward.made;
            first[1] = backward.made;
        } else {
            compare(&first[0], &forward.made);
            compare(&first[1], &backward.made);
            drop(&forward.made);
            drop(&backward.made);
        }
        free(saved);
        free(workspace);
    }
    drop(&first[0]);
    drop(&first[1]);
}

static int read_case(list *lists)
{
    for (size_t i = 0; i < LISTS; ++i) {
        if (scanf("%zu", &lists[i].count) != 1) {
            return 0;
        }
        need(lists[i].count <= MOST, "too long a list");
        for (size_t k = 0; k < lists[i].count; ++k) {
            need(scanf("%zu", &lists[i].value[k]) == 1, "too short a list");
        }
    }
    return 1;
}

int main(void)
{
    list lists[LISTS];
    while (read_case(lists)) {
        const size_t steps = lists[SIZES].value[0], rows = lists[SIZES].value[1];
        float *given[LISTS][MOST];
        int64_t *const lengths = malloc((rows + 1) * sizeof *lengths);
        need(lengths != NULL, "no memory");
        for (size_t n = 0; n < rows; ++n) {
            lengths[n] = (int64_t)((n * 7 + 3) % (steps + 1));
        }
        for (size_t i = PARAMS; i <= OUTPUTS; ++i) {
            for (size_t k = 0; k < lists[i].count; ++k) {
                given[i][k] = array(lists[i].value[k], 1);
            }
        }
        for (size_t k = 0; k < lists[CALLS].value[0]; ++k) {
            one_way(lists, given, k % 2 == 0 ? NULL : lengths, k % 4 >= 2);
        }
        for (size_t i = PARAMS; i <= OUTPUTS; ++i) {
            for (size_t k = 0; k < lists[i].count; ++k) {
                free(given[i][k]);
            }
        }
        free(lengths);
    }
    return 0;
}
