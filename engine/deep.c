#include "engine/deep_impl.h"

#include <openssl/pem.h>
#include <time.h>

enum { SAYING_MAX = 400 };

void cm_deep_say(struct cm_deep *d, const char *fmt, ...)
{
    char text[SAYING_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->report(d->arg, text);
}

void cm_deep_say_why(struct cm_deep *d, const char *what)
{
    struct cm_error err;

    (void) cm_fail(&err, CM_E_CRYPTO, CM_HERE, "%s", what);
    cm_deep_say(d, "%s", err.what);
}

/* What libcrypto's queue holds of refusals that were expected. */
static void drain(void)
{
    (void) cm_fail(NULL, CM_OK, CM_HERE, "nothing");
}

/* ---- the CA ---- */

static cm_err read_authority(struct cm_deep *d, struct cm_span ca_pem, struct cm_error *err)
{
    CM_AUTO(BIO) text = BIO_new_mem_buf(ca_pem.data, (int) ca_pem.len);
    X509 *x509 = NULL;

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for ca.pem");
    while (d->ca_count < CM_DEEP_CA_MAX && (x509 = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL)
        d->ca[d->ca_count++] = x509;
    if (d->ca_count == 0)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: libcrypto finds no certificate in it");
    drain();
    return CM_OK;
}

/* A store that trusts one certificate, whoever issued that. */
static X509_STORE *trust_in(X509 *anchor)
{
    CM_AUTO(X509_STORE) store = X509_STORE_new();

    if (store == NULL || X509_STORE_add_cert(store, anchor) != 1)
        return NULL;
    return CM_STEAL(store);
}

cm_err cm_deep_open(struct cm_span ca_pem, struct cm_deep **out, struct cm_error *err)
{
    struct cm_deep *d = calloc(1, sizeof *d);
    cm_err rc = CM_OK;

    if (d == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for libcrypto's opinion");
    rc = read_authority(d, ca_pem, err);
    if (rc == CM_OK) {
        d->trust = trust_in(d->ca[0]);
        d->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (d->trust == NULL || d->sha256 == NULL)
            rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "libcrypto can't be asked about certificates");
    }
    if (rc != CM_OK) {
        cm_deep_close(d);
        return rc;
    }
    *out = d;
    return CM_OK;
}

void cm_deep_close(struct cm_deep *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->ca_count; i++)
        X509_free(d->ca[i]);
    X509_STORE_free(d->trust);
    EVP_MD_free(d->sha256);
    free(d);
}

/* ---- chains ---- */

/* Goes on after every error, so that none hides another. */
struct verdict {
    struct cm_deep *deep;
    bool authority; /* only what stands above the leaf counts; else only the leaf */
};

static int take_verdict(int ok, X509_STORE_CTX *ctx)
{
    const struct verdict *v = X509_STORE_CTX_get_app_data(ctx);
    const int depth = X509_STORE_CTX_get_error_depth(ctx);

    const char *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));

    if (ok == 0 && v->authority && depth > 0)
        cm_deep_say(v->deep, "certificate %d: libcrypto: %s", depth, why);
    else if (ok == 0 && !v->authority && depth == 0)
        cm_deep_say(v->deep, "certificate: libcrypto: %s", why);
    return 1;
}

/* IGNORE_CRITICAL: profiles may have critical extensions that libcrypto doesn't know.
 * NO_CHECK_TIME gives way to a time that is set. */
static bool set_up(X509_STORE_CTX *ctx, const struct verdict *v, const ASN1_TIME *at)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    struct tm tm = { 0 };
    unsigned long flags = X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_IGNORE_CRITICAL;
    union {
        const struct verdict *in;
        void *out; /* which take_verdict doesn't write to either */
    } u = { .in = v };

    if (at == NULL || ASN1_TIME_to_tm(at, &tm) != 1)
        flags |= X509_V_FLAG_NO_CHECK_TIME;
    else
        X509_VERIFY_PARAM_set_time(param, timegm(&tm));
    X509_STORE_CTX_set_verify_cb(ctx, take_verdict);
    return X509_VERIFY_PARAM_set_flags(param, flags) == 1 && X509_STORE_CTX_set_app_data(ctx, u.out) == 1;
}

static void check_chain(struct cm_deep *d, X509 *leaf)
{
    CM_AUTO(X509_STORE_CTX) ctx = X509_STORE_CTX_new();
    const struct verdict v = { .deep = d };

    /* The signature is verified on the way: the anchor's key makes it or it fails. */
    if (ctx == NULL || X509_STORE_CTX_init(ctx, d->trust, leaf, NULL) != 1 ||
        !set_up(ctx, &v, X509_get0_notBefore(leaf)) || X509_verify_cert(ctx) < 0)
        cm_deep_say_why(d, "certificate: libcrypto couldn't validate it");
    drain();
}

