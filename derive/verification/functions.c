/* Every elementwise function of the header over an array, for the tests to call. */
#define DK_IMPLEMENTATION
#include "derive_kernels.h"
#include "every_unary.h"

#define ARRAY(tag, name, call)                                                                \
    void tag##_##name(size_t count, const dk_real_##tag *source, dk_real_##tag *target);      \
    void tag##_##name(size_t count, const dk_real_##tag *source, dk_real_##tag *target)       \
    {                                                                                         \
        const size_t lanes = sizeof(dk_##tag) / sizeof(dk_real_##tag);                        \
        for (size_t i = 0; i < count; i += lanes) {                                           \
            const dk_##tag v = dk_load_part_##tag(source + i, count - i);                     \
            dk_store_part_##tag(target + i, call, count - i);                                 \
        }                                                                                     \
    }

#define UNARY(tag, name) ARRAY(tag, name, dk_##name##_##tag(v))
#define ALL(tag)                                                                              \
    EVERY_UNARY(tag)                                                                          \
    ARRAY(tag, pow_2, dk_pow_##tag(v, 2.0))                                                   \
    ARRAY(tag, pow_3, dk_pow_##tag(v, 3.0))                                                   \
    ARRAY(tag, pow_m1, dk_pow_##tag(v, -1.0))                                                 \
    ARRAY(tag, pow_m2, dk_pow_##tag(v, -2.0))                                                 \
    ARRAY(tag, pow_half, dk_pow_##tag(v, 0.5))                                                \
    ARRAY(tag, pow_mhalf, dk_pow_##tag(v, -0.5))                                              \
    ARRAY(tag, pow_3half, dk_pow_##tag(v, 1.5))                                               \
    ARRAY(tag, pow_m3half, dk_pow_##tag(v, -1.5))                                             \
    ARRAY(tag, pow_tenth, dk_pow_##tag(v, 0.1))                                               \
    ARRAY(tag, pow_2point5, dk_pow_##tag(v, 2.5))                                             \
    ARRAY(tag, clip, dk_clip_##tag(v, dk_splat_##tag(-2), dk_splat_##tag(3)))                 \
    ARRAY(tag, maximum_half, dk_maximum_##tag(v, dk_splat_##tag((dk_real_##tag)0.5)))         \
    ARRAY(tag, half_maximum, dk_maximum_##tag(dk_splat_##tag((dk_real_##tag)0.5), v))         \
    ARRAY(tag, minimum_half, dk_minimum_##tag(v, dk_splat_##tag((dk_real_##tag)0.5)))         \
    ARRAY(tag, half_minimum, dk_minimum_##tag(dk_splat_##tag((dk_real_##tag)0.5), v))         \
    ARRAY(tag, zero_gates, dk_gated_##tag(dk_splat_##tag(0), v))                              \
    ARRAY(tag, two_gates, dk_gated_##tag(dk_splat_##tag(2), v))                               \
    ARRAY(tag, gated_by, dk_gated_##tag(v, dk_splat_##tag(2)))                                \
    ARRAY(tag, where_less_one,                                                                \
          dk_where_##tag(dk_less_##tag(v, dk_splat_##tag(1)), v, dk_splat_##tag(7)))          \
    ARRAY(tag, where_less_equal_one,                                                          \
          dk_where_##tag(dk_less_equal_##tag(v, dk_splat_##tag(1)), v, dk_splat_##tag(7)))    \
    ARRAY(tag, where_equal_one,                                                               \
          dk_where_##tag(dk_equal_##tag(v, dk_splat_##tag(1)), v, dk_splat_##tag(7)))         \
    ARRAY(tag, where_not_equal_one,                                                           \
          dk_where_##tag(dk_not_equal_##tag(v, dk_splat_##tag(1)), v, dk_splat_##tag(7)))     \
    ARRAY(tag, sum, dk_splat_##tag(dk_sum_##tag(v)))

ALL(f32)
ALL(f64)

size_t f32_lanes(void);
size_t f64_lanes(void);

size_t f32_lanes(void)
{
    return DK_LANES_F32;
}

size_t f64_lanes(void)
{
    return DK_LANES_F64;
}
