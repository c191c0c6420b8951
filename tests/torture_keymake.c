/* Goal: when memory runs out inside libcrypto, making a key and minting a device end in a clean error or in a
 * right device, never in a crash, a leak or a wrong key; and the next device is right again. Method:
 * libcrypto's allocator is ours; a round lets its n-th allocation fail, or all from the n-th on, for n over
 * the whole run (all of them where that is quick, else a sample). What was made is checked by libcrypto from
 * the stored octets. */
#include "tests/t_plant.h"

#include "engine/keymake.h"
#include "engine/ossl.h"
#include "engine/serials.h"

#include <openssl/crypto.h>

static unsigned passed, failed;

/* ---- libcrypto's allocator ---- */

static bool armed, from_there_on;
static unsigned long count, fail_at;

static bool must_fail(void)
{
    if (!armed)
        return false;
    const unsigned long n = count++;
    return n == fail_at || (from_there_on && n > fail_at);
}

static void *torture_malloc(size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return must_fail() ? NULL : malloc(len);
}

static void *torture_realloc(void *p, size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return must_fail() ? NULL : realloc(p, len);
}

static void torture_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;
    free(p);
}

/* ---- one device ---- */

struct bench {
    struct t_plant plant;
    struct cm_minter *minter;
    struct cm_keymaker *maker;
    EVP_PKEY *ca_key; /* public */
    struct cm_batch *batch;
};

static void fresh_batch(struct bench *b)
{
    if (b->batch != NULL)
        cm_pool_release(b->plant.pool, b->batch);
    CM_ASSERT(cm_pool_acquire(b->plant.pool, &b->batch) == CM_OK);
    CM_ASSERT(cm_batch_add(b->batch, cm_span("SN00000001", 10), 1, 1));
    CM_ASSERT(cm_serials_prefix(b->batch->prefix, NULL) == CM_OK);
    CM_ASSERT(cm_mint_begin(b->minter, b->batch, NULL) == CM_OK);
}

/* Certificate, key and row of the batch's device belong together. */
static bool device_is_right(const struct bench *b)
{
    const struct cm_rec *rec = &b->batch->rec[0];
    const unsigned char *cert = b->batch->chain + rec->chain_off, *key = b->batch->keys + rec->key_off;
    const unsigned char *cert_end = cert, *key_end = key;
    CM_AUTO(X509) x509 = d2i_X509(NULL, &cert_end, (long) rec->chain_len);
    CM_AUTO(EVP_PKEY) pkey = d2i_AutoPrivateKey(NULL, &key_end, (long) rec->key_len);
    CM_AUTO(EVP_PKEY_CTX) ctx = pkey != NULL ? EVP_PKEY_CTX_new(pkey, NULL) : NULL;
    uint8_t md[EVP_MAX_MD_SIZE];

    return x509 != NULL && pkey != NULL && ctx != NULL && key_end == key + rec->key_len &&
           X509_check_private_key(x509, pkey) == 1 && EVP_PKEY_pairwise_check(ctx) == 1 &&
           X509_verify(x509, b->ca_key) == 1 &&
           EVP_Digest(cert, (size_t) (cert_end - cert), md, NULL, EVP_sha256(), NULL) == 1 &&
           memcmp(md, rec->certificate_id, 32) == 0;
}

static bool pair_is_right(const struct cm_keypair *k)
{
    CM_AUTO(EC_GROUP)
    group =
        k->alg->family == CM_KEYFAM_EC ? EC_GROUP_new_by_curve_name(EC_curve_nist2nid(k->alg->group)) : NULL;
    uint8_t pub[1 + 2 * CM_EC_MAX];
    bool ok = true;

    if (k->alg->family == CM_KEYFAM_ED25519) {
        CM_AUTO(EVP_PKEY) key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k->priv, 32);
        size_t len = sizeof pub;
        ok = key != NULL && EVP_PKEY_get_raw_public_key(key, pub, &len) == 1 && memcmp(pub, k->pub, 32) == 0;
    } else if (group != NULL) {
        CM_AUTO(BIGNUM) s = BN_bin2bn(k->priv, (int) k->len, NULL);
        CM_AUTO(EC_POINT) p = EC_POINT_new(group);
        ok = s != NULL && p != NULL && !BN_is_zero(s) && EC_POINT_mul(group, p, s, NULL, NULL, NULL) == 1 &&
             EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, pub, sizeof pub, NULL) ==
                 k->pub_len &&
             memcmp(pub, k->pub, k->pub_len) == 0;
    }
    return ok;
}

static bool is_clean(cm_err rc, const struct cm_error *err)
{
    /* CM_E_LIMIT: a {uuid} that can't be computed has no text, so that the certificate can't be written. */
    return rc == CM_OK || ((cm_err_class(rc) == CM_E_CRYPTO || rc == CM_E_NOMEM || rc == CM_E_LIMIT) &&
                           err->code == rc && err->what[0] != '\0');
}

