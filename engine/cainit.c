#include "engine/cainit.h"
#include "engine/ca_impl.h"
#include "engine/certbuild_impl.h"
#include "engine/certread.h"
#include "engine/name.h"
#include "engine/secret.h"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

enum {
    DAY = 86400,
    DEFAULT_DAYS = 3650,
    SUBJECT_DER_MAX = 8192,
    PBKDF2_ROUNDS = 600000, /* OWASP's figure for HMAC-SHA-256; once per run, so the time does not matter */
};

static cm_err keygen_setup(const struct cm_keyalg *alg, EVP_PKEY_CTX **out, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, alg->evp_type, NULL);

    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto makes no %s keys", alg->name);
    if (alg->group != NULL && EVP_PKEY_CTX_set_group_name(ctx, alg->group) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto doesn't know %s", alg->group);
    if (alg->family == CM_KEYFAM_RSA && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int) alg->bits) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto makes no %s keys", alg->name);
    *out = CM_STEAL(ctx);
    return CM_OK;
}

static cm_err make_key(const struct cm_keyalg *alg, EVP_PKEY **out, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY_CTX) ctx = NULL;
    EVP_PKEY *key = NULL;

    CM_TRY(keygen_setup(alg, &ctx, err));
    if (EVP_PKEY_generate(ctx, &key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "making a %s key failed", alg->name);
    *out = key;
    return CM_OK;
}

cm_err cm_cainit_probe(const struct cm_keyalg *alg, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY_CTX) ctx = NULL;
    CM_AUTO(EVP_PKEY) key = NULL;

    if (alg->family == CM_KEYFAM_RSA) /* seconds, for no further insight */
        return keygen_setup(alg, &ctx, err);
    return make_key(alg, &key, err);
}

/* What the certificate is going to say. */
struct plan {
    const struct cm_keyalg *alg;
    const struct cm_sigalg *sigalg; /* with an issuer; a root's depends on its own key */
    cm_when not_before, not_after;
    uint8_t subject[SUBJECT_DER_MAX];
    size_t subject_len;
};

static cm_err plan_subject(const char *text, struct plan *plan, struct cm_error *err)
{
    static const enum cm_piece_kind kinds[] = { CM_PIECE_ID, CM_PIECE_SEQ, CM_PIECE_MAC, CM_PIECE_UUID };
    const struct cm_values none = { 0 };
    struct cm_name name;
    struct cm_der d = cm_der(plan->subject, sizeof plan->subject);

    CM_TRY(cm_name_parse(text, NULL, &name, err));
    if (name.count == 0)
        CM_FAIL(err, CM_E_USAGE,
                "--subject: a CA needs a name; write for example '/O=Acme/CN=Acme Device CA'");
    for (size_t i = 0; i < name.count; i++)
        for (size_t k = 0; k < CM_COUNT(kinds); k++)
            if (cm_pattern_uses(&name.attr[i].field.text, kinds[k]))
                CM_FAIL(err, CM_E_USAGE,
                        "--subject: %s has a placeholder; they are for devices, not for a CA",
                        name.attr[i].label);
    CM_TRY(cm_name_check(&name, &none, err));
    cm_name_put_der(&name, &none, &d);
    if (!cm_der_ok(&d))
        CM_FAIL(err, CM_E_USAGE, "--subject is too long");
    const struct cm_span der = cm_der_span(&d);
    memmove(plan->subject, der.data, der.len);
    plan->subject_len = der.len;
    return CM_OK;
}

