#ifndef CM_ENGINE_AUDIT_H
#define CM_ENGINE_AUDIT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

#include <stdarg.h>

/* audit.h - judges one device from what was read back.
 *
 * An independent, strict reader: nothing here shares code with the writer
 * (template, keyenc, pem, row). Certificates and keys are parsed by certread.c
 * and keyread.c, signatures and key pairs are checked by libcrypto with
 * long-lived contexts.
 *
 *  Threads   a cm_auditor belongs to one thread.
 *  Cost      one signature verification and one key-pair check per device.
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

/* Digests for finding a serial or public key that occurs twice. */
struct cm_audit_ids {
    uint8_t serial[20]; /* left-padded with zeros */
    uint8_t spki_sha256[32];
};

struct cm_auditor;
/* ca_pem: the fleet's ca.pem (CA first, then the chain above it), checked here. */
CM_MUST_CHECK cm_err cm_auditor_open(struct cm_span ca_pem, struct cm_auditor **out, struct cm_error *err);
/* Judges one device; every finding goes to report. Returns how many there
 * were. ids is filled when the certificate could be parsed, zeroed otherwise. */
unsigned cm_audit(struct cm_auditor *a, const struct cm_evidence *ev, cm_audit_report *report, void *arg,
                  struct cm_audit_ids *ids);
void cm_auditor_close(struct cm_auditor *a); /* NULL accepted */

#endif
