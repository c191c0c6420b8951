#include "engine/nameread.h"
#include "engine/derread.h"
#include "engine/ossl.h"

#include <openssl/objects.h>

enum { ATTRIBUTES_MAX = 32 };

CM_AUTO_DEFINE(ASN1_OBJECT)

struct attribute {
    struct cm_span oid;       /* content */
    struct cm_span oid_whole; /* with tag and length */
    struct cm_span value;     /* content */
    struct cm_span value_whole;
    uint8_t tag; /* of the value */
};

/* RFC 5280 appendix A (X520*, ub-*) and RFC 4519. DIRECTORY: of the five choices of
 * DirectoryString the two that 4.1.2.4 lets a new certificate use. */
#define DIRECTORY                                                                                            \
    {                                                                                                        \
        CM_TAG_UTF8, CM_TAG_PRINTABLE                                                                        \
    }
#define PRINTABLE                                                                                            \
    {                                                                                                        \
        CM_TAG_PRINTABLE, CM_TAG_PRINTABLE                                                                   \
    }
#define IA5                                                                                                  \
    {                                                                                                        \
        CM_TAG_IA5, CM_TAG_IA5                                                                               \
    }
#define X520(n) "\x55\x04" n

static const struct rule {
    const char *oid; /* content; no octet of these is zero */
    const char *name;
    uint8_t tag[2];
    size_t chars_max;
    size_t chars_min;
} rules[] = {
    { X520("\x03"), "CN", DIRECTORY, 64, 1 },
    { X520("\x0a"), "O", DIRECTORY, 64, 1 },
    { X520("\x0b"), "OU", DIRECTORY, 64, 1 },
    { X520("\x05"), "serialNumber", PRINTABLE, 64, 1 },
    { X520("\x06"), "C", PRINTABLE, 2, 2 },
    { X520("\x07"), "L", DIRECTORY, 128, 1 },
    { X520("\x08"), "ST", DIRECTORY, 128, 1 },
    { X520("\x09"), "street", DIRECTORY, 128, 1 },
    { X520("\x0c"), "title", DIRECTORY, 64, 1 },
    { X520("\x04"), "SN", DIRECTORY, 32768, 1 },
    { X520("\x2a"), "GN", DIRECTORY, 32768, 1 },
    { X520("\x2b"), "initials", DIRECTORY, 32768, 1 },
    { X520("\x29"), "name", DIRECTORY, 32768, 1 },
    { X520("\x2c"), "generationQualifier", DIRECTORY, 32768, 1 },
    { X520("\x41"), "pseudonym", DIRECTORY, 128, 1 },
    { X520("\x2e"), "dnQualifier", PRINTABLE, SIZE_MAX, 1 },
    { X520("\x11"), "postalCode", DIRECTORY, 40, 1 },
    { "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID", DIRECTORY, 256, 1 },
    { "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC", IA5, SIZE_MAX, 1 },
    { "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress", IA5, 255, 1 },
};

static const struct rule *find_rule(struct cm_span oid)
{
    for (size_t i = 0; i < CM_COUNT(rules); i++)
        if (cm_span_eq(oid, cm_span_str(rules[i].oid)))
            return &rules[i];
    return NULL;
}

static cm_err check_attribute(const struct attribute *a, struct cm_error *err)
{
    const struct rule *rule = find_rule(a->oid);
    size_t chars = 0;

    if (rule == NULL && a->tag == CM_TAG_BIT_STRING) /* x500UniqueIdentifier */
        return cm_derread_check(a->value_whole, "an attribute of the name", err);
    if (rule == NULL)
        return cm_derread_string(a->tag, a->value, "an attribute of the name", &chars, err);
    if (a->tag != rule->tag[0] && a->tag != rule->tag[1])
        CM_FAIL(err, CM_E_INPUT, "%s: string type %02x isn't permitted here", rule->name, a->tag);
    CM_TRY(cm_derread_string(a->tag, a->value, rule->name, &chars, err));
    if (chars > rule->chars_max || chars < rule->chars_min)
        CM_FAIL(err, CM_E_INPUT, "%s: %zu characters, where %zu to %zu are permitted", rule->name, chars,
                rule->chars_min, rule->chars_max);
    return CM_OK;
}

/* AttributeTypeAndValue */
static cm_err read_attribute(struct cm_span in, struct attribute *a, struct cm_error *err)
{
    struct cm_span oid;

    CM_TRY(cm_derread_take(&in, CM_TAG_OID, "attribute type", NULL, &a->oid_whole, err));
    oid = a->oid_whole;
    CM_TRY(cm_derread_oid(&oid, "attribute type", &a->oid, err));
    CM_TRY(cm_derread_any(&in, "attribute value", &a->tag, &a->value, &a->value_whole, err));
    CM_TRY(cm_derread_end(in, "attribute", err));
    return check_attribute(a, err);
}

