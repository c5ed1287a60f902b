/* The products of the header over whole arrays, for the tests and the benchmark to call. */
#include "derive_kernels.h"

/* out[r][gate][unit] = sum over two segments of matrix[gate][unit][k] * operand[r][k]; the second
 * operand's matrices are stored transposed. */
#define PRODUCT(tag, name, gates)                                                                \
    DK_DEFINE_GROUP(tag, name, gates)                                                            \
    size_t tag##_##name##_panel_size(size_t units, size_t depth);                                \
    size_t tag##_##name##_panel_size(size_t units, size_t depth)                                 \
    {                                                                                            \
        return dk_panel_size_##tag##_##name(units, depth);                                       \
    }                                                                                            \
    void tag##_##name##_pack(dk_real_##tag *panel, size_t units, size_t depth_a, size_t depth_b, \
                             const dk_real_##tag *a, const dk_real_##tag *b);                    \
    void tag##_##name##_pack(dk_real_##tag *panel, size_t units, size_t depth_a, size_t depth_b, \
                             const dk_real_##tag *a, const dk_real_##tag *b)                     \
    {                                                                                            \
        const size_t depth = depth_a + depth_b;                                                  \
        for (size_t gate = 0; gate < (gates); ++gate) {                                          \
            dk_pack_##tag##_##name(panel, units, depth, 0, gate, a + gate * units * depth_a,     \
                                   depth_a, 1, depth_a);                                         \
            dk_pack_##tag##_##name(panel, units, depth, depth_a, gate,                           \
                                   b + gate * units * depth_b, 1, units, depth_b);               \
        }                                                                                        \
    }                                                                                            \
    void tag##_##name##_multiply(size_t rows, size_t units, size_t depth_a, size_t depth_b,      \
                                 const dk_real_##tag *panel, const dk_real_##tag *x,             \
                                 const dk_real_##tag *y, dk_real_##tag *out);                    \
    void tag##_##name##_multiply(size_t rows, size_t units, size_t depth_a, size_t depth_b,      \
                                 const dk_real_##tag *panel, const dk_real_##tag *x,             \
                                 const dk_real_##tag *y, dk_real_##tag *out)                     \
    {                                                                                            \
        const size_t block = dk_block_##tag##_##name;                                            \
        const size_t lanes = block / dk_vectors_##tag##_##name;                                  \
        const size_t tiles = dk_tile_count(rows, dk_rows_##tag##_##name);                        \
        const dk_segment_##tag segments[2] = {{x, depth_a, depth_a}, {y, depth_b, depth_b}};     \
        dk_real_##tag acc[dk_acc_##tag##_##name];                                                \
        for (size_t first = 0; first < units; first += block) {                                  \
            const dk_real_##tag *const weights =                                                 \
                dk_panel_block_##tag##_##name(panel, depth_a + depth_b, first / block);          \
            size_t row = 0;                                                                      \
            for (size_t tile = 0; tile < tiles; ++tile) {                                        \
                const size_t count = dk_tile_rows(rows, dk_rows_##tag##_##name, tile);           \
                dk_tile_##tag##_##name(count, depth_b > 0 ? 2 : 1, segments, row, weights, acc); \
                for (size_t r = 0; r < count; ++r) {                                             \
                    for (size_t v = 0; v < (gates) * block; v += lanes) {                        \
                        const size_t unit = first + v % block;                                   \
                        if (unit < units) {                                                      \
                            dk_store_part_##tag(                                                 \
                                out + ((row + r) * (gates) + v / block) * units + unit,          \
                                dk_load_##tag(acc + r * dk_row_##tag##_##name + v),              \
                                units - unit);                                                   \
                        }                                                                        \
                    }                                                                            \
                }                                                                                \
                row += count;                                                                    \
            }                                                                                    \
        }                                                                                        \
    }

#define OUTER(tag)                                                                               \
    size_t tag##_outer_scratch(size_t n);                                                        \
    size_t tag##_outer_scratch(size_t n)                                                         \
    {                                                                                            \
        return dk_outer_scratch_##tag(n);                                                        \
    }                                                                                            \
    void tag##_outer(size_t rows, const unsigned char *alive, const dk_real_##tag *left,         \
                     size_t left_stride, size_t m, const dk_real_##tag *right,                   \
                     size_t right_stride, size_t n, dk_real_##tag *out, size_t out_stride,       \
                     dk_real_##tag *scratch);                                                    \
    void tag##_outer(size_t rows, const unsigned char *alive, const dk_real_##tag *left,         \
                     size_t left_stride, size_t m, const dk_real_##tag *right,                   \
                     size_t right_stride, size_t n, dk_real_##tag *out, size_t out_stride,       \
                     dk_real_##tag *scratch)                                                     \
    {                                                                                            \
        dk_outer_##tag(rows, alive, left, left_stride, m, right, right_stride, n, out,           \
                       out_stride, scratch);                                                     \
    }

PRODUCT(f32, g1, 1)
PRODUCT(f32, g2, 2)
PRODUCT(f32, g3, 3)
PRODUCT(f32, g4, 4)
PRODUCT(f32, g5, 5)
PRODUCT(f32, g6, 6)
PRODUCT(f32, g7, 7)
PRODUCT(f32, g9, 9)
PRODUCT(f64, g1, 1)
PRODUCT(f64, g3, 3)
PRODUCT(f64, g4, 4)
PRODUCT(f64, g9, 9)
OUTER(f32)
OUTER(f64)
