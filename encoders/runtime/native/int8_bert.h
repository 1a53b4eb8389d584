/* A BERT with int8 weights: its structures, and what each set of instructions computes of it.
 *
 * int8_bert.c        what Python calls; it hands over to one of:
 * int8_avx512.c ...  one file per set of instructions: its vectors, and what they add and multiply with
 * int8_body.h        the arithmetic, which each of them is compiled with
 */
#ifndef INT8_BERT_H
#define INT8_BERT_H

#include <stdint.h>

/* Outputs whose weights lie together. */
enum { PANEL = 64 };

/* Older compilers do not know AVX-VNNI. */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAS_AVX_VNNI 1
#endif

/* A linear layer. `levels` lie as [outputs / PANEL][inputs / 4][PANEL][4]: the instruction multiplies four neighbouring
 * inputs with four weights of some outputs. Where inputs are unsigned numbers, 128 too large, `offsets`,
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

/* The arithmetic in some set of instructions. All give the same sums of products; what is fp32 they may sum up in
 * another order. */
typedef struct {
    const char *name;
    /* Whether this CPU, and the operating system, have the instructions. */
    int (*supported)(void);
    int (*pooled)(const bert *m, const int64_t *tokens, long texts, long length, float *to);
    void (*dense)(const dense *w, const float *x, long n, float *to);
    int (*linear)(const linear *w, const float *x, long n, float *to);
} kernels;

extern const kernels int8_avx512_vnni, int8_avx_vnni, int8_avx2, int8_neon_dotprod;

#endif
