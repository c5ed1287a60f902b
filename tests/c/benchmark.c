/* How far the header is from the multiply-add peak of one core. Not a test.
 *
 *   cc -std=c11 -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast
 *      -I FOLDER_OF_THE_HEADER tests/c/benchmark.c -lm -o benchmark && ./benchmark
 *
 * Every line is measured in turn, many times over; the medians of the rates and of the fractions of
 * the peak measured beside them are printed. */
#define _POSIX_C_SOURCE 199309L
#include "products.c"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 41, CASES_MAX = 32 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct task {
    const char *name;
    void (*run)(const struct task *);
    size_t rows, units, depth, repeats;
    double work; /* floating-point operations, or elements, of one repeat */
    double rate[ROUNDS], fraction[ROUNDS];
} task;

static float *arena_a, *arena_b, *arena_c, *arena_d, *arena_e;
static volatile float sink;

static void run_peak(const task *t)
{
    dk_f32 sum[16], x = dk_load_f32(arena_a), y = dk_load_f32(arena_a + 16);
    for (size_t i = 0; i < 16; ++i) {
        sum[i] = dk_load_f32(arena_a + i);
    }
    for (size_t k = 0; k < t->depth; ++k) {
        DK_UNROLL
        for (size_t i = 0; i < 16; ++i) {
            sum[i] = sum[i] * x + y;
        }
    }
    for (size_t i = 1; i < 16; ++i) {
        sum[0] += sum[i];
    }
    sink = dk_sum_f32(sum[0]);
}

