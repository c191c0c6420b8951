#include "engine/audit.h"
#include "engine/audit_impl.h"
#include "engine/ossl.h"
#include "engine/pemread.h"
#include "engine/xxh.h"

enum { KEY_MAX = 4096, FINDING_MAX = 640 };

/* ---- what audit_cert.c uses too ---- */

void cm_audit_finding(struct cm_auditor *a, const char *fmt, ...)
{
    char text[FINDING_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *c = text; *c != '\0'; c++) /* a damaged row may hold anything */
        if ((unsigned char) *c < 0x20 || *c == 0x7f)
            *c = '?';
    a->found++;
    a->report(a->arg, a->ev, text);
}

void cm_audit_digest(struct cm_auditor *a, const EVP_MD *md, struct cm_span s, uint8_t *out, size_t len)
{
    if (EVP_DigestInit_ex2(a->md_ctx, md, NULL) != 1 || EVP_DigestUpdate(a->md_ctx, s.data, s.len) != 1 ||
        EVP_DigestFinal_ex(a->md_ctx, out, NULL) != 1)
        memset(out, 0, len);
}

void cm_audit_hex(struct cm_span s, char out[CM_AUDIT_HEX_MAX])
{
    struct cm_writer w = cm_writer(out, CM_AUDIT_HEX_MAX - 1);

    cm_put_hex(&w, s.data, s.len);
    CM_ASSERT(cm_writer_ok(&w));
    out[w.len] = '\0';
}

void cm_audit_expect(struct cm_auditor *a, const char *what, const char *row, const char *actual)
{
    if (row == NULL && actual == NULL)
        return;
    if (row == NULL)
        cm_audit_finding(a, "%s: the row has none, the certificate has %.200s", what, actual);
    else if (actual == NULL)
        cm_audit_finding(a, "%s: the row says \"%.200s\", the certificate has none", what, row);
    else if (strcmp(row, actual) != 0)
        cm_audit_finding(a, "%s: the row says \"%.200s\", the certificate \"%.200s\"", what, row, actual);
}

/* ---- the bytes and the bundle ---- */

/* The stored bytes against the row's two digests of them. */
static void check_stored(struct cm_auditor *a, const char *what, struct cm_span s, const char *xxh3,
                         const char *sha256)
{
    uint8_t fast[16], slow[32];
    char text[CM_AUDIT_HEX_MAX];

    cm_xxh128(s.data, s.len, fast);
    cm_audit_hex(cm_span(fast, sizeof fast), text);
    if (xxh3 == NULL || strcmp(text, xxh3) != 0)
        cm_audit_finding(a, "%s: its XXH3 is %s, the row says \"%.64s\"", what, text,
                         xxh3 != NULL ? xxh3 : "");
    cm_audit_digest(a, a->sha256, s, slow, sizeof slow);
    cm_audit_hex(cm_span(slow, sizeof slow), text);
    if (sha256 == NULL || strcmp(text, sha256) != 0)
        cm_audit_finding(a, "%s: its SHA-256 is %s, the row says \"%.64s\"", what, text,
                         sha256 != NULL ? sha256 : "");
}

/* Takes the next certificate off *rest: a view into it (DER) or decoded into room. */
static cm_err next_cert(struct cm_span *rest, bool der, uint8_t room[CM_AUDIT_CERT_MAX], struct cm_span *cert,
                        struct cm_error *err)
{
    size_t len = 0;

    if (der)
        return cm_derread_take(rest, CM_TAG_SEQUENCE, "certificate", NULL, cert, err);
    CM_TRY(cm_pemread_next(rest, "CERTIFICATE", room, CM_AUDIT_CERT_MAX, &len, err));
    *cert = cm_span(room, len);
    return CM_OK;
}

/* What stands behind the leaf isn't the CA chain: says where the two part. */
static void explain_chain(struct cm_auditor *a, struct cm_span rest)
{
    struct cm_error err = { 0 };
    struct cm_span cert;
    size_t i = 0;

    for (; rest.len > 0; i++) {
        if (next_cert(&rest, a->ev->facts.der, a->other, &cert, &err) != CM_OK) {
            cm_audit_finding(a, "chain: certificate %zu: %s", i + 2, err.what);
            return;
        }
        if (i == a->ca.count) {
            cm_audit_finding(a, "chain: goes on after the leaf and the CA chain's %zu", a->ca.count);
            return;
        }
        if (!cm_span_eq(cert, a->ca.cert[i])) {
            cm_audit_finding(a, "chain: certificate %zu isn't certificate %zu of ca.pem", i + 2, i + 1);
            return;
        }
    }
    cm_audit_finding(a, "chain: ends after %zu of the CA chain's %zu certificates", i, a->ca.count);
}

