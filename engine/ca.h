#ifndef CM_ENGINE_CA_H
#define CM_ENGINE_CA_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/sigalg.h"
#include "engine/when.h"

#include <openssl/types.h>

/* ca.h - the issuing CA: its chain, its key, its signer.
 *
 *  Ownership  cm_ca_open makes it, cm_ca_close frees it (NULL accepted); what
 *             the getters return is borrowed and lives as long as the CA.
 *  Threads    a cm_ca is constant after cm_ca_check; any thread may read it.
 *             A cm_signer belongs to one thread.
 *  Secrets    the private key stays inside libcrypto; the key PEM that was
 *             passed in is the caller's to wipe.
 *  Limits     CM_CA_CHAIN_MAX certificates.
 */
enum { CM_CA_CHAIN_MAX = 16 };

struct cm_ca;

/* Asks for the passphrase of the CA key: writes at most cap bytes, returns the
 * length, or -1 when there is none to be had (err is set then). Called at most
 * once for a key. */
typedef int cm_passphrase_fn(void *arg, char *buf, size_t cap, struct cm_error *err);

struct cm_ca_conf {
    struct cm_span cert_pem; /* the CA's certificate first, then the chain above it */
    struct cm_span key_pem;  /* PKCS#8 or traditional, encrypted or not */
    const char *cert_name;   /* how messages call the two: their paths */
    const char *key_name;
    const char *signature; /* a sigalg name, or NULL: the key's default */
    cm_passphrase_fn *passphrase;
    void *passphrase_arg;
};

CM_MUST_CHECK cm_err cm_ca_open(const struct cm_ca_conf *conf, struct cm_ca **out, struct cm_error *err);
void cm_ca_close(struct cm_ca *ca);

/* Everything that must hold before the first key is made, judged at time `now`:
 * certificate and key match; every certificate of the chain in its validity,
 * v3, CA:TRUE (basicConstraints present), keyCertSign (where keyUsage is
 * present), signed with SHA-256 or better, RSA keys of at least 2048 bits, EC
 * keys on P-256/P-384/P-521; the chain in order (each one issued, and its
 * signature verified, by the next; nothing twice; nothing after a self-signed
 * root); path lengths respected with one leaf below the first certificate; no
 * critical extension that libcrypto does not know; and the key signs what the
 * certificate's key verifies. CM_E_INPUT names the file, which certificate in it
 * (1 is the CA) and its subject, the reason, and what to do. */
CM_MUST_CHECK cm_err cm_ca_check(const struct cm_ca *ca, cm_when now, struct cm_error *err);
/* Would a device certificate with these facts pass under this CA? `leaf` is an
 * unsigned certificate built from the template: extended key usages of the
 * chain must allow the leaf's, name constraints of the chain its names. */
CM_MUST_CHECK cm_err cm_ca_check_leaf(const struct cm_ca *ca, X509 *leaf, struct cm_error *err);
/* Does any certificate of the chain carry name constraints? Then every device
 * must go through cm_ca_check_leaf, not the first only. */
bool cm_ca_constrains_names(const struct cm_ca *ca);

/* May one more CA stand below this one, with path length `pathlen` of its own (-1:
 * none asked for)? CM_E_INPUT says which certificate of the chain forbids it. */
CM_MUST_CHECK cm_err cm_ca_check_subca(const struct cm_ca *ca, int pathlen, struct cm_error *err);

struct cm_span cm_ca_subject_der(const struct cm_ca *ca); /* the Name, copied byte for byte */
struct cm_span cm_ca_key_id(const struct cm_ca *ca);      /* SKI; SHA-1 of the key where it has none */
bool cm_ca_has_ski(const struct cm_ca *ca);
struct cm_span cm_ca_chain_pem(const struct cm_ca *ca);   /* CA first, canonical PEM, no text around */
struct cm_span cm_ca_chain_der(const struct cm_ca *ca);   /* the same, DER after DER */
const char *cm_ca_certificate_id(const struct cm_ca *ca); /* lowercase hex SHA-256 of the CA's DER */
const char *cm_ca_subject_text(const struct cm_ca *ca);   /* RFC 4514 */
cm_when cm_ca_not_before(const struct cm_ca *ca);         /* the latest of the chain */
cm_when cm_ca_not_after(const struct cm_ca *ca);          /* the earliest of the chain */
const struct cm_sigalg *cm_ca_sigalg(const struct cm_ca *ca);
X509 *cm_ca_x509(const struct cm_ca *ca);           /* borrowed */
size_t cm_ca_chain_count(const struct cm_ca *ca);   /* certificates, the CA's own included */
const char *cm_ca_key_type(const struct cm_ca *ca); /* a row of the keyalg table by name: "P-256" */

/* One thread's signer, with its own long-lived libcrypto contexts. */
struct cm_signer;
CM_MUST_CHECK cm_err cm_signer_open(const struct cm_ca *ca, struct cm_signer **out, struct cm_error *err);
/* The largest signature it makes, in bytes (DER for ECDSA). */
size_t cm_signer_max(const struct cm_signer *s);
/* Signs tbs. *sig_len: the room on entry, the length on return. CM_E_CRYPTO. */
CM_MUST_CHECK cm_err cm_signer_sign(struct cm_signer *s, struct cm_span tbs, uint8_t *sig, size_t *sig_len,
                                    struct cm_error *err);
/* Checks a signature with the public key out of the CA's certificate. */
CM_MUST_CHECK cm_err cm_signer_verify(struct cm_signer *s, struct cm_span tbs, struct cm_span sig,
                                      struct cm_error *err);
void cm_signer_close(struct cm_signer *s); /* NULL accepted */

#endif
