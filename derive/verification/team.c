/* A team whose members take turns in one thread: the same order every time, and the most uneven one.
 *
 * A member runs until it waits for the others; only then does the next one run. So what a member
 * reads before the barrier that should protect it has surely not been written yet by a later one: a
 * barrier that is missing shows in the result, with the first or with the last member ahead. And a
 * processor that has other work to do costs nothing.
 */
#include <stdlib.h>
#include <ucontext.h>

#define DK_SPINS 0 /* members take turns: one that waits gives way at once */
#include "derive_kernels.h"

enum { MOST = 64, STACK = 1 << 20 };

typedef int (*derive_task)(const void *args, const dk_team *team);

typedef struct member {
    ucontext_t context;
    char *stack;
    int done;
    int status;
} member;

static _Thread_local struct {
    member members[MOST];
    ucontext_t caller;
    size_t count;
    size_t now;
    int down;
    derive_task task;
    const void *args;
    dk_barrier barrier;
} turns;

static size_t next_member(void)
{
    for (size_t k = 1; k <= turns.count; ++k) {
        const size_t step = turns.down ? turns.count - k : k;
        const size_t index = (turns.now + step) % turns.count;
        if (!turns.members[index].done) {
            return index;
        }
    }
    return turns.count;
}

static int give_way(void)
{
    const size_t here = turns.now;
    const size_t next = next_member();
    if (next != here) {
        turns.now = next;
        swapcontext(&turns.members[here].context, &turns.members[next].context);
    }
    return 0;
}

static void run_member(void)
{
    const size_t index = turns.now;
    const dk_team team = {index, turns.count, &turns.barrier};
    turns.members[index].status = turns.task(turns.args, &team);
    turns.members[index].done = 1;
    {
        const size_t next = next_member();
        if (next < turns.count) {
            turns.now = next;
            setcontext(&turns.members[next].context);
        }
    }
    setcontext(&turns.caller);
}

/* Runs `task` on `threads` members; `down`: the last of them goes first. The status of the first, or
 * -1 where there is no memory. */
int derive_turns_run(derive_task task, const void *args, size_t threads, size_t down)
{
    if (threads < 2 || threads > MOST) {
        return task(args, NULL);
    }
    turns.count = threads;
    turns.down = down != 0;
    turns.task = task;
    turns.args = args;
    dk_barrier_init(&turns.barrier, threads, give_way);
    for (size_t index = 0; index < threads; ++index) {
        member *const one = &turns.members[index];
        one->done = 0;
        if (one->stack == NULL) {
            one->stack = malloc(STACK);
        }
        if (one->stack == NULL || getcontext(&one->context) != 0) {
            return -1;
        }
        one->context.uc_stack.ss_sp = one->stack;
        one->context.uc_stack.ss_size = STACK;
        one->context.uc_link = NULL;
        makecontext(&one->context, run_member, 0);
    }
    turns.now = down ? threads - 1 : 0;
    swapcontext(&turns.caller, &turns.members[turns.now].context);
    return turns.members[0].status;
}
