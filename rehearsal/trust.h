#ifndef CM_REHEARSAL_TRUST_H
#define CM_REHEARSAL_TRUST_H

#include "rehearsal/registry.h"

/* trust.h - the registered CAs as a directory that a TLS server looks issuers up in (OpenSSL's capath).
 *
 * Each CA is a file in OpenSSL's TRUSTED form, good for clients: so an intermediate is an anchor without its
 * root. New ones count at once; that one was removed, or is INACTIVE, is no matter of the handshake: the
 * judge refuses then.
 */
CM_MUST_CHECK cm_err cm_trust_write(struct cm_registry *r, const char *dir, struct cm_svc_error *no);

#endif
