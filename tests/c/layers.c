/* Stacks of layers by several threads: a program for the tests.
 *
 *   layers CALLS
 *
 * Calls of 1 to 4 members, of layers that follow each other in parts and of layers in two directions
 * whose outputs are joined. The exit status is 0, or 1 where a result is not that of layer after
 * layer, where a task ran twice, or where what failed has another status. What tasks read and write is not
 * atomic, so a thread sanitizer sees what they read too early. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DK_IMPLEMENTATION
#include "derive_kernels.h"

int derive_layers_run(const void *args, const dk_team *team);
int derive_layers_join(const void *args, const dk_pipeline *pipeline);

enum { LAYERS = 5, STEPS = 23, LINE = 8, TASK = 7, HEAD = 4, MOST = 4, ROOM = 64, REFUSED = 3 };

/* The arguments of a layer: out[t] is what it carries, plus weight * in[t]. */
typedef struct {
    size_t weight;
    const size_t *in;
    size_t *out;
    size_t *ran;
    size_t width;
    size_t refuses;
    size_t *workspace;
} layer;

static void fail(const char *what, size_t members)
{
    (void)fprintf(stderr, "%zu members: %s\n", members, what);
    _exit(1);
}

static int run_layer(const void *args, const dk_pipeline *pipeline)
{
    const layer *const own = args;
    size_t carried = own->weight;
    ++*own->ran;
    for (size_t done = 0; done < STEPS;) {
        const size_t steps = dk_next_steps(pipeline, done, STEPS, 7);
        dk_wait_for_steps(pipeline, done + steps);
        for (size_t t = done; t < done + steps; ++t) {
            for (size_t k = 0; k < own->width; ++k) {
                carried = carried * 31 + own->weight * own->in[t * own->width + k];
                own->workspace[k % 4] = carried;
            }
            own->out[t] = carried + own->workspace[(own->width - 1) % 4];
        }
        done += steps;
        dk_publish_steps(pipeline, done);
    }
    return own->refuses ? REFUSED : 0;
}

typedef struct {
    size_t words[256];
    size_t count; /* tasks */
    size_t at;    /* words that are used */
    size_t progress[(2 + 2 * LAYERS) * LINE];
    size_t workspaces[MOST][ROOM / sizeof(size_t)];
    size_t ran[2 * LAYERS];
    size_t x[2 * STEPS];
    size_t out[2 * LAYERS][2 * STEPS];
} stack;

static void add(stack *self, int (*function)(const void *, const dk_pipeline *), const size_t *args,
                size_t count, size_t first, size_t reads, size_t follows, size_t steps, size_t workspace)
{
    size_t *const task = self->words + HEAD + TASK * self->count++;
    const size_t words[TASK] = {(size_t)(uintptr_t)function, self->at, first, reads, follows, steps, workspace};
    memcpy(task, words, sizeof words);
    memcpy(self->words + self->at, args, count * sizeof *args);
    self->at += count;
}

static void add_layer(stack *self, size_t out, const size_t *in, size_t width, size_t below, size_t reads,
                      size_t steps, size_t refuses)
{
    const size_t args[] = {out + 2, (size_t)(uintptr_t)in, (size_t)(uintptr_t)self->out[out],
                           (size_t)(uintptr_t)&self->ran[out], width, refuses, 0};
    add(self, run_layer, args, 7, below, reads, reads == 1 && steps != 0 && width == 1, steps, 6);
}

static void begin(stack *self, size_t tasks)
{
    memset(self, 0, sizeof *self);
    self->at = HEAD + TASK * tasks;
    for (size_t t = 0; t < STEPS; ++t) {
        self->x[t] = t * t + 1;
    }
}

/* Layers that follow each other. */
static void in_a_row(stack *self, size_t steps, size_t refuses)
{
    begin(self, LAYERS);
    for (size_t k = 0; k < LAYERS; ++k) {
        add_layer(self, k, k == 0 ? self->x : self->out[k - 1], 1, k == 0 ? 0 : k - 1, k != 0, steps,
                  k + 1 == refuses);
    }
}

/* Two layers of two directions: tasks 0 and 1, their outputs joined by 2, then 3 and 4. */
static void in_two_directions(stack *self)
{
    begin(self, 5);
    add_layer(self, 0, self->x, 1, 0, 0, 0, 0);
    add_layer(self, 1, self->x, 1, 0, 0, 0, 0);
    const size_t joint[] = {STEPS, 2, (size_t)(uintptr_t)self->out[2],
                            (size_t)(uintptr_t)self->out[0], sizeof(size_t),
                            (size_t)(uintptr_t)self->out[1], sizeof(size_t)};
    add(self, derive_layers_join, joint, 7, 0, 2, 0, 0, 0);
    add_layer(self, 3, self->out[2], 2, 2, 1, 0, 0);
    add_layer(self, 4, self->out[2], 2, 2, 1, 0, 0);
}

typedef struct {
    stack *self;
    dk_team team;
    int status;
} member;

static void *take_part(void *argument)
{
    member *const own = argument;
    own->status = derive_layers_run(own->self->words, &own->team);
    return NULL;
}

static int run(stack *self, size_t members)
{
    pthread_t threads[MOST];
    member each[MOST];
    self->words[0] = self->count;
    self->words[1] = (size_t)(uintptr_t)self->progress;
    self->words[2] = (size_t)(uintptr_t)self->workspaces;
    self->words[3] = ROOM;
    for (size_t i = 0; i < members; ++i) {
        each[i] = (member){self, {i, members, NULL}, 0};
        if (i > 0 && pthread_create(&threads[i], NULL, take_part, &each[i]) != 0) {
            fail("no thread", members);
        }
    }
    (void)take_part(&each[0]);
    for (size_t i = 1; i < members; ++i) {
        (void)pthread_join(threads[i], NULL);
        if (each[i].status != each[0].status) {
            fail("members return another status", members);
        }
    }
    return each[0].status;
}

static void check(void (*make)(stack *, size_t), size_t steps, size_t members)
{
    static stack one, two;
    make(&one, steps);
    make(&two, 0);
    if (run(&one, members) != 0 || run(&two, 1) != 0) {
        fail("refused", members);
    }
    for (size_t k = 0; k < LAYERS; ++k) {
        if (one.ran[k] != two.ran[k]) {
            fail("a layer did not run once", members);
        }
    }
    if (memcmp(one.out, two.out, sizeof one.out) != 0) {
        fail("another result", members);
    }
}

static void row(stack *self, size_t steps)
{
    in_a_row(self, steps, 0);
}

static void directions(stack *self, size_t steps)
{
    (void)steps;
    in_two_directions(self);
}

int main(int count, char **arguments)
{
    static stack refused;
    const size_t calls = count > 1 ? (size_t)strtoul(arguments[1], NULL, 10) : 1;
    for (size_t k = 0; k < calls; ++k) {
        const size_t members = 1 + k % MOST;
        check(row, k % 6, members);
        check(directions, 0, members);
        in_a_row(&refused, k % 6, 1 + k % LAYERS);
        if (run(&refused, members) != REFUSED) {
            fail("what failed has no status", members);
        }
    }
    return 0;
}
