#ifndef CM_ENGINE_NAME_H
#define CM_ENGINE_NAME_H

#include "engine/tmpl.h"

/* name.h - a subject as users write it: "/O=Acme/CN={id}".
 *
 * One attribute per RDN, in the order given. Attribute types are libcrypto's
 * short or long names or a dotted OID. Each value gets the string type that
 * RFC 5280 4.1.2.4 and X.520 want (UTF8String; PrintableString for C,
 * serialNumber and dnQualifier; IA5String for DC and emailAddress) and X.520's
 * bounds on its length. "\/", "\+" and "\\" stand for the character; "/" alone
 * is the empty name.
 */
enum { CM_NAME_ATTRS = 16, CM_NAME_TEXT = CM_PATTERN_OUT * 4 /* octets of a subject as text at most */ };

struct cm_name_attr {
    char label[40];  /* as RFC 4514 text names it: "CN", or the dotted OID */
    bool known;      /* false: RFC 4514 text is the OID and "#" hex */
    uint8_t oid[32]; /* DER, tag and length included */
    size_t oid_len;
    uint8_t tag; /* of the string type */
    struct cm_field field;
};

struct cm_name {
    struct cm_name_attr attr[CM_NAME_ATTRS];
    size_t count;
};

/* columns: NULL where there are none. */
CM_MUST_CHECK cm_err cm_name_parse(const char *text, const struct cm_columns *columns, struct cm_name *out,
                                   struct cm_error *err);
/* The whole Name, into a template under construction. */
void cm_name_compile(const struct cm_name *n, struct cm_tmpl *t);
/* The whole Name as DER, for these values. */
void cm_name_put_der(const struct cm_name *n, const struct cm_values *v, struct cm_der *d);
/* RFC 4514 text, the last RDN first, as libcrypto's XN_FLAG_RFC2253 prints it but with UTF-8 kept. */
void cm_name_put_text(const struct cm_name *n, const struct cm_values *v, struct cm_writer *w);
CM_MUST_CHECK cm_err cm_name_check(const struct cm_name *n, const struct cm_values *v, struct cm_error *err);

#endif
