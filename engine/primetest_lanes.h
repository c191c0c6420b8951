#ifndef CM_ENGINE_PRIMETEST_LANES_H
#define CM_ENGINE_PRIMETEST_LANES_H

#include "engine/primetest_impl.h"

#include <string.h>

/* primetest_lanes.h - the tests of primetest.h for LANES numbers side by side, over the arithmetic of mont8.h
 * or mont4.h, which is included before. */

enum { WINDOW = 4, ENTRIES = 1 << WINDOW, LEAD = 5 };

/* Lies in cm_secret memory. */
struct lanes {
    limb x[LIMBS_MAX], rr[LIMBS_MAX], factor[LIMBS_MAX];
    limb table[ENTRIES][LIMBS_MAX];
    vec exponent[CM_NAT_WORDS]; /* words of the lanes' exponents */
    uint64_t lane[LANES][LIMBS_MAX], modulus[LANES][LIMBS_MAX];
    cm_nat number;
    struct mont mont; /* from its `start` on: public, and kept */
    uint32_t bits;
    struct cm_secret secret;
};

/* --- numbers in and out ---------------------------------------------------------------- */

static void to_limbs(const cm_nat *from, uint32_t limbs, uint64_t *to)
{
    for (uint32_t i = 0; i < limbs; i++) {
        const uint32_t at = 52 * i, word = at / 64, shift = at % 64;
        uint64_t part = word < CM_NAT_WORDS ? (*from)[word] >> shift : 0;
        if (shift > 12 && word + 1 < CM_NAT_WORDS)
            part |= (*from)[word + 1] << (64 - shift);
        to[i] = part & limb_mask;
    }
}

TARGET static void gather(uint64_t (*lane)[LIMBS_MAX], uint32_t limbs, limb *out)
{
    for (uint32_t i = 0; i < limbs; i++)
        out[i] = l_of(v_gather(&lane[0][i], LIMBS_MAX));
}

static uint64_t minus_inverse_52(uint64_t n)
{
    uint64_t x = n; /* right in 3 bits, and each step doubles them */

    for (int i = 0; i < 5; i++)
        x *= 2 - n * x;
    return (0 - x) & limb_mask;
}

/* -1/m mod 2^(52 * INVERSE): each limb makes the lowest limb that is left of 1 + it * m zero. */
static void minus_inverse(const uint64_t *m, uint64_t *out)
{
    const uint64_t first = minus_inverse_52(m[0]);
    uint64_t rest[INVERSE] = { 1 };

    for (int i = 0; i < INVERSE; i++) {
        cm_u128 carry = 0;
        out[i] = rest[i] * first & limb_mask;
        for (int j = 0; i + j < INVERSE; j++) {
            carry += (cm_u128) out[i] * m[j] + rest[i + j];
            rest[i + j] = (uint64_t) carry & limb_mask;
            carry >>= 52;
        }
    }
    cm_secret_wipe(rest, sizeof rest);
}

static double top_of(const uint64_t *x, uint32_t limbs)
{
    return (double) x[limbs - 1] * 0x1p52 + (double) x[limbs - 2];
}

/* x * 2^shift - q * m for a q that leaves it in [0, 3m); x < 3m, shift <= 32. The quotient is estimated
 * to within one from the 53 highest bits, however they are rounded. */
static void double_times(uint64_t *x, const uint64_t *m, uint32_t limbs, uint32_t shift)
{
    const double ratio = top_of(x, limbs) / top_of(m, limbs) * (double) (UINT64_C(1) << shift);
    const uint64_t estimate = (uint64_t) ratio, q = estimate - (estimate > 0);
    __int128_t carry = 0;

    for (uint32_t i = 0; i < limbs; i++) {
        carry += (__int128_t) ((cm_u128) x[i] << shift) - (__int128_t) ((cm_u128) q * m[i]);
        x[i] = (uint64_t) carry & limb_mask;
        carry >>= 52;
    }
}

/* 2^lead * R mod m, below 3m: from 2^bits - m by doublings. */
static void set_power(uint64_t *x, const uint64_t *m, uint32_t limbs, uint32_t bits, uint32_t lead)
{
    const uint32_t shift = 52 * limbs - bits + lead;
    uint64_t carry = 1;

    for (uint32_t i = 0; i < limbs; i++) {
        const uint32_t inside = i + 1 < limbs ? 52 : bits - 52 * (limbs - 1);
        x[i] = (m[i] ^ ((UINT64_C(1) << inside) - 1)) + carry;
        carry = x[i] >> 52;
        x[i] &= limb_mask;
    }
    double_times(x, m, limbs, shift / 2);
    double_times(x, m, limbs, shift - shift / 2);
}

/* --- powers ------------------------------------------------------------------------------ */

/* x = 2^exponent * R mod m, from x = 2^(its first LEAD bits) * R: for each further bit a
 * squaring, and a doubling by shift where the bit is set. */
