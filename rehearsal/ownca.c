#include "rehearsal/ownca.h"

#include "engine/ossl.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PEM_MAX = 4096, DAYS = 30, DAY = 86400 };

struct cm_ownca {
    X509 *ca, *server, *watcher;
    EVP_PKEY *ca_key, *watcher_key;
    int server_key; /* a memfd */
    struct cm_writer ca_pem, server_pem;
    uint8_t pem[2][PEM_MAX];
};

static cm_err set_serial(X509 *x, struct cm_error *err)
{
    uint8_t serial[16];
    CM_AUTO(BIGNUM) bn = NULL;

    if (RAND_bytes(serial, sizeof serial) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "no random numbers");
    serial[0] = (uint8_t) ((serial[0] & 0x7f) | 1);
    bn = BN_bin2bn(serial, sizeof serial, NULL);
    if (bn == NULL || BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "can't set the serial number");
    return CM_OK;
}

static cm_err set_extension(X509 *x, X509 *issuer, const char *name, const char *value, struct cm_error *err)
{
    X509V3_CTX ctx;
    CM_AUTO(X509_EXTENSION) ext = NULL;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    ext = X509V3_EXT_conf(NULL, &ctx, name, value);
    if (ext == NULL || X509_add_ext(x, ext, -1) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't add the extension %s", name);
    return CM_OK;
}

struct extension {
    const char *name, *value;
};

static const struct extension ca_extensions[] = {
    { "basicConstraints", "critical,CA:TRUE,pathlen:0" },
    { "keyUsage", "critical,keyCertSign,cRLSign" },
    { "subjectKeyIdentifier", "hash" },
};
static const struct extension server_extensions[] = {
    { "basicConstraints", "critical,CA:FALSE" }, { "keyUsage", "critical,digitalSignature" },
    { "extendedKeyUsage", "serverAuth" },        { "subjectAltName", "DNS:localhost,IP:127.0.0.1" },
    { "subjectKeyIdentifier", "hash" },          { "authorityKeyIdentifier", "keyid" },
};
static const struct extension watcher_extensions[] = {
    { "basicConstraints", "critical,CA:FALSE" }, { "keyUsage", "critical,digitalSignature" },
    { "extendedKeyUsage", "clientAuth" },        { "subjectKeyIdentifier", "hash" },
    { "authorityKeyIdentifier", "keyid" },
};

/* issuer NULL: itself. */
static cm_err make_certificate(const char *cn, cm_when now, const struct extension *ext, size_t exts,
                               EVP_PKEY *key, X509 *issuer, EVP_PKEY *signer, X509 **out,
                               struct cm_error *err)
{
    CM_AUTO(X509) x = X509_new();
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;

    if (x == NULL || X509_set_version(x, X509_VERSION_3) != 1 ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) cn, -1, -1, 0) != 1 ||
        X509_set_issuer_name(x, issuer != NULL ? X509_get_subject_name(issuer) : name) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(x), (time_t) (now - DAY)) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(x), (time_t) (now + (cm_when) DAYS * DAY)) == NULL ||
        X509_set_pubkey(x, key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't make the certificate of %s", cn);
    CM_TRY(set_serial(x, err));
    for (size_t i = 0; i < exts; i++)
        CM_TRY(set_extension(x, issuer != NULL ? issuer : x, ext[i].name, ext[i].value, err));
    if (X509_sign(x, signer, EVP_sha256()) == 0)
        CM_FAIL(err, CM_E_CRYPTO, "can't sign the certificate of %s", cn);
    *out = CM_STEAL(x);
    return CM_OK;
}

static cm_err make_key(EVP_PKEY **out, struct cm_error *err)
{
    *out = EVP_EC_gen("P-256");
    if (*out == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "making a P-256 key failed");
    return CM_OK;
}

static cm_err put_pem(X509 *x, struct cm_writer *w, struct cm_error *err)
{
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    char *text = NULL;

    if (bio == NULL || PEM_write_bio_X509(bio, x) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode a certificate");
    const long len = BIO_get_mem_data(bio, &text);
    cm_put(w, text, (size_t) len);
    CM_ASSERT(cm_writer_ok(w));
    return CM_OK;
}

static cm_err keep_server_key(struct cm_ownca *own, EVP_PKEY *key, struct cm_error *err)
{
    own->server_key = memfd_create("broker.key", MFD_CLOEXEC);
    if (own->server_key < 0)
        CM_FAIL(err, CM_E_IO, "can't make a file in memory for the broker's key");
    CM_AUTO(BIO) bio = BIO_new_fd(own->server_key, BIO_NOCLOSE);
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the broker's key");
    return CM_OK;
}

static cm_err make_all(struct cm_ownca *own, cm_when now, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY) server_key = NULL;

    CM_TRY(make_key(&own->ca_key, err));
    CM_TRY(make_key(&server_key, err));
    CM_TRY(make_key(&own->watcher_key, err));
    CM_TRY(make_certificate("certmill rehearsal", now, ca_extensions, CM_COUNT(ca_extensions), own->ca_key,
                            NULL, own->ca_key, &own->ca, err));
    CM_TRY(make_certificate("localhost", now, server_extensions, CM_COUNT(server_extensions), server_key,
                            own->ca, own->ca_key, &own->server, err));
    CM_TRY(make_certificate("rule", now, watcher_extensions, CM_COUNT(watcher_extensions), own->watcher_key,
                            own->ca, own->ca_key, &own->watcher, err));
    CM_TRY(put_pem(own->ca, &own->ca_pem, err));
    CM_TRY(put_pem(own->server, &own->server_pem, err));
    return keep_server_key(own, server_key, err);
}

cm_err cm_ownca_make(cm_when now, struct cm_ownca **out, struct cm_error *err)
{
    struct cm_ownca *own = calloc(1, sizeof *own);

    if (own == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the rehearsal's own CA");
    own->server_key = -1;
    own->ca_pem = cm_writer(own->pem[0], PEM_MAX);
    own->server_pem = cm_writer(own->pem[1], PEM_MAX);
    const cm_err rc = make_all(own, now, err);
    if (rc != CM_OK) {
        cm_ownca_free(own);
        return rc;
    }
    *out = own;
    return CM_OK;
}

void cm_ownca_free(struct cm_ownca *own)
{
    if (own == NULL)
        return;
    if (own->server_key >= 0)
        (void) close(own->server_key);
    X509_free(own->ca);
    X509_free(own->server);
    X509_free(own->watcher);
    EVP_PKEY_free(own->ca_key);
    EVP_PKEY_free(own->watcher_key);
    free(own);
}

struct cm_span cm_ownca_pem(const struct cm_ownca *own)
{
    return cm_span(own->ca_pem.data, own->ca_pem.len);
}

struct cm_span cm_ownca_server_pem(const struct cm_ownca *own)
{
    return cm_span(own->server_pem.data, own->server_pem.len);
}

int cm_ownca_server_key(const struct cm_ownca *own)
{
    return own->server_key;
}

X509 *cm_ownca_x509(const struct cm_ownca *own)
{
    return own->ca;
}

X509 *cm_ownca_watcher(const struct cm_ownca *own)
{
    return own->watcher;
}

EVP_PKEY *cm_ownca_watcher_key(const struct cm_ownca *own)
{
    return own->watcher_key;
}
