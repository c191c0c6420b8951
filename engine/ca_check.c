#include "engine/ca_impl.h"
#include "engine/keyalg.h"

#include <openssl/core_names.h>
#include <openssl/objects.h>
#include <stdarg.h>

/* ca_check.c - the questions of cm_ca_check, one function each. */

/* "CA certificate ca.pem, certificate 2 (CN=Root): …" */
static cm_err fail_link(const struct cm_ca *ca, size_t i, struct cm_error *err, const char *where,
                        const char *fmt, ...) CM_PRINTF(5, 6);
static cm_err fail_link(const struct cm_ca *ca, size_t i, struct cm_error *err, const char *where,
                        const char *fmt, ...)
{
    char text[CM_ERROR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return cm_fail(err, CM_E_INPUT, where, "CA certificate %s, certificate %zu (%.100s): %s", ca->cert_name,
                   i + 1, ca->link[i].subject, text);
}
#define FAIL_LINK(ca, i, err, ...) return fail_link((ca), (i), (err), CM_HERE, __VA_ARGS__)

struct rfc3339 {
    char text[24];
};

static struct rfc3339 show(cm_when t)
{
    struct rfc3339 out = { "" };
    struct cm_writer w = cm_writer(out.text, sizeof out.text - 1);

    cm_put_rfc3339(&w, t);
    return out;
}

/* The first 16 hex digits of the SHA-256 of a public key, to tell two apart. */
static void fingerprint(EVP_PKEY *key, char out[17])
{
    uint8_t *der = NULL, digest[EVP_MAX_MD_SIZE];
    const int len = key != NULL ? i2d_PUBKEY(key, &der) : 0;
    struct cm_writer w = cm_writer(out, 16);

    if (len > 0 && EVP_Digest(der, (size_t) len, digest, NULL, EVP_sha256(), NULL) == 1)
        cm_put_hex(&w, digest, 8);
    out[w.len] = '\0';
    OPENSSL_free(der);
}

static cm_err check_match(const struct cm_ca *ca, struct cm_error *err)
{
    EVP_PKEY *public = X509_get0_pubkey(ca->link[0].x509);
    char of_cert[17], of_key[17];

    if (public == NULL)
        FAIL_LINK(ca, (size_t) 0, err, "its public key is of a kind that libcrypto doesn't know");
    if (EVP_PKEY_eq(public, ca->key) == 1)
        return CM_OK;
    fingerprint(public, of_cert);
    fingerprint(ca->key, of_key);
    CM_FAIL(
        err, CM_E_INPUT,
        "CA certificate %s and CA key %s don't belong together (SHA-256 of the public keys: %s… and %s…); "
        "name the key of this certificate, or put the CA's certificate first in the file",
        ca->cert_name, ca->key_name, of_cert, of_key);
}

static cm_err check_extensions(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    X509 *x = ca->link[i].x509;
    const uint32_t flags = X509_get_extension_flags(x);
    char oid[80] = "";

    if (X509_get_version(x) != X509_VERSION_3)
        FAIL_LINK(ca, i, err,
                  "it is X.509 v%ld and can't say that it is a CA; make one with: certmill ca init",
                  X509_get_version(x) + 1);
    for (int n = 0; n < X509_get_ext_count(x); n++) {
        X509_EXTENSION *ext = X509_get_ext(x, n);
        if (X509_EXTENSION_get_critical(ext) && !X509_supported_extension(ext)) {
            (void) OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(ext), 0);
            FAIL_LINK(ca, i, err, "its critical extension %s is unknown; validators will refuse the chain",
                      oid);
        }
    }
    if ((flags & EXFLAG_INVALID) != 0)
        FAIL_LINK(ca, i, err, "an extension can't be read, or stands there twice; have it issued anew");
    if ((flags & EXFLAG_BCONS) == 0)
        FAIL_LINK(ca, i, err, "it has no basicConstraints, so it is no CA; name a CA's certificate");
    if ((flags & EXFLAG_CA) == 0)
        FAIL_LINK(ca, i, err, "its basicConstraints say CA:FALSE; name a CA's certificate");
    if ((X509_get_key_usage(x) & KU_KEY_CERT_SIGN) == 0)
        FAIL_LINK(ca, i, err, "its keyUsage lacks keyCertSign, so it may not issue certificates");
    if (X509_NAME_entry_count(X509_get_subject_name(x)) == 0)
        FAIL_LINK(ca, i, err, "its subject is empty; a CA needs a name (RFC 5280 4.1.2.6)");
    return CM_OK;
}

