#include "tests/t_device.h"
#include "engine/xxh.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <time.h>

void t_hex(const uint8_t *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        (void) snprintf(out + 2 * i, 3, "%02x", data[i]);
}

static void put_digest(const char *name, struct cm_span s, char *out)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    size_t len = 0;

    cr_assert_eq(EVP_Q_digest(NULL, name, NULL, s.data, s.len, md, &len), 1);
    t_hex(md, len, out);
}

void t_rehash(struct t_device *d)
{
    uint8_t fast[16];

    cm_xxh128(d->chain.data, d->chain.len, fast);
    t_hex(fast, sizeof fast, d->chain_xxh3);
    put_digest("SHA256", t_span(&d->chain), d->chain_sha256);
    cm_xxh128(d->key.data, d->key.len, fast);
    t_hex(fast, sizeof fast, d->key_xxh3);
    put_digest("SHA256", t_span(&d->key), d->key_sha256);
    d->ev.chain = t_span(&d->chain);
    d->ev.key = t_span(&d->key);
}

static void put_names(X509 *leaf, struct t_device *d)
{
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    CM_AUTO(BIGNUM) serial = ASN1_INTEGER_to_BN(X509_get_serialNumber(leaf), NULL);
    char *text = NULL, *dec = BN_bn2dec(serial);
    uint8_t octets[20];

    cr_assert_geq(
        X509_NAME_print_ex(bio, X509_get_subject_name(leaf), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB), 0);
    const int len = (int) BIO_get_mem_data(bio, &text);
    (void) snprintf(d->subject, sizeof d->subject, "%.*s", len, text);
    (void) snprintf(d->serial_dec, sizeof d->serial_dec, "%s", dec);
    OPENSSL_free(dec);
    cr_assert_eq(BN_bn2binpad(serial, octets, 20), 20);
    t_hex(octets, 20, d->serial);
}

static void put_time(const ASN1_TIME *time, char *out)
{
    struct tm tm;

    cr_assert_eq(ASN1_TIME_to_tm(time, &tm), 1);
    cr_assert_eq(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm), 20);
}

void t_store_leaf(struct t_device *d, struct cm_span leaf, const struct t_ca *ca)
{
    d->chain.len = 0;
    if (d->der)
        t_add(&d->chain, leaf.data, leaf.len);
    else
        t_pem("CERTIFICATE", leaf, 64, &d->chain);
    if (d->der)
        for (int i = 0; i < 2; i++)
            t_add(&d->chain, ca->der[i].data, ca->der[i].len);
    else
        t_add(&d->chain, ca->pem.data, ca->pem.len);
    put_digest("SHA256", leaf, d->certificate_id);
    put_digest("SHA1", leaf, d->thumbprint_sha1);
    t_rehash(d);
}

void t_store_key(struct t_device *d, EVP_PKEY *key, bool traditional)
{
    static const char *const labels[] = { "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY" };
    const bool ec = EVP_PKEY_is_a(key, "EC") == 1, rsa = EVP_PKEY_is_a(key, "RSA") == 1;
    const char *label = labels[!traditional ? 0 : ec ? 1 : rsa ? 2 : 0];
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;

    const int len = label == labels[0] ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : i2d_PrivateKey(key, &der);
    cr_assert_gt(len, 0);
    d->key.len = 0;
    if (d->der)
        t_add(&d->key, der, (size_t) len);
    else
        t_pem(label, cm_span(der, (size_t) len), 64, &d->key);
    PKCS8_PRIV_KEY_INFO_free(p8);
    OPENSSL_free(der);
    t_rehash(d);
}

void t_make_row(struct t_device *d, X509 *leaf, const struct t_ca *ca, const char *key_alg)
{
    unsigned char *spki = NULL;
    const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(leaf);

    put_names(leaf, d);
    put_time(X509_get0_notBefore(leaf), d->not_before);
    put_time(X509_get0_notAfter(leaf), d->not_after);
    put_digest("SHA256", cm_span(spki, (size_t) len), d->spki_sha256);
    put_digest("SHA256", t_span(&ca->der[0]), d->ca_certificate_id);
    t_hex(ASN1_STRING_get0_data(ski), (size_t) ASN1_STRING_length(ski), d->ski);
    OPENSSL_free(spki);
    d->ev.facts = (struct cm_facts) {
        .device_id = "SN-0001",
        .subject = d->subject,
        .certificate_id = d->certificate_id,
        .ca_certificate_id = d->ca_certificate_id,
        .serial = d->serial,
        .serial_dec = d->serial_dec,
        .key_alg = key_alg,
        .sig_alg = ca->sig->name,
        .spki_sha256 = d->spki_sha256,
        .ski = d->ski,
        .thumbprint_sha1 = d->thumbprint_sha1,
        .not_before = d->not_before,
        .not_after = d->not_after,
        .chain_xxh3 = d->chain_xxh3,
        .chain_sha256 = d->chain_sha256,
        .key_xxh3 = d->key_xxh3,
        .key_sha256 = d->key_sha256,
        .der = d->der,
    };
}

void t_make_device(struct t_device *d, const struct t_ca *ca, X509 *leaf, EVP_PKEY *key, const char *key_alg,
                   bool der, bool traditional)
{
    static struct t_blob whole;
    unsigned char *at = whole.data;

    d->der = der;
    whole.len = (size_t) i2d_X509(leaf, &at);
    t_make_row(d, leaf, ca, key_alg);
    t_store_leaf(d, t_span(&whole), ca);
    t_store_key(d, key, traditional);
}

/* ---- findings ---- */

struct t_findings t_seen;

static void note(void *arg, const struct cm_evidence *ev, const char *what)
{
    struct t_findings *f = arg;
    const size_t used = strlen(f->text);

    cr_assert_str_eq(ev->facts.device_id, "SN-0001");
    (void) snprintf(f->text + used, sizeof f->text - used, "%s\n", what);
    f->count++;
}

unsigned t_audit(struct cm_auditor *a, const struct t_device *d, struct cm_audit_ids *ids)
{
    struct cm_audit_ids unused;

    t_seen = (struct t_findings) { 0 };
    const unsigned n = cm_audit(a, &d->ev, note, &t_seen, ids != NULL ? ids : &unused);
    cr_assert_eq(n, t_seen.count);
    return n;
}

struct cm_auditor *t_open(const struct t_ca *ca)
{
    struct cm_auditor *a = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_auditor_open(t_span(&ca->pem), &a, &err), CM_OK, "%s", err.what);
    return a;
}

void t_expect_one(struct cm_auditor *a, const struct t_device *d, const char *words, const char *what)
{
    const unsigned n = t_audit(a, d, NULL);

    cr_expect_eq(n, 1, "%s: %u findings: %s", what, n, t_seen.text);
    cr_expect_not_null(strstr(t_seen.text, words), "%s: not \"%s\" but: %s", what, words, t_seen.text);
}

struct cm_span t_leaf_der(X509 *leaf)
{
    static struct t_blob der;
    unsigned char *at = der.data;

    cr_assert_leq(i2d_X509(leaf, NULL), T_BLOB_MAX);
    der.len = (size_t) i2d_X509(leaf, &at);
    return t_span(&der);
}
