#ifndef CM_ENGINE_DEEP_H
#define CM_ENGINE_DEEP_H

#include "engine/audit.h"

/* deep.h - a second opinion on one device: libcrypto reads everything again.
 *
 * audit.h's own reader is strict and fast; this one shares nothing with it and is slow.
 *
 *  Certificate  libcrypto's PEM or DER reader takes the bundle apart; what it has
 *               understood, encoded anew field by field, is the same octets; a chain is
 *               built to the CA with X509_V_FLAG_X509_STRICT at the leaf's notBefore.
 *  Key          libcrypto's reader opens it and would write the same file; it is the
 *               certificate's; a signature made with it verifies with the certificate.
 *               EC and Ed25519: EVP_PKEY_check, which has the scalar in [1, n-1] and
 *               the public point on its curve, and made by the scalar.
 *  RSA          by our own arithmetic: FIPS 186-5 A.1.1 and A.1.3, CRT values, and both
 *               primes by BN_check_prime (deep_rsa.c). The primes' SHA-256 goes out, so
 *               that a prime that two devices share can be found.
 *
 *  Threads   a cm_deep belongs to one thread.
 *  Cost      some 1.5 ms a device, some 40 ms with an RSA-2048 key.
 *  Secrets   libcrypto's decoders leave copies of what they decode in freed memory:
 *            for a process without core dumps that reads and ends.
 *  Errors    what is wrong with a device is reported, also when libcrypto fails.
 */
struct cm_deep;

/* Called once for each finding; begins with "certificate:", "chain:" or "key:". */
typedef void cm_deep_report(void *arg, const char *what);

struct cm_deep_device {
    struct cm_span chain; /* as stored */
    struct cm_span leaf;  /* its first certificate's DER, as the other reader has it; empty: it has none */
    struct cm_span key;   /* as stored; empty: none, or none that can be opened */
    bool der;             /* --encoding der: no PEM around */
};

/* ca_pem: the fleet's ca.pem, which libcrypto must be able to read. */
CM_MUST_CHECK cm_err cm_deep_open(struct cm_span ca_pem, struct cm_deep **out, struct cm_error *err);
/* What libcrypto's strict validation says of the CA's own chain, whatever the time. */
void cm_deep_authority(struct cm_deep *d, cm_deep_report *report, void *arg);
/* Judges one device. ids: only the primes are filled. */
void cm_deep_check(struct cm_deep *d, const struct cm_deep_device *device, cm_deep_report *report, void *arg,
                   struct cm_audit_ids *ids);
void cm_deep_close(struct cm_deep *d); /* NULL accepted */

#endif
