#include "tests/t_ident.h"
#include "engine/keyalg.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

void t_add(struct t_blob *b, const void *data, size_t len)
{
    cr_assert_leq(len, sizeof b->data - b->len, "a test's blob is full");
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void add_tlv(struct t_blob *b, uint8_t tag, const struct t_blob *content)
{
    const size_t n = content->len;
    const uint8_t head[] = { tag, 0x82, (uint8_t) (n >> 8), (uint8_t) n };
    const uint8_t head_81[] = { tag, 0x81, (uint8_t) n };
    const uint8_t head_0[] = { tag, (uint8_t) n };

    if (n < 0x80)
        t_add(b, head_0, sizeof head_0);
    else if (n < 0x100)
        t_add(b, head_81, sizeof head_81);
    else
        t_add(b, head, sizeof head);
    t_add(b, content->data, n);
}

/* Up to the closing bracket or the end; returns where that is. */
static const char *add_spec(const char *spec, struct t_blob *out)
{
    while (*spec != '\0' && *spec != ')') {
        if (*spec == '\'') {
            const size_t n = strcspn(spec + 1, "'");
            t_add(out, spec + 1, n);
            spec += n + 2;
        } else if (*spec == '(') {
            struct t_blob inner = { .len = 0 };
            spec = add_spec(spec + 1, &inner);
            cr_assert_eq(*spec, ')', "a bracket is missing");
            spec++;
            cr_assert_geq(out->len, 1);
            add_tlv(out, out->data[--out->len], &inner);
        } else if (*spec == ' ') {
            spec++;
        } else {
            unsigned octet = 0;
            cr_assert_eq(sscanf(spec, "%2x", &octet), 1, "not hex: %s", spec);
            t_add(out, &(uint8_t) { (uint8_t) octet }, 1);
            spec += 2;
        }
    }
    return spec;
}

void t_der(const char *spec, struct t_blob *out)
{
    out->len = 0;
    cr_assert_eq(*add_spec(spec, out), '\0', "a bracket too many");
}

void t_pem(const char *label, struct cm_span der, size_t width, struct t_blob *out)
{
    unsigned char base64[T_BLOB_MAX];
    char line[96];

    const size_t n = (size_t) EVP_EncodeBlock(base64, der.data, (int) der.len);
    t_add(out, line, (size_t) snprintf(line, sizeof line, "-----BEGIN %s-----\n", label));
    for (size_t at = 0; at < n; at += width) {
        t_add(out, base64 + at, n - at < width ? n - at : width);
        t_add(out, "\n", 1);
    }
    t_add(out, line, (size_t) snprintf(line, sizeof line, "-----END %s-----\n", label));
}

EVP_PKEY *t_key(const char *name)
{
    const struct cm_keyalg *alg = cm_keyalg_find(name);
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, alg != NULL ? alg->evp_type : name, NULL);
    EVP_PKEY *key = NULL;

    cr_assert_eq(EVP_PKEY_keygen_init(ctx), 1);
    if (alg == NULL || alg->family == CM_KEYFAM_RSA)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, alg != NULL ? (int) alg->bits : 2048), 1);
    else if (alg->family == CM_KEYFAM_EC)
        cr_assert_eq(EVP_PKEY_CTX_set_group_name(ctx, alg->group), 1);
    cr_assert_eq(EVP_PKEY_generate(ctx, &key), 1, "%s", name);
    return key;
}

/* ---- certificates by libcrypto ---- */

static void add_ext(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    CM_AUTO(X509_EXTENSION) ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

    cr_assert_not_null(ext, "%s", value);
    cr_assert_eq(X509_add_ext(x509, ext, -1), 1);
}