static cm_err check_validity(const struct cm_ca *ca, size_t i, cm_when now, struct cm_error *err)
{
    const struct cm_ca_link *link = &ca->link[i];

    if (link->not_before > link->not_after)
        FAIL_LINK(ca, i, err, "it ends (%s) before it begins", show(link->not_after).text);
    if (now > link->not_after)
        FAIL_LINK(ca, i, err, "it expired at %s (this clock says %s); use one that is valid",
                  show(link->not_after).text, show(now).text);
    if (now < link->not_before)
        FAIL_LINK(ca, i, err, "it is not valid before %s (this clock says %s); wait, or set the clock",
                  show(link->not_before).text, show(now).text);
    return CM_OK;
}

static cm_err check_key(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    EVP_PKEY *key = X509_get0_pubkey(ca->link[i].x509);
    int is_explicit = 0;

    if (key == NULL)
        FAIL_LINK(ca, i, err, "its public key is damaged or of a kind that libcrypto doesn't know");
    if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
        if (EVP_PKEY_get_bits(key) < 2048)
            FAIL_LINK(ca, i, err, "its RSA key has %d bits; at least 2048 are needed",
                      EVP_PKEY_get_bits(key));
        return CM_OK;
    }
    if (cm_keyalg_find(cm_sigalg_key_name(key)) == NULL)
        FAIL_LINK(ca, i, err, "its key (%s) is neither on P-256, P-384 or P-521, nor RSA, nor Ed25519",
                  cm_sigalg_key_name(key));
    if (EVP_PKEY_is_a(key, "EC") &&
        (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) != 1 ||
         is_explicit != 0))
        FAIL_LINK(ca, i, err, "its key spells out its curve; RFC 5480 wants the curve's name");
    return CM_OK;
}

static cm_err check_digest(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    int md = NID_undef, pk = NID_undef;

    if (X509_get_signature_info(ca->link[i].x509, &md, &pk, NULL, NULL) != 1)
        FAIL_LINK(ca, i, err, "it is signed with %s, which libcrypto doesn't know",
                  OBJ_nid2ln(X509_get_signature_nid(ca->link[i].x509)));
    switch (md) {
    case NID_sha256:
    case NID_sha384:
    case NID_sha512:
    case NID_sha512_256:
    case NID_sha3_256:
    case NID_sha3_384:
    case NID_sha3_512:
        return CM_OK;
    case NID_undef:
        if (pk == NID_ED25519 || pk == NID_ED448)
            return CM_OK;
        break;
    default:
        break;
    }
    FAIL_LINK(ca, i, err, "it is signed with %s; SHA-256 or better is needed",
              OBJ_nid2ln(X509_get_signature_nid(ca->link[i].x509)));
}

static bool self_issued(const struct cm_ca *ca, size_t i)
{
    return (X509_get_extension_flags(ca->link[i].x509) & EXFLAG_SI) != 0;
}

/* Is certificate i signed with its own key? */
static bool self_signed(const struct cm_ca *ca, size_t i)
{
    return self_issued(ca, i) && X509_verify(ca->link[i].x509, X509_get0_pubkey(ca->link[i].x509)) == 1;
}

