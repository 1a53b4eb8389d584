/* A BERT with int8 weights, from tokens to sentence vectors, on CPUs with AVX-512 VNNI.
 *
 * Weights come as levels of 8 bits with a step per output (encoders/int8_grid.py), packed for this file by
 * encoders/runtime/int8_layout.py. What they are multiplied with is rounded here, token by token, some neighbouring
 * numbers with one step; sums of products are exact. Everything else is fp32. All texts of a call have one length, so
 * that nothing is masked, and no number of a token depends on another text: the same text gives the same bits whatever
 * stands beside it. (For that, too, the compiler must not contract multiplications and additions, -ffp-contract=off:
 * it would do so in one copy of an inlined function and not in another.)
 *
 * Texts are computed in blocks so small that what a layer works on stays in the L2 cache.
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Outputs that are computed at once, four vectors of 16, and tokens: 24 sums, which leaves registers for the operands. */
#define PANEL 64
#define ROWS 6
/* Tokens of a block, unless a single text has more. */
#define BLOCK 192

/* A loop that is unrolled before anything else is done to it: arrays that it indexes become registers. */
#define EACH(i, count) _Pragma("GCC unroll 8") for (int i = 0; i < (count); i++)

typedef __m512 vec;

/* A linear layer. `levels` lie as [outputs / PANEL][inputs / 4][PANEL][4]: the instruction multiplies four neighbouring
 * inputs with four weights of each of 16 outputs. Inputs come as unsigned numbers, 128 too large: `offsets`,
 * [inputs / group][outputs], take that off again. A group of inputs has one step. */
typedef struct {
    long inputs, outputs, group;
    const int8_t *levels;
    const int32_t *offsets;
    const float *steps, *bias;
} linear;

/* One layer. Outputs of `qkv` are in the order of the panels: 64 of the queries, the same 64 of the keys and of the
 * values, the next 64. The scales are what the inputs of `qkv`, `inner` and `outer` are multiplied with. */
typedef struct {
    linear qkv, mixed, inner, outer;
    const float *qkv_scales, *inner_scales, *outer_scales;
    const float *first_weight, *first_bias, *second_weight, *second_bias;
} layer;

/* A linear layer behind the pooling, in fp32; `weights` lie as [inputs][outputs]. */
typedef struct {
    long inputs, outputs;
    const float *weights, *bias;
} dense;

typedef struct {
    long width, inner, heads, layer_count;
    float epsilon;
    const float *words, *places, *weight, *bias;
    const layer *layers;
} bert;

/* Rows of numbers in 8 bits, and the steps of their groups. */
typedef struct {
    uint8_t *levels;
    float *steps;
} rounded;

INLINE vec of(float x) { return _mm512_set1_ps(x); }
INLINE vec load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void store(float *to, vec x) { _mm512_storeu_ps(to, x); }
/* The greater magnitude of the two. */
INLINE vec greater(vec a, vec b) { return _mm512_range_ps(a, b, 0x0b); }
/* a where its magnitude is less than b, otherwise b with the sign of a. */
INLINE vec clipped(vec a, float b) { return _mm512_range_ps(a, of(b), 0x02); }

