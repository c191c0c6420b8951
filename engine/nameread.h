#ifndef CM_ENGINE_NAMEREAD_H
#define CM_ENGINE_NAMEREAD_H

#include "engine/bytes.h"
#include "engine/err.h"

/* nameread.h - judges a Name and gives its RFC 4514 text.
 *
 *  Judged    structure and order of the SETs; no attribute twice in an RDN; per
 *            attribute the string types that RFC 5280 appendix A allows and its
 *            upper bound in characters; alphabets, UTF-8, no NUL or controls.
 *            Attributes unknown here: a string, or a BIT STRING.
 *  Text      what X509_NAME_print_ex(XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB)
 *            prints: last RDN first, UTF-8 kept. An attribute that libcrypto has
 *            no short name for is OID=#HEX.
 *  Limits    32 attributes.
 *  Errors    CM_E_INPUT; CM_E_NOSPACE when the text doesn't fit.
 */

/* name: the whole Name. text: where the text goes, or NULL to judge only. */
CM_MUST_CHECK cm_err cm_nameread(struct cm_span name, struct cm_writer *text, struct cm_error *err);
/* A Name without an RDN (30 00)? */
bool cm_nameread_empty(struct cm_span name);

#endif
