/* Goal: keys are written octet for octet as libcrypto writes them (SubjectPublicKeyInfo, PKCS#8, traditional
 * form, and the PEM of each), for the scalars and numbers where encoders go wrong: the least, the greatest,
 * leading zero octets, a leading one bit. And the numbers are right: known answers from RFCs. Method: one
 * pair goes through cm_keyenc and, as an EVP_PKEY of the same numbers, through libcrypto's encoders. */
#include "engine/keyenc.h"
#include "engine/pem.h"
#include "tests/t_authority.h"
#include "tests/t_mill.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

enum { DER_MAX = 4096 };

struct der {
    uint8_t data[DER_MAX];
    size_t len;
};

static void ours(void (*put)(struct cm_der *, const struct cm_keypair *), const struct cm_keypair *k,
                 struct der *out)
{
    struct cm_der d = cm_der(out->data, sizeof out->data);

    put(&d, k);
    cr_assert(cm_der_ok(&d));
    out->len = cm_der_len(&d);
    memmove(out->data, cm_der_span(&d).data, out->len);
}

static void expect_der(const struct der *a, unsigned char *theirs, int len, const char *what, const char *alg)
{
    cr_assert_gt(len, 0, "%s of %s", what, alg);
    cr_assert(cm_span_eq(cm_span(a->data, a->len), cm_span(theirs, (size_t) len)),
              "%s of %s: %zu octets, libcrypto writes %d others", what, alg, a->len, len);
    OPENSSL_clear_free(theirs, (size_t) len);
}

static void expect_pem(const struct der *a, const char *label, BIO *theirs)
{
    static uint8_t text[2 * DER_MAX];
    struct cm_writer w = cm_writer(text, sizeof text);

    cm_put_pem(&w, label, a->data, a->len);
    cr_assert(cm_writer_ok(&w));
    cr_expect_eq(w.len, cm_pem_len(label, a->len), "%s", label);
    cr_assert(cm_span_eq(cm_span(text, w.len), t_authority_span(theirs)), "%s", label);
}

static void expect_traditional(const struct cm_keypair *k, EVP_PKEY *key)
{
    static struct der der;
    CM_AUTO(BIO) pem = BIO_new(BIO_s_mem());
    unsigned char *theirs = NULL;
    const char *label = cm_keyenc_traditional_label(k->alg);

    if (k->alg->family == CM_KEYFAM_ED25519) {
        cr_expect_null(label);
        return;
    }
    ours(cm_keyenc_traditional, k, &der);
    cr_expect_leq(der.len, cm_keyenc_private_max(k->alg));
    cr_assert_eq(PEM_write_bio_PrivateKey_traditional(pem, key, NULL, NULL, 0, NULL, NULL), 1);
    expect_pem(&der, label, pem);
    const int len = i2d_PrivateKey(key, &theirs);
    expect_der(&der, theirs, len, "traditional form", k->alg->name);
}

static void expect_as_libcrypto(const struct cm_keypair *k, EVP_PKEY *key)
{
    static struct der der;
    CM_AUTO(BIO) pem = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) pub = BIO_new(BIO_s_mem());
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    unsigned char *theirs = NULL;

    cr_assert_not_null(info);
    ours(cm_keyenc_pkcs8, k, &der);
    cr_expect_leq(der.len, cm_keyenc_private_max(k->alg));
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &theirs);
    expect_der(&der, theirs, len, "PKCS#8", k->alg->name);
    PKCS8_PRIV_KEY_INFO_free(info);
    cr_assert_eq(PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL), 1);
    expect_pem(&der, "PRIVATE KEY", pem);
    expect_traditional(k, key);

    ours(cm_keyenc_spki, k, &der);
    cr_expect_leq(der.len, cm_keyenc_spki_max(k->alg));
    theirs = NULL;
    len = i2d_PUBKEY(key, &theirs);
    expect_der(&der, theirs, len, "SPKI", k->alg->name);
    cr_assert_eq(PEM_write_bio_PUBKEY(pub, key), 1);
    expect_pem(&der, "PUBLIC KEY", pub);

    /* The contents of the BIT STRING. */
    X509_PUBKEY *x = NULL;
    const unsigned char *bits = NULL;
    cr_assert_eq(X509_PUBKEY_set(&x, key), 1);
    cr_assert_eq(X509_PUBKEY_get0_param(NULL, &bits, &len, NULL, x), 1);
    ours(cm_keyenc_public, k, &der);
    cr_expect(cm_span_eq(cm_span(der.data, der.len), cm_span(bits, (size_t) len)));
    X509_PUBKEY_free(x);
}