/* e^x, to 3e-6 of it: 2^n times a Taylor polynomial over [-ln 2 / 2, ln 2 / 2]. */
INLINE vec exponential(vec x) {
    vec n = _mm512_roundscale_ps(_mm512_mul_ps(x, of(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    vec rest = _mm512_fnmadd_ps(n, of(0.693359375f), x);
    rest = _mm512_fnmadd_ps(n, of(-2.12194440e-4f), rest);
    vec sum = of(1.0f / 120);
    const float terms[] = {1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f, 1.0f};
    EACH(i, 5) sum = _mm512_fmadd_ps(sum, rest, of(terms[i]));
    return _mm512_scalef_ps(sum, n);
}

/* x times the normal distribution function at x, to 5e-5, and beyond 12 to 5e-6 of x. The polynomial in x^2 is the best one for that product over
 * [-4.5, 4.5] (reweighted least squares). */
INLINE vec gelu(vec x) {
    vec near = clipped(x, 4.5f), square = _mm512_mul_ps(near, near);
    const float terms[] = {3.036061003e-11f, -3.314340367e-09f, 1.590878167e-07f, -4.451492336e-06f, 8.142242525e-05f,
                           -1.037572837e-03f, 9.585134167e-03f, -6.598453165e-02f, 3.987125291e-01f};
    vec sum = of(terms[0]);
    EACH(i, 8) sum = _mm512_fmadd_ps(sum, square, of(terms[i + 1]));
    return _mm512_mul_ps(_mm512_fmadd_ps(sum, near, of(0.5f)), x);
}

/* PANEL numbers to levels. */
INLINE void store_levels(uint8_t *to, const vec *x, vec per_unit) {
    __m512i q[4];
    EACH(c, 4) q[c] = _mm512_cvtps_epi32(_mm512_mul_ps(x[c], per_unit));
    const __m512i parts = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    /* Packing takes four numbers of each vector in turn. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_xor_si512(_mm512_permutexvar_epi32(order, parts), _mm512_set1_epi8(-128)));
}

/* Levels per unit in a group whose greatest magnitudes these are; `step` becomes its inverse. */
INLINE vec levels_per_unit(vec greatest, float *step) {
    /* Zeros have any step. */
    const float top = _mm512_reduce_max_ps(_mm512_abs_ps(greatest)) + 1e-30f;
    *step = top * (1.0f / 127);
    return of(127 / top);
}

/* PANEL numbers of a row times their scales, if there are any. */
INLINE void load_scaled(vec *x, const float *from, const float *scales) {
    EACH(c, 4) {
        x[c] = load(from + 16 * c);
        if (scales) x[c] = _mm512_mul_ps(x[c], load(scales + 16 * c));
    }
}

/* A row to levels; `group` is a multiple of PANEL. */
INLINE void round_row(const float *row, const float *scales, const linear *w, uint8_t *levels, float *steps) {
    for (long start = 0; start < w->inputs; start += w->group) {
        vec x[4], greatest[4] = {of(0), of(0), of(0), of(0)};
        for (long i = start; i < start + w->group; i += PANEL) {
            load_scaled(x, row + i, scales ? scales + i : 0);
            EACH(c, 4) greatest[c] = greater(greatest[c], x[c]);
        }
        const vec all = greater(greater(greatest[0], greatest[1]), greater(greatest[2], greatest[3]));
        const vec per_unit = levels_per_unit(all, steps + start / w->group);
        for (long i = start; i < start + w->group; i += PANEL) {
            load_scaled(x, row + i, scales ? scales + i : 0);
            store_levels(levels + i, x, per_unit);
        }
    }
}

/* GELU of PANEL numbers of a row, to levels with one step. */
INLINE void round_gelu(const float *row, const float *scales, uint8_t *levels, float *step) {
    vec x[4];
    EACH(c, 4) x[c] = _mm512_mul_ps(gelu(load(row + 16 * c)), load(scales + 16 * c));
    store_levels(levels, x, levels_per_unit(greater(greater(x[0], x[1]), greater(x[2], x[3])), step));
}

/* Some rows of `product`, one panel. `rows` is known where this is inlined, so that the sums stay in registers. */
INLINE void tile(const int rows, const linear *w, long panel, rounded x, float *to, long stride) {
    const long groups = w->inputs / w->group;
    const int8_t *weights = w->levels + panel * PANEL * w->inputs;
    const float *steps = w->steps + panel * PANEL, *bias = w->bias + panel * PANEL;
    float sums[ROWS][PANEL] __attribute__((aligned(64)));
    for (long g = 0; g < groups; g++) {
        __m512i acc[ROWS][4];
        EACH(c, 4) {
            const __m512i start = _mm512_loadu_si512(w->offsets + g * w->outputs + panel * PANEL + 16 * c);
            EACH(r, rows) acc[r][c] = start;
        }
        const uint8_t *inputs = x.levels + g * w->group;
        for (long i = 0; i < w->group; i += 4, weights += 4 * PANEL) {
            __m512i b[4];
            EACH(c, 4) b[c] = _mm512_loadu_si512(weights + 64 * c);
            EACH(r, rows) {
                int32_t four;
                memcpy(&four, inputs + r * w->inputs + i, 4);
                const __m512i a = _mm512_set1_epi32(four);
                EACH(c, 4) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc[r][c]) : "v"(a), "v"(b[c]));
            }
        }
        EACH(r, rows) {
            const vec step = of(x.steps[r * groups + g]);
            EACH(c, 4) {
                const vec found = _mm512_cvtepi32_ps(acc[r][c]);
                float *sum = &sums[r][16 * c];
                const vec all = g ? _mm512_fmadd_ps(found, step, load(sum)) : _mm512_mul_ps(found, step);
                if (g + 1 < groups) store(sum, all);
                else store(to + r * stride + 16 * c, _mm512_fmadd_ps(all, load(steps + 16 * c), load(bias + 16 * c)));
            }
        }
    }
}

/* Some panels of a linear layer over n rows; `stride` numbers lie between the rows of `to`. */
static void product(const linear *w, long first, long last, rounded x, long n, float *to, long stride) {
    for (long panel = first; panel < last; panel++, to += PANEL) {
        long row = 0;
#define TILE(rows)                                                                                                     \
    tile(rows, w, panel, (rounded){x.levels + row * w->inputs, x.steps + row * (w->inputs / w->group)},                \
         to + row * stride, stride)
        for (; row + ROWS <= n; row += ROWS) TILE(ROWS);
        switch (n - row) {
            case 1: TILE(1); break;
            case 2: TILE(2); break;
            case 3: TILE(3); break;
            case 4: TILE(4); break;
            case 5: TILE(5); break;
        }
#undef TILE
    }
}

INLINE float sum_of(const vec *x) {
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(x[0], x[1]), _mm512_add_ps(x[2], x[3])));
}

