/* AVX-VNNI: vectors of 8 numbers, and an instruction that adds four products of 8 bits to each of 8 sums. */
#include "int8_bert.h"

#ifdef HAS_AVX_VNNI
#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma,avxvnni")))
#include "int8_functions.h"

#include "int8_avx.h"

enum { ROWS = 6, COLUMNS = 2, STEP = 4 };

/* 128 too large, since the instruction wants one operand without a sign; `offsets` take that off. */
typedef uint8_t level;

INLINE void store_levels(level *to, const vec *x, vec per_unit) {
    EACH(c, 2) {
        const __m256i a = sixteen_levels(x + 4 * c, per_unit), b = sixteen_levels(x + 4 * c + 2, per_unit);
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
        _mm256_storeu_si256((__m256i *)(to + 32 * c), _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)));
    }
}

INLINE ints first_sums(const int32_t *offsets) { return _mm256_loadu_si256((const __m256i *)offsets); }

INLINE void add_products(const int rows, ints (*to)[COLUMNS], const int8_t *weights, const level *inputs, long stride) {
    __m256i b[COLUMNS];
    EACH(c, COLUMNS) b[c] = _mm256_loadu_si256((const __m256i *)(weights + 32 * c));
    EACH(r, rows) {
        const __m256i a = _mm256_set1_epi32(four_bytes(inputs + r * stride));
        /* As assembly, because gcc copies the sums about otherwise. */
        EACH(c, COLUMNS) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(to[r][c]) : "x"(a), "x"(b[c]));
    }
}

#include "int8_body.h"

static int supported(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           a & bit_AVXVNNI;
}

const kernels int8_avx_vnni = {"avx-vnni", supported, pooled, dense_layer, linear_layer};
#endif
