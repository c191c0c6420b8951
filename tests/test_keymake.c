/* Goal: drawn keys are fresh, in range and of the size that was asked for; a scalar out of range is refused.
 * Method: many keys of each algorithm side by side; scalars on both sides of the range. Whether the public
 * key goes with the private one is test_keyenc's. */
#include "tests/t_mill.h"

#include <criterion/criterion.h>

static struct cm_keymaker *open_maker(const struct cm_keyalg *alg)
{
    struct cm_keymaker *m = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_OWN, &m, &err), CM_OK, "%s", err.what);
    return m;
}

static bool same_public(const struct cm_keypair *a, const struct cm_keypair *b)
{
    return a->alg->family == CM_KEYFAM_RSA ? memcmp(a->n, b->n, a->len) == 0
                                           : memcmp(a->pub, b->pub, a->pub_len) == 0;
}

Test(keymake, no_two_keys_are_the_same, .timeout = 60)
{
    enum { KEYS = 256 };
    static struct cm_keypair pair[KEYS];
    struct cm_error err = { 0 };

    for (size_t a = 0; a < cm_keyalg_count(); a++) {
        const struct cm_keyalg *alg = cm_keyalg_at(a);
        const size_t keys = alg->family != CM_KEYFAM_RSA ? KEYS : alg->bits == 2048 ? 3 : 0;
        struct cm_keymaker *m[2] = { open_maker(alg), open_maker(alg) };
        for (size_t i = 0; i < keys; i++) {
            memset(&pair[i], 0xa5, sizeof pair[i]); /* what is not written shows */
            cr_assert_eq(cm_keymaker_make(m[i % 2], &pair[i], &err), CM_OK, "%s", err.what);
            for (size_t k = 0; k < i; k++)
                cr_assert(!same_public(&pair[i], &pair[k]), "%s: keys %zu and %zu", alg->name, i, k);
        }
        for (size_t i = 0; i < 2; i++)
            cm_keymaker_close(m[i]);
    }
}

/* The first octet of a scalar takes all its values: no octet is stuck, none is drawn from fewer bits. */
Test(keymake, scalars_use_every_bit, .timeout = 60)
{
    for (size_t a = 0; a < cm_keyalg_count(); a++) {
        const struct cm_keyalg *alg = cm_keyalg_at(a);
        uint8_t ones[CM_EC_MAX] = { 0 }, zeros[CM_EC_MAX] = { 0 };
        struct cm_keypair pair;
        if (alg->family == CM_KEYFAM_RSA)
            continue;
        struct cm_keymaker *m = open_maker(alg);
        for (int n = 0; n < 200; n++) {
            cr_assert_eq(cm_keymaker_make(m, &pair, NULL), CM_OK);
            for (size_t i = 0; i < pair.len; i++) {
                ones[i] |= pair.priv[i];
                zeros[i] |= (uint8_t) ~pair.priv[i];
            }
        }
        const uint8_t top = alg->bits == 521 ? 1 : 255;
        cr_expect_eq(pair.len, (alg->bits + 7) / 8);
        cr_expect(ones[0] == top && zeros[0] == 255, "%s: the first octet", alg->name);
        for (size_t i = 1; i < pair.len; i++)
            cr_expect(ones[i] == 255 && zeros[i] == 255, "%s: octet %zu", alg->name, i);
        cm_keymaker_close(m);
    }
}

/* EVP_PKEY_generate's keys come out as libcrypto has them: what a FIPS run uses. */
Test(keymake, keys_of_the_provider, .timeout = 60)
{
    for (size_t a = 0; a < cm_keyalg_count(); a++) {
        const struct cm_keyalg *alg = cm_keyalg_at(a);
        struct cm_keymaker *m = NULL;
        struct cm_keypair pair;
        struct cm_error err = { 0 };
        if (alg->family == CM_KEYFAM_RSA && alg->bits > 2048)
            continue;
        cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_EVP, &m, &err), CM_OK, "%s", err.what);
        for (int i = 0; i < (alg->family == CM_KEYFAM_RSA ? 2 : 64); i++) {
            memset(&pair, 0xa5, sizeof pair);
            cr_assert_eq(cm_keymaker_make(m, &pair, &err), CM_OK, "%s", err.what);
            CM_AUTO(EVP_PKEY) key = t_oracle_key(&pair);
            CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(key, NULL);
            cr_expect_eq(EVP_PKEY_pairwise_check(ctx), 1, "%s", alg->name);
        }
        cm_keymaker_close(m);
    }
}

Test(keymake, rsa_keys_have_their_size, .timeout = 60)
{
    const struct cm_keypair *k = t_pair(cm_keyalg_find("RSA-2048"));

    cr_expect_eq(k->len, 256);
    cr_expect(k->n[0] >= 0x80 && k->p[0] >= 0x80 && k->q[0] >= 0x80);
    cr_expect_arr_eq(k->e, ((uint8_t[8]) { 0, 0, 0, 0, 0, 1, 0, 1 }), 8);
    CM_AUTO(EVP_PKEY) key = t_oracle_key(k);
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(key, NULL);
    cr_expect_eq(EVP_PKEY_check(ctx), 1, "libcrypto finds the primes, exponents and coefficient wanting");
}

Test(keymake, scalars_out_of_range_are_refused)
{
    for (size_t a = 0; a < cm_keyalg_count(); a++) {
        const struct cm_keyalg *alg = cm_keyalg_at(a);
        if (alg->family != CM_KEYFAM_EC)
            continue;
        struct cm_keymaker *m = open_maker(alg);
        CM_AUTO(EC_GROUP) group = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(alg->group));
        const size_t len = (alg->bits + 7) / 8;
        uint8_t be[CM_EC_MAX + 1] = { 0 };
        struct cm_keypair pair;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len, &pair, &err), CM_E_USAGE, "zero");
        cr_assert_eq(BN_bn2binpad(EC_GROUP_get0_order(group), be, (int) len), (int) len);
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len, &pair, &err), CM_E_USAGE, "n");
        memset(be, 0xff, sizeof be);
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len, &pair, &err), CM_E_USAGE, "all ones");
        memset(be, 0x01, sizeof be);
        be[0] = 0;
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len - 1, &pair, &err), CM_E_USAGE, "too short");
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len + 1, &pair, &err), CM_E_USAGE, "too long");
        cr_expect_not_null(strstr(err.what, alg->name), "%s", err.what);
        cr_expect_eq(cm_keymaker_from_scalar(m, be, len, &pair, &err), CM_OK, "%s", err.what);
        cm_keymaker_close(m);
    }
}
