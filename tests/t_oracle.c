#include "tests/t_oracle.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

const uint8_t t_run_id[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef,
                               0x81, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08 };

static const char *const columns[T_COLUMNS] = { "serial", "part", "site name, no." };
const struct cm_columns t_columns = { columns, T_COLUMNS, 0 };

/* {part}, read by the name alone. False: no column. */
static bool expand_column(const struct t_ask *ask, const char *text, size_t n, char *out)
{
    for (size_t i = 0; i < T_COLUMNS; i++)
        if (strlen(columns[i]) == n - 2 && strncmp(text + 1, columns[i], n - 2) == 0) {
            (void) snprintf(out, T_TEXT_MAX, "%s", ask->column[i] != NULL ? ask->column[i] : "");
            return true;
        }
    return false;
}

const char *t_ask_id(const struct t_ask *ask)
{
    return ask->id != NULL ? ask->id : "SN00000001";
}

/* RFC 9562 5.5, by libcrypto's SHA-1. */
static void put_uuid(uint64_t seq, char *out)
{
    uint8_t in[64], md[EVP_MAX_MD_SIZE];
    const int n = snprintf((char *) in + 16, sizeof in - 16, "%llu", (unsigned long long) seq);

    memcpy(in, t_run_id, 16);
    cr_assert_eq(EVP_Digest(in, 16 + (size_t) n, md, NULL, EVP_sha1(), NULL), 1);
    md[6] = (uint8_t) ((md[6] & 15) | 5 << 4);
    md[8] = (uint8_t) ((md[8] & 63) | 128);
    for (int i = 0; i < 16; i++)
        out += snprintf(out, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", md[i]);
}

/* The placeholder at text, as characters in out; its length, 0: none. */
static size_t expand_one(const struct t_ask *ask, const char *text, char *out)
{
    const unsigned long long seq = ask->seq, mac = ask->mac;
    const char *end = strchr(text, '}');
    int width = 0;

    if (end == NULL)
        return 0;
    const size_t n = (size_t) (end - text) + 1;
    if (strncmp(text, "{id}", 4) == 0)
        (void) snprintf(out, T_TEXT_MAX, "%s", t_ask_id(ask));
    else if (strncmp(text, "{mac}", 5) == 0)
        (void) snprintf(out, T_TEXT_MAX, "%02llx:%02llx:%02llx:%02llx:%02llx:%02llx", mac >> 40 & 255,
                        mac >> 32 & 255, mac >> 24 & 255, mac >> 16 & 255, mac >> 8 & 255, mac & 255);
    else if (strncmp(text, "{uuid}", 6) == 0)
        put_uuid(seq, out);
    else if (strncmp(text, "{seq}", 5) == 0)
        (void) snprintf(out, T_TEXT_MAX, "%llu", seq);
    else if (sscanf(text, "{seq:%3dx}", &width) == 1 && text[n - 2] == 'x')
        (void) snprintf(out, T_TEXT_MAX, "%0*llx", width, seq);
    else if (strncmp(text, "{seq:x}", 7) == 0)
        (void) snprintf(out, T_TEXT_MAX, "%llx", seq);
    else if (sscanf(text, "{seq:%3d}", &width) == 1)
        (void) snprintf(out, T_TEXT_MAX, "%0*llu", width, seq);
    else if (!expand_column(ask, text, n, out))
        return 0;
    return n;
}

void t_expand(const struct t_ask *ask, const char *text, char *out)
{
    static char piece[T_TEXT_MAX];
    size_t len = 0;

    while (*text != '\0') {
        const size_t n = *text == '{' ? expand_one(ask, text, piece) : 0;
        cr_assert_lt(len + T_TEXT_MAX / 8, T_TEXT_MAX, "text is too long for the test");
        if (n == 0) {
            out[len++] = *text++;
            continue;
        }
        memcpy(out + len, piece, strlen(piece));
        len += strlen(piece);
        text += n;
    }
    out[len] = '\0';
}

EVP_PKEY *t_oracle_key(const struct cm_keypair *k)
{
    const struct cm_keyalg *alg = k->alg;
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, alg->evp_type, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    const struct {
        const char *name;
        const uint8_t *at;
        size_t len;
    } rsa[] = { { OSSL_PKEY_PARAM_RSA_N, k->n, k->len },
                { OSSL_PKEY_PARAM_RSA_E, k->e, sizeof k->e },
                { OSSL_PKEY_PARAM_RSA_D, k->d, k->len },
                { OSSL_PKEY_PARAM_RSA_FACTOR1, k->p, k->len / 2 },
                { OSSL_PKEY_PARAM_RSA_FACTOR2, k->q, k->len / 2 },
                { OSSL_PKEY_PARAM_RSA_EXPONENT1, k->dp, k->len / 2 },
                { OSSL_PKEY_PARAM_RSA_EXPONENT2, k->dq, k->len / 2 },
                { OSSL_PKEY_PARAM_RSA_COEFFICIENT1, k->qinv, k->len / 2 } };
    BIGNUM *bn[CM_COUNT(rsa)] = { NULL };
    EVP_PKEY *key = NULL;

    if (alg->family == CM_KEYFAM_ED25519) {
        OSSL_PARAM_BLD_free(bld);
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k->priv, k->len);
    }
    if (alg->family == CM_KEYFAM_EC) {
        bn[0] = BN_bin2bn(k->priv, (int) k->len, NULL);
        cr_assert(OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, alg->group, 0) == 1 &&
                  OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, k->pub, k->pub_len) == 1 &&
                  OSSL_PARAM_BLD_push_BN_pad(bld, OSSL_PKEY_PARAM_PRIV_KEY, bn[0], k->len) == 1);
    }
    for (size_t i = 0; alg->family == CM_KEYFAM_RSA && i < CM_COUNT(rsa); i++) {
        bn[i] = BN_bin2bn(rsa[i].at, (int) rsa[i].len, NULL);
        cr_assert_eq(OSSL_PARAM_BLD_push_BN(bld, rsa[i].name, bn[i]), 1);
    }
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    cr_assert(EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1,
              "%s", alg->name);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    for (size_t i = 0; i < CM_COUNT(bn); i++)
        BN_clear_free(bn[i]);
    return key;
}

