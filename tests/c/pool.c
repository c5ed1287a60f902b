/* Callers of the pool of threads, in every order: a program for the tests.
 *
 *   pool turns CALLS      calls of 1 to 4 members in turn, from one thread
 *   pool callers CALLS    the same from three threads at once
 *   pool forks CALLS      the same, while children are forked that make calls of their own
 *   pool exits CALLS      the process ends while three threads are calling
 *
 * The exit status is 0, or 1 where a member was missing, took part twice or in another's call, or
 * where a patient call had fewer members than it could have. What
 * the members write between two barriers is not atomic, so a thread sanitizer sees it as well. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DK_IMPLEMENTATION
#include "derive_kernels.h"

#ifndef DERIVE_POOL_STEP
#define DERIVE_POOL_STEP() ((void)0)
#endif

typedef int (*derive_task)(const void *args, const dk_team *team);
int derive_pool_run(derive_task task, const void *args, size_t threads, size_t patient);

enum { MOST = 4, ROUNDS = 3, CALLERS = 3, OPEN = 12345, STATUS = 7 };

/* One call. It lies on its caller's stack, where the next one will. */
typedef struct {
    size_t open;
    size_t asked;
    size_t count;
    size_t began[MOST];
    size_t ended[MOST];
    size_t value[MOST];
} job;

static size_t shared_calls; /* that had help */
static int one_caller;      /* whom nobody keeps from the pool */

static void fail(const char *what, size_t index, size_t count)
{
    (void)fprintf(stderr, "member %zu of %zu: %s\n", index, count, what);
    _exit(1);
}

static int task(const void *args, const dk_team *team)
{
    job *const own = (job *)(uintptr_t)args;
    const size_t index = dk_team_index(team), count = dk_team_size(team);
    if (own->open != OPEN || count > own->asked || index >= count) {
        fail("not its call", index, count);
    }
    if (index == 0) {
        own->count = count;
    }
    own->began[index] += 1;
    for (size_t round = 0; round < ROUNDS; ++round) {
        size_t sum = 0;
        own->value[index] = round + index;
        dk_wait(team);
        for (size_t i = 0; i < count; ++i) {
            sum += own->value[i];
        }
        if (sum != count * round + count * (count - 1) / 2) {
            fail("another value than its team wrote", index, count);
        }
        dk_wait(team);
    }
    DERIVE_POOL_STEP();
    own->ended[index] += 1;
    return STATUS;
}

static size_t call(size_t threads, size_t patient)
{
    job own = {.open = OPEN, .asked = threads};
    if (derive_pool_run(task, &own, threads, patient) != STATUS) {
        fail("another status", 0, threads);
    }
    for (size_t i = 0; i < MOST; ++i) {
        if (own.began[i] != (i < own.count) || own.ended[i] != own.began[i]) {
            fail(own.ended[i] < (i < own.count) ? "not waited for" : "took part too often", i, own.count);
        }
    }
    const size_t count = own.count;
    memset(&own, 0xff, sizeof own); /* for whoever comes too late */
    __asm__ volatile("" : : "r"(&own) : "memory");
    return count;
}

static void *turns(void *argument)
{
    static const size_t team[] = {2, 2, 3, 1, 4, 2, 3, 3, 4, 4, 2};
    const size_t calls = *(const size_t *)argument;
    for (size_t k = 0; k < calls; ++k) {
        const size_t threads = team[k % (sizeof team / sizeof team[0])];
        const size_t patient = k % 5 != 0;
        const size_t members = call(threads, patient);
        if (one_caller && patient && members != threads) {
            fail("alone for no reason", 0, members);
        }
        if (members > 1) {
            (void)__atomic_add_fetch(&shared_calls, (size_t)1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void start_callers(pthread_t *threads, size_t *calls)
{
    for (size_t i = 0; i < CALLERS; ++i) {
        if (pthread_create(&threads[i], NULL, turns, calls) != 0) {
            fail("no thread", i, CALLERS);
        }
    }
}

/* A child has a pool of its own, whatever its parent's was at. */
static void fork_one(void)
{
    int status = 1;
    const pid_t child = fork();
    if (child == 0) {
        size_t calls = 30;
        one_caller = 1;
        (void)turns(&calls);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fail("a child ended badly", 0, 1);
    }
}

int main(int argc, char **argv)
{
    pthread_t threads[CALLERS];
    size_t calls = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (calls == 0) {
        return 2;
    }
    if (strcmp(argv[1], "turns") == 0) {
        one_caller = 1;
        (void)turns(&calls);
    } else {
        start_callers(threads, &calls);
        if (strcmp(argv[1], "exits") == 0) {
            (void)usleep(3000);
            exit(0);
        }
        for (size_t k = 0; strcmp(argv[1], "forks") == 0 && k < 20; ++k) {
            fork_one();
        }
        for (size_t i = 0; i < CALLERS; ++i) {
            (void)pthread_join(threads[i], NULL);
        }
    }
    (void)printf("%zu\n", shared_calls);
    return shared_calls > 0 ? 0 : 1;
}
