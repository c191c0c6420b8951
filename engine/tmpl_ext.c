#include "engine/tmpl_ext.h"

#include "engine/ident.h"
#include "engine/ossl.h"

/* Where the compiler stands: which extension, for messages and charsets. */
struct context {
    const struct cm_certspec *spec;
    struct cm_tmpl *t;
    const char *name; /* of the extension, as the profile writes it */
    bool is_alt_name;
};

/* By OID: "keyUsage" and "2.5.29.15" are one extension. */
static bool same_extension(const char *a, const char *b)
{
    ASN1_OBJECT *x = OBJ_txt2obj(a, 0), *y = OBJ_txt2obj(b, 0);
    const bool same = x != NULL && y != NULL ? OBJ_cmp(x, y) == 0 : strcmp(a, b) == 0;

    ASN1_OBJECT_free(x);
    ASN1_OBJECT_free(y);
    return same;
}

static bool has_mark(const struct cm_profile *p, const uint8_t *der, size_t len)
{
    for (size_t i = 0; i + CM_MARK_LEN <= len; i++)
        if (cm_profile_mark_at(p, der + i, len - i) >= 0)
            return true;
    return false;
}

static enum cm_charset charset_of(uint8_t tag, bool is_alt_name)
{
    switch (tag) {
    case CM_DER_UTF8:
        return CM_CHARS_UTF8;
    case CM_DER_PRINTABLE:
        return CM_CHARS_PRINTABLE;
    case CM_DER_IA5:
    case CM_DER_VISIBLE: /* and of the next two no more than ASCII, whatever they once allowed */
    case CM_DER_TELETEX:
    case CM_DER_GENERAL:
        return CM_CHARS_IA5;
    case 0x81: /* GeneralName: rfc822Name, dNSName, uniformResourceIdentifier */
        return is_alt_name ? CM_CHARS_EMAIL : CM_CHARS_IA5;
    case 0x82:
        return is_alt_name ? CM_CHARS_DNS : CM_CHARS_IA5;
    case 0x86:
        return is_alt_name ? CM_CHARS_URI : CM_CHARS_IA5;
    case CM_DER_OCTET_STRING:
        return CM_CHARS_ANY;
    default: /* the other strings of GeneralName are IA5String (RFC 5280 4.2.1.6) */
        return (tag & 0xc0) == 0x80 ? CM_CHARS_IA5 : CM_CHARS_ANY;
    }
}

/* The contents of a string with marks in it, as a field. */
static cm_err compile_text(const struct context *c, uint8_t tag, const uint8_t *p, size_t len,
                           struct cm_error *err)
{
    struct cm_field f = { .charset = charset_of(tag, c->is_alt_name), .min = 1 };
    struct cm_writer w = cm_writer(f.text.text, sizeof f.text.text);

    (void) snprintf(f.label, sizeof f.label, "%.40s", c->name);
    for (size_t i = 0; i < len;) {
        const int mark = cm_profile_mark_at(c->spec->profile, p + i, len - i);
        struct cm_piece piece = { .kind = CM_PIECE_TEXT, .off = (uint16_t) w.len };
        if (f.text.count == CM_PATTERN_PIECES)
            CM_FAIL(err, CM_E_INPUT, "%s has more than %d parts", f.label, CM_PATTERN_PIECES);
        if (mark >= 0) {
            const char *const placeholder = c->spec->profile->mark_text[mark];
            piece = c->spec->profile->mark[mark];
            i += CM_MARK_LEN;
            if (piece.kind == CM_PIECE_COLUMN) { /* its name is for messages */
                piece.off = (uint16_t) w.len;
                piece.len = (uint16_t) (strlen(placeholder) - 2);
                cm_put(&w, placeholder + 1, piece.len);
            }
        } else {
            const size_t from = i;
            while (i < len && cm_profile_mark_at(c->spec->profile, p + i, len - i) < 0)
                i++;
            cm_put(&w, p + from, i - from);
            piece.len = (uint16_t) (i - from);
        }
        f.text.piece[f.text.count++] = piece;
    }
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_INPUT, "%s: text of more than %d octets around a placeholder", f.label,
                CM_PATTERN_TEXT);
    cm_tmpl_field(c->t, &f);
    return CM_OK;
}

