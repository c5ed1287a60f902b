/* Loops that measure the machine, with the vectors and functions of the shared header. */
#define DK_IMPLEMENTATION
#include "derive_kernels.h"

#if DK_VECTOR_BITS == 1
enum { CHAINS = 8 };
#else
enum { CHAINS = 12 };
#endif

static volatile double sink;

/* Each round multiplies and adds in CHAINS independent vectors. Returns the operations done. */
#define PEAK(tag, upper)                                                                         \
    double probe_peak_##tag(size_t rounds, const dk_real_##tag *source);                         \
    double probe_peak_##tag(size_t rounds, const dk_real_##tag *source)                          \
    {                                                                                            \
        const dk_##tag x = dk_load_##tag(source), y = dk_load_##tag(source + 1);                 \
        dk_##tag sum[CHAINS];                                                                    \
        for (size_t i = 0; i < CHAINS; ++i) {                                                    \
            sum[i] = dk_load_##tag(source + i);                                                  \
        }                                                                                        \
        for (size_t k = 0; k < rounds; ++k) {                                                    \
            DK_UNROLL                                                                            \
            for (size_t i = 0; i < CHAINS; ++i) {                                                \
                sum[i] = sum[i] * x + y;                                                         \
            }                                                                                    \
        }                                                                                        \
        for (size_t i = 1; i < CHAINS; ++i) {                                                    \
            sum[0] += sum[i];                                                                    \
        }                                                                                        \
        sink = (double)dk_sum_##tag(sum[0]);                                                     \
        return 2.0 * CHAINS * (double)DK_LANES_##upper * (double)rounds;                         \
    }

PEAK(f32, F32)
PEAK(f64, F64)

/* Reads `count` numbers, a multiple of 8 vectors, `rounds` times. Returns the bytes read. */
double probe_read(size_t rounds, size_t count, const float *source);
double probe_read(size_t rounds, size_t count, const float *source)
{
    dk_f32 sum[8];
    for (size_t i = 0; i < 8; ++i) {
        sum[i] = dk_splat_f32(0);
    }
    for (size_t k = 0; k < rounds; ++k) {
        for (size_t at = 0; at < count; at += 8 * DK_LANES_F32) {
            DK_UNROLL
            for (size_t i = 0; i < 8; ++i) {
                sum[i] += dk_load_f32(source + at + i * DK_LANES_F32);
            }
        }
    }
    for (size_t i = 1; i < 8; ++i) {
        sum[0] += sum[i];
    }
    sink = (double)dk_sum_f32(sum[0]);
    return 4.0 * (double)count * (double)rounds;
}

/* `count`, a multiple of 16, sigmoids and tanhs in equal parts. Returns how many. */
#define ACTIVATIONS(tag, upper)                                                                  \
    double probe_activations_##tag(size_t rounds, size_t count, const dk_real_##tag *source,     \
                                   dk_real_##tag *target);                                       \
    double probe_activations_##tag(size_t rounds, size_t count, const dk_real_##tag *source,     \
                                   dk_real_##tag *target)                                        \
    {                                                                                            \
        for (size_t k = 0; k < rounds; ++k) {                                                    \
            for (size_t i = 0; i < count; i += 2 * DK_LANES_##upper) {                           \
                const dk_##tag v = dk_load_##tag(source + i);                                    \
                const dk_##tag w = dk_load_##tag(source + i + DK_LANES_##upper);                 \
                dk_store_##tag(target + i, dk_sigmoid_##tag(v));                                 \
                dk_store_##tag(target + i + DK_LANES_##upper, dk_tanh_##tag(w));                 \
            }                                                                                    \
        }                                                                                        \
        return (double)count * (double)rounds;                                                   \
    }

ACTIVATIONS(f32, F32)
ACTIVATIONS(f64, F64)