#define TILES(tag, name, gates)                                                                    \
    static void run_##tag##_##name(const task *t)                                                  \
    {                                                                                              \
        const size_t block = dk_block_##tag##_##name;                                              \
        const size_t tiles = dk_tile_count(t->rows, dk_rows_##tag##_##name);                       \
        dk_real_##tag acc[dk_acc_##tag##_##name];                                                  \
        const dk_segment_##tag segment = {(dk_real_##tag *)(void *)arena_a, t->depth, t->depth};   \
        for (size_t u = 0; u * block < t->units; ++u) {                                            \
            const dk_real_##tag *panel = dk_panel_block_##tag##_##name(                            \
                (const dk_real_##tag *)(void *)arena_b, t->depth, u);                              \
            for (size_t i = 0, row = 0; i < tiles; ++i) {                                          \
                const size_t rows = dk_tile_rows(t->rows, dk_rows_##tag##_##name, i);              \
                dk_tile_##tag##_##name(rows, 1, &segment, row, panel, acc);                        \
                row += rows;                                                                       \
            }                                                                                      \
        }                                                                                          \
        sink = (float)acc[0];                                                                      \
    }

TILES(f32, g1, 1)
TILES(f32, g2, 2)
TILES(f32, g3, 3)
TILES(f32, g4, 4)
TILES(f32, g5, 5)
TILES(f32, g6, 6)
TILES(f32, g7, 7)
TILES(f64, g4, 4)

static void run_pack_normal(const task *t)
{
    f32_g4_pack(arena_b, t->units, t->depth, 0, arena_d, arena_d);
}

static void run_pack_transposed(const task *t)
{
    f32_g4_pack(arena_b, t->units, 0, t->depth, arena_d, arena_d);
}

/* rows x units x depth: rows summed over, m, n. */
static void run_outer(const task *t)
{
    dk_outer_f32(t->rows, NULL, arena_a, t->units, t->units, arena_b, t->depth, t->depth, arena_e,
                 t->depth, arena_d);
}

#define ELEMENTWISE(tag, name)                                                                     \
    static void run_##tag##_##name(const task *t)                                                  \
    {                                                                                              \
        const dk_real_##tag *const source = (const dk_real_##tag *)(void *)arena_a;                \
        dk_real_##tag *const target = (dk_real_##tag *)(void *)arena_c;                            \
        for (size_t i = 0; i < t->depth; i += sizeof(dk_##tag) / sizeof(dk_real_##tag)) {          \
            dk_store_##tag(target + i, dk_##name##_##tag(dk_load_##tag(source + i)));              \
        }                                                                                          \
    }

ELEMENTWISE(f32, exp)
ELEMENTWISE(f32, sigmoid)
ELEMENTWISE(f32, tanh)
ELEMENTWISE(f32, softplus)
ELEMENTWISE(f32, log)
ELEMENTWISE(f32, gelu)
ELEMENTWISE(f32, erf)
ELEMENTWISE(f64, sigmoid)
ELEMENTWISE(f64, tanh)
ELEMENTWISE(f64, gelu)

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, ascending);
    return values[ROUNDS / 2];
}

static task tasks[] = {
    {"peak", run_peak, 0, 0, 4096, 4, 4096 * 32.0 * DK_LANES_F32, {0}, {0}},
#define PRODUCT_TASK(name, run, rows, units, depth, repeats, gates) \
    {name, run, rows, units, depth, repeats, 2.0 * (gates) * rows * units * depth, {0}, {0}}
    PRODUCT_TASK("tile g4 32,128,128", run_f32_g4, 32, 128, 128, 4, 4),
    PRODUCT_TASK("tile g4 32,128,256", run_f32_g4, 32, 128, 256, 2, 4),
    PRODUCT_TASK("tile g4 16,64,128", run_f32_g4, 16, 64, 128, 8, 4),
    PRODUCT_TASK("tile g4 64,512,512", run_f32_g4, 64, 512, 512, 1, 4),
    PRODUCT_TASK("tile g4 1,128,128", run_f32_g4, 1, 128, 128, 50, 4),
    PRODUCT_TASK("tile g4 1,128,256", run_f32_g4, 1, 128, 256, 50, 4),
    PRODUCT_TASK("tile g4 2,128,256", run_f32_g4, 2, 128, 256, 50, 4),
    PRODUCT_TASK("tile g4 4,128,256", run_f32_g4, 4, 128, 256, 20, 4),
    PRODUCT_TASK("tile g1 32,128,512", run_f32_g1, 32, 128, 512, 4, 1),
    PRODUCT_TASK("tile g1 1,128,512", run_f32_g1, 1, 128, 512, 50, 1),
    PRODUCT_TASK("tile g2 32,128,256", run_f32_g2, 32, 128, 256, 4, 2),
    PRODUCT_TASK("tile g3 32,128,256", run_f32_g3, 32, 128, 256, 4, 3),
    PRODUCT_TASK("tile g5 32,128,256", run_f32_g5, 32, 128, 256, 2, 5),
    PRODUCT_TASK("tile g6 32,128,256", run_f32_g6, 32, 128, 256, 2, 6),
    PRODUCT_TASK("tile g7 32,128,256", run_f32_g7, 32, 128, 256, 2, 7),
    PRODUCT_TASK("tile f64 g4 32,128,256", run_f64_g4, 32, 128, 256, 2, 8),
    PRODUCT_TASK("outer 640,512,128", run_outer, 640, 512, 128, 1, 1),
    PRODUCT_TASK("outer 1600,128,128", run_outer, 1600, 128, 128, 1, 1),
    PRODUCT_TASK("outer 640,256,256", run_outer, 640, 256, 256, 1, 1),
    PRODUCT_TASK("outer 64,64,64", run_outer, 64, 64, 64, 100, 1),
#define RATE_TASK(name, run, depth) {name, run, 0, 0, depth, 8, depth, {0}, {0}}
    {"pack g4 128,256", run_pack_normal, 0, 128, 256, 4, 4 * 128 * 256.0, {0}, {0}},
    {"pack' g4 128,256", run_pack_transposed, 0, 128, 256, 4, 4 * 128 * 256.0, {0}, {0}},
    RATE_TASK("exp f32", run_f32_exp, 4096),
    RATE_TASK("sigmoid f32", run_f32_sigmoid, 4096),
    RATE_TASK("tanh f32", run_f32_tanh, 4096),
    RATE_TASK("softplus f32", run_f32_softplus, 4096),
    RATE_TASK("log f32", run_f32_log, 4096),
    RATE_TASK("gelu f32", run_f32_gelu, 4096),
    RATE_TASK("erf f32", run_f32_erf, 4096),
    RATE_TASK("sigmoid f64", run_f64_sigmoid, 4096),
    RATE_TASK("tanh f64", run_f64_tanh, 4096),
    RATE_TASK("gelu f64", run_f64_gelu, 4096),
};

int main(int argc, char **argv)
{
    const size_t count = sizeof tasks / sizeof tasks[0];
    const size_t elements = (size_t)3200 * 1024;
    /* Aligned to cache lines; any argument shifts them all by one element. */
    const size_t shift = argc > 1 ? 1 : 0;
    float **const arenas[] = {&arena_a, &arena_b, &arena_c, &arena_d, &arena_e};
    (void)argv;
    for (size_t i = 0; i < 5; ++i) {
        char *const block = malloc(elements * sizeof(float) + 128);
        if (block == NULL) {
            return 1;
        }
        *arenas[i] = (float *)(void *)(block + (64 - (uintptr_t)block % 64)) + shift;
    }
    for (size_t i = 0; i < elements; ++i) {
        arena_a[i] = arena_b[i] = arena_d[i] = (float)(i % 17) * 0.05f - 0.4f;
        arena_c[i] = arena_e[i] = 0;
    }
    for (size_t round = 0; round < ROUNDS; ++round) {
        for (size_t i = 0; i < count; ++i) {
            double rates[2];
            for (size_t which = 0; which < 2; ++which) {
                const task *const t = which == 0 ? &tasks[0] : &tasks[i];
                const double start = now();
                for (size_t repeat = 0; repeat < t->repeats; ++repeat) {
                    t->run(t);
                }
                rates[which] = t->work * (double)t->repeats / (now() - start) * 1e-9;
            }
            tasks[i].rate[round] = rates[1];
            tasks[i].fraction[round] = rates[1] / rates[0];
        }
    }
    for (size_t i = 0; i < count; ++i) {
        printf("%-24s %8.2f G/s  %5.1f %% of peak\n", tasks[i].name, median(tasks[i].rate),
               100 * median(tasks[i].fraction));
    }
    return 0;
}
