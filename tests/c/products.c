/* The products of the header over whole arrays, for the tests and the benchmark to call. */
#define DK_IMPLEMENTATION
#include "derive_kernels.h"

/* out[r][gate][unit] = start[gate][unit] + sum over two segments of
 * matrix[gate][unit][k] * operand[r][k]; the second operand's matrices are stored transposed. With
 * before != NULL, dk_before_size elements for each row, the first segment is contracted first; with
 * panel == NULL the matrices are read as they are. */
#define PRODUCT(tag, name, gates, across)                                                        \
    DK_DEFINE_GROUP(tag, name, gates, across)                                                    \
    size_t tag##_##name##_panel_size(size_t units, size_t depth);                                \
    size_t tag##_##name##_panel_size(size_t units, size_t depth)                                 \
    {                                                                                            \
        return dk_panel_size_##tag##_##name(units, depth);                                       \
    }                                                                                            \
    size_t tag##_##name##_before_size(size_t units);                                             \
    size_t tag##_##name##_before_size(size_t units)                                              \
    {                                                                                            \
        return dk_before_size_##tag##_##name(units);                                             \
    }                                                                                            \
    static void tag##_##name##_weights(size_t units, size_t depth_a, size_t depth_b,             \
                                       const dk_real_##tag *a, const dk_real_##tag *b,           \
                                       const dk_real_##tag *start, dk_matrix_##tag *matrices,    \
                                       const dk_real_##tag **starts)                             \
    {                                                                                            \
        for (size_t gate = 0; gate < (gates); ++gate) {                                          \
            matrices[2 * gate] =                                                                 \
                (dk_matrix_##tag){a + gate * units * depth_a, depth_a, 1, depth_a};              \
            matrices[2 * gate + 1] =                                                             \
                (dk_matrix_##tag){b + gate * units * depth_b, 1, units, depth_b};                \
            starts[2 * gate] = NULL;                                                             \
            starts[2 * gate + 1] = start + gate * units;                                         \
        }                                                                                        \
    }                                                                                            \
    void tag##_##name##_pack(dk_real_##tag *panel, size_t units, size_t depth_a, size_t depth_b, \
                             const dk_real_##tag *a, const dk_real_##tag *b,                     \
                             const dk_real_##tag *start);                                        \
    void tag##_##name##_pack(dk_real_##tag *panel, size_t units, size_t depth_a, size_t depth_b, \
                             const dk_real_##tag *a, const dk_real_##tag *b,                     \
                             const dk_real_##tag *start)                                         \
    {                                                                                            \
        dk_matrix_##tag matrices[2 * (gates)];                                                   \
        const dk_real_##tag *starts[2 * (gates)];                                                \
        tag##_##name##_weights(units, depth_a, depth_b, a, b, start, matrices, starts);          \
        dk_pack_##tag##_##name(panel, units, 2, matrices, 2, starts, NULL);                      \
    }                                                                                            \
    void tag##_##name##_multiply(size_t rows, size_t units, size_t depth_a, size_t depth_b,      \
                                 const dk_real_##tag *panel, const dk_real_##tag *x,             \
                                 const dk_real_##tag *y, dk_real_##tag *before,                  \
                                 const dk_real_##tag *a, const dk_real_##tag *b,                 \
                                 const dk_real_##tag *start, dk_real_##tag *out);                \
    void tag##_##name##_multiply(size_t rows, size_t units, size_t depth_a, size_t depth_b,      \
                                 const dk_real_##tag *panel, const dk_real_##tag *x,             \
                                 const dk_real_##tag *y, dk_real_##tag *before,                  \
                                 const dk_real_##tag *a, const dk_real_##tag *b,                 \
                                 const dk_real_##tag *start, dk_real_##tag *out)                 \
    {                                                                                            \
        const size_t block = dk_block_##tag##_##name;                                            \
        const size_t lanes = block / dk_vectors_##tag##_##name;                                  \
        const size_t blocks = dk_tile_count(units, block);                                       \
        const size_t tiles = dk_tile_count(rows, dk_rows_##tag##_##name);                        \
        const dk_segment_##tag segments[2] = {{x, depth_a, depth_a}, {y, depth_b, depth_b}};     \
        dk_matrix_##tag matrices[2 * (gates)];                                                   \
        const dk_real_##tag *starts[2 * (gates)];                                                \
        dk_product_##tag product = {.panel = panel,                                              \
                                    .depth = depth_a + depth_b,                                  \
                                    .segment_count = 1,                                          \
                                    .segments = segments,                                        \
                                    .units = units,                                              \
                                    .matrices = matrices,                                        \
                                    .start_count = 2,                                            \
                                    .starts = starts,                                            \
                                    .single = rows == 1};                                        \
        dk_real_##tag acc[dk_acc_##tag##_##name];                                                \
        tag##_##name##_weights(units, depth_a, depth_b, a, b, start, matrices, starts);          \
        if (before != NULL) {                                                                    \
            dk_before_##tag##_##name(&product, units, rows, before, NULL);                       \
        }                                                                                        \
        product.segment_count = 2;                                                               \
        product.before = before;                                                                 \
        product.skip = depth_a;                                                                  \
        product.skipped_segments = 1;                                                            \
        for (size_t at = 0; at < blocks; ++at) {                                                 \
            size_t row = 0;                                                                      \
            for (size_t tile = 0; tile < tiles; ++tile) {                                        \
                const size_t count = dk_tile_rows(rows, dk_rows_##tag##_##name, tile);           \
                dk_tile_##tag##_##name(&product, at, row, count, acc);                           \
                for (size_t r = 0; r < count; ++r) {                                             \
                    for (size_t gate = 0; gate < (gates); ++gate) {                              \
                        for (size_t u = 0; u < block && at * block + u < units; u += lanes) {    \
                            const size_t unit = at * block + u;                                  \
                            dk_store_part_##tag(                                                 \
                                out + ((row + r) * (gates) + gate) * units + unit,               \
                                dk_load_##tag(acc + r * dk_row_##tag##_##name +                  \
                                              gate * dk_stride_##tag##_##name(units, at) + u),   \
                                units - unit);                                                   \
                        }                                                                        \
                    }                                                                            \
                }                                                                                \
                row += count;                                                                    \
            }                                                                                    \
        }                                                                                        \
    }

/* Of two factors each: left 0 with both right ones, left 1 with the second. */
#define OUTER(tag)                                                                               \
    size_t tag##_outer_scratch(size_t rows, size_t widest, size_t n, size_t o);                  \
    size_t tag##_outer_scratch(size_t rows, size_t widest, size_t n, size_t o)                   \
    {                                                                                            \
        return dk_outer_scratch_##tag(1, rows, widest,                                           \
                                      dk_padded_##tag(n) + dk_padded_##tag(o));                  \
    }                                                                                            \
    void tag##_outer(size_t rows, const unsigned char *alive, const dk_real_##tag *left_0,       \
                     size_t l, const dk_real_##tag *left_1, size_t m,                            \
                     const dk_real_##tag *right_0, size_t n, const dk_real_##tag *right_1,       \
                     size_t o, dk_real_##tag *out_00, dk_real_##tag *out_01,                     \
                     dk_real_##tag *out_11, dk_real_##tag *scratch);                             \
    void tag##_outer(size_t rows, const unsigned char *alive, const dk_real_##tag *left_0,       \
                     size_t l, const dk_real_##tag *left_1, size_t m,                            \
                     const dk_real_##tag *right_0, size_t n, const dk_real_##tag *right_1,       \
                     size_t o, dk_real_##tag *out_00, dk_real_##tag *out_01,                     \
                     dk_real_##tag *out_11, dk_real_##tag *scratch)                              \
    {                                                                                            \
        const dk_factor_##tag lefts[] = {{left_0, l}, {left_1, m}};                              \
        const dk_factor_##tag rights[] = {{right_0, n}, {right_1, o}};                           \
        const dk_outer_##tag products[] = {{0, 0, out_00}, {0, 1, out_01}, {1, 1, out_11}};      \
        dk_add_outers_##tag(rows, alive, 2, lefts, 2, rights, 3, products, scratch, NULL);       \
    }

PRODUCT(f32, g1, 1, 4)
PRODUCT(f32, g2, 2, 4)
PRODUCT(f32, g3, 3, 3)
PRODUCT(f32, g4, 4, 4)
PRODUCT(f32, g5, 5, 5)
PRODUCT(f32, g6, 6, 6)
PRODUCT(f32, g7, 7, wide)
PRODUCT(f32, g9, 9, wide)
PRODUCT(f64, g1, 1, 4)
PRODUCT(f64, g3, 3, 3)
PRODUCT(f64, g4, 4, 4)
PRODUCT(f64, g9, 9, wide)
OUTER(f32)
OUTER(f64)
