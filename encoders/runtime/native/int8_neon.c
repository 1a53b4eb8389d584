/* ARM with the dot product: vectors of 4 numbers, and an instruction that adds four products of 8 bits to each of 4
 * sums, both operands with their signs. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "int8_bert.h"

#if defined(__clang__)
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#include "int8_functions.h"

enum { LANES = 4, ROWS = 6, COLUMNS = 4, STEP = 16 };

typedef float32x4_t vec;
typedef int32x4_t ints;
typedef int8_t level;

INLINE vec of(float x) { return vdupq_n_f32(x); }
INLINE vec load(const float *from) { return vld1q_f32(from); }
INLINE void store(float *to, vec x) { vst1q_f32(to, x); }
INLINE vec add(vec a, vec b) { return vaddq_f32(a, b); }
INLINE vec minus(vec a, vec b) { return vsubq_f32(a, b); }
INLINE vec times(vec a, vec b) { return vmulq_f32(a, b); }
INLINE vec times_plus(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
INLINE vec minus_times(vec c, vec a, vec b) { return vfmsq_f32(c, a, b); }
INLINE vec larger(vec a, vec b) { return vmaxq_f32(a, b); }
INLINE vec larger_magnitude(vec a, vec b) { return larger(vabsq_f32(a), vabsq_f32(b)); }
INLINE vec clipped(vec a, float b) { return vminq_f32(larger(a, of(-b)), of(b)); }
INLINE vec whole(vec x) { return vrndnq_f32(x); }

/* By the exponent's bits: of 2^-127 and less they are those of zero. */
INLINE vec times_two_to(vec x, vec n) {
    const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(larger(n, of(-127))), vdupq_n_s32(127));
    return times(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

INLINE float sum_in(vec x) { return vaddvq_f32(x); }
INLINE float largest_in(vec x) { return vmaxvq_f32(x); }
INLINE float largest_magnitude_in(vec x) { return vmaxvq_f32(vabsq_f32(x)); }

INLINE vec first_of(vec x, long count, vec others) {
    const int32_t places[] = {0, 1, 2, 3};
    return vbslq_f32(vcltq_s32(vld1q_s32(places), vdupq_n_s32((int32_t)count)), x, others);
}

INLINE vec partial_sums(const vec *x) { return vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])); }
INLINE vec total_sums(const vec *fours) { return fours[0]; }

INLINE void store_levels(level *to, const vec *x, vec per_unit) {
    EACH(c, 4) {
        int32x4_t q[4];
        EACH(i, 4) q[i] = vcvtnq_s32_f32(times(x[4 * c + i], per_unit));
        const int16x8_t low = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1]));
        const int16x8_t high = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
        vst1q_s8(to + 16 * c, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
    }
}

/* Levels have their sign, and need no offsets. */
INLINE ints first_sums(const int32_t *offsets) { return (void)offsets, vdupq_n_s32(0); }
INLINE vec as_floats(ints x) { return vcvtq_f32_s32(x); }

/* The products of one four of the 16 inputs. */
#define ADD_FOUR(four)                                                                                                 \
    do {                                                                                                               \
        int8x16_t b[COLUMNS];                                                                                          \
        EACH(c, COLUMNS) b[c] = vld1q_s8(weights + four * 4 * PANEL + 16 * c);                                         \
        EACH(r, rows)                                                                                                  \
            EACH(c, COLUMNS)                                                                                           \
                __asm__("sdot %0.4s, %1.16b, %2.4b[" #four "]" : "+w"(to[r][c]) : "w"(b[c]), "w"(a[r]));                   \
    } while (0)

INLINE void add_products(const int rows, ints (*to)[COLUMNS], const int8_t *weights, const level *inputs, long stride) {
    int8x16_t a[ROWS];
    EACH(r, rows) a[r] = vld1q_s8(inputs + r * stride);
    ADD_FOUR(0);
    ADD_FOUR(1);
    ADD_FOUR(2);
    ADD_FOUR(3);
}

#include "int8_body.h"

#if defined(__linux__)
#include <sys/auxv.h>
/* asm/hwcap.h has it as HWCAP_ASIMDDP. */
static int supported(void) { return (getauxval(AT_HWCAP) >> 20) & 1; }
#elif defined(__APPLE__)
/* Every Mac with an ARM CPU has it. */
static int supported(void) { return 1; }
#else
static int supported(void) { return 0; }
#endif

const kernels int8_neon_dotprod = {"neon-dotprod", supported, pooled, dense_layer, linear_layer};
#endif