X509_NAME *t_oracle_name(const struct t_ask *ask)
{
    static char value[T_TEXT_MAX];
    X509_NAME *name = X509_NAME_new();

    for (size_t i = 0; i < T_ATTRS && ask->attr[i].type != NULL; i++) {
        t_expand(ask, ask->attr[i].value, value);
        cr_assert_eq(X509_NAME_add_entry_by_txt(name, ask->attr[i].type, MBSTRING_UTF8,
                                                (const unsigned char *) value, -1, -1, 0),
                     1, "%s: %s=%s", ask->what, ask->attr[i].type, value);
    }
    return name;
}

static void add_ext(const struct t_ask *ask, CONF *conf, X509V3_CTX *ctx, X509 *x509, const char *name,
                    const char *value)
{
    /* Both are libcrypto's, its prototypes lack the const. */
    CM_AUTO(X509_EXTENSION) ext = X509V3_EXT_nconf(conf, ctx, name, value);

    cr_assert_not_null(ext, "%s: %s = %s", ask->what, name, value);
    cr_assert_eq(X509_add_ext(x509, ext, -1), 1);
}

static void add_extensions(const struct t_ask *ask, X509 *x509, X509 *ca, enum cm_keyfam family)
{
    static const char *const own[] = { [CM_KEYFAM_EC] = "extensions_ec",
                                       [CM_KEYFAM_RSA] = "extensions_rsa",
                                       [CM_KEYFAM_ED25519] = "extensions_ed25519" };
    static char text[T_TEXT_MAX], san[T_TEXT_MAX];
    CM_AUTO(CONF) conf = NCONF_new(NULL);
    bool san_left = ask->san != NULL;
    long line = 0;
    X509V3_CTX ctx;

    t_expand(ask, ask->profile, text);
    if (ask->san != NULL)
        t_expand(ask, ask->san, san);
    CM_AUTO(BIO) bio = BIO_new_mem_buf(text, -1);
    cr_assert_gt(NCONF_load_bio(conf, bio, &line), 0, "%s: line %ld", ask->what, line);
    X509V3_set_ctx(&ctx, ca, x509, NULL, NULL, 0);
    X509V3_set_nconf(&ctx, conf);
    const char *section = NCONF_get_string(conf, "profile", own[family]);
    if (section == NULL)
        section = NCONF_get_string(conf, "profile", "extensions");
    const STACK_OF(CONF_VALUE) *lines = NCONF_get_section(conf, section);
    cr_assert_not_null(lines, "%s", ask->what);
    for (int i = 0; i < sk_CONF_VALUE_num(lines); i++) {
        const CONF_VALUE *v = sk_CONF_VALUE_value(lines, i);
        const bool replaced = ask->san != NULL && strcmp(v->name, "subjectAltName") == 0;
        add_ext(ask, conf, &ctx, x509, v->name, replaced ? san : v->value);
        san_left &= !replaced;
    }
    if (san_left)
        add_ext(ask, conf, &ctx, x509, "subjectAltName", san);
}

static void sign(X509 *x509, EVP_PKEY *key, const struct cm_sigalg *alg)
{
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;

    cr_assert_eq(EVP_DigestSignInit_ex(ctx, &pctx, alg->digest, NULL, NULL, key, NULL), 1, "%s", alg->name);
    if (strncmp(alg->name, "RSASSA-PSS", 10) == 0)
        cr_assert(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1);
    cr_assert_gt(X509_sign_ctx(x509, ctx), 0, "%s", alg->name);
}

static void set_time(X509 *x509, int (*set)(X509 *, const ASN1_TIME *), const char *text)
{
    ASN1_TIME *t = ASN1_TIME_new();

    cr_assert(ASN1_TIME_set_string_X509(t, text) == 1 && set(x509, t) == 1, "%s", text);
    ASN1_TIME_free(t);
}

X509 *t_oracle_cert(const struct t_ask *ask, X509 *ca, EVP_PKEY *ca_key, const struct cm_sigalg *alg,
                    EVP_PKEY *key, enum cm_keyfam family, const uint8_t serial[20])
{
    X509 *x509 = X509_new();
    CM_AUTO(BIGNUM) number = BN_bin2bn(serial, 20, NULL);
    CM_AUTO(X509_NAME) name = t_oracle_name(ask);

    cr_assert(X509_set_version(x509, X509_VERSION_3) == 1 &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL &&
              X509_set_issuer_name(x509, X509_get_subject_name(ca)) == 1 &&
              X509_set_subject_name(x509, name) == 1 && X509_set_pubkey(x509, key) == 1);
    set_time(x509, X509_set1_notBefore, ask->not_before != NULL ? ask->not_before : "20260101000000Z");
    set_time(x509, X509_set1_notAfter, ask->not_after != NULL ? ask->not_after : "20360101000000Z");
    add_extensions(ask, x509, ca, family);
    sign(x509, ca_key, alg);
    return x509;
}

void t_oracle_tbs(X509 *x509, struct t_blob *out)
{
    unsigned char *at = out->data;

    cr_assert_leq(i2d_re_X509_tbs(x509, NULL), T_BLOB_MAX);
    const int len = i2d_re_X509_tbs(x509, &at);
    cr_assert_gt(len, 0);
    out->len = (size_t) len;
}