INLINE void power_of_two(int limbs, struct lanes *c, uint32_t bits)
{
    for (uint32_t at = bits - LEAD; at-- > 0;) {
        square(limbs, &c->mont, c->x);
        reduce(limbs, &c->mont, v_and(v_shr(c->exponent[at / 64], (int) (at % 64)), v_set(1)), c->x);
    }
}

INLINE void times(int limbs, struct lanes *c, const limb *a, const limb *b, limb *out)
{
    multiply(limbs, &c->mont, a, b);
    reduce(limbs, &c->mont, v_set(0), out);
}

INLINE void squared(int limbs, struct lanes *c)
{
    square(limbs, &c->mont, c->x);
    reduce(limbs, &c->mont, v_set(0), c->x);
}

/* out = x / R mod m: below m + 1 for any x that fits the limbs. */
INLINE void leave(int limbs, struct lanes *c, const limb *x, limb *out)
{
    for (int i = 0; i < limbs; i++) {
        c->mont.product[i] = l_number(x[i]);
        c->mont.product[limbs + i] = v_set(0);
    }
    reduce(limbs, &c->mont, v_set(0), out);
}

/* Lanes where x, which leave() made, is 1; or, with minus, m - 1. */
INLINE uint32_t lanes_of_one(int limbs, const struct lanes *c, const limb *x, bool minus)
{
    vec differs = v_set(0);

    for (int i = 0; i < limbs; i++) {
        const limb one = l_set(i == 0), want = minus ? l_sub(c->mont.m[i], one) : one;
        differs = v_or(differs, v_xor(l_bits(x[i]), l_bits(want)));
    }
    return m_bits(v_is_zero(differs));
}

INLINE uint32_t filter_lanes(int limbs, struct lanes *c)
{
    power_of_two(limbs, c, c->bits);
    leave(limbs, c, c->x, c->x);
    return lanes_of_one(limbs, c, c->x, false);
}

/* factor = the table's entry of that number, by looking at them all. */
INLINE void look_up(int limbs, struct lanes *c, uint64_t number)
{
    for (int i = 0; i < limbs; i++) {
        limb entry = c->table[0][i];
        UNROLL for (uint64_t k = 1; k < ENTRIES; k++) entry =
            l_pick(v_is_zero(v_set(number ^ k)), c->table[k][i], entry);
        c->factor[i] = entry;
    }
}

/* table[k] = base^k * R; x holds the bases, rr R^2. */
INLINE void fill_table(int limbs, struct lanes *c)
{
    leave(limbs, c, c->rr, c->table[0]);
    times(limbs, c, c->x, c->rr, c->table[1]);
    for (int k = 2; k < ENTRIES; k++)
        times(limbs, c, c->table[k - 1], c->table[1], c->table[k]);
}

/* x = base^exponent * R for one exponent, the same in all lanes. */
INLINE void power(int limbs, struct lanes *c, const uint64_t *exponent)
{
    uint32_t at = c->bits - WINDOW;

    look_up(limbs, c, exponent[at / 64] >> (at % 64) & (ENTRIES - 1));
    memcpy(c->x, c->factor, (size_t) limbs * sizeof *c->x);
    while (at > 0) {
        at -= WINDOW;
        for (int i = 0; i < WINDOW; i++)
            squared(limbs, c);
        look_up(limbs, c, exponent[at / 64] >> (at % 64) & (ENTRIES - 1));
        times(limbs, c, c->x, c->factor, c->x);
    }
}

/* Rounds for one number in all lanes; x holds the bases, rr the first bits of R^2's way. */
INLINE uint32_t rounds_lanes(int limbs, struct lanes *c, const uint64_t *odd, uint32_t twos)
{
    uint32_t passed = 0;

    fill_table(limbs, c);
    power(limbs, c, odd);
    leave(limbs, c, c->x, c->factor);
    passed = lanes_of_one(limbs, c, c->factor, false) | lanes_of_one(limbs, c, c->factor, true);
    for (uint32_t i = 1; i < twos; i++) {
        squared(limbs, c);
        leave(limbs, c, c->x, c->factor);
        passed |= lanes_of_one(limbs, c, c->factor, true);
    }
    return passed;
}

/* --- the three sizes ---------------------------------------------------------------------- */

/* vectors_begin() must stay before, vectors_end() behind. */
#define SIZED __attribute__((noinline))
#define SIZE(limbs)                                                                                          \
    TARGET SIZED static void power_of_two_##limbs(struct lanes *c, uint32_t bits)                            \
    {                                                                                                        \
        power_of_two(limbs, c, bits);                                                                        \
    }                                                                                                        \
    TARGET SIZED static uint32_t filter_##limbs(struct lanes *c)                                             \
    {                                                                                                        \
        return filter_lanes(limbs, c);                                                                       \
    }                                                                                                        \
    TARGET SIZED static uint32_t rounds_##limbs(struct lanes *c, const uint64_t *odd, uint32_t twos)         \
    {                                                                                                        \
        return rounds_lanes(limbs, c, odd, twos);                                                            \
    }
SIZE(20)
SIZE(30)
SIZE(40)