/* libcrypto judges CAs only above something. This stands there, says that the CA
 * issued it, and is judged by nobody. */
static X509 *stand_in(const X509 *issuer)
{
    CM_AUTO(EVP_PKEY) key = EVP_EC_gen("P-256");
    CM_AUTO(X509) x509 = X509_new();

    if (key == NULL || x509 == NULL || X509_set_version(x509, X509_VERSION_3) != 1 ||
        X509_set_issuer_name(x509, X509_get_subject_name(issuer)) != 1 || X509_set_pubkey(x509, key) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x509), 0) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x509), 0) == NULL || X509_sign(x509, key, EVP_sha256()) == 0)
        return NULL;
    return CM_STEAL(x509);
}

void cm_deep_authority(struct cm_deep *d, cm_deep_report *report, void *arg)
{
    CM_AUTO(X509_STORE_CTX) ctx = X509_STORE_CTX_new();
    CM_AUTO(X509_STORE) store = trust_in(d->ca[d->ca_count - 1]);
    CM_AUTO(X509) below = stand_in(d->ca[0]);
    STACK_OF(X509) *between = sk_X509_new_null();
    const struct verdict v = { .deep = d, .authority = true };
    bool ready = ctx != NULL && store != NULL && below != NULL && between != NULL;

    d->report = report;
    d->arg = arg;
    for (size_t i = 0; ready && i + 1 < d->ca_count; i++)
        ready = sk_X509_push(between, d->ca[i]) > 0;
    if (!ready || X509_STORE_CTX_init(ctx, store, below, between) != 1 || !set_up(ctx, &v, NULL) ||
        X509_verify_cert(ctx) < 0)
        cm_deep_say_why(d, "libcrypto couldn't validate it");
    sk_X509_free(between); /* the certificates stay ours */
    drain();
}

/* ---- the bundle ---- */

/* The next certificate of the bundle: NULL at its end, and where libcrypto can't go on. */
static X509 *next_cert(struct cm_span *rest, bool der, BIO *text)
{
    const unsigned char *at = rest->data;

    if (!der)
        return PEM_read_bio_X509(text, NULL, NULL, NULL);
    X509 *x509 = rest->len > 0 ? d2i_X509(NULL, &at, (long) rest->len) : NULL;
    if (x509 != NULL)
        *rest = cm_span(at, rest->len - (size_t) (at - rest->data));
    return x509;
}

/* The leaf, and behind it exactly the CA's chain; NULL when there is none. The caller's. */
static X509 *read_bundle(struct cm_deep *d)
{
    const bool der = d->device->der;
    struct cm_span rest = d->device->chain;
    CM_AUTO(BIO) text = BIO_new_mem_buf(rest.data, (int) rest.len);
    CM_AUTO(X509) leaf = text != NULL ? next_cert(&rest, der, text) : NULL;
    size_t i = 0;

    if (leaf == NULL) {
        cm_deep_say_why(d, "certificate: libcrypto can't read it");
        return NULL;
    }
    for (;; i++) {
        CM_AUTO(X509) above = next_cert(&rest, der, text);
        if (above == NULL)
            break;
        if (i >= d->ca_count || X509_cmp(above, d->ca[i]) != 0) {
            cm_deep_say(d, "chain: libcrypto reads another certificate %zu than the CA chain's", i + 2);
            break;
        }
    }
    if (i < d->ca_count)
        cm_deep_say(d, "chain: libcrypto reads %zu of the CA chain's %zu certificates", i, d->ca_count);
    drain();
    return CM_STEAL(leaf);
}

/* For RSA that n is odd, without small factors and no prime; for EC that the point is on its curve. */
static void check_public(struct cm_deep *d, X509 *leaf)
{
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    CM_AUTO(EVP_PKEY_CTX) ctx = key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;

    if (ctx == NULL || EVP_PKEY_public_check(ctx) != 1)
        cm_deep_say_why(d, "certificate: libcrypto refuses its public key");
}

void cm_deep_check(struct cm_deep *d, const struct cm_deep_device *device, cm_deep_report *report, void *arg,
                   struct cm_audit_ids *ids)
{
    d->device = device;
    d->report = report;
    d->arg = arg;
    CM_AUTO(X509) leaf = read_bundle(d);
    if (leaf != NULL) {
        check_public(d, leaf);
        check_chain(d, leaf);
        cm_deep_encode_anew(d, leaf);
    }
    if (device->key.len > 0)
        cm_deep_key(d, leaf, ids);
    d->device = NULL;
}