static cm_err plan_validity(const struct cm_cainit_conf *conf, struct plan *plan, struct cm_error *err)
{
    const uint32_t days = conf->days > 0 ? conf->days : DEFAULT_DAYS;

    plan->not_before = conf->now - DAY;
    if (__builtin_add_overflow(conf->now, (cm_when) days * DAY, &plan->not_after) ||
        plan->not_after > CM_WHEN_MAX)
        CM_FAIL(err, CM_E_USAGE, "--days %u ends after the year 9999; ask for fewer", days);
    if (conf->issuer == NULL)
        return CM_OK;
    if (plan->not_before < cm_ca_not_before(conf->issuer))
        plan->not_before = cm_ca_not_before(conf->issuer);
    if (plan->not_after > cm_ca_not_after(conf->issuer)) {
        if (conf->days > 0)
            CM_FAIL(err, CM_E_USAGE,
                    "--days %u would outlive the issuer (%.120s); leave it out to end with it", days,
                    cm_ca_subject_text(conf->issuer));
        plan->not_after = cm_ca_not_after(conf->issuer);
    }
    return CM_OK;
}

static cm_err make_plan(const struct cm_cainit_conf *conf, struct plan *plan, struct cm_error *err)
{
    plan->alg = cm_keyalg_find(conf->key);
    if (plan->alg == NULL)
        CM_FAIL(err, CM_E_USAGE, "no key algorithm \"%.40s\"; there are %s", conf->key, cm_keyalg_names());
    if (conf->signature != NULL && cm_sigalg_find(conf->signature) == NULL)
        CM_FAIL(err, CM_E_USAGE, "no signature algorithm \"%.60s\"; leave it out for the key's own",
                conf->signature);
    CM_TRY(plan_subject(conf->subject, plan, err));
    CM_TRY(plan_validity(conf, plan, err));
    if (conf->issuer != NULL) {
        CM_TRY(cm_ca_check_subca(conf->issuer, conf->pathlen, err));
        CM_TRY(cm_sigalg_for_key(conf->issuer->key, conf->signature, &plan->sigalg, err));
    }
    return CM_OK;
}

static cm_err set_names(X509 *x, const struct cm_cainit_conf *conf, const struct plan *plan,
                        struct cm_error *err)
{
    const uint8_t *in = plan->subject;
    CM_AUTO(X509_NAME) subject = d2i_X509_NAME(NULL, &in, (long) plan->subject_len);
    X509_NAME *issuer = conf->issuer != NULL ? X509_get_subject_name(cm_ca_x509(conf->issuer)) : subject;

    if (subject == NULL || X509_set_subject_name(x, subject) != 1 || X509_set_issuer_name(x, issuer) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't set subject and issuer");
    return CM_OK;
}

static cm_err build(const struct cm_cainit_conf *conf, const struct plan *plan, EVP_PKEY *key, X509 **out,
                    struct cm_error *err)
{
    CM_AUTO(X509) x = X509_new();
    const struct cm_sigalg *alg = plan->sigalg;
    EVP_PKEY *signing = conf->issuer != NULL ? conf->issuer->key : key;

