#include "bench/checkfloor.h"

#include "bench/thread_clock.h"
#include "engine/keyread.h"
#include "engine/ossl.h"
#include "engine/sigalg.h"

#include <openssl/rand.h>

enum { BLOCK = 64, SIGNATURE_MAX = 1024, DIGEST_MAX = 64 };

struct cm_checkfloor {
    EVP_PKEY *ca;
    EVP_PKEY_CTX *verify;
    EC_GROUP *group;
    EC_POINT *point;
    BIGNUM *scalar;
    BN_CTX *bn;
    uint8_t digest[DIGEST_MAX], signature[SIGNATURE_MAX];
    size_t digest_len, signature_len;
    int cpu;
};

static EVP_PKEY *make_ca(const struct cm_keyalg *ca)
{
    if (ca->family == CM_KEYFAM_RSA)
        return EVP_RSA_gen(ca->bits);
    return EVP_EC_gen(ca->group);
}

/* A signature to verify again and again. */
static cm_err open_verify(struct cm_checkfloor *f, const struct cm_keyalg *ca, struct cm_error *err)
{
    const struct cm_sigalg *alg = NULL;

    f->ca = make_ca(ca);
    if (f->ca == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "floor of verify: a CA key of %s can't be made", ca->name);
    CM_TRY(cm_sigalg_for_key(f->ca, NULL, &alg, err));
    CM_AUTO(EVP_MD) md = EVP_MD_fetch(NULL, alg->digest, NULL);
    CM_AUTO(EVP_PKEY_CTX) sign = EVP_PKEY_CTX_new_from_pkey(NULL, f->ca, NULL);
    f->verify = EVP_PKEY_CTX_new_from_pkey(NULL, f->ca, NULL);
    if (md == NULL || sign == NULL || f->verify == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "floor of verify: can't prepare %s", alg->name);
    f->digest_len = (size_t) EVP_MD_get_size(md);
    f->signature_len = sizeof f->signature;
    CM_TRY(cm_sigalg_setup(alg, sign, err));
    if (RAND_bytes(f->digest, (int) f->digest_len) != 1 ||
        EVP_PKEY_sign(sign, f->signature, &f->signature_len, f->digest, f->digest_len) != 1 ||
        EVP_PKEY_verify_init(f->verify) != 1 || EVP_PKEY_CTX_set_signature_md(f->verify, md) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "floor of verify: signing with %s failed", alg->name);
    return CM_OK;
}

static cm_err open_mul(struct cm_checkfloor *f, const struct cm_keyalg *key, struct cm_error *err)
{
    f->group = EC_GROUP_new_by_curve_name(cm_keyread_curve(key));
    f->point = f->group != NULL ? EC_POINT_new(f->group) : NULL;
    f->scalar = BN_secure_new();
    f->bn = BN_CTX_secure_new();
    if (f->point == NULL || f->scalar == NULL || f->bn == NULL ||
        BN_priv_rand_range(f->scalar, EC_GROUP_get0_order(f->group)) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "floor of verify: libcrypto has no curve for %s", key->name);
    BN_set_flags(f->scalar, BN_FLG_CONSTTIME);
    return CM_OK;
}

cm_err cm_checkfloor_open(const struct cm_keyalg *key, const struct cm_keyalg *ca, int cpu,
                          struct cm_checkfloor **out, struct cm_error *err)
{
    struct cm_checkfloor *f = calloc(1, sizeof *f);
    cm_err rc = CM_OK;

    CM_ASSERT(key->family == CM_KEYFAM_EC && ca->family != CM_KEYFAM_ED25519);
    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to measure the floor");
    f->cpu = cpu;
    rc = open_verify(f, ca, err);
    if (rc == CM_OK)
        rc = open_mul(f, key, err);
    if (rc != CM_OK) {
        cm_checkfloor_close(f);
        return rc;
    }
    *out = f;
    return CM_OK;
}

static cm_err measure(struct cm_checkfloor *f, double seconds, volatile sig_atomic_t *stop,
                      struct cm_checkfloor_sample *s, struct cm_error *err)
{
    const double start = cm_clock_s();
    bool ok = true;

    do {
        const double first = cm_thread_s();
        for (unsigned i = 0; i < BLOCK && ok; i++)
            ok = EVP_PKEY_verify(f->verify, f->signature, f->signature_len, f->digest, f->digest_len) == 1;
        const double second = cm_thread_s();
        for (unsigned i = 0; i < BLOCK && ok; i++)
            ok = EC_POINT_mul(f->group, f->point, f->scalar, NULL, NULL, f->bn) == 1;
        s->verify_s += second - first;
        s->mul_s += cm_thread_s() - second;
        s->devices += BLOCK;
        if (!ok)
            CM_FAIL(err, CM_E_CRYPTO, "floor of verify: libcrypto failed");
        if (*stop != 0) {
            *err = (struct cm_error) { .code = CM_E_CLOSED, .os = *stop };
            return CM_E_CLOSED;
        }
    } while (cm_clock_s() - start < seconds);
    return CM_OK;
}

cm_err cm_checkfloor_measure(struct cm_checkfloor *f, double seconds, volatile sig_atomic_t *stop,
                             struct cm_checkfloor_sample *sum, struct cm_error *err)
{
    cpu_set_t before;

    CM_TRY(cm_thread_pin(f->cpu, &before, err));
    return cm_thread_unpin(&before, measure(f, seconds, stop, sum, err), err);
}

void cm_checkfloor_close(struct cm_checkfloor *f)
{
    if (f == NULL)
        return;
    EVP_PKEY_CTX_free(f->verify);
    EVP_PKEY_free(f->ca);
    EC_POINT_free(f->point);
    EC_GROUP_free(f->group);
    BN_clear_free(f->scalar);
    BN_CTX_free(f->bn);
    free(f);
}
