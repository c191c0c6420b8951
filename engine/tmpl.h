#ifndef CM_ENGINE_TMPL_H
#define CM_ENGINE_TMPL_H

#include "engine/der.h"
#include "engine/pattern.h"

/* tmpl.h - the to-be-signed certificate as a program of tokens.
 *
 * Compiled once per run, run once per certificate: literals are copied, slots
 * filled, and because der.h works from the end to the front the lengths around
 * a slot ripple up by themselves. Slots may stand anywhere: in the subject, in
 * the SAN, in any extension, nested however deep.
 *
 *  Building   cm_tmpl_open/close pair up like brackets; cm_tmpl_seal folds
 *             everything constant into literals. Fields remember which text
 *             goes where, so that cm_tmpl_check can refuse a device's values
 *             before a key is made for it.
 *  Threads    sealed: constant, shared by all workers.
 *  Limits     CM_TMPL_TOKENS and CM_TMPL_LITERALS; beyond: CM_E_LIMIT at seal.
 */
enum cm_slot { CM_SLOT_SERIAL, CM_SLOT_SPKI, CM_SLOT_SKI };

/* Which characters a field may hold (X.680 41, RFC 5280 4.2.1.6). */
enum cm_charset {
    CM_CHARS_ANY,
    CM_CHARS_UTF8,
    CM_CHARS_PRINTABLE,
    CM_CHARS_IA5,
    CM_CHARS_DNS,
    CM_CHARS_EMAIL,
    CM_CHARS_URI
};

struct cm_field {
    char label[48]; /* for messages: "CN of the subject" */
    struct cm_pattern text;
    enum cm_charset charset;
    uint32_t min, max; /* in characters (code points) */
};

struct cm_tmpl;

/* What one certificate needs besides the texts. */
struct cm_tmpl_input {
    const struct cm_values *values;
    struct cm_span serial; /* the INTEGER's contents */
    struct cm_span spki;   /* DER */
    struct cm_span ski;    /* 20 octets */
};

CM_MUST_CHECK cm_err cm_tmpl_new(struct cm_tmpl **out, struct cm_error *err);
void cm_tmpl_free(struct cm_tmpl *t); /* NULL accepted */

void cm_tmpl_literal(struct cm_tmpl *t, const void *der, size_t len);
void cm_tmpl_open(struct cm_tmpl *t, uint8_t tag);
void cm_tmpl_close(struct cm_tmpl *t);
void cm_tmpl_slot(struct cm_tmpl *t, enum cm_slot slot);
/* The contents of a string type; the caller opens and closes its tag. */
void cm_tmpl_field(struct cm_tmpl *t, const struct cm_field *field);
CM_MUST_CHECK cm_err cm_tmpl_seal(struct cm_tmpl *t, struct cm_error *err);

/* What is wrong with a text in that place; NULL: nothing. *chars: its length in characters. */
const char *cm_tmpl_text_fault(enum cm_charset set, struct cm_span s, size_t *chars);
/* Do these values fit every field? CM_E_INPUT names the field and the reason. */
CM_MUST_CHECK cm_err cm_tmpl_check(const struct cm_tmpl *t, const struct cm_values *v, struct cm_error *err);
/* Writes the TBSCertificate in front of what d holds; look at cm_der_ok after. */
void cm_tmpl_emit(const struct cm_tmpl *t, const struct cm_tmpl_input *in, struct cm_der *d);
bool cm_tmpl_uses(const struct cm_tmpl *t, enum cm_slot slot);

#endif