/* A constant name of a subjectAltName: libcrypto takes any octets for it. */
static cm_err check_name(const struct context *c, uint8_t tag, struct cm_span s, struct cm_error *err)
{
    char shown[100];
    size_t chars = 0;

    if (tag != 0x81 && tag != 0x82 && tag != 0x86)
        return CM_OK;
    const char *const fault = cm_tmpl_text_fault(charset_of(tag, true), s, &chars);
    if (fault != NULL || chars == 0)
        CM_FAIL(err, CM_E_INPUT, "%.40s \"%s\" holds %s", c->name, cm_printable(s, shown, sizeof shown),
                fault != NULL ? fault : "nothing");
    return CM_OK;
}

/* Is this OCTET STRING the wrapping of exactly one TLV, as extnValue is? */
static bool wraps_tlv(const uint8_t *p, size_t len)
{
    struct cm_tlv inner;

    return cm_der_peek(p, len, &inner) && inner.header_len + inner.content_len == len;
}

static cm_err compile_der(const struct context *c, const uint8_t *p, size_t len, struct cm_error *err)
{
    /* A sequence of TLVs: the contents of something constructed. */
    for (size_t i = 0; i < len;) {
        struct cm_tlv v;
        const uint8_t *content = NULL;
        cm_err rc = CM_OK;

        if (!cm_der_peek(p + i, len - i, &v))
            CM_FAIL(err, CM_E_CRYPTO, "extension %.40s: libcrypto's encoding can't be taken apart", c->name);
        content = p + i + v.header_len;
        const bool marked = has_mark(c->spec->profile, content, v.content_len);
        const bool nested =
            (v.tag & 0x20) != 0 || (v.tag == CM_DER_OCTET_STRING && wraps_tlv(content, v.content_len));
        if (!marked && c->is_alt_name && !nested)
            CM_TRY(check_name(c, v.tag, cm_span(content, v.content_len), err));
        if (!marked && !(c->is_alt_name && nested)) {
            cm_tmpl_literal(c->t, p + i, v.header_len + v.content_len);
        } else {
            struct context inside = *c; /* of a name's own structure, [n] is not a GeneralName */
            inside.is_alt_name &= (v.tag & 0xc0) != 0x80;
            cm_tmpl_open(c->t, v.tag);
            rc = nested ? compile_der(&inside, content, v.content_len, err)
                        : compile_text(c, v.tag, content, v.content_len, err);
            CM_TRY(rc);
            cm_tmpl_close(c->t);
        }
        i += v.header_len + v.content_len;
    }
    return CM_OK;
}

/* RFC 5280 4.2.1.2: SEQUENCE { OID, OCTET STRING { OCTET STRING (20) } }. */
static void put_ski(struct cm_tmpl *t)
{
    static const uint8_t oid[] = { 0x06, 0x03, 0x55, 0x1d, 0x0e };

    cm_tmpl_open(t, CM_DER_SEQUENCE);
    cm_tmpl_literal(t, oid, sizeof oid);
    cm_tmpl_open(t, CM_DER_OCTET_STRING);
    cm_tmpl_open(t, CM_DER_OCTET_STRING);
    cm_tmpl_slot(t, CM_SLOT_SKI);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
}

/* RFC 5280 4.2.1.1: keyIdentifier [0], the CA's own, byte for byte. */
static void put_aki(const struct cm_ca *ca, struct cm_tmpl *t)
{
    static const uint8_t oid[] = { 0x06, 0x03, 0x55, 0x1d, 0x23 };
    const struct cm_span id = cm_ca_key_id(ca);

    cm_tmpl_open(t, CM_DER_SEQUENCE);
    cm_tmpl_literal(t, oid, sizeof oid);
    cm_tmpl_open(t, CM_DER_OCTET_STRING);
    cm_tmpl_open(t, CM_DER_SEQUENCE);
    cm_tmpl_open(t, 0x80);
    cm_tmpl_literal(t, id.data, id.len);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
}

/* Everything else: libcrypto encodes it, we take it apart. */
static cm_err put_by_libcrypto(const struct context *c, const char *name, const char *value,
                               struct cm_error *err)
{
    CM_AUTO(X509_EXTENSION) ext = NULL;
    uint8_t *der = NULL;
    X509V3_CTX v3;
    int len = 0;
    cm_err rc = CM_OK;

