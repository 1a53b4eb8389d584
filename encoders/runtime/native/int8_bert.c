/* A BERT with int8 weights, from tokens to sentence vectors: what Python calls.
 *
 * Weights come as levels of 8 bits with a step per output (encoders/int8_grid.py), packed for this file by
 * encoders/runtime/native/layout.py. What they are multiplied with is rounded here, token by token, some neighbouring
 * numbers with one step; sums of products are exact. Everything else is fp32. All texts of a call have one length, so
 * that nothing is masked, and no number of a token depends on another text: the same text gives the same bits whatever
 * stands beside it. (For that, too, the compiler must not contract multiplications and additions, -ffp-contract=off:
 * it would do so in one copy of an inlined function and not in another.)
 *
 * Texts are computed in blocks so small that what a layer works on stays in the L2 cache.
 */
#include "int8_bert.h"

/* Those of this architecture, the fastest one first. */
static const kernels *const all[] = {
#if defined(__x86_64__)
    &int8_avx512_vnni,
#ifdef HAS_AVX_VNNI
    &int8_avx_vnni,
#endif
    &int8_avx2,
#elif defined(__aarch64__)
    &int8_neon_dotprod,
#endif
    0,
};

/* Of the functions of this file, of their structures, and of the layout of weights: raise it with _INTERFACE of
 * kernels.py whenever they change. */
int int8_bert_interface(void) { return 2; }

/* Name of the instructions that kernels with this number are compiled for; null behind the last ones. */
const char *int8_bert_instructions(int number) { return all[number] ? all[number]->name : 0; }

/* Whether this CPU, and the operating system, have them. */
int int8_bert_supported(int number) { return all[number]->supported(); }

/* Vectors of texts of one length, [texts][width], by the mean of the last layer's states. Returns 0, or -1 if there is
 * no memory. */
int int8_bert_pooled(int number, const bert *m, const int64_t *tokens, long texts, long length, float *to) {
    return all[number]->pooled(m, tokens, texts, length, to);
}

/* A linear layer behind the pooling: from [n][inputs] to [n][outputs]. */
void int8_bert_dense(int number, const dense *w, const float *x, long n, float *to) {
    all[number]->dense(w, x, n, to);
}

/* A linear layer with int8 weights by itself, for tests: from [n][inputs] to [n][outputs]. Returns as
 * `int8_bert_pooled` does. */
int int8_bert_linear(int number, const linear *w, const float *x, long n, float *to) {
    return all[number]->linear(w, x, n, to);
}