/* x = norm(x + y), of one row. */
INLINE void add_and_norm(float *x, const float *y, const bert *m, const float *weight, const float *bias) {
    /* Four sums, as one would wait for itself. */
    vec sums[4] = {of(0), of(0), of(0), of(0)}, squares[4] = {of(0), of(0), of(0), of(0)};
    for (long i = 0; i < m->width; i += 64)
        EACH(c, 4) {
            const vec both = _mm512_add_ps(load(x + i + 16 * c), load(y + i + 16 * c));
            store(x + i + 16 * c, both);
            sums[c] = _mm512_add_ps(sums[c], both);
        }
    const vec mean = of(sum_of(sums) / m->width);
    for (long i = 0; i < m->width; i += 64)
        EACH(c, 4) {
            const vec off = _mm512_sub_ps(load(x + i + 16 * c), mean);
            squares[c] = _mm512_fmadd_ps(off, off, squares[c]);
        }
    const vec inverse = of(1 / sqrtf(sum_of(squares) / m->width + m->epsilon));
    for (long i = 0; i < m->width; i += 16) {
        const vec normal = _mm512_mul_ps(_mm512_sub_ps(load(x + i), mean), inverse);
        store(x + i, _mm512_fmadd_ps(normal, load(weight + i), load(bias + i)));
    }
}

INLINE vec zipped_sum(vec a, vec b) { return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)); }