    X509V3_set_ctx(&v3, cm_ca_x509(c->spec->ca), NULL, NULL, NULL, 0);
    X509V3_set_nconf(&v3, c->spec->profile->conf);
    ext = X509V3_EXT_nconf(c->spec->profile->conf, &v3, name, value);
    if (ext == NULL)
        CM_FAIL(err, CM_E_INPUT,
                "profile %s: extension \"%.40s = %.100s\" is not what x509v3_config(5) allows",
                c->spec->profile->name, name, value);
    len = i2d_X509_EXTENSION(ext, &der);
    if (len <= 0)
        CM_FAIL(err, CM_E_CRYPTO, "extension %.40s can't be encoded", name);
    if (has_mark(c->spec->profile, (const uint8_t *) value, strlen(value)) &&
        !has_mark(c->spec->profile, der, (size_t) len))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE,
                     "profile %s: a placeholder can't stand in extension %.40s like this",
                     c->spec->profile->name, name);
    else
        rc = compile_der(c, der, (size_t) len, err);
    OPENSSL_free(der);
    return rc;
}

static cm_err put_extension(const struct cm_certspec *spec, const char *name, const char *value,
                            struct cm_tmpl *t, struct cm_error *err)
{
    const struct context c = {
        .spec = spec, .t = t, .name = name, .is_alt_name = same_extension(name, "subjectAltName")
    };

    if (strcmp(name, "subjectKeyIdentifier") == 0 && strcmp(value, "hash") == 0) {
        put_ski(t);
        return CM_OK;
    }
    if (strcmp(name, "authorityKeyIdentifier") == 0 &&
        (strcmp(value, "keyid") == 0 || strcmp(value, "keyid:always") == 0)) {
        put_aki(spec->ca, t);
        return CM_OK;
    }
    return put_by_libcrypto(&c, name, value, err);
}

/* RFC 5280 4.2: no extension twice; 4.1.2.6: an empty subject needs a critical SAN. */
static cm_err check_section(const struct cm_certspec *spec, const STACK_OF(CONF_VALUE) * section,
                            const char *san, struct cm_error *err)
{
    bool san_critical = san != NULL && strncmp(san, "critical", 8) == 0;

    for (int i = 0; i < sk_CONF_VALUE_num(section); i++) {
        const CONF_VALUE *v = sk_CONF_VALUE_value(section, i);
        for (int k = 0; k < i; k++)
            if (same_extension(v->name, sk_CONF_VALUE_value(section, k)->name))
                CM_FAIL(err, CM_E_INPUT, "profile %s: extension %.40s stands twice", spec->profile->name,
                        v->name);
        if (san == NULL && strcmp(v->name, "subjectAltName") == 0)
            san_critical = strncmp(v->value, "critical", 8) == 0;
    }
    if (spec->subject->count == 0 && !san_critical)
        CM_FAIL(err, CM_E_USAGE,
                "an empty subject needs a critical subjectAltName (RFC 5280 4.1.2.6): "
                "--san 'critical,…'");
    return CM_OK;
}

static cm_err put_section(const struct cm_certspec *spec, const STACK_OF(CONF_VALUE) * section,
                          const char *san, struct cm_tmpl *t, struct cm_error *err)
{
    bool san_done = san == NULL;

    for (int i = 0; i < sk_CONF_VALUE_num(section); i++) {
        const CONF_VALUE *v = sk_CONF_VALUE_value(section, i);
        const bool is_san = san != NULL && same_extension(v->name, "subjectAltName");
        CM_TRY(put_extension(spec, is_san ? "subjectAltName" : v->name, is_san ? san : v->value, t, err));
        san_done |= is_san;
    }
    if (!san_done)
        CM_TRY(put_extension(spec, "subjectAltName", san, t, err));
    return CM_OK;
}

cm_err cm_tmpl_extensions(const struct cm_certspec *spec, struct cm_tmpl *t, struct cm_error *err)
{
    const char *name = cm_profile_section(spec->profile, spec->key->family);
    const STACK_OF(CONF_VALUE) *section = name != NULL ? NCONF_get_section(spec->profile->conf, name) : NULL;
    char *san = NULL;
    cm_err rc = CM_OK;

    if (section == NULL || sk_CONF_VALUE_num(section) == 0)
        CM_FAIL(err, CM_E_INPUT,
                "profile %s has no extensions for %s keys: say `extensions = SECTION` in [profile]",
                spec->profile->name, spec->key->name);
    if (spec->san != NULL)
        CM_TRY(cm_profile_mark(spec->profile, spec->san, &san, err));
    cm_tmpl_open(t, CM_DER_CONTEXT_3);
    cm_tmpl_open(t, CM_DER_SEQUENCE);
    rc = check_section(spec, section, san, err);
    if (rc == CM_OK)
        rc = put_section(spec, section, san, t, err);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
    free(san);
    return rc;
}