static cm_err check_order(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    X509 *x = ca->link[i].x509;
    const bool last = i + 1 == ca->count;
    int rc = X509_V_OK;

    for (size_t j = 0; j < i; j++)
        if (X509_cmp(ca->link[j].x509, x) == 0)
            FAIL_LINK(ca, i, err, "it is the same as certificate %zu; take one of them out", j + 1);
    if (last && self_issued(ca, i) && (X509_get_extension_flags(x) & EXFLAG_SS) != 0 && !self_signed(ca, i))
        FAIL_LINK(ca, i, err, "its signature with its own key is wrong; the file is damaged or forged");
    if (last)
        return CM_OK;
    if (self_signed(ca, i))
        FAIL_LINK(ca, i, err,
                  "it is a self-signed root, yet another certificate follows; end the chain here");

    rc = X509_check_issued(ca->link[i + 1].x509, x);
    if (rc != X509_V_OK)
        FAIL_LINK(ca, i, err,
                  "it was not issued by certificate %zu (%.100s): %s; order the file: CA, its issuer, …",
                  i + 2, ca->link[i + 1].subject, X509_verify_cert_error_string(rc));
    if (X509_verify(x, X509_get0_pubkey(ca->link[i + 1].x509)) != 1)
        FAIL_LINK(ca, i, err, "its signature is not by the key of certificate %zu (%.100s)", i + 2,
                  ca->link[i + 1].subject);
    return CM_OK;
}

/* How many CAs below certificate i count against its path length: self-issued
 * ones do not (RFC 5280 4.2.1.9). */
static long cas_below(const struct cm_ca *ca, size_t i)
{
    long count = 0;

    for (size_t j = 0; j < i; j++)
        count += !self_issued(ca, j);
    return count;
}

static cm_err check_path_length(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    const long max = X509_get_pathlen(ca->link[i].x509); /* -1: no limit */

    if (max >= 0 && cas_below(ca, i) > max)
        FAIL_LINK(ca, i, err, "its path length allows %ld CAs below it, here are %ld", max, cas_below(ca, i));
    return CM_OK;
}

/* Do the name constraints of certificate i admit the names of x? The rule of
 * libcrypto's own path validation, also for a host name in the CN where there is
 * no DNS name. */
static int names_verdict(const struct cm_ca *ca, size_t i, X509 *x, bool is_leaf)
{
    int rc = NAME_CONSTRAINTS_check(x, ca->link[i].names);

    if (rc == X509_V_OK && is_leaf) {
        GENERAL_NAMES *san = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
        bool has_dns = false;
        for (int n = 0; n < sk_GENERAL_NAME_num(san); n++)
            has_dns = has_dns || sk_GENERAL_NAME_value(san, n)->type == GEN_DNS;
        GENERAL_NAMES_free(san);
        if (!has_dns)
            rc = NAME_CONSTRAINTS_check_CN(x, ca->link[i].names);
    }
    return rc;
}

static cm_err check_names_within(const struct cm_ca *ca, size_t i, struct cm_error *err)
{
    for (size_t j = 0; j < i && ca->link[i].names != NULL; j++) {
        const int rc = self_issued(ca, j) ? X509_V_OK : names_verdict(ca, i, ca->link[j].x509, false);
        if (rc != X509_V_OK)
            FAIL_LINK(ca, i, err, "its name constraints exclude certificate %zu (%.100s): %s", j + 1,
                      ca->link[j].subject, X509_verify_cert_error_string(rc));
    }
    return CM_OK;
}

/* The pair at work once, before a million devices depend on it. */
static cm_err check_probe(const struct cm_ca *ca, struct cm_error *err)
{
    struct cm_signer *s = NULL;
    const struct cm_span probe = cm_span_str("certmill: does this key sign?");
    uint8_t sig[1024];
    size_t len = sizeof sig;
    cm_err rc = CM_OK;

    CM_TRY(cm_signer_open(ca, &s, err));
    if (cm_signer_max(s) > sizeof sig)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "CA key %s is too large: its signatures have %zu octets",
                     ca->key_name, cm_signer_max(s));
    if (rc == CM_OK)
        rc = cm_signer_sign(s, probe, sig, &len, err);
    if (rc == CM_OK)
        rc = cm_signer_verify(s, probe, cm_span(sig, len), err);
    cm_signer_close(s);
    return rc;
}