/* One RDN: `set` is the content of its SET; the attributes from first on are its own. */
static cm_err read_rdn(struct cm_span set, struct attribute *attribute, size_t *count, struct cm_error *err)
{
    const size_t first = *count;

    if (set.len == 0)
        CM_FAIL(err, CM_E_INPUT, "an empty SET in the name");
    while (set.len > 0) {
        struct cm_span c;
        if (*count == ATTRIBUTES_MAX)
            CM_FAIL(err, CM_E_INPUT, "a name of more than %d attributes", ATTRIBUTES_MAX);
        CM_TRY(cm_derread_take(&set, CM_TAG_SEQUENCE, "attribute", &c, NULL, err));
        CM_TRY(read_attribute(c, &attribute[*count], err));
        for (size_t i = first; i < *count; i++)
            if (cm_span_eq(attribute[i].oid, attribute[*count].oid))
                CM_FAIL(err, CM_E_INPUT, "the same attribute twice in one RDN");
        ++*count;
    }
    return CM_OK;
}

static cm_err read_name(struct cm_span name, struct attribute *attribute, size_t *count, struct cm_error *err)
{
    struct cm_span in = name, rdns;

    *count = 0;
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "name", &rdns, NULL, err));
    CM_TRY(cm_derread_end(in, "name", err));
    while (rdns.len > 0) {
        struct cm_span set, whole;
        const size_t first = *count;
        CM_TRY(cm_derread_take(&rdns, CM_TAG_SET, "RDN", &set, &whole, err));
        CM_TRY(read_rdn(set, attribute, count, err));
        if (*count - first > 1) /* the order of a SET OF */
            CM_TRY(cm_derread_check(whole, "RDN", err));
    }
    return CM_OK;
}

/* ---- RFC 4514 ---- */

static void put_escaped(struct cm_writer *w, struct cm_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.data[i];
        const bool at_edge = (i == 0 && (c == ' ' || c == '#')) || (i + 1 == s.len && c == ' ');
        if (at_edge || strchr(",+\"\\<>;", c) != NULL)
            cm_put_byte(w, '\\');
        cm_put_byte(w, c);
    }
}

static void put_dump(struct cm_writer *w, struct cm_span whole)
{
    static const char digit[] = "0123456789ABCDEF";

    cm_put_byte(w, '#');
    for (size_t i = 0; i < whole.len; i++) {
        cm_put_byte(w, (uint8_t) digit[whole.data[i] >> 4]);
        cm_put_byte(w, (uint8_t) digit[whole.data[i] & 15]);
    }
}

static bool is_text(uint8_t tag)
{
    return tag == CM_TAG_UTF8 || tag == CM_TAG_PRINTABLE || tag == CM_TAG_IA5 || tag == CM_TAG_NUMERIC ||
           tag == CM_TAG_VISIBLE;
}

/* Attributes outside the table are rare: libcrypto's own names, as its printer uses them. */
static cm_err put_other(struct cm_writer *w, const struct attribute *a, struct cm_error *err)
{
    const unsigned char *in = a->oid_whole.data;
    CM_AUTO(ASN1_OBJECT) object = d2i_ASN1_OBJECT(NULL, &in, (long) a->oid_whole.len);
    char dotted[128];

    if (object == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "an attribute type in the name");
    const int nid = OBJ_obj2nid(object);
    if (nid != NID_undef)
        cm_put_str(w, OBJ_nid2sn(nid));
    else if (OBJ_obj2txt(dotted, sizeof dotted, object, 1) < (int) sizeof dotted)
        cm_put_str(w, dotted);
    else
        CM_FAIL(err, CM_E_INPUT, "an attribute type of more than %zu characters", sizeof dotted - 1);
    cm_put_byte(w, '=');
    if (nid != NID_undef && is_text(a->tag))
        put_escaped(w, a->value);
    else
        put_dump(w, a->value_whole);
    return CM_OK;
}

static cm_err put_attribute(struct cm_writer *w, const struct attribute *a, struct cm_error *err)
{
    const struct rule *rule = find_rule(a->oid);

    if (rule == NULL)
        return put_other(w, a, err);
    cm_put_str(w, rule->name);
    cm_put_byte(w, '=');
    put_escaped(w, a->value);
    return CM_OK;
}

/* Does attribute i share its RDN with the one after it, which there must be? In one SET
 * another attribute's SEQUENCE follows at once, else the next RDN's SET. */
static bool joined(const struct attribute *attribute, size_t i)
{
    const uint8_t *end = attribute[i].value_whole.data + attribute[i].value_whole.len;

    return *end == CM_TAG_SEQUENCE;
}

cm_err cm_nameread(struct cm_span name, struct cm_writer *text, struct cm_error *err)
{
    struct attribute attribute[ATTRIBUTES_MAX];
    size_t count = 0;

    CM_TRY(read_name(name, attribute, &count, err));
    if (text == NULL)
        return CM_OK;
    for (size_t i = count; i-- > 0;) {
        if (i + 1 < count)
            cm_put_byte(text, joined(attribute, i) ? '+' : ',');
        CM_TRY(put_attribute(text, &attribute[i], err));
    }
    if (!cm_writer_ok(text))
        CM_FAIL(err, CM_E_NOSPACE, "the name's text is longer than %zu octets", text->cap);
    return CM_OK;
}

bool cm_nameread_empty(struct cm_span name)
{
    return name.len == 2 && name.data[0] == CM_TAG_SEQUENCE && name.data[1] == 0;
}
