#ifndef CM_REHEARSAL_OWNCA_H
#define CM_REHEARSAL_OWNCA_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

#include <openssl/types.h>

/* ownca.h - the rehearsal's own CA: it signs the broker's certificate, and that of whoever listens to the
 * events, as the rule does inside AWS IoT. Fresh P-256 keys at each rehearsal, trusted by nobody else, a few
 * days valid.
 *
 *  Ownership  make makes it, free frees it (NULL accepted); what the getters return lives as long.
 *  Secrets    the private keys stay in memory: the broker's is handed over as a descriptor of a file that has
 *             no name in any file system.
 *  Threads    constant after make.
 *  Errors     CM_E_CRYPTO, CM_E_IO, CM_E_NOMEM.
 */
struct cm_ownca;
CM_MUST_CHECK cm_err cm_ownca_make(cm_when now, struct cm_ownca **out, struct cm_error *err);
void cm_ownca_free(struct cm_ownca *own);

struct cm_span cm_ownca_pem(const struct cm_ownca *own);        /* of the CA */
struct cm_span cm_ownca_server_pem(const struct cm_ownca *own); /* the broker's: localhost, 127.0.0.1 */
int cm_ownca_server_key(const struct cm_ownca *own);            /* descriptor: its key in PEM */
X509 *cm_ownca_x509(const struct cm_ownca *own);
X509 *cm_ownca_watcher(const struct cm_ownca *own); /* who listens to the events */
EVP_PKEY *cm_ownca_watcher_key(const struct cm_ownca *own);

#endif
