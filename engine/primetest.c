#include "engine/cpu.h"
#include "engine/ossl.h"
#include "engine/primetest_impl.h"

#include <openssl/rand.h>
#include <string.h>

/* --- numbers ---------------------------------------------------------------- */

/* a < b, in time that depends on neither. */
static bool is_below(const cm_nat *a, const cm_nat *b)
{
    uint64_t borrow = 0;

    for (uint32_t i = 0; i < CM_NAT_WORDS; i++)
        borrow = (uint64_t) (((cm_u128) (*a)[i] - (*b)[i] - borrow) >> 64) & 1;
    return borrow != 0;
}

/* 1 < base < w - 1; w is odd, so that w - 1 is w with its last bit cleared. */
static bool is_base(const cm_nat *base, const cm_nat *w)
{
    cm_nat minus_one, one = { 1 };

    memcpy(minus_one, w, sizeof minus_one);
    minus_one[0] &= ~UINT64_C(1);
    const bool is = is_below((const cm_nat *) &one, base) && is_below(base, (const cm_nat *) &minus_one);
    cm_secret_wipe(minus_one, sizeof minus_one);
    return is;
}

/* Uniform in [2, w-2]: as many bits as w has, drawn until they fit. */
static cm_err draw_base(const struct cm_primetest *t, const cm_nat *w, cm_nat *base, struct cm_error *err)
{
    memset(*base, 0, sizeof *base);
    do {
        if (RAND_priv_bytes_ex(NULL, (unsigned char *) *base, t->bits / 8, 0) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "RSA-%u: the random generator failed", 2 * t->bits);
    } while (!is_base((const cm_nat *) base, w));
    return CM_OK;
}

/* --- libcrypto's BIGNUM ------------------------------------------------------ */

struct bignum {
    BIGNUM *w, *exponent, *base, *power, *minus_one, *two;
    BN_MONT_CTX *mont;
    BN_CTX *ctx;
};

static void bignum_close(void *arg)
{
    struct bignum *b = arg;

    if (b == NULL)
        return;
    BIGNUM *const all[] = { b->w, b->exponent, b->base, b->power, b->minus_one, b->two };
    for (size_t i = 0; i < CM_COUNT(all); i++)
        BN_clear_free(all[i]);
    BN_MONT_CTX_free(b->mont); /* clears what it holds */
    BN_CTX_free(b->ctx);
    free(b);
}

static cm_err bignum_open(uint32_t bits, void **out, struct cm_error *err)
{
    struct bignum *b = calloc(1, sizeof *b);
    bool ok = b != NULL;

    if (ok) {
        BIGNUM **const all[] = { &b->w, &b->exponent, &b->base, &b->power, &b->minus_one, &b->two };
        for (size_t i = 0; i < CM_COUNT(all); i++)
            ok &= (*all[i] = BN_secure_new()) != NULL;
        b->mont = BN_MONT_CTX_new();
        b->ctx = BN_CTX_secure_new();
        ok = ok && b->mont != NULL && b->ctx != NULL && BN_set_word(b->two, 2) == 1;
    }
    if (!ok) {
        bignum_close(b);
        CM_FAIL(err, CM_E_NOMEM, "no memory to test RSA-%u primes", 2 * bits);
    }
    BN_set_flags(b->w, BN_FLG_CONSTTIME);
    BN_set_flags(b->exponent, BN_FLG_CONSTTIME);
    *out = b;
    return CM_OK;
}

static bool to_bignum(const cm_nat *from, BIGNUM *to)
{
    uint8_t octets[sizeof *from];

    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t) ((*from)[i / 8] >> (i % 8 * 8));
    const bool ok = BN_lebin2bn(octets, sizeof octets, to) != NULL;
    cm_secret_wipe(octets, sizeof octets);
    return ok;
}

/* w, w - 1 and Montgomery's constants. */
static bool bignum_begin(struct bignum *b, const cm_nat *w)
{
    return to_bignum(w, b->w) && BN_sub(b->minus_one, b->w, BN_value_one()) == 1 &&
           BN_MONT_CTX_set(b->mont, b->w, b->ctx) == 1;
}

static bool bignum_filter(void *arg, const cm_nat *w, uint32_t count, uint32_t *passed)
{
    struct bignum *b = arg;

    *passed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!bignum_begin(b, &w[i]) || BN_copy(b->exponent, b->minus_one) == NULL ||
            BN_mod_exp_mont_consttime(b->power, b->two, b->exponent, b->w, b->ctx, b->mont) != 1)
            return false;
        *passed |= (uint32_t) BN_is_one(b->power) << i;
    }
    return true;
}

/* One round: FIPS 186-5 B.3.1 step 4, w - 1 = exponent * 2^twos. */
static bool bignum_round(struct bignum *b, const cm_nat *base, uint32_t twos, bool *passed)
{
    if (!to_bignum(base, b->base) ||
        BN_mod_exp_mont_consttime(b->power, b->base, b->exponent, b->w, b->ctx, b->mont) != 1)
        return false;
    *passed = BN_is_one(b->power) || BN_cmp(b->power, b->minus_one) == 0;
    for (uint32_t i = 1; i < twos && !*passed; i++) {
        if (BN_mod_sqr(b->power, b->power, b->w, b->ctx) != 1)
            return false;
        *passed = BN_cmp(b->power, b->minus_one) == 0;
    }
    return true;
}

static bool bignum_rounds(void *arg, const cm_nat *w, const cm_nat *base, uint32_t rounds, uint32_t twos,
                          uint32_t *passed)
{
    struct bignum *b = arg;
    bool yes = true;

    *passed = 0;
    if (!bignum_begin(b, w) || BN_rshift(b->exponent, b->minus_one, (int) twos) != 1)
        return false;
    for (uint32_t i = 0; i < rounds; i++) {
        if (!bignum_round(b, &base[i], twos, &yes))
            return false;
        *passed |= (uint32_t) yes << i;
    }
    return true;
}