static void expect_pair_fits(EVP_PKEY *key, const char *alg)
{
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(key, NULL);

    cr_expect_eq(EVP_PKEY_pairwise_check(ctx), 1, "%s: the public key is not the private key's", alg);
    cr_expect_eq(EVP_PKEY_public_check(ctx), 1, "%s", alg);
}

/* ---- EC ---- */

static void scalar(struct cm_keymaker *m, const struct cm_keyalg *alg, const uint8_t *be, size_t len)
{
    struct cm_keypair pair;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_keymaker_from_scalar(m, be, len, &pair, &err), CM_OK, "%s", err.what);
    cr_assert(pair.len == len && memcmp(pair.priv, be, len) == 0);
    CM_AUTO(EVP_PKEY) key = t_oracle_key(&pair);
    expect_as_libcrypto(&pair, key);
    expect_pair_fits(key, alg->name);
}

static void scalars_of(const struct cm_keyalg *alg)
{
    CM_AUTO(EC_GROUP) group = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(alg->group));
    CM_AUTO(BIGNUM) last = BN_dup(EC_GROUP_get0_order(group));
    const size_t len = ((size_t) BN_num_bits(last) + 7) / 8;
    struct cm_keymaker *m = NULL;
    uint8_t be[CM_EC_MAX] = { 0 };

    cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_OWN, &m, NULL), CM_OK);
    be[len - 1] = 1;
    scalar(m, alg, be, len);
    be[len - 1] = 255;
    scalar(m, alg, be, len);
    cr_assert(BN_sub_word(last, 1) == 1 && BN_bn2binpad(last, be, (int) len) == (int) len);
    scalar(m, alg, be, len);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(RAND_bytes(be, (int) len), 1);
        be[0] = 0;
        be[1] = (uint8_t) (i % 2 == 0 ? 0 : i % 4 == 1 ? 0x80 : 0x7f);
        scalar(m, alg, be, len);
    }
    cm_keymaker_close(m);
}

Test(keyenc, ec_scalars_at_the_edges, .timeout = 120)
{
    unsigned curves = 0;

    for (size_t i = 0; i < cm_keyalg_count(); i++)
        if (cm_keyalg_at(i)->family == CM_KEYFAM_EC) {
            scalars_of(cm_keyalg_at(i));
            curves++;
        }
    cr_expect_eq(curves, 3);
}

/* ---- keys as they are drawn ---- */

static unsigned drawn(const struct cm_keyalg *alg)
{
    if (alg->family != CM_KEYFAM_RSA)
        return 200;
    return alg->bits == 2048 ? 6 : alg->bits == 3072 ? 2 : 1;
}

Test(keyenc, drawn_keys_of_every_algorithm, .timeout = 280)
{
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        struct cm_keymaker *m = NULL;
        struct cm_keypair pair;
        struct cm_error err = { 0 };
        cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_OWN, &m, &err), CM_OK, "%s", err.what);
        for (unsigned n = drawn(alg); n > 0; n--) {
            cr_assert_eq(cm_keymaker_make(m, &pair, &err), CM_OK, "%s", err.what);
            CM_AUTO(EVP_PKEY) key = t_oracle_key(&pair);
            expect_as_libcrypto(&pair, key);
            expect_pair_fits(key, alg->name);
        }
        cm_keymaker_close(m);
    }
}

