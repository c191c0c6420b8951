#include "engine/name.h"

#include "engine/ossl.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>

/* The string type that libcrypto's own table gives the attribute, under the
 * "utf8only" mask that is its default and what RFC 5280 4.1.2.4 asks for. */
static void choose_string(int nid, struct cm_name_attr *a)
{
    const ASN1_STRING_TABLE *row = nid != NID_undef ? ASN1_STRING_TABLE_get(nid) : NULL;
    const unsigned long mask = row != NULL ? row->mask : B_ASN1_UTF8STRING;

    if (mask & B_ASN1_UTF8STRING) {
        a->tag = CM_DER_UTF8;
        a->field.charset = CM_CHARS_UTF8;
    } else if (mask & B_ASN1_PRINTABLESTRING) {
        a->tag = CM_DER_PRINTABLE;
        a->field.charset = CM_CHARS_PRINTABLE;
    } else {
        a->tag = CM_DER_IA5;
        a->field.charset = CM_CHARS_IA5;
    }
    a->field.min = row != NULL && row->minsize > 0 ? (uint32_t) row->minsize : 1;
    a->field.max = row != NULL && row->maxsize > 0 ? (uint32_t) row->maxsize : 0;
}

static cm_err set_type(const char *type, struct cm_name_attr *a, struct cm_error *err)
{
    ASN1_OBJECT *obj = OBJ_txt2obj(type, 0);
    const int nid = obj != NULL ? OBJ_obj2nid(obj) : NID_undef;
    const int len = obj != NULL ? i2d_ASN1_OBJECT(obj, NULL) : 0;
    uint8_t *p = a->oid;

    if (obj == NULL || len <= 0 || (size_t) len > sizeof a->oid) {
        ASN1_OBJECT_free(obj);
        CM_FAIL(err, CM_E_USAGE,
                "subject: unknown attribute type \"%.40s\"; write CN, O, OU, C, ST, L, "
                "serialNumber, another X.520 name or a dotted OID",
                type);
    }
    a->oid_len = (size_t) i2d_ASN1_OBJECT(obj, &p);
    a->known = nid != NID_undef;
    if (a->known)
        (void) snprintf(a->label, sizeof a->label, "%s", OBJ_nid2sn(nid));
    else
        (void) OBJ_obj2txt(a->label, sizeof a->label, obj, 1);
    ASN1_OBJECT_free(obj);
    choose_string(nid, a);
    struct cm_writer w = cm_writer(a->field.label, sizeof a->field.label - 1);
    cm_put_lit(&w, "the subject's ");
    cm_put(&w, a->label, strnlen(a->label, 30));
    return CM_OK;
}

/* Copies one "TYPE=value" into part, unescaped; *end is where the next begins. */
static cm_err take_part(const char *text, char part[CM_PATTERN_TEXT], const char **end, struct cm_error *err)
{
    size_t n = 0;

    for (; *text != '\0' && *text != '/'; text++) {
        if (*text == '+')
            CM_FAIL(err, CM_E_USAGE,
                    "subject: '+' (several attributes in one RDN) is not supported; "
                    "write \\+ for a plus sign");
        if (*text == '\\' && text[1] != '\0')
            text++;
        if (n + 1 >= CM_PATTERN_TEXT)
            CM_FAIL(err, CM_E_USAGE, "subject: an attribute is longer than %d octets", CM_PATTERN_TEXT - 1);
        part[n++] = *text;
    }
    part[n] = '\0';
    *end = text;
    return CM_OK;
}

cm_err cm_name_parse(const char *text, const struct cm_columns *columns, struct cm_name *out,
                     struct cm_error *err)
{
    struct cm_name name = { .count = 0 };

    if (text[0] != '/')
        CM_FAIL(err, CM_E_USAGE, "subject \"%.60s\" must begin with '/', as in \"/O=Acme/CN={id}\"", text);
    while (*text == '/' && text[1] != '\0') {
        struct cm_name_attr *a = &name.attr[name.count];
        char part[CM_PATTERN_TEXT], *equals = NULL;

        if (name.count == CM_NAME_ATTRS)
            CM_FAIL(err, CM_E_USAGE, "subject: more than %d attributes", CM_NAME_ATTRS);
        CM_TRY(take_part(text + 1, part, &text, err));
        equals = strchr(part, '=');
        if (equals == NULL || equals == part)
            CM_FAIL(err, CM_E_USAGE, "subject: \"%.60s\" is not of the form TYPE=value", part);
        *equals = '\0';
        CM_TRY(set_type(part, a, err));
        CM_TRY(cm_pattern_parse(equals + 1, true, columns, &a->field.text, err));
        if (a->field.text.count == 0)
            CM_FAIL(err, CM_E_USAGE, "subject: %s is empty", a->label);
        name.count++;
    }
    *out = name;
    return CM_OK;
}