struct size {
    uint32_t bits, limbs;
    void (*power_of_two)(struct lanes *c, uint32_t bits);
    uint32_t (*filter)(struct lanes *c);
    uint32_t (*rounds)(struct lanes *c, const uint64_t *odd, uint32_t twos);
};

static const struct size sizes[] = {
    { 1024, 20, power_of_two_20, filter_20, rounds_20 },
    { 1536, 30, power_of_two_30, filter_30, rounds_30 },
    { 2048, 40, power_of_two_40, filter_40, rounds_40 },
};

static const struct size *size_of(uint32_t bits)
{
    return &sizes[bits == 1024 ? 0 : bits == 1536 ? 1 : 2];
}

/* The modulus of each lane; lanes from count on get the first one's. */
TARGET static void set_moduli(struct lanes *c, const cm_nat *w, uint32_t count)
{
    const uint32_t limbs = size_of(c->bits)->limbs;

    for (uint32_t i = 0; i < LANES; i++) {
        to_limbs(&w[i < count ? i : 0], limbs, c->modulus[i]);
        minus_inverse(c->modulus[i], c->lane[i]);
    }
    gather(c->modulus, limbs, c->mont.m);
    gather(c->lane, INVERSE, c->mont.inverse);
}

static bool lanes_filter(void *arg, const cm_nat *w, uint32_t count, uint32_t *passed)
{
    struct lanes *const c = arg;
    const struct size *const size = size_of(c->bits);
    const uint32_t top = c->bits / 64 - 1;
    uint64_t *const exponent = (uint64_t *) (void *) c->exponent;

    const uint32_t state = vectors_begin();
    set_moduli(c, w, count);
    for (uint32_t i = 0; i < LANES; i++) {
        const uint64_t *const e = w[i < count ? i : 0]; /* with its last bit cleared */
        for (uint32_t k = 0; k <= top; k++)
            exponent[LANES * k + i] = k == 0 ? e[k] & ~UINT64_C(1) : e[k];
        set_power(c->lane[i], c->modulus[i], size->limbs, c->bits, (uint32_t) (e[top] >> (64 - LEAD)));
    }
    gather(c->lane, size->limbs, c->x);
    *passed = size->filter(c) & ((1u << count) - 1);
    vectors_end(state);
    return true;
}

/* rr = R^2 mod m, the same in all lanes. */
TARGET static void set_rr(struct lanes *c, const struct size *size)
{
    const uint32_t exponent = 52 * size->limbs, bits = 32 - (uint32_t) __builtin_clz(exponent);

    for (uint32_t i = 0; i < LANES; i++)
        set_power(c->lane[i], c->modulus[i], size->limbs, c->bits, exponent >> (bits - LEAD));
    gather(c->lane, size->limbs, c->x);
    c->exponent[0] = v_set(exponent);
    size->power_of_two(c, bits);
    memcpy(c->rr, c->x, sizeof c->rr);
}

/* to = (w - 1) / 2^twos */
static void odd_part(const cm_nat *w, uint32_t twos, cm_nat *to)
{
    const uint32_t words = twos / 64, bits = twos % 64;

    memset(*to, 0, sizeof *to);
    for (uint32_t i = 0; i + words < CM_NAT_WORDS; i++) {
        const uint64_t here = i + words == 0 ? (*w)[0] & ~UINT64_C(1) : (*w)[i + words],
                       next = i + words + 1 < CM_NAT_WORDS ? (*w)[i + words + 1] : 0;
        (*to)[i] = bits == 0 ? here : here >> bits | next << (64 - bits);
    }
}

static bool lanes_rounds(void *arg, const cm_nat *w, const cm_nat *base, uint32_t rounds, uint32_t twos,
                         uint32_t *passed)
{
    struct lanes *const c = arg;
    const struct size *const size = size_of(c->bits);

    const uint32_t state = vectors_begin();
    set_moduli(c, w, 1);
    set_rr(c, size);
    for (uint32_t i = 0; i < LANES; i++)
        to_limbs(&base[i < rounds ? i : 0], size->limbs, c->lane[i]);
    gather(c->lane, size->limbs, c->x);
    odd_part(w, twos, &c->number);
    *passed = size->rounds(c, c->number, twos) & ((1u << rounds) - 1);
    vectors_end(state);
    return true;
}

static void lanes_wipe(void *arg)
{
    struct lanes *const c = arg;

    cm_secret_wipe(c, offsetof(struct lanes, mont) + offsetof(struct mont, start));
}

static void lanes_close(void *arg)
{
    struct lanes *const c = arg;

    if (c == NULL)
        return;
    struct cm_secret secret = c->secret; /* which holds c itself */
    cm_secret_done(&secret);
}

static cm_err lanes_open(uint32_t bits, void **out, struct cm_error *err)
{
    struct cm_secret secret = { 0 };

    CM_TRY(cm_secret_init(&secret, sizeof(struct lanes), err));
    struct lanes *const c = (struct lanes *) (void *) secret.base;
    c->bits = bits;
    set_starts(c->mont.start, (int) size_of(bits)->limbs);
    c->secret = secret;
    *out = c;
    return CM_OK;
}

#endif