/* Judges the bundle; *leaf: the device's certificate, empty when there is none to be had. */
static void check_bundle(struct cm_auditor *a, struct cm_span *leaf)
{
    const bool der = a->ev->facts.der;
    struct cm_span rest = a->ev->chain;
    struct cm_error err = { 0 };

    if (next_cert(&rest, der, a->leaf, leaf, &err) != CM_OK) {
        *leaf = cm_span(NULL, 0);
        cm_audit_finding(a, "chain: certificate 1: %s", err.what);
        return;
    }
    /* Both texts are canonical, so the chains are equal when they are. */
    if (!cm_span_eq(rest, der ? a->ca.der : a->ca.pem))
        explain_chain(a, rest);
    for (size_t i = 0; i < a->ca.count; i++)
        if (cm_span_eq(*leaf, a->ca.cert[i])) {
            cm_audit_finding(a, "chain: begins with certificate %zu of ca.pem, not with the device's", i + 1);
            *leaf = cm_span(NULL, 0);
            return;
        }
}

/* ---- the key ---- */

/* The key's DER: a view into the evidence, or decoded into the auditor's secret memory. */
static cm_err open_key(struct cm_auditor *a, struct cm_span *der, enum cm_keyread_form *form,
                       struct cm_error *err)
{
    static const enum cm_keyread_form forms[] = { CM_KEYREAD_SEC1, CM_KEYREAD_PKCS1 };
    struct cm_span rest = a->ev->key;
    size_t len = 0;

    if (a->ev->facts.der) {
        *der = rest;
        *form = cm_keyread_guess(rest);
        return CM_OK;
    }
    *form = CM_KEYREAD_PKCS8;
    for (size_t i = 0; i < CM_COUNT(forms); i++)
        if (cm_pemread_is(rest, cm_keyread_label(forms[i])))
            *form = forms[i];
    CM_TRY(cm_pemread_next(&rest, cm_keyread_label(*form), a->key.base, KEY_MAX, &len, err));
    *der = cm_span(a->key.base, len);
    return cm_derread_end(rest, "PEM", err);
}

/* EncryptedPrivateKeyInfo, RFC 5958 3: an AlgorithmIdentifier and an OCTET STRING. Or
 * ContentInfo, RFC 5652 3: one of PKCS#7's OIDs and a [0]. A damaged PKCS#8 is neither. */