static void bignum_wipe(void *arg)
{
    struct bignum *b = arg;
    BIGNUM *const all[] = { b->w, b->exponent, b->base, b->power, b->minus_one };

    for (size_t i = 0; i < CM_COUNT(all); i++)
        BN_clear(all[i]);
}

const struct cm_primetest_ops cm_primetest_bignum = { .lanes = 1,
                                                      .open = bignum_open,
                                                      .close = bignum_close,
                                                      .wipe = bignum_wipe,
                                                      .filter = bignum_filter,
                                                      .rounds = bignum_rounds };

/* --- the ways ------------------------------------------------------------------ */

#ifdef __x86_64__
#define VECTORS(way) (&(way))
#else
#define VECTORS(way) (&cm_primetest_bignum)
#endif

static const struct way {
    const char *name;
    enum cm_cpu level; /* that it takes */
    const struct cm_primetest_ops *ops;
} ways[CM_WAYS] = {
    [CM_WAY_IFMA] = { "AVX-512 IFMA", CM_CPU_IFMA, VECTORS(cm_primetest_ifma) },
    [CM_WAY_FMA] = { "AVX2 and FMA", CM_CPU_FMA, VECTORS(cm_primetest_fma) },
    [CM_WAY_BIGNUM] = { "libcrypto", CM_CPU_PLAIN, &cm_primetest_bignum },
};

bool cm_primetest_runs(enum cm_way way)
{
    return way == CM_WAY_BEST || cm_cpu_level() >= ways[way].level;
}

/* The first that runs here is the fastest; the last one always does. */
static const struct way *find_way(enum cm_way way)
{
    for (int w = CM_WAY_IFMA; way == CM_WAY_BEST && w < CM_WAYS; w++)
        if (cm_primetest_runs((enum cm_way) w))
            way = (enum cm_way) w;
    return &ways[way];
}

const char *cm_primetest_name(enum cm_way way)
{
    return find_way(way)->name;
}

cm_err cm_primetest_open(uint32_t bits, enum cm_way way, struct cm_primetest **out, struct cm_error *err)
{
    struct cm_primetest *t = NULL;
    struct cm_secret secret = { 0 };
    cm_err rc = CM_OK;

    CM_ASSERT((bits == 1024 || bits == 1536 || bits == 2048) && cm_primetest_runs(way));
    CM_TRY(cm_secret_init(&secret, sizeof *t, err));
    t = (struct cm_primetest *) (void *) secret.base;
    *t = (struct cm_primetest) { .bits = bits, .ops = find_way(way)->ops, .secret = secret };
    rc = t->ops->open(bits, &t->way, err);
    if (rc != CM_OK) {
        cm_primetest_close(t);
        return rc;
    }
    *out = t;
    return CM_OK;
}

void cm_primetest_close(struct cm_primetest *t)
{
    if (t == NULL)
        return;
    t->ops->close(t->way);
    struct cm_secret secret = t->secret; /* which holds t itself */
    cm_secret_done(&secret);
}

void cm_primetest_wipe(struct cm_primetest *t)
{
    t->ops->wipe(t->way);
}

uint32_t cm_primetest_lanes(const struct cm_primetest *t)
{
    return t->ops->lanes;
}

cm_err cm_primetest_filter(struct cm_primetest *t, const cm_nat *w, uint32_t count, uint32_t *passed,
                           struct cm_error *err)
{
    CM_ASSERT(count <= t->ops->lanes);
    if (!t->ops->filter(t->way, w, count, passed))
        CM_FAIL(err, CM_E_CRYPTO, "RSA-%u: can't test for primes", 2 * t->bits);
    return CM_OK;
}

cm_err cm_primetest_bases(struct cm_primetest *t, const cm_nat *w, const cm_nat *base, uint32_t rounds,
                          uint32_t *passed, struct cm_error *err)
{
    uint32_t twos = 1;

    CM_ASSERT(rounds <= CM_LANES_MAX && ((*w)[0] & 1) == 1);
    while (((*w)[twos / 64] >> (twos % 64) & 1) == 0)
        twos++;
    if (!t->ops->rounds(t->way, w, base, rounds, twos, passed))
        CM_FAIL(err, CM_E_CRYPTO, "RSA-%u: can't test for primes", 2 * t->bits);
    return CM_OK;
}

/* The next n rounds at once. */
static cm_err some_rounds(struct cm_primetest *t, const cm_nat *w, uint32_t n, bool *passed,
                          struct cm_error *err)
{
    uint32_t each = 0;

    for (uint32_t i = 0; i < n; i++)
        CM_TRY(draw_base(t, w, &t->base[i], err));
    CM_TRY(cm_primetest_bases(t, w, (const cm_nat *) t->base, n, &each, err));
    *passed = each == (1u << n) - 1;
    return CM_OK;
}

cm_err cm_primetest_rounds(struct cm_primetest *t, const cm_nat *w, uint32_t rounds, bool *passed,
                           struct cm_error *err)
{
    cm_err rc = CM_OK;
    bool good = true;

    CM_ASSERT(rounds > 0);
    for (uint32_t done = 0, n = 0; done < rounds && rc == CM_OK && good; done += n) {
        n = rounds - done < t->ops->lanes ? rounds - done : t->ops->lanes;
        rc = some_rounds(t, w, n, &good, err);
    }
    cm_secret_wipe(t->base, sizeof t->base);
    *passed = rc == CM_OK && good;
    return rc;
}
