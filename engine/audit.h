#ifndef CM_ENGINE_AUDIT_H
#define CM_ENGINE_AUDIT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

#include <stdarg.h>
#include <stdbool.h>

/* audit.h - judges one device from what was read back.
 *
 * An independent, strict reader: nothing here shares code with the writer
 * (template, keyenc, pem, row). Certificates and keys are parsed by certread.c
 * and keyread.c, signatures and key pairs are checked by libcrypto with
 * long-lived contexts.
 *
 *  Threads   a cm_auditor belongs to one thread.
 *  Cost      one signature verification and one key-pair check per device.
 *  Keys      encrypted ones (EncryptedPrivateKeyInfo, CMS) can't be opened: that is said
 *            in cm_audit_ids, and is no finding.
 */

/* What the manifest row says, already parsed; strings as in the row. */
struct cm_facts {
    const char *device_id;
    const char *subject;        /* RFC 4514 */
    const char *certificate_id; /* lowercase hex, as all below */
    const char *ca_certificate_id;
    const char *serial;
    const char *serial_dec;
    const char *key_alg;
    const char *sig_alg;
    const char *spki_sha256;
    const char *ski; /* NULL: the certificate has none */
    const char *thumbprint_sha1;
    const char *not_before; /* RFC 3339 UTC */
    const char *not_after;
    const char *chain_xxh3;
    const char *chain_sha256;
    const char *key_xxh3; /* NULL, and key empty: the run wrote no keys */
    const char *key_sha256;
    struct cm_span san;  /* what subjectAltName must hold: GeneralNames; data NULL: not known */
    bool der;            /* --encoding der: no PEM around */
    bool may_outlive_ca; /* --allow-outlive-ca was said */
};

struct cm_evidence {
    struct cm_facts facts;
    struct cm_span chain; /* the bundle as stored: leaf, then the CA chain */
    struct cm_span key;   /* the key as stored; empty when there is none */
};

/* Called once for each thing that is wrong with the device. */
typedef void cm_audit_report(void *arg, const struct cm_evidence *ev, const char *what);

/* For finding what occurs twice; zeros: there is none. And what wasn't judged. */
struct cm_audit_ids {
    uint8_t serial[20]; /* left-padded with zeros */
    uint8_t spki_sha256[32];
    uint8_t prime_sha256[2][32]; /* of an RSA key's p and q; by a deep audit only */
    bool key_encrypted;          /* only the digests of the key were compared: it can't be opened */
};

struct cm_auditor;
/* ca_pem: the fleet's ca.pem (CA first, then the chain above it), checked here. */
CM_MUST_CHECK cm_err cm_auditor_open(struct cm_span ca_pem, struct cm_auditor **out, struct cm_error *err);
/* From now on libcrypto's own opinion is asked too (deep.h), which takes some
 * ten times as long, and a thousand times with RSA keys. */
CM_MUST_CHECK cm_err cm_auditor_deepen(struct cm_auditor *a, struct cm_error *err);
/* Judges one device; every finding goes to report. Returns how many there
 * were. ids is filled as far as certificate and key could be parsed. */
unsigned cm_audit(struct cm_auditor *a, const struct cm_evidence *ev, cm_audit_report *report, void *arg,
                  struct cm_audit_ids *ids);
void cm_auditor_close(struct cm_auditor *a); /* NULL accepted */

#endif
