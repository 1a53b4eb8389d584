/* AVX2: vectors of 8 numbers, and an instruction that adds two products of 16 bits.
 *
 * The one that adds two products of 8 bits (vpmaddubsw) cuts off what does not fit in 16 bits. So weights are widened to
 * 16 bits here, and inputs are stored like that. Levels are within 127: two products are at most 32,258, and as sums are
 * kept in 32 bits, those of a group of 128 inputs, at most 2,064,512, are exact.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "int8_bert.h"

#define TARGET __attribute__((target("avx2,fma")))
#include "int8_functions.h"

#include "int8_avx.h"

enum { ROWS = 4, COLUMNS = 2, STEP = 4 };

/* Of four neighbours the first and the third come before the second and the fourth. */
typedef int16_t level;

INLINE void store_levels(level *to, const vec *x, vec per_unit) {
    EACH(c, 4) {
        __m256i levels = sixteen_levels(x + 2 * c, per_unit);
        levels = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(levels, 0xd8), 0xd8);
        _mm256_storeu_si256((__m256i *)(to + 16 * c), levels);
    }
}

/* Levels have their sign, and need no offsets. */
INLINE ints first_sums(const int32_t *offsets) { return (void)offsets, _mm256_setzero_si256(); }

INLINE void add_products(const int rows, ints (*to)[COLUMNS], const int8_t *weights, const level *inputs, long stride) {
    __m256i even[COLUMNS], odd[COLUMNS];
    EACH(c, COLUMNS) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(weights + 32 * c));
        /* The first and third weight of four; 1 and 0 times weights fit. Then the second and fourth. */
        even[c] = _mm256_maddubs_epi16(_mm256_set1_epi16(1), bytes);
        odd[c] = _mm256_srai_epi16(bytes, 8);
    }
    EACH(r, rows) {
        const level *four = inputs + r * stride;
        const __m256i first = _mm256_set1_epi32(four_bytes(four)), second = _mm256_set1_epi32(four_bytes(four + 2));
        EACH(c, COLUMNS) {
            const __m256i a = _mm256_madd_epi16(even[c], first), b = _mm256_madd_epi16(odd[c], second);
            const __m256i both = _mm256_add_epi32(a, b);
            /* As assembly, because gcc copies the sums about otherwise. */
            __asm__("vpaddd %1, %0, %0" : "+x"(to[r][c]) : "x"(both));
        }
    }
}

#include "int8_body.h"

static int supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const kernels int8_avx2 = {"avx2", supported, pooled, dense_layer, linear_layer};
#endif