/* Numbers of an RSA key with leading zeros and leading one bits, which a drawn key has once in hundreds. They
 * make no key: only their encoding is looked at. */
Test(keyenc, rsa_numbers_of_every_width)
{
    static const uint8_t lead[][3] = { { 0, 0, 0 },    { 0, 0, 0x80 }, { 0, 0x7f, 0 }, { 0, 0x80, 0 },
                                       { 0x7f, 0, 0 }, { 0x80, 0, 0 }, { 0xff, 0, 0 }, { 0, 0, 1 } };
    struct cm_keypair k = { .alg = cm_keyalg_find("RSA-2048"), .len = 256, .e = { 0, 0, 0, 0, 0, 1, 0, 1 } };
    uint8_t *const part[] = { k.d, k.p, k.q, k.dp, k.dq, k.qinv };

    for (size_t round = 0; round < CM_COUNT(lead); round++) {
        cr_assert(RAND_bytes(k.n, sizeof k.n) == 1);
        k.n[0] |= 0x80;
        for (size_t i = 0; i < CM_COUNT(part); i++) {
            cr_assert_eq(RAND_bytes(part[i], (int) (i == 0 ? 256 : 128)), 1);
            memcpy(part[i], lead[(round + i) % CM_COUNT(lead)], 3);
        }
        memcpy(k.e + 3, round % 2 == 0 ? "\x00\x80\x00\x00\x03" : "\x00\x00\x01\x00\x01", 5);
        CM_AUTO(EVP_PKEY) key = t_oracle_key(&k);
        expect_as_libcrypto(&k, key);
    }
}

/* ---- known answers ---- */

static size_t from_hex(const char *hex, uint8_t *out, size_t cap)
{
    size_t len = 0;

    cr_assert_eq(OPENSSL_hexstr2buf_ex(out, cap, &len, hex, '\0'), 1, "%s", hex);
    return len;
}

static void expect_base64(void (*put)(struct cm_der *, const struct cm_keypair *), const struct cm_keypair *k,
                          const char *expected)
{
    static struct der der;
    unsigned char text[256];

    ours(put, k, &der);
    cr_expect_eq(EVP_EncodeBlock(text, der.data, (int) der.len), (int) strlen(expected));
    cr_expect_str_eq((char *) text, expected);
}

static void known_ec(const struct cm_keyalg *alg, const char *priv, const char *pub)
{
    struct cm_keymaker *m = NULL;
    struct cm_keypair pair;
    uint8_t s[CM_EC_MAX], point[1 + 2 * CM_EC_MAX];
    const size_t len = from_hex(priv, s, sizeof s), point_len = from_hex(pub, point, sizeof point);

    cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_OWN, &m, NULL), CM_OK);
    cr_assert_eq(cm_keymaker_from_scalar(m, s, len, &pair, NULL), CM_OK);
    cr_expect(cm_span_eq(cm_span(pair.pub, pair.pub_len), cm_span(point, point_len)), "%s", alg->name);
    cm_keymaker_close(m);
}

static void known_ed25519(const struct cm_keyalg *alg, const char *seed, const char *pub, char *encodings)
{
    struct cm_keypair pair = { .alg = alg, .len = 32, .pub_len = 32 };
    char *comma = strchr(encodings, ',');

    cr_assert_not_null(comma);
    *comma = '\0';
    cr_assert_eq(from_hex(seed, pair.priv, sizeof pair.priv), 32);
    cr_assert_eq(from_hex(pub, pair.pub, sizeof pair.pub), 32);
    expect_base64(cm_keyenc_pkcs8, &pair, encodings);
    expect_base64(cm_keyenc_spki, &pair, comma + 1);
    CM_AUTO(EVP_PKEY) key = t_oracle_key(&pair);
    expect_as_libcrypto(&pair, key); /* libcrypto derives the public key from the seed */
}

