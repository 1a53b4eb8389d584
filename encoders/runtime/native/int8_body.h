/* The arithmetic of a BERT, from tokens to sentence vectors, for whichever instructions the file that includes this has
 * chosen. What it takes from there:
 *
 * vec, LANES             a vector of so many fp32 numbers; the functions over it, from `of` to `total_sums`
 * ints                   as many sums of 32 bits
 * level, store_levels    how a number of 8 bits is stored, for `add_products`
 * ROWS, COLUMNS, STEP    `add_products` adds the products of STEP inputs of at most ROWS tokens with their weights, for
 *                        COLUMNS vectors of outputs: so many sums that registers are left for the operands
 */
#include <math.h>
#include <stdlib.h>

enum { WIDE = COLUMNS * LANES, VECTORS = PANEL / LANES };
/* Tokens of a block, unless a single text has more. */
enum { BLOCK = 192 };

/* Rows of numbers in 8 bits, and the steps of their groups. */
typedef struct {
    level *levels;
    float *steps;
} rounded;

/* e^x, to 3e-6 of it: 2^n times a Taylor polynomial over [-ln 2 / 2, ln 2 / 2]. */
INLINE vec exponential(vec x) {
    vec n = whole(times(x, of(1.44269504f)));
    vec rest = minus_times(x, n, of(0.693359375f));
    rest = minus_times(rest, n, of(-2.12194440e-4f));
    vec sum = of(1.0f / 120);
    const float terms[] = {1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f, 1.0f};
    EACH(i, 5) sum = times_plus(sum, rest, of(terms[i]));
    return times_two_to(sum, n);
}

/* x times the normal distribution function at x, to 5e-5, and beyond 12 to 5e-6 of x. The polynomial in x^2 is the best
 * one for that product over [-4.5, 4.5] (reweighted least squares). */
INLINE vec gelu(vec x) {
    vec near = clipped(x, 4.5f), square = times(near, near);
    const float terms[] = {3.036061003e-11f, -3.314340367e-09f, 1.590878167e-07f, -4.451492336e-06f, 8.142242525e-05f,
                           -1.037572837e-03f, 9.585134167e-03f, -6.598453165e-02f, 3.987125291e-01f};
    vec sum = of(terms[0]);
    EACH(i, 8) sum = times_plus(sum, square, of(terms[i + 1]));
    return times(times_plus(sum, near, of(0.5f)), x);
}

/* Levels per unit in a group whose greatest magnitudes these are; `step` becomes its inverse. */
INLINE vec levels_per_unit(const vec *greatest, float *step) {
    const vec all = larger_magnitude(larger_magnitude(greatest[0], greatest[1]),
                                     larger_magnitude(greatest[2], greatest[3]));
    /* Zeros have any step. */
    const float top = largest_magnitude_in(all) + 1e-30f;
    *step = top * (1.0f / 127);
    return of(127 / top);
}

/* Numbers of a row times their scales, if there are any. */
INLINE vec scaled(const float *from, const float *scales, long i) {
    return scales ? times(load(from + i), load(scales + i)) : load(from + i);
}

/* A row to levels; `group` is a multiple of PANEL. */
INLINE void round_row(const float *row, const float *scales, const linear *w, level *levels, float *steps) {
    for (long start = 0; start < w->inputs; start += w->group) {
        vec greatest[4] = {of(0), of(0), of(0), of(0)};
        for (long i = start; i < start + w->group; i += 4 * LANES)
            EACH(c, 4) greatest[c] = larger_magnitude(greatest[c], scaled(row, scales, i + LANES * c));
        const vec per_unit = levels_per_unit(greatest, steps + start / w->group);
        for (long i = start; i < start + w->group; i += PANEL) {
            vec x[VECTORS];
            EACH(c, VECTORS) x[c] = scaled(row, scales, i + LANES * c);
            store_levels(levels + i, x, per_unit);
        }
    }
}

/* GELU of PANEL numbers of a row, to levels with one step. */
INLINE void round_gelu(const float *row, const float *scales, level *levels, float *step) {
    vec x[VECTORS], greatest[4] = {of(0), of(0), of(0), of(0)};
    EACH(c, VECTORS) {
        x[c] = times(gelu(load(row + LANES * c)), load(scales + LANES * c));
        greatest[c % 4] = larger_magnitude(greatest[c % 4], x[c]);
    }
    store_levels(levels, x, levels_per_unit(greatest, step));
}

/* Some rows of `product`, WIDE outputs from `first` on. `rows` is known where this is inlined, so that the sums stay in
 * registers. */