cm_err cm_ca_check(const struct cm_ca *ca, cm_when now, struct cm_error *err)
{
    CM_TRY(check_match(ca, err));
    for (size_t i = 0; i < ca->count; i++) {
        CM_TRY(check_extensions(ca, i, err));
        CM_TRY(check_validity(ca, i, now, err));
        CM_TRY(check_key(ca, i, err));
        CM_TRY(check_digest(ca, i, err));
    }
    for (size_t i = 0; i < ca->count; i++) {
        CM_TRY(check_order(ca, i, err));
        CM_TRY(check_path_length(ca, i, err));
        CM_TRY(check_names_within(ca, i, err));
    }
    return check_probe(ca, err);
}

cm_err cm_ca_check_subca(const struct cm_ca *ca, int pathlen, struct cm_error *err)
{
    for (size_t i = 0; i < ca->count; i++) {
        const long max = X509_get_pathlen(ca->link[i].x509);
        const long used = cas_below(ca, i);
        if (max < 0)
            continue;
        if (used + 1 > max)
            FAIL_LINK(ca, i, err,
                      "its path length (%ld) allows no further CA below certificate 1; use another issuer",
                      max);
        if (pathlen > max - used - 1)
            FAIL_LINK(ca, i, err, "its path length (%ld) leaves at most --pathlen %ld for the new CA", max,
                      max - used - 1);
    }
    return CM_OK;
}

static bool usage_allowed(const EXTENDED_KEY_USAGE *usage, const ASN1_OBJECT *wanted)
{
    for (int n = 0; n < sk_ASN1_OBJECT_num(usage); n++) {
        const ASN1_OBJECT *one = sk_ASN1_OBJECT_value(usage, n);
        if (OBJ_cmp(one, wanted) == 0 || OBJ_obj2nid(one) == NID_anyExtendedKeyUsage)
            return true;
    }
    return false;
}

static cm_err check_usage(const struct cm_ca *ca, size_t i, const EXTENDED_KEY_USAGE *leaf,
                          struct cm_error *err)
{
    char name[80] = "";

    for (int n = 0; n < sk_ASN1_OBJECT_num(leaf); n++) {
        const ASN1_OBJECT *wanted = sk_ASN1_OBJECT_value(leaf, n);
        if (usage_allowed(ca->link[i].usage, wanted))
            continue;
        (void) OBJ_obj2txt(name, sizeof name, wanted, 0);
        FAIL_LINK(ca, i, err,
                  "its extendedKeyUsage excludes the devices' %s; use another CA, or a profile without it",
                  name);
    }
    return CM_OK;
}

cm_err cm_ca_check_leaf(const struct cm_ca *ca, X509 *leaf, struct cm_error *err)
{
    EXTENDED_KEY_USAGE *usage = NULL;
    cm_err rc = CM_OK;

    /* Asking for the flags has libcrypto take the extensions in: before that
     * NAME_CONSTRAINTS_check sees no alternative names and lets everything pass. */
    if ((X509_get_extension_flags(leaf) & EXFLAG_INVALID) != 0)
        CM_FAIL(err, CM_E_INPUT,
                "the devices' certificate has an extension that can't be read; mend the profile");
    usage = X509_get_ext_d2i(leaf, NID_ext_key_usage, NULL, NULL);
    for (size_t i = 0; rc == CM_OK && i < ca->count; i++)
        if (ca->link[i].usage != NULL)
            rc = check_usage(ca, i, usage, err);
    EXTENDED_KEY_USAGE_free(usage);
    CM_TRY(rc);

    for (size_t i = 0; i < ca->count; i++) {
        const int verdict = ca->link[i].names != NULL ? names_verdict(ca, i, leaf, true) : X509_V_OK;
        if (verdict != X509_V_OK)
            FAIL_LINK(ca, i, err,
                      "its name constraints exclude the device's names: %s; use names that it permits",
                      X509_verify_cert_error_string(verdict));
    }
    return CM_OK;
}

bool cm_ca_constrains_names(const struct cm_ca *ca)
{
    for (size_t i = 0; i < ca->count; i++)
        if (ca->link[i].names != NULL)
            return true;
    return false;
}
