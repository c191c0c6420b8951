#ifndef CM_ENGINE_EC_FMA_H
#define CM_ENGINE_EC_FMA_H

#include "engine/vec4.h"

/* ec_fma.h - ec_vec.h for four numbers side by side by AVX2 and FMA; windows of 6 bits, of 32 entries. */
enum { WIDTH = 6, SHIFTS_ARE_FASTER = 1 };

#include "engine/ec_vec.h"

/* r[i] = the sign of a lane of `second` ? r[2i + 1] : r[2i] */
INLINE void halve(vec *r, int n, vec second)
{
    const __m256d sign = _mm256_castsi256_pd(second);

    UNROLL for (int i = 0; i < n; i++) r[i] = _mm256_castpd_si256(
        _mm256_blendv_pd(_mm256_castsi256_pd(r[2 * i]), _mm256_castsi256_pd(r[2 * i + 1]), sign));
}

/* The lowest two bits choose in registers, of four words as eight halves; the other three between them. */
INLINE vec choose(const uint64_t *words, vec v)
{
    const vec half = v_shl(v_and(v, v_set(3)), 1),
              halves = v_or(v_or(half, v_shl(half, 32)), v_set(UINT64_C(1) << 32));
    vec r[ENTRIES / 4];

    UNROLL for (int i = 0; i < ENTRIES / 4; i++) r[i] =
        _mm256_permutevar8x32_epi32(v_load(words + 4 * i), halves);
    halve(r, 4, v_shl(v, 63 - 2));
    halve(r, 2, v_shl(v, 63 - 3));
    halve(r, 1, v_shl(v, 63 - 4));
    return r[0];
}

/* Lane i gets what lane i + 1, or i + 2, has. */
INLINE void turn(const struct element *a, bool two, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out->l[i] =
        two ? _mm256_permute4x64_epi64(a->l[i], 0x4e) : _mm256_permute4x64_epi64(a->l[i], 0x39);
}

/* One inversion for the product of all lanes, in 64-bit words: it is a chain of squarings, each of which
 * would wait here for all of the last one's columns. */
CORE void invert_lanes(struct element *a)
{
    struct element next, pair, others, all;
    cm_num words[LANES];

    turn(a, false, &next);
    fe_mul(a, &next, &pair);
    turn(&pair, true, &others);
    fe_mul(&pair, &others, &all);
    fe_mul(&next, &others, &others);
    fe_to_words(&all, words);
    FEW.invert(&words[0]);
    for (int i = 1; i < LANES; i++)
        memcpy(words[i], words[0], sizeof words[i]);
    fe_from_words(words, &all);
    fe_mul(&all, &others, a);
}

/* What ec_vec.h computes, rounded as vec4.h wants it. */
static __attribute__((noinline)) void fma_fill(const struct cm_ecpoint *point, void *table)
{
    const uint32_t state = vectors_begin();

    fill(point, table);
    vectors_end(state);
}

static __attribute__((noinline)) void fma_multiply(const void *table, void *work, cm_num *scalar,
                                                   uint32_t count, struct cm_ecpoint *out, bool *bad)
{
    const uint32_t state = vectors_begin();

    multiply(table, work, scalar, count, out, bad);
    vectors_end(state);
}

static __attribute__((noinline)) bool fma_weigh(void *work, const struct cm_ecpoint *point,
                                                cm_ecweight *weight, uint32_t count,
                                                struct cm_ecjac out[CM_EC_PLACES])
{
    const uint32_t state = vectors_begin();
    const bool on_curve = weigh(work, point, weight, count, out);

    vectors_end(state);
    return on_curve;
}

#define CM_EC_FMA(way)                                                                                       \
    const struct cm_ecway way = { .name = "AVX2 and FMA",                                                    \
                                  .curve = &CURVE,                                                           \
                                  .level = CM_CPU_FMA,                                                       \
                                  .width = WIDTH,                                                            \
                                  .table = TABLE_OCTETS,                                                     \
                                  .work = work_octets,                                                       \
                                  .fill = fma_fill,                                                          \
                                  .multiply = fma_multiply,                                                  \
                                  .weigh = fma_weigh }

#endif