INLINE void tile(const int rows, const linear *w, long first, rounded x, float *to, long stride) {
    const long groups = w->inputs / w->group;
    const int8_t *weights = w->levels + first / PANEL * PANEL * w->inputs + first % PANEL * 4;
    const float *steps = w->steps + first, *bias = w->bias + first;
    float sums[ROWS][WIDE] __attribute__((aligned(64))) = {{0}};
    for (long g = 0; g < groups; g++) {
        ints found[ROWS][COLUMNS];
        EACH(c, COLUMNS) {
            const ints start = first_sums(w->offsets + g * w->outputs + first + LANES * c);
            EACH(r, rows) found[r][c] = start;
        }
        const level *inputs = x.levels + g * w->group;
        for (long i = 0; i < w->group; i += STEP, weights += STEP * PANEL)
            add_products(rows, found, weights, inputs + i, w->inputs);
        EACH(r, rows) {
            const vec step = of(x.steps[r * groups + g]);
            EACH(c, COLUMNS) {
                const vec part = as_floats(found[r][c]);
                float *sum = &sums[r][LANES * c];
                const vec all = times_plus(part, step, load(sum));
                if (g + 1 < groups) store(sum, all);
                else store(to + r * stride + LANES * c,
                           times_plus(all, load(steps + LANES * c), load(bias + LANES * c)));
            }
        }
    }
}

/* Some panels of a linear layer over n rows; `stride` numbers lie between the rows of `to`. */
LOCAL void product(const linear *w, long first, long last, rounded x, long n, float *to, long stride) {
    for (long output = first * PANEL; output < last * PANEL; output += WIDE, to += WIDE) {
        long row = 0;
#define TILE(rows)                                                                                                     \
    tile(rows, w, output, (rounded){x.levels + row * w->inputs, x.steps + row * (w->inputs / w->group)},               \
         to + row * stride, stride)
#define REST(rows)                                                                                                     \
    case rows: TILE(rows < ROWS ? rows : 1); break
        for (; row + ROWS <= n; row += ROWS) TILE(ROWS);
        switch (n - row) {
            REST(1);
            REST(2);
            REST(3);
            REST(4);
            REST(5);
        }
#undef REST
#undef TILE
    }
}

INLINE float sum_of(const vec *x) { return sum_in(add(add(x[0], x[1]), add(x[2], x[3]))); }

/* x = norm(x + y), of one row. */
INLINE void add_and_norm(float *x, const float *y, const bert *m, const float *weight, const float *bias) {
    /* Four sums, as one would wait for itself. */
    vec sums[4] = {of(0), of(0), of(0), of(0)}, squares[4] = {of(0), of(0), of(0), of(0)};
    for (long i = 0; i < m->width; i += 4 * LANES)
        EACH(c, 4) {
            const vec both = add(load(x + i + LANES * c), load(y + i + LANES * c));
            store(x + i + LANES * c, both);
            sums[c] = add(sums[c], both);
        }
    const vec mean = of(sum_of(sums) / m->width);
    for (long i = 0; i < m->width; i += 4 * LANES)
        EACH(c, 4) {
            const vec off = minus(load(x + i + LANES * c), mean);
            squares[c] = times_plus(off, off, squares[c]);
        }
    const vec inverse = of(1 / sqrtf(sum_of(squares) / m->width + m->epsilon));
    for (long i = 0; i < m->width; i += LANES) {
        const vec normal = times(minus(load(x + i), mean), inverse);
        store(x + i, times_plus(normal, load(weight + i), load(bias + i)));
    }
}

/* Products of a query with LANES keys, of which only `count` are there; what stands for the others means nothing. */
INLINE vec products(const float *query, const float *keys, long stride, long count, const long size) {
    vec fours[LANES / 4];
    EACH(g, LANES / 4) fours[g] = of(0);
    for (long g = 0; g < LANES / 4 && 4 * g < count; g++) {
        vec each[4];
        EACH(j, 4) {
            const float *key = keys + (4 * g + j < count ? 4 * g + j : count - 1) * stride;
            each[j] = times(load(query), load(key));
            for (long d = LANES; d < size; d += LANES) each[j] = times_plus(load(query + d), load(key + d), each[j]);
        }
        fours[g] = partial_sums(each);
    }
    return total_sums(fours);
}

/* Attention of the heads of one panel in one text. Rows of `qkv` are queries, keys and values, PANEL numbers each; rows
 * of `to` are `width` numbers apart. `shares` has room for the text's tokens, to a multiple of 16. */
