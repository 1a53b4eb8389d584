/* The int8 kernels without Python: for CPUs that are emulated, and for sanitizers (test_instructions.py).
 *
 * Prints, for every set of instructions that the CPU has, its name, how many sums of products were compared with those of
 * a plain loop and how many were wrong, and a small student's vectors: of weights that are the same on every machine.
 */
#include <stdio.h>
#include <stdlib.h>

#include "int8_bert.h"

const char *int8_bert_instructions(int number);
int int8_bert_supported(int number);
int int8_bert_pooled(int number, const bert *m, const int64_t *tokens, long texts, long length, float *to);
void int8_bert_dense(int number, const dense *w, const float *x, long n, float *to);
int int8_bert_linear(int number, const linear *w, const float *x, long n, float *to);

static uint64_t state = 1;

/* Knuth's MMIX generator. */
static uint32_t random_bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

static int random_level(void) { return (int)(random_bits() % 255) - 127; }

/* Memory that is kept to the end, where sanitizers find it. */
static void *kept(size_t size) {
    static void *all[1000];
    static int count;
    if (count == sizeof all / sizeof *all || !(all[count] = malloc(size))) abort();
    return all[count++];
}

/* Numbers of about a variance of 1/12, times `scale`, around `middle`. */
static float *numbers(long n, float scale, float middle) {
    float *to = kept(n * sizeof *to);
    for (long i = 0; i < n; i++) to[i] = middle + scale * (random_bits() / 2147483648.0f - 0.5f);
    return to;
}

/* Levels are chance, or all as large as they may be. */
static linear make_linear(long inputs, long outputs, long group, int are_extreme) {
    int8_t *levels = kept(inputs * outputs);
    int32_t *offsets = kept(inputs / group * outputs * sizeof *offsets);
    for (long i = 0; i < inputs / group * outputs; i++) offsets[i] = 0;
    for (long i = 0; i < inputs * outputs; i++) {
        levels[i] = are_extreme ? (random_bits() % 8 ? 127 : -127) : random_level();
        /* [outputs / PANEL][inputs / 4][PANEL][4] */
        const long panel = i / (inputs * PANEL), input = i / (4 * PANEL) % (inputs / 4) * 4 + i % 4;
        offsets[input / group * outputs + panel * PANEL + i / 4 % PANEL] -= 128 * levels[i];
    }
    return (linear){inputs, outputs, group, levels, offsets, numbers(outputs, 0.0f, 1.0f), numbers(outputs, 0, 0)};
}

static int level_at(const linear *w, long output, long input) {
    return w->levels[((output / PANEL * (w->inputs / 4) + input / 4) * PANEL + output % PANEL) * 4 + input % 4];
}

/* Sums of products that differ from those of a plain loop. Inputs are whole numbers with 127 in every group, so that
 * their step is 1 and a group's sum, below 2^24, stands in the result as it is. */
static long wrong_sums(int number, const linear *w, long n, int are_extreme, long *count) {
    float *x = malloc(n * w->inputs * sizeof *x), *found = malloc(n * w->outputs * sizeof *found);
    for (long i = 0; i < n * w->inputs; i++)
        x[i] = i % w->group == 0 ? 127 : are_extreme ? (random_bits() % 8 ? 127 : -127) : random_level();
    if (int8_bert_linear(number, w, x, n, found)) abort();
    long wrong = 0;
    for (long t = 0; t < n; t++)
        for (long o = 0; o < w->outputs; o++) {
            float sum = 0;
            for (long start = 0; start < w->inputs; start += w->group) {
                int32_t part = 0;
                for (long i = start; i < start + w->group; i++)
                    part += (int)x[t * w->inputs + i] * level_at(w, o, i);
                sum += part;
            }
            wrong += sum != found[t * w->outputs + o];
        }
    *count += n * w->outputs;
    free(x);
    free(found);
    return wrong;
}

static linear make_trained(long inputs, long outputs, long group) {
    linear w = make_linear(inputs, outputs, group, 0);
    w.steps = numbers(outputs, 0.0005f, 0.001f);
    w.bias = numbers(outputs, 0.2f, 0);
    return w;
}

enum { WORDS = 50, LONGEST = 40, WIDTH = 128, INNER = 192, LAYERS = 2, OUTPUTS = 64 };

static layer make_layer(void) {
    return (layer){
        make_trained(WIDTH, 3 * WIDTH, 128), make_trained(WIDTH, WIDTH, 128), make_trained(WIDTH, INNER, 128),
        make_trained(INNER, WIDTH, 64), numbers(WIDTH, 0.5f, 1), numbers(WIDTH, 0.5f, 1), numbers(INNER, 0.5f, 1),
        numbers(WIDTH, 0.5f, 1), numbers(WIDTH, 0.2f, 0), numbers(WIDTH, 0.5f, 1), numbers(WIDTH, 0.2f, 0)};
}

static void print_vectors(int number, const bert *m, const dense *behind) {
    static const long lengths[] = {1, 3, 4, 7, 9, 17, 33, LONGEST};
    for (unsigned l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        enum { TEXTS = 7 };
        int64_t tokens[TEXTS * LONGEST];
        float pooled[TEXTS * WIDTH], vectors[TEXTS * OUTPUTS];
        for (long i = 0; i < TEXTS * lengths[l]; i++) tokens[i] = (7 * i + 3 * l) % WORDS;
        if (int8_bert_pooled(number, m, tokens, TEXTS, lengths[l], pooled)) abort();
        int8_bert_dense(number, behind, pooled, TEXTS, vectors);
        for (long i = 0; i < TEXTS * OUTPUTS; i++) printf(" %.9g", vectors[i]);
    }
    printf("\n");
}

int main(void) {
    static const long sizes[][3] = {{128, 64, 128}, {128, 192, 64}, {384, 128, 128}, {1536, 64, 64}};
    layer layers[LAYERS];
    for (int l = 0; l < LAYERS; l++) layers[l] = make_layer();
    const int heads = 4;
    const bert m = {WIDTH, INNER, heads, LAYERS, 1e-12f, numbers(WORDS * WIDTH, 2, 0), numbers(LONGEST * WIDTH, 1, 0),
                    numbers(WIDTH, 0.5f, 1), numbers(WIDTH, 0.2f, 0), layers};
    const dense behind = {WIDTH, OUTPUTS, numbers(WIDTH * OUTPUTS, 0.2f, 0), numbers(OUTPUTS, 0.2f, 0)};
    for (int number = 0; int8_bert_instructions(number); number++) {
        if (!int8_bert_supported(number)) continue;
        long count = 0, wrong = 0;
        for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int are_extreme = 0; are_extreme < 2; are_extreme++) {
                const linear w = make_linear(sizes[s][0], sizes[s][1], sizes[s][2], are_extreme);
                for (long n = 1; n <= 13; n += 1 + n / 7) wrong += wrong_sums(number, &w, n, are_extreme, &count);
            }
        printf("%s %ld %ld", int8_bert_instructions(number), count, wrong);
        print_vectors(number, &m, &behind);
    }
    return 0;
}
