#include "engine/audit_impl.h"
#include "engine/nameread.h"

static void expect_hex(struct cm_auditor *a, const char *what, const char *row, struct cm_span actual)
{
    char text[CM_AUDIT_HEX_MAX];

    cm_audit_hex(actual, text);
    cm_audit_expect(a, what, row, text);
}

static void expect_digest(struct cm_auditor *a, const char *what, const char *row, const EVP_MD *md,
                          size_t len, struct cm_span of)
{
    uint8_t out[32];

    cm_audit_digest(a, md, of, out, len);
    expect_hex(a, what, row, cm_span(out, len));
}

/* ---- the certificate and its CA ---- */

/* authorityCertIssuer is one directoryName [4] around the CA's own issuer. */
static bool names_ca(const struct cm_auditor *a, const struct cm_certread *c)
{
    struct cm_span in = c->aki_issuer, name;

    return cm_derread_take(&in, CM_TAG_CONTEXT_IN(4), "", &name, NULL, NULL) == CM_OK && in.len == 0 &&
           cm_span_eq(name, a->ca.issuer) && cm_span_eq(c->aki_serial, a->ca.serial);
}

static void check_issuer(struct cm_auditor *a, const struct cm_certread *c)
{
    struct cm_error err = { 0 };

    if (!cm_span_eq(c->issuer, a->ca.subject))
        cm_audit_finding(a, "certificate: its issuer isn't the CA's subject, byte for byte");
    if (a->ca.ski.len > 0 && c->aki.len == 0)
        cm_audit_finding(a, "certificate: no authorityKeyIdentifier");
    else if (a->ca.ski.len > 0 && !cm_span_eq(c->aki, a->ca.ski))
        cm_audit_finding(a, "certificate: its authorityKeyIdentifier isn't the CA's subjectKeyIdentifier");
    if (c->aki_issuer.len > 0 && !names_ca(a, c))
        cm_audit_finding(a,
                         "certificate: its authorityKeyIdentifier names another certificate than the CA's");
    if (c->not_before.at < a->ca.not_before)
        cm_audit_finding(a, "certificate: its validity begins at %s, before the CA's", c->not_before.text);
    if (c->not_after.at > a->ca.not_after && !a->ev->facts.may_outlive_ca)
        cm_audit_finding(a, "certificate: outlives the CA: its validity ends at %s, after the CA's",
                         c->not_after.text);
    if (cm_sigver_check(a->sigver, c->sigalg, c->tbs, c->signature, &err) != CM_OK)
        cm_audit_finding(a, "certificate: %s", err.what);
}

/* ---- the certificate and its row ---- */

/* Big-endian, at most 20 octets, to decimal: at most 49 digits. Divides five 32-bit
 * limbs by 10^9 again and again. */
static void decimal(const uint8_t serial[20], char out[64])
{
    uint32_t limb[5], part[6];
    size_t parts = 0, left = 1;
    int len = 0;

    for (size_t i = 0; i < 5; i++)
        limb[i] = (uint32_t) serial[4 * i] << 24 | (uint32_t) serial[4 * i + 1] << 16 |
                  (uint32_t) serial[4 * i + 2] << 8 | serial[4 * i + 3];
    while (left != 0) {
        uint64_t rest = 0;
        left = 0;
        for (size_t i = 0; i < 5; i++) {
            rest = rest << 32 | limb[i];
            limb[i] = (uint32_t) (rest / 1000000000u);
            rest %= 1000000000u;
            left |= limb[i];
        }
        CM_ASSERT(parts < CM_COUNT(part)); /* 2^160 < 10^54 */
        part[parts++] = (uint32_t) rest;
    }
    len = snprintf(out, 64, "%u", part[--parts]);
    while (parts > 0)
        len += snprintf(out + len, 64 - (size_t) len, "%09u", part[--parts]);
}

static void check_subject(struct cm_auditor *a, const struct cm_certread *c)
{
    struct cm_writer w = cm_writer(a->subject, sizeof a->subject - 1);
    struct cm_error err = { 0 };

    if (cm_nameread(c->subject, &w, &err) != CM_OK) {
        cm_audit_finding(a, "subject: %s", err.what);
        return;
    }
    a->subject[w.len] = '\0';
    cm_audit_expect(a, "subject", a->ev->facts.subject, a->subject);
}

static void check_facts(struct cm_auditor *a, const struct cm_certread *c, const struct cm_audit_ids *ids)
{
    const struct cm_facts *row = &a->ev->facts;
    uint8_t key_id[20];
    char text[64];

    check_subject(a, c);
    if (row->san.data != NULL && !cm_span_eq(c->san, row->san))
        cm_audit_finding(a, "certificate: its subjectAltName isn't what was asked");
    expect_hex(a, "serial", row->serial, cm_span(ids->serial, sizeof ids->serial));
    decimal(ids->serial, text);
    cm_audit_expect(a, "serial_dec", row->serial_dec, text);
    cm_audit_expect(a, "key_alg", row->key_alg, c->key.alg->name);
    cm_audit_expect(a, "sig_alg", row->sig_alg, c->sigalg->name);
    expect_hex(a, "spki_sha256", row->spki_sha256, cm_span(ids->spki_sha256, sizeof ids->spki_sha256));
    cm_audit_expect(a, "not_before", row->not_before, c->not_before.text);
    cm_audit_expect(a, "not_after", row->not_after, c->not_after.text);

    cm_audit_digest(a, a->sha1, c->key.bits, key_id, sizeof key_id);
    if (c->ski.len > 0 && !cm_span_eq(c->ski, cm_span(key_id, sizeof key_id)))
        cm_audit_finding(a, "certificate: its subjectKeyIdentifier isn't the SHA-1 of its public key");
    else if (c->ski.len > 0)
        expect_hex(a, "ski", row->ski, c->ski);
    else
        cm_audit_expect(a, "ski", row->ski, NULL);
}

bool cm_audit_certificate(struct cm_auditor *a, struct cm_span leaf, struct cm_certread *c,
                          struct cm_audit_ids *ids)
{
    const struct cm_facts *row = &a->ev->facts;
    struct cm_error err = { 0 };

    expect_digest(a, "certificate_id", row->certificate_id, a->sha256, 32, leaf);
    expect_digest(a, "thumbprint_sha1", row->thumbprint_sha1, a->sha1, 20, leaf);
    if (cm_certread(leaf, c, &err) != CM_OK) {
        cm_audit_finding(a, "certificate: %s", err.what);
        return false;
    }
    memcpy(ids->serial + sizeof ids->serial - c->serial.len, c->serial.data, c->serial.len);
    cm_audit_digest(a, a->sha256, c->spki, ids->spki_sha256, sizeof ids->spki_sha256);
    check_issuer(a, c);
    check_facts(a, c, ids);
    return true;
}