/* make and mint with the n-th allocation failing: 1 told, 0 absorbed, -1 wrong. */
static int one_round(struct bench *b, unsigned long n)
{
    static struct cm_keypair pair;
    struct cm_error err[2] = { { 0 }, { 0 } };

    fresh_batch(b);
    memset(&pair, 0, sizeof pair);
    count = 0;
    fail_at = n;
    armed = true;
    const cm_err made = cm_keymaker_make(b->maker, &pair, &err[0]);
    const cm_err minted = cm_mint_one(b->minter, b->batch, 0, &err[1]);
    armed = false;
    if (!is_clean(made, &err[0]) || !is_clean(minted, &err[1]) || (made == CM_OK && !pair_is_right(&pair)) ||
        (minted == CM_OK && !device_is_right(b)))
        return -1;
    return made != CM_OK || minted != CM_OK;
}

static void note(bool ok, const char *alg, unsigned long n, const char *what)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        (void) printf("FAILED: %s, allocation %lu%s: %s\n", alg, n, from_there_on ? " and all after" : "",
                      what);
}

/* The next device is right again; with an RSA CA not at once: libcrypto keeps a blinding that it failed to
 * renew for 32 signatures, which are refused. */
static bool recovers(struct bench *b)
{
    enum { BLINDING_USES = 32 };

    for (int i = 0; i < BLINDING_USES + 2; i++) {
        const int how = one_round(b, ~0ul);
        if (how <= 0)
            return how == 0;
    }
    return false;
}

static void torture(const char *key, const char *ca_key, unsigned rounds, uint64_t *random)
{
    const struct t_plant_conf conf = { .key = key,
                                       .ca_key = ca_key,
                                       .devices = 1,
                                       .batches = 1,
                                       .encoding = CM_ENCODE_DER,
                                       .san = "URI:urn:{uuid}" };
    struct bench b = { .minter = NULL };
    struct cm_error err = { 0 };
    unsigned told = 0, absorbed = 0;

    t_plant_open(&b.plant, &conf);
    CM_ASSERT(cm_minter_open(&b.plant.mint, &b.minter, &err) == CM_OK);
    CM_ASSERT(cm_keymaker_open(b.plant.mint.key, CM_KEYGEN_OWN, &b.maker, &err) == CM_OK);
    b.ca_key = X509_get0_pubkey(cm_ca_x509(b.plant.ca));
    note(one_round(&b, ~0ul) == 0, key, 0, "without a failure");
    const unsigned long all = count;
    const unsigned long step = all / rounds + 1;
    for (unsigned long n = step > 1 ? t_random(random, step) : 0; n < all; n += step) {
        from_there_on = n / step % 2 != 0;
        const int how = one_round(&b, n);
        told += how == 1;
        absorbed += how == 0;
        note(how >= 0, key, n, "a wrong key, certificate or error");
        from_there_on = false;
        note(recovers(&b), key, n, "the devices after it are not right");
    }
    (void) printf("%s under %s: %lu allocations, %u failures told, %u absorbed\n", key, ca_key, all, told,
                  absorbed);
    note(told > 0, key, 0, "no failure was told: nothing was tested");
    cm_keymaker_close(b.maker);
    cm_minter_close(b.minter);
    cm_pool_release(b.plant.pool, b.batch);
    t_plant_close(&b.plant);
}

/* Opening a minter: nothing half-open is left. */
static void torture_open(const char *key, const char *ca_key)
{
    const struct t_plant_conf conf = { .key = key, .ca_key = ca_key, .devices = 1, .batches = 1 };
    struct t_plant plant;
    bool ended = false;

    t_plant_open(&plant, &conf);
    for (unsigned long n = 0; n < 100000 && !ended; n++) {
        struct cm_minter *m = NULL;
        struct cm_error err = { 0 };
        count = 0;
        fail_at = n;
        armed = true;
        const cm_err rc = cm_minter_open(&plant.mint, &m, &err);
        armed = false;
        note(is_clean(rc, &err) && (rc == CM_OK) == (m != NULL), key, n, "opening a minter");
        cm_minter_close(m);
        ended = count <= n;
    }
    note(ended, key, 0, "opening never ends");
    t_plant_close(&plant);
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    enum { SHARE = 4 }; /* ten times slower */
#else
    enum { SHARE = 1 };
#endif
    uint64_t random = 0;

    if (CRYPTO_set_mem_functions(torture_malloc, torture_realloc, torture_free) != 1) {
        (void) printf("libcrypto was used before main\n");
        return 1;
    }
    random = t_seed();
    torture("P-256", "P-256", 3000 / SHARE, &random);
    torture("P-521", "Ed25519", 400 / SHARE, &random);
    torture("Ed25519", "RSA-2048", 1000 / SHARE, &random);
    for (int i = 0; i < 4; i++) /* where in its blinding's life the CA key stands makes a difference */
        torture("P-256", "RSA-2048", 1000 / SHARE, &random);
    torture("RSA-2048", "P-256", 12 / SHARE, &random);
    torture_open("P-256", "P-384");
    torture_open("Ed25519", "RSA-2048");
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