static bool is_encrypted_der(struct cm_span der)
{
    static const char pkcs7[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x07";
    struct cm_span in, id, oid;

    if (cm_derread_take(&der, CM_TAG_SEQUENCE, "", &in, NULL, NULL) != CM_OK || der.len > 0)
        return false;
    if (cm_derread_is(in, CM_TAG_SEQUENCE))
        return cm_derread_take(&in, CM_TAG_SEQUENCE, "", &id, NULL, NULL) == CM_OK &&
               cm_derread_oid(&id, "", &oid, NULL) == CM_OK &&
               cm_derread_take(&in, CM_TAG_OCTET_STRING, "", NULL, NULL, NULL) == CM_OK && in.len == 0;
    return cm_derread_oid(&in, "", &oid, NULL) == CM_OK && oid.len == sizeof pkcs7 &&
           memcmp(oid.data, pkcs7, sizeof pkcs7 - 1) == 0 &&
           cm_derread_take(&in, CM_TAG_CONTEXT_IN(0), "", NULL, NULL, NULL) == CM_OK && in.len == 0;
}

static bool is_encrypted(const struct cm_auditor *a)
{
    const struct cm_span key = a->ev->key;

    if (a->ev->facts.der)
        return is_encrypted_der(key);
    return cm_pemread_is(key, "ENCRYPTED PRIVATE KEY") || cm_pemread_is(key, "CMS");
}

/* c: the certificate, or NULL when it couldn't be read. */
static void check_key(struct cm_auditor *a, const struct cm_certread *c)
{
    enum cm_keyread_form form = CM_KEYREAD_PKCS8;
    struct cm_keyread_priv priv;
    struct cm_error err = { 0 };
    struct cm_span der;

    if (open_key(a, &der, &form, &err) != CM_OK || cm_keyread_priv(der, form, &priv, &err) != CM_OK) {
        cm_audit_finding(a, "key: %s", err.what);
        return;
    }
    if (c == NULL)
        return;
    if (cm_keymatch_check(a->keymatch, &priv, &c->key, &err) != CM_OK)
        cm_audit_finding(a, "key: %s", err.what);
    if (priv.alg == c->key.alg && priv.point.len > 0 && !cm_span_eq(priv.point, c->key.bits))
        cm_audit_finding(a, "key: the public key that is stored in it isn't the certificate's");
}

/* What can be said of the certificate's key without the private one. */
static void check_public(struct cm_auditor *a, const struct cm_certread *c)
{
    struct cm_error err = { 0 };

    if (c != NULL && cm_keymatch_public(a->keymatch, &c->key, &err) != CM_OK)
        cm_audit_finding(a, "certificate: %s", err.what);
}

static void check_key_or_none(struct cm_auditor *a, const struct cm_certread *c, struct cm_audit_ids *ids)
{
    const struct cm_facts *row = &a->ev->facts;
    const bool listed = row->key_xxh3 != NULL || row->key_sha256 != NULL;

    if (a->ev->key.len == 0) {
        if (listed)
            cm_audit_finding(a, "key: the row lists one, but none is stored");
        check_public(a, c);
        return;
    }
    if (listed)
        check_stored(a, "key", a->ev->key, row->key_xxh3, row->key_sha256);
    else
        cm_audit_finding(a, "key: one is stored, but the row lists none");
    ids->key_encrypted = is_encrypted(a);
    if (ids->key_encrypted) {
        check_public(a, c);
        return;
    }
    check_key(a, c);
    cm_secret_wipe(a->key.base, a->key.cap);
}

static void take_deep(void *arg, const char *what)
{
    cm_audit_finding(arg, "%s", what);
}

static void ask_deep(struct cm_auditor *a, struct cm_span leaf, struct cm_audit_ids *ids)
{
    const struct cm_deep_device device = { .chain = a->ev->chain,
                                           .leaf = leaf,
                                           .key = ids->key_encrypted ? cm_span(NULL, 0) : a->ev->key,
                                           .der = a->ev->facts.der };

    cm_deep_check(a->deep, &device, take_deep, a, ids);
}

/* ---- the auditor ---- */

unsigned cm_audit(struct cm_auditor *a, const struct cm_evidence *ev, cm_audit_report *report, void *arg,
                  struct cm_audit_ids *ids)
{
    struct cm_certread c;
    struct cm_span leaf;
    bool readable = false;

    *ids = (struct cm_audit_ids) { 0 };
    a->ev = ev;
    a->report = report;
    a->arg = arg;
    a->found = 0;
    check_stored(a, "chain", ev->chain, ev->facts.chain_xxh3, ev->facts.chain_sha256);
    cm_audit_expect(a, "ca_certificate_id", ev->facts.ca_certificate_id, a->ca_id);
    check_bundle(a, &leaf);
    if (leaf.len > 0)
        readable = cm_audit_certificate(a, leaf, &c, ids);
    check_key_or_none(a, readable ? &c : NULL, ids);
    if (a->deep != NULL)
        ask_deep(a, leaf, ids);
    a->ev = NULL;
    return a->found;
}

static cm_err open_contexts(struct cm_auditor *a, struct cm_span ca_pem, struct cm_error *err)
{
    uint8_t id[32];

    a->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    a->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    a->md_ctx = EVP_MD_CTX_new();
    if (a->sha1 == NULL || a->sha256 == NULL || a->md_ctx == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto has no SHA-1 or SHA-256");
    CM_TRY(cm_audit_ca_init(&a->ca, ca_pem, err));
    cm_audit_digest(a, a->sha256, a->ca.cert[0], id, sizeof id);
    cm_audit_hex(cm_span(id, sizeof id), a->ca_id);
    CM_TRY(cm_sigver_open(X509_get0_pubkey(a->ca.x509), &a->sigver, err));
    CM_TRY(cm_keymatch_open(&a->keymatch, err));
    return cm_secret_init(&a->key, KEY_MAX, err);
}

cm_err cm_auditor_open(struct cm_span ca_pem, struct cm_auditor **out, struct cm_error *err)
{
    struct cm_auditor *a = calloc(1, sizeof *a);

    if (a == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for an auditor");
    const cm_err rc = open_contexts(a, ca_pem, err);
    if (rc != CM_OK) {
        cm_auditor_close(a);
        return rc;
    }
    *out = a;
    return CM_OK;
}

cm_err cm_auditor_deepen(struct cm_auditor *a, struct cm_error *err)
{
    CM_ASSERT(a->deep == NULL);
    return cm_deep_open(a->ca.pem, &a->deep, err);
}

void cm_auditor_close(struct cm_auditor *a)
{
    if (a == NULL)
        return;
    cm_deep_close(a->deep);
    cm_secret_done(&a->key);
    cm_keymatch_close(a->keymatch);
    cm_sigver_close(a->sigver);
    cm_audit_ca_done(&a->ca);
    EVP_MD_CTX_free(a->md_ctx);
    EVP_MD_free(a->sha256);
    EVP_MD_free(a->sha1);
    free(a);
}
