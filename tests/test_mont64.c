#include "engine/eccurve.h"

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

/* Goal: the constants of P-256, P-384 and P-521 are libcrypto's, and the arithmetic modulo their six primes
 * is BIGNUM's. Method: operands at random, and with words of zeros and ones, and at both ends. */

enum { CASES = 20000 };

static uint64_t state;

static uint64_t draw(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void seed(void)
{
    const char *const given = getenv("CM_SEED");

    state = given != NULL ? strtoull(given, NULL, 0) : (uint64_t) time(NULL);
    fprintf(stderr, "CM_SEED=%llu\n", (unsigned long long) state);
}

static BIGNUM *number(const uint64_t *words, int count)
{
    return BN_lebin2bn((const uint8_t *) words, count * 8, NULL);
}

/* Below m: at random, of extreme words, or within four of an end. */
static void operand(const struct cm_modulus *f, uint64_t *out)
{
    const uint64_t kind = draw() % 4, near = draw() % 4;

    memset(out, 0, sizeof(cm_num));
    if (kind == 0) {
        out[0] = near;
        if (draw() % 2 == 0) {
            memcpy(out, f->m, sizeof(cm_num));
            out[0] -= 1 + near;
        }
        return;
    }
    for (int i = 0; i < f->words; i++) {
        const uint64_t word = draw(), extreme = draw() % 3;
        out[i] = kind == 1 || extreme == 2 ? word : extreme == 1 ? UINT64_MAX : 0;
    }
    if (f->words == CM_EC_WORDS)
        out[f->words - 1] &= 0x1ff; /* of 521 bits */
    cm_mod_trim(f, 0, out, out);
}

static void expect(const char *what, const struct cm_modulus *f, const uint64_t *got, const BIGNUM *want)
{
    BIGNUM *const g = number(got, f->words);

    cr_assert_eq(BN_cmp(g, want), 0, "%s modulo %016llx...", what, (unsigned long long) f->m[0]);
    BN_free(g);
}

__attribute__((always_inline)) static inline void compare(const struct cm_modulus *f)
{
    BN_CTX *const ctx = BN_CTX_new();
    BIGNUM *const m = number(f->m, f->words), *const r = BN_new(), *const want = BN_new();
    cm_num x, y, got;

    BN_set_bit(r, 64 * f->words);
    BN_mod_inverse(r, r, m, ctx);
    for (int i = 0; i < CASES; i++) {
        operand(f, x);
        operand(f, y);
        BIGNUM *const a = number(x, f->words), *const b = number(y, f->words);
        cm_mod_add(f, x, y, got);
        BN_mod_add(want, a, b, m, ctx);
        expect("sum", f, got, want);
        cm_mod_sub(f, x, y, got);
        BN_mod_sub(want, a, b, m, ctx);
        expect("difference", f, got, want);
        cm_mod_mul(f, x, y, got);
        BN_mod_mul(want, a, b, m, ctx);
        BN_mod_mul(want, want, r, m, ctx);
        expect("product", f, got, want);
        cr_assert_eq(cm_mod_is_zero(f, x), BN_is_zero(a) ? UINT64_MAX : 0);
        BN_free(a);
        BN_free(b);
    }
    BN_free(m);
    BN_free(r);
    BN_free(want);
    BN_CTX_free(ctx);
}

Test(mont64, agrees_with_bignum, .init = seed, .timeout = 60)
{
    compare(&cm_p256_p);
    compare(&cm_p256_n);
    compare(&cm_p384_p);
    compare(&cm_p384_n);
    compare(&cm_p521_p);
    compare(&cm_p521_n);
}

static void check_modulus(const struct cm_modulus *f, const BIGNUM *m)
{
    BN_CTX *const ctx = BN_CTX_new();
    BIGNUM *const rr = BN_new();

    expect("the modulus", f, f->m, m);
    BN_set_bit(rr, 128 * f->words);
    BN_mod(rr, rr, m, ctx);
    expect("R^2", f, f->rr, rr);
    cr_assert_eq(f->k0 * f->m[0], UINT64_MAX, "k0 is not -1/m");
    BN_free(rr);
    BN_CTX_free(ctx);
}

static void check_curve(const struct cm_eccurve *c, int nid)
{
    EC_GROUP *const group = EC_GROUP_new_by_curve_name(nid);
    BIGNUM *const p = BN_new(), *const a = BN_new(), *const b = BN_new();

    cr_assert(EC_GROUP_get_curve(group, p, a, b, NULL));
    check_modulus(c->p, p);
    check_modulus(c->n, EC_GROUP_get0_order(group));
    expect("b", c->p, c->b, b);
    BN_sub_word(p, 3);
    cr_assert_eq(BN_cmp(a, p), 0, "a is not -3");
    EC_POINT_get_affine_coordinates(group, EC_GROUP_get0_generator(group), a, b, NULL);
    expect("G", c->p, c->gx, a);
    expect("G", c->p, c->gy, b);
    cr_assert_eq(BN_num_bits(EC_GROUP_get0_order(group)), c->bits);
    BN_free(p);
    BN_free(a);
    BN_free(b);
    EC_GROUP_free(group);
}

Test(mont64, curves_are_libcryptos)
{
    check_curve(&cm_p256, NID_X9_62_prime256v1);
    check_curve(&cm_p384, NID_secp384r1);
    check_curve(&cm_p521, NID_secp521r1);
}
