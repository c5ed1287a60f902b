/* Delays for the pool of threads and for layers side by side, put before their text with -include:
 * at every step of their protocols a thread now and then gives its processor away, or is late by some
 * microseconds, or by more than a worker spins. */
#ifndef POOL_DELAYS_H
#define POOL_DELAYS_H

#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <time.h>

static inline void pool_delay(void)
{
    static uint32_t threads;
    static __thread uint32_t random;
    if (random == 0) {
        random = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED) * 2654435761u;
    }
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    const uint32_t dice = random >> 8 & 0xfff;
    if (dice < 256) {
        (void)sched_yield();
    } else if (dice < 272) {
        const struct timespec some = {0, 1000 + (long)(random >> 20) * 16};
        (void)nanosleep(&some, 0);
    } else if (dice == 272) {
        const struct timespec long_ = {0, 2000000};
        (void)nanosleep(&long_, 0);
    }
}

#define DERIVE_POOL_STEP() pool_delay()
#define DERIVE_LAYERS_STEP() pool_delay()

#endif