void cm_name_compile(const struct cm_name *n, struct cm_tmpl *t)
{
    cm_tmpl_open(t, CM_DER_SEQUENCE);
    for (size_t i = 0; i < n->count; i++) {
        const struct cm_name_attr *a = &n->attr[i];
        cm_tmpl_open(t, CM_DER_SET);
        cm_tmpl_open(t, CM_DER_SEQUENCE);
        cm_tmpl_literal(t, a->oid, a->oid_len);
        cm_tmpl_open(t, a->tag);
        cm_tmpl_field(t, &a->field);
        cm_tmpl_close(t);
        cm_tmpl_close(t);
        cm_tmpl_close(t);
    }
    cm_tmpl_close(t);
}

void cm_name_put_der(const struct cm_name *n, const struct cm_values *v, struct cm_der *d)
{
    const size_t all = cm_der_len(d);

    for (size_t i = n->count; i-- > 0;) {
        const struct cm_name_attr *a = &n->attr[i];
        const size_t mark = cm_der_len(d);
        char buf[CM_PATTERN_OUT];
        struct cm_writer w = cm_writer(buf, sizeof buf);

        cm_pattern_put(&a->field.text, v, &w);
        d->overflow |= w.overflow;
        cm_der_raw(d, buf, w.len);
        cm_der_header(d, a->tag, w.len);
        cm_der_raw(d, a->oid, a->oid_len);
        cm_der_wrap(d, CM_DER_SEQUENCE, mark);
        cm_der_wrap(d, CM_DER_SET, mark);
    }
    cm_der_wrap(d, CM_DER_SEQUENCE, all);
}

/* RFC 4514 2.4: what a string value escapes. */
static void put_escaped(struct cm_writer *w, struct cm_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.data[i];
        const bool edge_space = c == ' ' && (i == 0 || i + 1 == s.len);
        if (c < 0x20 || c == 0x7f) {
            const uint8_t hex[3] = { '\\', (uint8_t) "0123456789ABCDEF"[c >> 4],
                                     (uint8_t) "0123456789ABCDEF"[c & 15] };
            cm_put(w, hex, 3);
            continue;
        }
        if (strchr(",+\"\\<>;", c) != NULL || edge_space || (c == '#' && i == 0))
            cm_put_byte(w, '\\');
        cm_put_byte(w, c);
    }
}

/* RFC 4514 2.4: a type without a name has its value as the hex of its DER. */
static void put_hex_value(struct cm_writer *w, uint8_t tag, struct cm_span s)
{
    uint8_t head[8];
    struct cm_der d = cm_der(head, sizeof head);

    cm_der_header(&d, tag, s.len);
    cm_put_byte(w, '#');
    for (int part = 0; part < 2; part++) {
        const struct cm_span x = part == 0 ? cm_der_span(&d) : s;
        for (size_t i = 0; i < x.len; i++) {
            cm_put_byte(w, (uint8_t) "0123456789ABCDEF"[x.data[i] >> 4]);
            cm_put_byte(w, (uint8_t) "0123456789ABCDEF"[x.data[i] & 15]);
        }
    }
}

void cm_name_put_text(const struct cm_name *n, const struct cm_values *v, struct cm_writer *w)
{
    for (size_t i = n->count; i-- > 0;) {
        const struct cm_name_attr *a = &n->attr[i];
        char buf[CM_PATTERN_OUT];
        struct cm_writer value = cm_writer(buf, sizeof buf);

        cm_pattern_put(&a->field.text, v, &value);
        w->overflow |= value.overflow;
        cm_put_str(w, a->label);
        cm_put_byte(w, '=');
        if (a->known)
            put_escaped(w, cm_span(buf, value.len));
        else
            put_hex_value(w, a->tag, cm_span(buf, value.len));
        if (i > 0)
            cm_put_byte(w, ',');
    }
}

cm_err cm_name_check(const struct cm_name *n, const struct cm_values *v, struct cm_error *err)
{
    struct cm_tmpl *t = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_tmpl_new(&t, err));
    cm_name_compile(n, t);
    rc = cm_tmpl_check(t, v, err);
    cm_tmpl_free(t);
    return rc;
}