    if (alg == NULL)
        CM_TRY(cm_sigalg_for_key(key, conf->signature, &alg, err));
    if (x == NULL || X509_set_version(x, X509_VERSION_3) != 1 || X509_set_pubkey(x, key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't begin a certificate");
    CM_TRY(cm_certbuild_serial(x, err));
    CM_TRY(set_names(x, conf, plan, err));
    CM_TRY(cm_certbuild_time(X509_getm_notBefore(x), plan->not_before, err));
    CM_TRY(cm_certbuild_time(X509_getm_notAfter(x), plan->not_after, err));
    CM_TRY(cm_certbuild_constraints(x, true, conf->pathlen, err));
    CM_TRY(cm_certbuild_usage(x, CM_KU_KEY_CERT_SIGN | CM_KU_CRL_SIGN, err));
    CM_TRY(cm_certbuild_key_ids(x, conf->issuer, err));
    CM_TRY(cm_certbuild_sign(x, signing, alg, err));
    if (X509_verify(x, conf->issuer != NULL ? X509_get0_pubkey(cm_ca_x509(conf->issuer)) : key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the new certificate's signature does not verify");
    *out = CM_STEAL(x);
    return CM_OK;
}

static cm_err put_cert(X509 *x, const struct cm_ca *issuer, struct cm_writer *w, struct cm_error *err)
{
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());

    if (out == NULL || PEM_write_bio_X509(out, x) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the certificate");
    CM_TRY(cm_certbuild_drain(out, w, err));
    if (issuer != NULL)
        cm_put_span(w, cm_ca_chain_pem(issuer));
    if (!cm_writer_ok(w))
        CM_FAIL(err, CM_E_NOSPACE, "no room for the chain");
    return CM_OK;
}

/* PKCS#8 into memory that libcrypto wipes when it is freed. */
static cm_err put_key(EVP_PKEY *key, struct cm_span passphrase, struct cm_writer *w, struct cm_error *err)
{
    CM_AUTO(BIO) out = BIO_new(BIO_s_secmem());
    PKCS8_PRIV_KEY_INFO *plain = NULL;
    X509_ALGOR *pbe = NULL;
    X509_SIG *sealed = NULL;
    int ok = 0;

    if (out != NULL && passphrase.len == 0) {
        ok = PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
    } else if (out != NULL) {
        plain = EVP_PKEY2PKCS8(key);
        pbe = PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), PBKDF2_ROUNDS, NULL, 16, NULL, NID_hmacWithSHA256);
        if (plain != NULL && pbe != NULL)
            sealed = PKCS8_set0_pbe((const char *) passphrase.data, (int) passphrase.len, plain, pbe);
        if (sealed != NULL)
            pbe = NULL; /* sealed's now */
        ok = sealed != NULL && PEM_write_bio_PKCS8(out, sealed) == 1;
    }
    X509_SIG_free(sealed);
    X509_ALGOR_free(pbe);
    PKCS8_PRIV_KEY_INFO_free(plain);
    if (ok != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the CA key");
    return cm_certbuild_drain(out, w, err);
}

cm_err cm_cainit(const struct cm_cainit_conf *conf, struct cm_writer *cert_pem, struct cm_writer *key_pem,
                 struct cm_error *err)
{
    CM_AUTO(EVP_PKEY) key = NULL;
    CM_AUTO(X509) x = NULL;
    struct plan *plan = calloc(1, sizeof *plan);
    cm_err rc = CM_OK;

    if (plan == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory");
    rc = make_plan(conf, plan, err);
    if (rc == CM_OK)
        rc = make_key(plan->alg, &key, err);
    if (rc == CM_OK)
        rc = build(conf, plan, key, &x, err);
    free(plan);
    if (rc == CM_OK)
        rc = put_cert(x, conf->issuer, cert_pem, err);
    if (rc == CM_OK)
        rc = put_key(key, conf->passphrase, key_pem, err);
    if (rc != CM_OK)
        cm_secret_wipe(key_pem->data, key_pem->len);
    return rc;
}

cm_err cm_cainit_standin(const char *key, const char *signature, cm_when now, struct cm_ca **out,
                         struct cm_error *err)
{
    const struct cm_cainit_conf conf = {
        .key = key, .subject = "/CN=stand-in", .signature = signature, .pathlen = -1, .now = now
    };
    char cert[CM_CAINIT_CERT_MAX];
    struct cm_secret secret = { 0 };

    CM_TRY(cm_secret_init(&secret, CM_CAINIT_KEY_MAX, err));
    struct cm_writer c = cm_writer(cert, sizeof cert), k = cm_writer(secret.base, secret.cap);
    cm_err rc = cm_cainit(&conf, &c, &k, err);
    if (rc == CM_OK) {
        const struct cm_ca_conf open = { .cert_pem = cm_span(c.data, c.len),
                                         .key_pem = cm_span(k.data, k.len),
                                         .cert_name = "the stand-in",
                                         .key_name = "the stand-in's key",
                                         .signature = signature };
        rc = cm_ca_open(&open, out, err);
    }
    cm_secret_done(&secret);
    return rc;
}
