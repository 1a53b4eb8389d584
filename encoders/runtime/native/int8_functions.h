/* How functions for a set of instructions are declared; `TARGET` names it to the compiler, so that one library has all
 * of them. */
#include <string.h>

#define INLINE static inline __attribute__((always_inline)) TARGET
#define LOCAL static TARGET

/* A loop that is unrolled before anything else is done to it: arrays that it indexes become registers. */
#if defined(__clang__)
#define EACH(i, count) _Pragma("clang loop unroll(full)") for (int i = 0; i < (count); i++)
#else
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)
#endif

INLINE int32_t four_bytes(const void *from) {
    int32_t four;
    memcpy(&four, from, 4);
    return four;
}
