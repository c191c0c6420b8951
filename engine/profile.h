#ifndef CM_ENGINE_PROFILE_H
#define CM_ENGINE_PROFILE_H

#include "engine/keyalg.h"
#include "engine/pattern.h"
#include "engine/sigalg.h"

#include <openssl/conf.h>

/* profile.h - what a certificate shall say, in OpenSSL's configuration syntax.
 *
 * A [profile] section names extension sections, one for all keys or one for a
 * key family, whose lines are those of x509v3_config(5). Placeholders may stand
 * in any value: before libcrypto reads the text each one is replaced by a mark,
 * which the template compiler finds again in the encoded extension.
 *
 *   [profile]       description, subject, san, days, keys, signatures,
 *                   id_characters, registry (whose rules the devices are held to,
 *                   which is for the caller), extensions, extensions_ec,
 *                   extensions_rsa, extensions_ed25519
 *
 *  Ownership  cm_profile_close frees it; strings returned are borrowed.
 *  Threads    read-only after open; NCONF and X509V3 are used by one thread.
 */
enum { CM_PROFILE_MARKS = 32, CM_MARK_LEN = 12, CM_PROFILE_TEXT_MAX = 65536 };

struct cm_profile {
    char name[64];
    CONF *conf;
    const struct cm_columns *columns;                         /* of the device list, borrowed; NULL: none */
    struct cm_piece mark[CM_PROFILE_MARKS];                   /* what each mark stands for */
    char mark_text[CM_PROFILE_MARKS][CM_COLUMN_NAME_MAX + 3]; /* as the user wrote it: "{seq:08}" */
    size_t marks;
    uint32_t days; /* 0: none said */
};

/* name is for messages and the manifest; columns may be NULL. CM_E_INPUT with the line for an unknown
 * key of [profile], and the nearest known one; for an unknown placeholder; for
 * what libcrypto's parser refuses. */
CM_MUST_CHECK cm_err cm_profile_open(const char *name, struct cm_span text, const struct cm_columns *columns,
                                     struct cm_profile **out, struct cm_error *err);
void cm_profile_close(struct cm_profile *p); /* NULL accepted */

/* A value of [profile] with its placeholders back in place; NULL when absent. */
CM_MUST_CHECK cm_err cm_profile_pattern(const struct cm_profile *p, const char *key, char *buf, size_t cap,
                                        const char **out, struct cm_error *err);
/* The extension section for keys of this family; NULL: the profile has none. */
const char *cm_profile_section(const struct cm_profile *p, enum cm_keyfam family);
/* Whose rules the devices are held to ("aws-iot"); NULL: nobody's. */
const char *cm_profile_registry(const struct cm_profile *p);
/* Refuses a key algorithm or a CA signature that the profile does not list. */
CM_MUST_CHECK cm_err cm_profile_check(const struct cm_profile *p, const struct cm_keyalg *key,
                                      const struct cm_sigalg *sig, struct cm_error *err);
/* Refuses an id with a character outside id_characters. */
CM_MUST_CHECK cm_err cm_profile_check_id(const struct cm_profile *p, struct cm_span id, struct cm_error *err);

/* Replaces each placeholder of text by a mark, registering new ones. The result
 * is malloced, the caller's to free. */
CM_MUST_CHECK cm_err cm_profile_mark(struct cm_profile *p, const char *text, char **out,
                                     struct cm_error *err);
/* The mark at the start of these octets: its index, or -1. */
int cm_profile_mark_at(const struct cm_profile *p, const uint8_t *data, size_t len);

#endif