static X509 *new_cert(EVP_PKEY *key, const char *o, const char *cn, X509 *issuer, const char *from,
                      const char *to)
{
    X509 *x509 = X509_new();
    CM_AUTO(BIGNUM) serial = BN_new();
    CM_AUTO(X509_NAME) name = X509_NAME_new();

    cr_assert(X509_set_version(x509, X509_VERSION_3) == 1 &&
              BN_rand(serial, 158, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)) != NULL);
    cr_assert(
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *) o, -1, -1, 0) == 1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) cn, -1, -1, 0) == 1 &&
        X509_set_subject_name(x509, name) == 1);
    cr_assert_eq(X509_set_issuer_name(x509, issuer != NULL ? X509_get_subject_name(issuer) : name), 1);
    cr_assert(ASN1_TIME_set_string_X509(X509_getm_notBefore(x509), from) == 1 &&
              ASN1_TIME_set_string_X509(X509_getm_notAfter(x509), to) == 1);
    cr_assert_eq(X509_set_pubkey(x509, key), 1);
    return x509;
}

static void prepare(EVP_MD_CTX *ctx, EVP_PKEY *key, const struct cm_sigalg *alg)
{
    EVP_PKEY_CTX *pctx = NULL;

    cr_assert_eq(EVP_DigestSignInit_ex(ctx, &pctx, alg->digest, NULL, NULL, key, NULL), 1, "%s", alg->name);
    if (alg->padding == RSA_PKCS1_PSS_PADDING)
        cr_assert(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static void sign_cert(X509 *x509, EVP_PKEY *key, const struct cm_sigalg *alg)
{
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();

    prepare(ctx, key, alg);
    cr_assert_gt(X509_sign_ctx(x509, ctx), 0, "%s", alg->name);
}

static X509 *new_ca(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *signer,
                    const struct cm_sigalg *alg)
{
    X509 *x509 = new_cert(key, "Acme & Söhne", cn, issuer, "20200101000000Z", "20551231235959Z");

    add_ext(x509, issuer != NULL ? issuer : x509, NID_basic_constraints, "critical,CA:TRUE");
    add_ext(x509, issuer != NULL ? issuer : x509, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_ext(x509, issuer != NULL ? issuer : x509, NID_subject_key_identifier, "hash");
    sign_cert(x509, signer, alg);
    return x509;
}

static void encode(X509 *x509, struct t_blob *der)
{
    unsigned char *at = der->data;

    cr_assert_leq(i2d_X509(x509, NULL), T_BLOB_MAX);
    der->len = (size_t) i2d_X509(x509, &at);
}

void t_ca_init(struct t_ca *ca, const char *key_alg, const char *sig_alg)
{
    const struct cm_sigalg *root_alg = cm_sigalg_find("ecdsa-with-SHA256");
    CM_AUTO(EVP_PKEY) root_key = t_key("P-256");

    *ca = (struct t_ca) { .key = t_key(key_alg), .sig = cm_sigalg_find(sig_alg) };
    cr_assert_not_null(ca->sig);
    ca->root = new_ca(root_key, "Root", NULL, root_key, root_alg);
    ca->x509 = new_ca(ca->key, "Device, \"CA\"", ca->root, root_key, root_alg);
    encode(ca->x509, &ca->der[0]);
    encode(ca->root, &ca->der[1]);
    t_pem("CERTIFICATE", t_span(&ca->der[0]), 64, &ca->pem);
    t_pem("CERTIFICATE", t_span(&ca->der[1]), 64, &ca->pem);
}

void t_ca_done(struct t_ca *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->x509);
    X509_free(ca->root);
}

X509 *t_leaf(const struct t_ca *ca, EVP_PKEY *key, const char *not_after)
{
    const bool rsa = EVP_PKEY_is_a(key, "RSA") == 1;
    X509 *x509 = new_cert(key, "Bücher, Inc. #1", " SN-0001 ", ca->x509, "20260102030405Z", not_after);

    add_ext(x509, ca->x509, NID_basic_constraints, "critical,CA:FALSE");
    add_ext(x509, ca->x509, NID_key_usage,
            rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
    add_ext(x509, ca->x509, NID_ext_key_usage, "clientAuth");
    add_ext(x509, ca->x509, NID_subject_key_identifier, "hash");
    add_ext(x509, ca->x509, NID_authority_key_identifier, "keyid:always");
    sign_cert(x509, ca->key, ca->sig);
    return x509;
}

/* ---- apart and together ---- */

void t_sign(EVP_PKEY *key, const struct cm_sigalg *alg, struct cm_span tbs, struct t_blob *sig)
{
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    size_t len = sizeof sig->data;

    prepare(ctx, key, alg);
    cr_assert_eq(EVP_DigestSign(ctx, sig->data, &len, tbs.data, tbs.len), 1);
    sig->len = len;
}

#define ENCODE(blob, i2d, object)                                                                            \
    do {                                                                                                     \
        unsigned char *at_ = (blob).data;                                                                    \
        const int len_ = i2d((object), &at_);                                                                \
        cr_assert(len_ > 0 && len_ <= T_BLOB_MAX);                                                           \
        (blob).len = (size_t) len_;                                                                          \
    } while (0)

static void take_validity(X509 *leaf, struct t_blob *out)
{
    struct t_blob one = { .len = 0 }, both = { .len = 0 };

    ENCODE(one, i2d_ASN1_TIME, X509_get0_notBefore(leaf));
    t_add(&both, one.data, one.len);
    ENCODE(one, i2d_ASN1_TIME, X509_get0_notAfter(leaf));
    t_add(&both, one.data, one.len);
    out->len = 0;
    add_tlv(out, 0x30, &both);
}

void t_take_apart(X509 *leaf, struct t_parts *parts)
{
    struct t_blob *part = parts->part;

    parts->bare = false;
    for (size_t i = 0; i < T_PARTS; i++)
        part[i].len = 0;
    t_der("a0(02(02))", &part[T_VERSION]);
    ENCODE(part[T_SERIAL], i2d_ASN1_INTEGER, X509_get_serialNumber(leaf));
    ENCODE(part[T_INNER], i2d_X509_ALGOR, X509_get0_tbs_sigalg(leaf));
    ENCODE(part[T_ISSUER], i2d_X509_NAME, X509_get_issuer_name(leaf));
    take_validity(leaf, &part[T_VALIDITY]);
    ENCODE(part[T_SUBJECT], i2d_X509_NAME, X509_get_subject_name(leaf));
    ENCODE(part[T_SPKI], i2d_X509_PUBKEY, X509_get_X509_PUBKEY(leaf));
    cr_assert_eq(X509_get_ext_count(leaf), 5);
    for (int i = 0; i < 5; i++)
        ENCODE(part[T_BASIC + i], i2d_X509_EXTENSION, X509_get_ext(leaf, i));
    part[T_OUTER] = part[T_INNER];
}

void t_put_together(const struct t_parts *parts, EVP_PKEY *signer, const struct cm_sigalg *alg,
                    struct t_blob *der)
{
    const struct t_blob *part = parts->part;
    struct t_blob tbs = { .len = 0 }, exts = { .len = 0 }, seq = { .len = 0 }, all = { .len = 0 };
    struct t_blob sig = { .len = 0 }, bits = { .len = 1 };

    for (int i = T_VERSION; i <= T_SPKI; i++)
        t_add(&tbs, part[i].data, part[i].len);
    for (int i = T_BASIC; i <= T_EXTRA; i++)
        t_add(&exts, part[i].data, part[i].len);
    add_tlv(&seq, 0x30, &exts);
    if (!parts->bare)
        add_tlv(&tbs, 0xa3, &seq);
    t_add(&tbs, part[T_TBS_TAIL].data, part[T_TBS_TAIL].len);
    add_tlv(&all, 0x30, &tbs);
    if (signer != NULL)
        t_sign(signer, alg, t_span(&all), &sig);
    t_add(&all, part[T_OUTER].data, part[T_OUTER].len);
    t_add(&bits, sig.data, sig.len);
    add_tlv(&all, 0x03, &bits);
    t_add(&all, part[T_CERT_TAIL].data, part[T_CERT_TAIL].len);
    der->len = 0;
    add_tlv(der, 0x30, &all);
    t_add(der, part[T_TAIL].data, part[T_TAIL].len);
}