/* Products of a query with 16 keys, of which only `count` are there; what stands for the others means nothing. */
INLINE vec products(const float *query, const float *keys, long stride, long count, const long size) {
    vec fours[4] = {of(0), of(0), of(0), of(0)};
    /* Each 128 bits of fours[g] get sums over a quarter of the numbers, of the keys 4 g to 4 g + 3. */
    for (long g = 0; g < 4 && 4 * g < count; g++) {
        vec each[4];
        EACH(j, 4) {
            const float *key = keys + (4 * g + j < count ? 4 * g + j : count - 1) * stride;
            each[j] = _mm512_mul_ps(load(query), load(key));
            for (long d = 16; d < size; d += 16) each[j] = _mm512_fmadd_ps(load(query + d), load(key + d), each[j]);
        }
        const __m512d a = _mm512_castps_pd(zipped_sum(each[0], each[1]));
        const __m512d b = _mm512_castps_pd(zipped_sum(each[2], each[3]));
        fours[g] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    const vec low = _mm512_add_ps(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88),
                                  _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd));
    const vec high = _mm512_add_ps(_mm512_shuffle_f32x4(fours[2], fours[3], 0x88),
                                   _mm512_shuffle_f32x4(fours[2], fours[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

/* Attention of the heads of one panel in one text. Rows of `qkv` are queries, keys and values, PANEL numbers each; rows
 * of `to` are `width` numbers apart. `shares` has room for the text's tokens, to a multiple of 16. */
INLINE void attend(const float *qkv, long length, float *to, long width, float *shares, const long size) {
    const long stride = 3 * PANEL;
    const vec root = of(1 / sqrtf(size)), least = of(-INFINITY);
    for (long head = 0; head < PANEL; head += size)
        for (long i = 0; i < length; i++) {
            const float *query = qkv + i * stride + head, *keys = qkv + PANEL + head, *values = keys + PANEL;
            vec greatest = least, sum = of(0), mixed[4] = {of(0), of(0), of(0), of(0)};
            for (long j = 0; j < length; j += 16) {
                vec found = products(query, keys + j * stride, stride, length - j, size);
                if (length - j < 16) found = _mm512_mask_mov_ps(least, (1 << (length - j)) - 1, found);
                store(shares + j, found);
                greatest = _mm512_max_ps(greatest, found);
            }
            greatest = of(_mm512_reduce_max_ps(greatest));
            for (long j = 0; j < length; j += 16) {
                /* A key that is not there has a share of zero. */
                const vec lower = _mm512_max_ps(_mm512_sub_ps(load(shares + j), greatest), of(-1e4f));
                const vec share = exponential(_mm512_mul_ps(lower, root));
                store(shares + j, share);
                sum = _mm512_add_ps(sum, share);
            }
            for (long j = 0; j < length; j++)
                EACH(d, size / 16)
                    mixed[d] = _mm512_fmadd_ps(of(shares[j]), load(values + j * stride + 16 * d), mixed[d]);
            const vec inverse = of(1 / _mm512_reduce_add_ps(sum));
            EACH(d, size / 16)
                store(to + i * width + head + 16 * d, _mm512_mul_ps(mixed[d], inverse));
        }
}

/* What a block works on; all of it lies in one piece of memory. */
typedef struct {
    float *states, *other, *qkv, *shares;
    rounded narrow, wide; /* Inputs of a layer's width, and of its inner width. */
} scratch;

static size_t scratch_bytes(const bert *m, long n, long length) {
    const long floats = n * (2 * m->width + 3 * PANEL + m->width / PANEL + m->inner / PANEL) + length + 16;
    const size_t bytes = floats * sizeof(float) + n * (m->width + m->inner);
    return (bytes + 63) / 64 * 64;
}

static scratch scratch_in(float *memory, const bert *m, long n, long length) {
    scratch s;
    s.states = memory;
    s.other = s.states + n * m->width;
    s.qkv = s.other + n * m->width;
    s.narrow.steps = s.qkv + n * 3 * PANEL;
    s.wide.steps = s.narrow.steps + n * (m->width / PANEL);
    s.shares = s.wide.steps + n * (m->inner / PANEL);
    s.narrow.levels = (uint8_t *)(s.shares + length + 16);
    s.wide.levels = s.narrow.levels + n * m->width;
    return s;
}

/* States to levels, as the input of a layer. */
INLINE void round_state(const float *states, long t, const float *scales, const linear *w, rounded to) {
    round_row(states + t * w->inputs, scales, w, to.levels + t * w->inputs, to.steps + t * (w->inputs / w->group));
}

static void compute_layer(const bert *m, const layer *e, const layer *next, long texts, long length, scratch s) {
    const long n = texts * length, width = m->width, size = width / m->heads, stride = 3 * PANEL;
    /* Panel by panel: what is between is small then, and still in the cache. */
    for (long panel = 0; panel < width / PANEL; panel++) {
        product(&e->qkv, 3 * panel, 3 * panel + 3, s.narrow, n, s.qkv, stride);
        for (long text = 0; text < texts; text++) {
            const float *qkv = s.qkv + text * length * stride;
            float *to = s.other + text * length * width + panel * PANEL;
            if (size == 32) attend(qkv, length, to, width, s.shares, 32);
            else attend(qkv, length, to, width, s.shares, PANEL);
        }
    }
    for (long t = 0; t < n; t++) round_state(s.other, t, 0, &e->mixed, s.narrow);
    product(&e->mixed, 0, width / PANEL, s.narrow, n, s.other, width);
    for (long t = 0; t < n; t++) {
        add_and_norm(s.states + t * width, s.other + t * width, m, e->first_weight, e->first_bias);
        round_state(s.states, t, e->inner_scales, &e->inner, s.narrow);
    }
    const long panels = m->inner / PANEL;
    for (long panel = 0; panel < panels; panel++) {
        product(&e->inner, panel, panel + 1, s.narrow, n, s.qkv, PANEL);
        for (long t = 0; t < n; t++)
            round_gelu(s.qkv + t * PANEL, e->outer_scales + panel * PANEL,
                       s.wide.levels + t * m->inner + panel * PANEL, s.wide.steps + t * panels + panel);
    }
    product(&e->outer, 0, width / PANEL, s.wide, n, s.other, width);
    for (long t = 0; t < n; t++) {
        add_and_norm(s.states + t * width, s.other + t * width, m, e->second_weight, e->second_bias);
        if (next) round_state(s.states, t, next->qkv_scales, &next->qkv, s.narrow);
    }
}

static void compute_block(const bert *m, const int64_t *tokens, long texts, long length, float *to, scratch s) {
    const long width = m->width;
    for (long t = 0; t < texts * length; t++) {
        float *state = s.states + t * width;
        memcpy(state, m->words + tokens[t] * width, width * sizeof(float));
        add_and_norm(state, m->places + (t % length) * width, m, m->weight, m->bias);
        round_state(s.states, t, m->layers[0].qkv_scales, &m->layers[0].qkv, s.narrow);
    }
    for (long l = 0; l < m->layer_count; l++)
        compute_layer(m, m->layers + l, l + 1 < m->layer_count ? m->layers + l + 1 : 0, texts, length, s);
    for (long text = 0; text < texts; text++)
        for (long i = 0; i < width; i += 16) {
            vec sum = of(0);
            for (long t = 0; t < length; t++) sum = _mm512_add_ps(sum, load(s.states + (text * length + t) * width + i));
            store(to + text * width + i, _mm512_mul_ps(sum, of(1.0f / length)));
        }
}

/* Up to four rows through a layer behind the pooling, 64 outputs at a time. */
INLINE void dense_rows(const int rows, const dense *w, const float *x, float *to) {
    for (long first = 0; first < w->outputs; first += PANEL) {
        vec sums[4][4];
        EACH(c, 4)
            EACH(r, rows) sums[r][c] = load(w->bias + first + 16 * c);
        for (long i = 0; i < w->inputs; i++)
            EACH(c, 4) {
                const vec weights = load(w->weights + i * w->outputs + first + 16 * c);
                EACH(r, rows)
                    sums[r][c] = _mm512_fmadd_ps(of(x[r * w->inputs + i]), weights, sums[r][c]);
            }
        EACH(c, 4)
            EACH(r, rows) store(to + r * w->outputs + first + 16 * c, sums[r][c]);
    }
}

/* Of the structures and functions of this file, and of the layout of weights: raise it with INTERFACE of
 * int8_kernels.py whenever they change. */
int int8_bert_interface(void) { return 1; }

/* Whether this CPU, and the operating system, have the instructions that are used here. */
int int8_bert_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

/* Vectors of texts of one length, [texts][width], by the mean of the last layer's states. Returns 0, or -1 if there is
 * no memory. */
int int8_bert_pooled(const bert *m, const int64_t *tokens, long texts, long length, float *to) {
    long per_block = BLOCK / length;
    per_block = per_block < 1 ? 1 : per_block < texts ? per_block : texts;
    const long n = per_block * length;
    float *memory = aligned_alloc(64, scratch_bytes(m, n, length));
    if (!memory) return -1;
    for (long first = 0; first < texts; first += per_block) {
        const long count = first + per_block < texts ? per_block : texts - first;
        compute_block(m, tokens + first * length, count, length, to + first * m->width,
                      scratch_in(memory, m, n, length));
    }
    free(memory);
    return 0;
}

/* A linear layer behind the pooling: from [n][inputs] to [n][outputs]. */
void int8_bert_dense(const dense *w, const float *x, long n, float *to) {
    long row = 0;
    for (; row + 4 <= n; row += 4) dense_rows(4, w, x + row * w->inputs, to + row * w->outputs);
    for (; row < n; row++) dense_rows(1, w, x + row * w->inputs, to + row * w->outputs);
}
