#ifndef CM_ENGINE_CERTREAD_H
#define CM_ENGINE_CERTREAD_H

#include "engine/derread.h"
#include "engine/keyread.h"
#include "engine/sigalg.h"

/* certread.h - reads one device certificate, strictly and independently of the writer.
 *
 * Judges what can be seen in the certificate alone: DER, RFC 5280's profile, the
 * upper bounds of X.520. Whether it belongs to a CA, a key and a row is audit.h's
 * question. Of the issuer's name only the frame is read: it has to be a copy of the
 * CA's, whatever that is.
 *
 *  Ownership  everything found is a view into the input.
 *  Safe       for arbitrary bytes. No state, no allocation.
 *  Errors     CM_E_INPUT, the first thing that is wrong; *out is then unspecified.
 */

/* Bits of cm_certread.key_usage: bit n of RFC 5280 4.2.1.3 is 1 << n. */
enum {
    CM_KU_DIGITAL_SIGNATURE = 1 << 0,
    CM_KU_KEY_ENCIPHERMENT = 1 << 2,
    CM_KU_DATA_ENCIPHERMENT = 1 << 3,
    CM_KU_KEY_CERT_SIGN = 1 << 5,
    CM_KU_CRL_SIGN = 1 << 6,
};

struct cm_certread {
    struct cm_span tbs;    /* what is signed */
    struct cm_span serial; /* without a leading zero: 1 to 20 octets */
    const struct cm_sigalg *sigalg;
    struct cm_span issuer;  /* the whole Name */
    struct cm_span subject; /* the whole Name */
    struct cm_derread_time not_before, not_after;
    struct cm_span spki; /* the whole SubjectPublicKeyInfo */
    struct cm_keyread_pub key;
    struct cm_span signature;

    struct cm_span ski;        /* empty: no such extension, as below */
    struct cm_span aki;        /* keyIdentifier */
    struct cm_span aki_issuer; /* authorityCertIssuer: the GeneralNames' content */
    struct cm_span aki_serial; /* authorityCertSerialNumber, without a leading zero */
    struct cm_span san;        /* subjectAltName: the GeneralNames' content */
    unsigned key_usage;        /* 0: no such extension */
    bool has_basic;            /* basicConstraints; it then says CA:FALSE */
    bool has_eku, has_san, san_critical;
};

/* der must be exactly one certificate. */
CM_MUST_CHECK cm_err cm_certread(struct cm_span der, struct cm_certread *out, struct cm_error *err);

#endif
