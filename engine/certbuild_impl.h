#ifndef CM_ENGINE_CERTBUILD_IMPL_H
#define CM_ENGINE_CERTBUILD_IMPL_H

#include "engine/ossl.h"
#include "engine/ca.h"

/* certbuild_impl.h - the parts of a certificate that is built by libcrypto's own X509 calls, one at a time: a
 * CA's (cainit.c), a single one below a CA (issue.c). Errors: CM_E_CRYPTO, with what could not be done. */

/* 20 random octets, the first 01-7f. */
CM_MUST_CHECK cm_err cm_certbuild_serial(X509 *x, struct cm_error *err);
CM_MUST_CHECK cm_err cm_certbuild_time(ASN1_TIME *field, cm_when t, struct cm_error *err);
CM_MUST_CHECK cm_err cm_certbuild_extension(X509 *x, int nid, void *value, bool critical,
                                            struct cm_error *err);
/* Critical basicConstraints; pathlen -1: no limit. */
CM_MUST_CHECK cm_err cm_certbuild_constraints(X509 *x, bool is_ca, int pathlen, struct cm_error *err);
/* Critical keyUsage; bits as in certread.h. */
CM_MUST_CHECK cm_err cm_certbuild_usage(X509 *x, unsigned bits, struct cm_error *err);
/* SKI by method 1 of the key that x has, AKI with the issuer's key identifier (NULL: x's own). */
CM_MUST_CHECK cm_err cm_certbuild_key_ids(X509 *x, const struct cm_ca *issuer, struct cm_error *err);
CM_MUST_CHECK cm_err cm_certbuild_sign(X509 *x, EVP_PKEY *key, const struct cm_sigalg *alg,
                                       struct cm_error *err);
/* A memory BIO's contents, to the end of w; CM_E_NOSPACE. */
CM_MUST_CHECK cm_err cm_certbuild_drain(BIO *from, struct cm_writer *w, struct cm_error *err);

#endif
