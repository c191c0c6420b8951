#ifndef CM_ENGINE_DERREAD_H
#define CM_ENGINE_DERREAD_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

/* derread.h - a strict DER cursor: the auditor's own, independent of the writer.
 *
 * Everything is a view into the input: nothing is copied or allocated. `in` is
 * what is left of a container; each call takes one element off its front. `what`
 * names the element in messages.
 *
 *  Strict    definite lengths in the fewest octets, tag numbers below 31, INTEGERs
 *            and OBJECT IDENTIFIERs minimal, padding bits zero, TRUE = ff.
 *  Safe      for arbitrary bytes; an element is at most 16 MiB.
 *  Threads   no state.
 *  Errors    CM_E_INPUT; *in and the outputs are then unspecified. Messages never
 *            quote content, so keys may be read with it.
 */
enum cm_derread_tag {
    CM_TAG_BOOLEAN = 0x01,
    CM_TAG_INTEGER = 0x02,
    CM_TAG_BIT_STRING = 0x03,
    CM_TAG_OCTET_STRING = 0x04,
    CM_TAG_NULL = 0x05,
    CM_TAG_OID = 0x06,
    CM_TAG_ENUMERATED = 0x0a,
    CM_TAG_UTF8 = 0x0c,
    CM_TAG_NUMERIC = 0x12,
    CM_TAG_PRINTABLE = 0x13,
    CM_TAG_IA5 = 0x16,
    CM_TAG_UTCTIME = 0x17,
    CM_TAG_GENERALIZEDTIME = 0x18,
    CM_TAG_VISIBLE = 0x1a,
    CM_TAG_SEQUENCE = 0x30,
    CM_TAG_SET = 0x31,
};
#define CM_TAG_CONTEXT(n) ((uint8_t) (0x80 | (n)))    /* [n] primitive */
#define CM_TAG_CONTEXT_IN(n) ((uint8_t) (0xa0 | (n))) /* [n] constructed */

/* The next element whatever its tag. whole: tag, length and content; either output may be NULL. */
CM_MUST_CHECK cm_err cm_derread_any(struct cm_span *in, const char *what, uint8_t *tag,
                                    struct cm_span *content, struct cm_span *whole, struct cm_error *err);
/* The next element, which must have this tag. Both outputs may be NULL. */
CM_MUST_CHECK cm_err cm_derread_take(struct cm_span *in, uint8_t tag, const char *what,
                                     struct cm_span *content, struct cm_span *whole, struct cm_error *err);
/* Is there a next element, and has it this tag? */
bool cm_derread_is(struct cm_span in, uint8_t tag);
/* The container must be used up. */
CM_MUST_CHECK cm_err cm_derread_end(struct cm_span in, const char *what, struct cm_error *err);

/* An INTEGER that isn't negative: its octets without the leading zero (zero is one octet 00). */
CM_MUST_CHECK cm_err cm_derread_uint(struct cm_span *in, const char *what, struct cm_span *magnitude,
                                     struct cm_error *err);
/* An INTEGER that must have this value, 0..127: versions. */
CM_MUST_CHECK cm_err cm_derread_version(struct cm_span *in, const char *what, uint8_t value,
                                        struct cm_error *err);
/* A BOOLEAN DEFAULT FALSE: absent is false, and FALSE must not be written. */
CM_MUST_CHECK cm_err cm_derread_flag(struct cm_span *in, const char *what, bool *value, struct cm_error *err);
/* A BIT STRING; unused: how many bits of the last octet are padding (they are zero). */
CM_MUST_CHECK cm_err cm_derread_bits(struct cm_span *in, const char *what, struct cm_span *bits,
                                     unsigned *unused, struct cm_error *err);
/* A BIT STRING of whole octets. */
CM_MUST_CHECK cm_err cm_derread_octet_bits(struct cm_span *in, const char *what, struct cm_span *octets,
                                           struct cm_error *err);
CM_MUST_CHECK cm_err cm_derread_oid(struct cm_span *in, const char *what, struct cm_span *oid,
                                    struct cm_error *err);

/* A Time: RFC 5280 4.1.2.5. The text is made from the digits themselves. */
struct cm_derread_time {
    cm_when at;
    char text[21]; /* 2027-01-31T00:00:00Z */
};
CM_MUST_CHECK cm_err cm_derread_time(struct cm_span *in, const char *what, struct cm_derread_time *out,
                                     struct cm_error *err);

/* Does the content of a character string hold its type's characters only, and no
 * control character? chars: how many characters (not octets). For other tags: no. */
CM_MUST_CHECK cm_err cm_derread_string(uint8_t tag, struct cm_span content, const char *what, size_t *chars,
                                       struct cm_error *err);
/* der must be exactly one element, strict all the way down (at most 16 levels). */
CM_MUST_CHECK cm_err cm_derread_check(struct cm_span der, const char *what, struct cm_error *err);

#endif
