#ifndef CM_ENGINE_PEMREAD_H
#define CM_ENGINE_PEMREAD_H

#include "engine/bytes.h"
#include "engine/err.h"

/* pemread.h - strict PEM, the auditor's own: RFC 7468's "stricttextualmsg" with
 * lines of exactly 64 characters but for the last, LF, and nothing around.
 *
 *  Canonical  one text for one content: the padding is right and the bits that
 *             it leaves over are zero.
 *  Secrets    decodes without a branch or a table look-up on the content; what
 *             was decoded before an error stays in out: the caller wipes it.
 *  Errors     CM_E_INPUT; messages never quote the content.
 */

/* Does text begin with the BEGIN line of this label? */
bool cm_pemread_is(struct cm_span text, const char *label);
/* Takes one block off the front of *text and decodes it into out (cap octets). */
CM_MUST_CHECK cm_err cm_pemread_next(struct cm_span *text, const char *label, uint8_t *out, size_t cap,
                                     size_t *len, struct cm_error *err);

#endif
