/* The team and the size arithmetic of the header, for the tests to call. */
#define DK_IMPLEMENTATION
#include "derive_kernels.h"

#include <sched.h>

size_t barrier_size(void);
void start(dk_barrier *barrier, size_t count);
void work(dk_barrier *barrier, size_t index, size_t count, size_t steps, size_t *totals);
void range(size_t total, size_t index, size_t count, size_t *limits);
int multiply(size_t a, size_t b, size_t *product);
int by_rows(size_t rows, size_t bytes, size_t count);

static size_t shared;

size_t barrier_size(void)
{
    return sizeof(dk_barrier);
}

void start(dk_barrier *barrier, size_t count)
{
    dk_barrier_init(barrier, count, sched_yield);
    shared = 0;
}

/* Thread by thread adds one; between the barriers everybody reads the same total. */
void work(dk_barrier *barrier, size_t index, size_t count, size_t steps, size_t *totals)
{
    const dk_team team = {index, count, barrier};
    for (size_t step = 0; step < steps; ++step) {
        for (size_t turn = 0; turn < count; ++turn) {
            if (turn == index) {
                shared += 1;
            }
            dk_wait(&team);
        }
        totals[step * count + index] = shared;
        dk_wait(&team);
    }
}

void range(size_t total, size_t index, size_t count, size_t *limits)
{
    const dk_team team = {index, count, NULL};
    dk_range(total, &team, &limits[0], &limits[1]);
}

int multiply(size_t a, size_t b, size_t *product)
{
    return (int)dk_multiply_sizes(a, b, product);
}

/* Whether the members of a team take rows of their own through the steps. */
int by_rows(size_t rows, size_t bytes, size_t count)
{
    size_t first, own;
    const dk_team team = {0, count, NULL};
    return dk_share_rows(rows, bytes, &team, &first, &own) == NULL;
}
