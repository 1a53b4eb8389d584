/* AVX-512 with VNNI: vectors of 16 numbers, and an instruction that adds four products of 8 bits to each of 16 sums. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "int8_bert.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vnni")))
#include "int8_functions.h"

enum { LANES = 16, ROWS = 6, COLUMNS = 4, STEP = 4 };

typedef __m512 vec;
typedef __m512i ints;
/* 128 too large, since the instruction wants one operand without a sign; `offsets` take that off. */
typedef uint8_t level;

INLINE vec of(float x) { return _mm512_set1_ps(x); }
INLINE vec load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void store(float *to, vec x) { _mm512_storeu_ps(to, x); }
INLINE vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec minus(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec times(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec times_plus(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec minus_times(vec c, vec a, vec b) { return _mm512_fnmadd_ps(a, b, c); }
INLINE vec larger(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE vec larger_magnitude(vec a, vec b) { return _mm512_range_ps(a, b, 0x0b); }
INLINE vec clipped(vec a, float b) { return _mm512_range_ps(a, of(b), 0x02); }
INLINE vec whole(vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
INLINE vec times_two_to(vec x, vec n) { return _mm512_scalef_ps(x, n); }
INLINE float sum_in(vec x) { return _mm512_reduce_add_ps(x); }
INLINE float largest_in(vec x) { return _mm512_reduce_max_ps(x); }
INLINE float largest_magnitude_in(vec x) { return _mm512_reduce_max_ps(_mm512_abs_ps(x)); }
INLINE vec first_of(vec x, long count, vec others) { return _mm512_mask_mov_ps(others, (1 << count) - 1, x); }

INLINE vec sums_of_two(vec a, vec b) { return add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)); }

INLINE vec partial_sums(const vec *x) {
    const __m512d a = _mm512_castps_pd(sums_of_two(x[0], x[1])), b = _mm512_castps_pd(sums_of_two(x[2], x[3]));
    return add(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
}

INLINE vec total_sums(const vec *fours) {
    const vec low = add(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88), _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd));
    const vec high =
        add(_mm512_shuffle_f32x4(fours[2], fours[3], 0x88), _mm512_shuffle_f32x4(fours[2], fours[3], 0xdd));
    return add(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

INLINE void store_levels(level *to, const vec *x, vec per_unit) {
    __m512i q[4];
    EACH(c, 4) q[c] = _mm512_cvtps_epi32(times(x[c], per_unit));
    const __m512i parts = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    /* Packing takes four numbers of each vector in turn. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_xor_si512(_mm512_permutexvar_epi32(order, parts), _mm512_set1_epi8(-128)));
}

INLINE ints first_sums(const int32_t *offsets) { return _mm512_loadu_si512(offsets); }
INLINE vec as_floats(ints x) { return _mm512_cvtepi32_ps(x); }

INLINE void add_products(const int rows, ints (*to)[COLUMNS], const int8_t *weights, const level *inputs, long stride) {
    __m512i b[COLUMNS];
    EACH(c, COLUMNS) b[c] = _mm512_loadu_si512(weights + 64 * c);
    EACH(r, rows) {
        const __m512i a = _mm512_set1_epi32(four_bytes(inputs + r * stride));
        /* As assembly, because gcc copies the sums about otherwise. */
        EACH(c, COLUMNS) __asm__("vpdpbusd %2, %1, %0" : "+v"(to[r][c]) : "v"(a), "v"(b[c]));
    }
}

#include "int8_body.h"

static int supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

const kernels int8_avx512_vnni = {"avx512-vnni", supported, pooled, dense_layer, linear_layer};
#endif