/* p and q by their distances, all else computed from them. */
static void known_rsa(const struct cm_keyalg *alg, const char *distances, const char *sha256)
{
    static struct der der;
    struct cm_keypair k = { .alg = alg, .len = alg->bits / 8, .e = { 0, 0, 0, 0, 0, 1, 0, 1 } };
    const int len = (int) k.len, half = len / 2;
    unsigned long dp = 0, dq = 0;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *bn[10];
    uint8_t md[EVP_MAX_MD_SIZE], expected[32];
    enum { P, Q, N, P1, Q1, L, D, T, QINV, E };

    for (size_t i = 0; i < CM_COUNT(bn); i++)
        bn[i] = BN_new();
    cr_assert_eq(sscanf(distances, "%lu,%lu", &dp, &dq), 2);
    cr_assert(BN_set_word(bn[T], 3) == 1 && BN_lshift(bn[T], bn[T], (int) alg->bits / 2 - 2) == 1);
    cr_assert(BN_copy(bn[P], bn[T]) && BN_add_word(bn[P], dp) && BN_copy(bn[Q], bn[T]) &&
              BN_add_word(bn[Q], dq));
    cr_assert(BN_mul(bn[N], bn[P], bn[Q], ctx) && BN_sub(bn[P1], bn[P], BN_value_one()) &&
              BN_sub(bn[Q1], bn[Q], BN_value_one()) && BN_gcd(bn[T], bn[P1], bn[Q1], ctx) &&
              BN_mul(bn[L], bn[P1], bn[Q1], ctx) && BN_div(bn[L], NULL, bn[L], bn[T], ctx) &&
              BN_set_word(bn[E], 65537) && BN_mod_inverse(bn[D], bn[E], bn[L], ctx) &&
              BN_mod_inverse(bn[QINV], bn[Q], bn[P], ctx));
    cr_assert(BN_bn2binpad(bn[N], k.n, len) == len && BN_bn2binpad(bn[D], k.d, len) == len &&
              BN_bn2binpad(bn[P], k.p, half) == half && BN_bn2binpad(bn[Q], k.q, half) == half &&
              BN_bn2binpad(bn[QINV], k.qinv, half) == half);
    cr_assert(BN_mod(bn[T], bn[D], bn[P1], ctx) && BN_bn2binpad(bn[T], k.dp, half) == half &&
              BN_mod(bn[T], bn[D], bn[Q1], ctx) && BN_bn2binpad(bn[T], k.dq, half) == half);
    ours(cm_keyenc_traditional, &k, &der);
    cr_assert_eq(EVP_Digest(der.data, der.len, md, NULL, EVP_sha256(), NULL), 1);
    cr_assert_eq(from_hex(sha256, expected, sizeof expected), 32);
    cr_expect_arr_eq(md, expected, 32, "%s", alg->name);
    for (size_t i = 0; i < CM_COUNT(bn); i++)
        BN_clear_free(bn[i]);
    BN_CTX_free(ctx);
}

Test(keyenc, every_row_has_a_known_answer)
{
    FILE *file = fopen(CM_TESTS_DIR "/kat/keyalg.txt", "r");
    bool answered[16] = { false };
    char line[4096], name[32], a[1024], b[1024], c[1024];

    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#')
            continue;
        cr_assert_eq(sscanf(line, "%31s %1023s %1023s %1023s", name, a, b, c), 4, "%s", line);
        const struct cm_keyalg *alg = cm_keyalg_find(name);
        cr_assert_not_null(alg, "%s", line);
        if (alg->family == CM_KEYFAM_EC)
            known_ec(alg, a, b);
        else if (alg->family == CM_KEYFAM_RSA)
            known_rsa(alg, a, b);
        else
            known_ed25519(alg, a, b, c);
        for (size_t i = 0; i < cm_keyalg_count(); i++)
            answered[i] |= cm_keyalg_at(i) == alg;
    }
    (void) fclose(file);
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        cr_expect(answered[i], "%s has no line in tests/kat/keyalg.txt", cm_keyalg_at(i)->name);
}
