/* Vectors of 8 numbers in fp32: AVX2 with FMA. */
enum { LANES = 8 };

typedef __m256 vec;
typedef __m256i ints;

INLINE vec of(float x) { return _mm256_set1_ps(x); }
INLINE vec load(const float *from) { return _mm256_loadu_ps(from); }
INLINE void store(float *to, vec x) { _mm256_storeu_ps(to, x); }
INLINE vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec minus(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec times(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec times_plus(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec minus_times(vec c, vec a, vec b) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vec larger(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE vec magnitude(vec x) { return _mm256_andnot_ps(of(-0.0f), x); }
INLINE vec larger_magnitude(vec a, vec b) { return larger(magnitude(a), magnitude(b)); }
INLINE vec clipped(vec a, float b) { return _mm256_min_ps(larger(a, of(-b)), of(b)); }
INLINE vec whole(vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* By the exponent's bits: of 2^-127 and less they are those of zero. */
INLINE vec times_two_to(vec x, vec n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(larger(n, of(-127))), _mm256_set1_epi32(127));
    return times(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

INLINE float sum_in(vec x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

INLINE float largest_in(vec x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

INLINE float largest_magnitude_in(vec x) { return largest_in(magnitude(x)); }

INLINE vec first_of(vec x, long count, vec others) {
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_ps(others, x, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), place)));
}

INLINE vec sums_of_two(vec a, vec b) { return add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)); }

INLINE vec partial_sums(const vec *x) {
    const __m256d a = _mm256_castps_pd(sums_of_two(x[0], x[1])), b = _mm256_castps_pd(sums_of_two(x[2], x[3]));
    return add(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
}

INLINE vec total_sums(const vec *fours) {
    return add(_mm256_permute2f128_ps(fours[0], fours[1], 0x20), _mm256_permute2f128_ps(fours[0], fours[1], 0x31));
}

INLINE vec as_floats(ints x) { return _mm256_cvtepi32_ps(x); }

/* 16 numbers to levels of 16 bits. */
INLINE __m256i sixteen_levels(const vec *x, vec per_unit) {
    const __m256i a = _mm256_cvtps_epi32(times(x[0], per_unit)), b = _mm256_cvtps_epi32(times(x[1], per_unit));
    /* Packing takes four numbers of each vector in turn. */
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}