INLINE void attend(const float *qkv, long length, float *to, long width, float *shares, const long size) {
    const long stride = 3 * PANEL;
    const vec root = of(1 / sqrtf(size)), least = of(-INFINITY);
    for (long head = 0; head < PANEL; head += size)
        for (long i = 0; i < length; i++) {
            const float *query = qkv + i * stride + head, *keys = qkv + PANEL + head, *values = keys + PANEL;
            vec greatest = least, sum = of(0), mixed[VECTORS];
            EACH(d, size / LANES) mixed[d] = of(0);
            for (long j = 0; j < length; j += LANES) {
                vec found = products(query, keys + j * stride, stride, length - j, size);
                if (length - j < LANES) found = first_of(found, length - j, least);
                store(shares + j, found);
                greatest = larger(greatest, found);
            }
            greatest = of(largest_in(greatest));
            for (long j = 0; j < length; j += LANES) {
                /* A key that is not there has a share of zero. */
                const vec lower = larger(minus(load(shares + j), greatest), of(-1e4f));
                const vec share = exponential(times(lower, root));
                store(shares + j, share);
                sum = add(sum, share);
            }
            for (long j = 0; j < length; j++)
                EACH(d, size / LANES)
                    mixed[d] = times_plus(of(shares[j]), load(values + j * stride + LANES * d), mixed[d]);
            const vec inverse = of(1 / sum_in(sum));
            EACH(d, size / LANES)
                store(to + i * width + head + LANES * d, times(mixed[d], inverse));
        }
}

/* What a block works on; all of it lies in one piece of memory. */
typedef struct {
    float *states, *other, *qkv, *shares;
    rounded narrow, wide; /* Inputs of a layer's width, and of its inner width. */
} scratch;

LOCAL size_t scratch_bytes(const bert *m, long n, long length) {
    const long floats = n * (2 * m->width + 3 * PANEL + m->width / PANEL + m->inner / PANEL) + length + 16;
    const size_t bytes = floats * sizeof(float) + n * (m->width + m->inner) * sizeof(level);
    return (bytes + 63) / 64 * 64;
}

LOCAL scratch scratch_in(float *memory, const bert *m, long n, long length) {
    scratch s;
    s.states = memory;
    s.other = s.states + n * m->width;
    s.qkv = s.other + n * m->width;
    s.narrow.steps = s.qkv + n * 3 * PANEL;
    s.wide.steps = s.narrow.steps + n * (m->width / PANEL);
    s.shares = s.wide.steps + n * (m->inner / PANEL);
    s.narrow.levels = (level *)(s.shares + length + 16);
    s.wide.levels = s.narrow.levels + n * m->width;
    return s;
}

/* States to levels, as the input of a layer. */
INLINE void round_state(const float *states, long t, const float *scales, const linear *w, rounded to) {
    round_row(states + t * w->inputs, scales, w, to.levels + t * w->inputs, to.steps + t * (w->inputs / w->group));
}

LOCAL void compute_layer(const bert *m, const layer *e, const layer *next, long texts, long length, scratch s) {
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

LOCAL void compute_block(const bert *m, const int64_t *tokens, long texts, long length, float *to, scratch s) {
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
        for (long i = 0; i < width; i += LANES) {
            vec sum = of(0);
            for (long t = 0; t < length; t++) sum = add(sum, load(s.states + (text * length + t) * width + i));
            store(to + text * width + i, times(sum, of(1.0f / length)));
        }
}

/* Up to four rows through a layer behind the pooling, four vectors of outputs at a time. */
INLINE void dense_rows(const int rows, const dense *w, const float *x, float *to) {
    for (long first = 0; first < w->outputs; first += 4 * LANES) {
        vec sums[4][4];
        EACH(c, 4)
            EACH(r, rows) sums[r][c] = load(w->bias + first + LANES * c);
        for (long i = 0; i < w->inputs; i++)
            EACH(c, 4) {
                const vec weights = load(w->weights + i * w->outputs + first + LANES * c);
                EACH(r, rows)
                    sums[r][c] = times_plus(of(x[r * w->inputs + i]), weights, sums[r][c]);
            }
        EACH(c, 4)
            EACH(r, rows) store(to + r * w->outputs + first + LANES * c, sums[r][c]);
    }
}

/* The functions of `kernels` (int8_bert.h). */

LOCAL int pooled(const bert *m, const int64_t *tokens, long texts, long length, float *to) {
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

LOCAL void dense_layer(const dense *w, const float *x, long n, float *to) {
    long row = 0;
    for (; row + 4 <= n; row += 4) dense_rows(4, w, x + row * w->inputs, to + row * w->outputs);
    for (; row < n; row++) dense_rows(1, w, x + row * w->inputs, to + row * w->outputs);
}

LOCAL int linear_layer(const linear *w, const float *x, long n, float *to) {
    const long groups = w->inputs / w->group;
    rounded rows = {malloc(n * w->inputs * sizeof(level)), malloc(n * groups * sizeof(float))};
    const int lacks_memory = !rows.levels || !rows.steps;
    if (!lacks_memory) {
        for (long t = 0; t < n; t++) round_state(x, t, 0, w, rows);
        product(w, 0, w->outputs / PANEL, rows, n, to, w->outputs);
    }
    free(rows.levels);
    free(rows.steps);
    return -lacks_memory;
}
