#ifndef CM_ENGINE_AUDIT_IMPL_H
#define CM_ENGINE_AUDIT_IMPL_H

#include "engine/audit.h"
#include "engine/audit_ca.h"
#include "engine/certread.h"
#include "engine/deep.h"
#include "engine/keymatch.h"
#include "engine/secret.h"
#include "engine/sigver.h"

/* audit_impl.h - the inside of an auditor: for audit.c (bundle, key, order of the
 * questions) and audit_cert.c (the certificate against its CA and its row) only. */
enum { CM_AUDIT_CERT_MAX = 32 << 10, CM_AUDIT_SUBJECT_MAX = 4096, CM_AUDIT_HEX_MAX = 2 * 32 + 1 };

struct cm_auditor {
    struct cm_audit_ca ca;
    char ca_id[CM_AUDIT_HEX_MAX];
    struct cm_sigver *sigver;
    struct cm_keymatch *keymatch;
    struct cm_deep *deep; /* NULL: not asked for */
    EVP_MD *sha1, *sha256;
    EVP_MD_CTX *md_ctx;
    struct cm_secret key;            /* a decoded private key; wiped after each device */
    uint8_t leaf[CM_AUDIT_CERT_MAX]; /* the decoded device certificate */
    uint8_t other[CM_AUDIT_CERT_MAX];
    char subject[CM_AUDIT_SUBJECT_MAX];

    /* the device at hand */
    const struct cm_evidence *ev;
    cm_audit_report *report;
    void *arg;
    unsigned found;
};

void cm_audit_finding(struct cm_auditor *a, const char *fmt, ...) CM_PRINTF(2, 3);
/* Zeros when libcrypto fails, which no digest is, so that the comparison then fails. */
void cm_audit_digest(struct cm_auditor *a, const EVP_MD *md, struct cm_span s, uint8_t *out, size_t len);
/* At most 32 octets, with a NUL. */
void cm_audit_hex(struct cm_span s, char out[CM_AUDIT_HEX_MAX]);
/* A fact of the row against what the certificate says; NULL: it has none. */
void cm_audit_expect(struct cm_auditor *a, const char *what, const char *row, const char *actual);

/* Everything about the certificate itself. True: *c then holds it, and *ids is filled. */
bool cm_audit_certificate(struct cm_auditor *a, struct cm_span leaf, struct cm_certread *c,
                          struct cm_audit_ids *ids);

#endif
