#include "engine/certext.h"

enum { EXTENSIONS_MAX = 64, KEY_USAGE_BITS = 9 };

static cm_err read_ski(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    if (critical)
        CM_FAIL(err, CM_E_INPUT, "subjectKeyIdentifier: critical");
    CM_TRY(cm_derread_take(&in, CM_TAG_OCTET_STRING, "subjectKeyIdentifier", &c->ski, NULL, err));
    if (c->ski.len == 0)
        CM_FAIL(err, CM_E_INPUT, "subjectKeyIdentifier: empty");
    return cm_derread_end(in, "subjectKeyIdentifier", err);
}

/* An INTEGER under an implicit tag: the content of *in's next element. */
static cm_err read_aki_serial(struct cm_span *in, struct cm_span *serial, struct cm_error *err)
{
    static const char what[] = "authorityKeyIdentifier serial";

    CM_TRY(cm_derread_take(in, CM_TAG_CONTEXT(2), what, serial, NULL, err));
    const struct cm_span s = *serial;
    if (s.len == 0 || s.data[0] >= 0x80 || (s.len > 1 && s.data[0] == 0 && s.data[1] < 0x80))
        CM_FAIL(err, CM_E_INPUT, "%s: negative or not minimal", what);
    if (s.len > 1 && s.data[0] == 0)
        *serial = cm_span(s.data + 1, s.len - 1);
    return CM_OK;
}

static cm_err read_aki(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    static const char what[] = "authorityKeyIdentifier";
    struct cm_span seq;

    if (critical)
        CM_FAIL(err, CM_E_INPUT, "%s: critical", what);
    CM_TRY(cm_derread_check(in, what, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, what, &seq, NULL, err));
    if (cm_derread_is(seq, CM_TAG_CONTEXT(0)))
        CM_TRY(cm_derread_take(&seq, CM_TAG_CONTEXT(0), what, &c->aki, NULL, err));
    if (cm_derread_is(seq, CM_TAG_CONTEXT_IN(1))) { /* RFC 5280 A.2: both or neither */
        CM_TRY(cm_derread_take(&seq, CM_TAG_CONTEXT_IN(1), what, &c->aki_issuer, NULL, err));
        CM_TRY(read_aki_serial(&seq, &c->aki_serial, err));
    }
    if (c->aki.len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: without a key identifier (RFC 5280 4.2.1.1)", what);
    return cm_derread_end(seq, what, err);
}

/* A device: cA must be false, which DER leaves out, and then there is no pathLen. */
static cm_err read_basic(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    static const char what[] = "basicConstraints";
    struct cm_span seq;
    bool is_ca = false;

    (void) critical;
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, what, &seq, NULL, err));
    CM_TRY(cm_derread_end(in, what, err));
    CM_TRY(cm_derread_flag(&seq, what, &is_ca, err));
    if (is_ca)
        CM_FAIL(err, CM_E_INPUT, "%s: says that the device is a CA", what);
    if (seq.len > 0)
        CM_FAIL(err, CM_E_INPUT, "%s: a path length, but no CA", what);
    c->has_basic = true;
    return CM_OK;
}

/* A named bit list: DER cuts the zeros at its end, so the last bit is a one. */
static cm_err read_key_usage(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    static const char what[] = "keyUsage";
    struct cm_span bits;
    unsigned unused = 0;

    (void) critical;
    CM_TRY(cm_derread_bits(&in, what, &bits, &unused, err));
    CM_TRY(cm_derread_end(in, what, err));
    if (bits.len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: no bit set (RFC 5280 4.2.1.3)", what);
    if ((bits.data[bits.len - 1] >> unused & 1) == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: zero bits at its end", what);
    if (bits.len * 8 - unused > KEY_USAGE_BITS)
        CM_FAIL(err, CM_E_INPUT, "%s: more than %d bits", what, KEY_USAGE_BITS);
    for (unsigned i = 0; i < bits.len * 8; i++)
        if ((bits.data[i / 8] & 0x80u >> i % 8) != 0)
            c->key_usage |= 1u << i;
    if ((c->key_usage & (CM_KU_KEY_CERT_SIGN | CM_KU_CRL_SIGN)) != 0)
        CM_FAIL(err, CM_E_INPUT, "%s: keyCertSign or cRLSign, but the device is no CA", what);
    return CM_OK;
}

static cm_err read_eku(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    static const char what[] = "extendedKeyUsage";
    struct cm_span seq, oid;

    (void) critical;
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, what, &seq, NULL, err));
    CM_TRY(cm_derread_end(in, what, err));
    if (seq.len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: empty", what);
    while (seq.len > 0)
        CM_TRY(cm_derread_oid(&seq, what, &oid, err));
    c->has_eku = true;
    return CM_OK;
}

/* rfc822Name [1], dNSName [2], uniformResourceIdentifier [6] are IA5Strings, iPAddress
 * [7] is 4 or 16 octets; the rest is strict DER, which read_san has seen to. */
static cm_err check_general_name(uint8_t tag, struct cm_span name, struct cm_error *err)
{
    static const char what[] = "subjectAltName";
    const uint8_t number = tag & 0x1f;
    const bool is_text = number == 1 || number == 2 || number == 6;
    const bool constructed = number == 0 || (number >= 3 && number <= 5);
    size_t chars = 0;

    if (tag >> 6 != 2 || number > 8 || ((tag & 0x20) != 0) != constructed)
        CM_FAIL(err, CM_E_INPUT, "%s: tag %02x is no GeneralName", what, tag);
    if (name.len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: an empty name", what);
    if (is_text)
        return cm_derread_string(CM_TAG_IA5, name, what, &chars, err);
    if (number == 7 && name.len != 4 && name.len != 16)
        CM_FAIL(err, CM_E_INPUT, "%s: an IP address of %zu octets", what, name.len);
    return CM_OK;
}

static cm_err read_san(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    struct cm_span seq, name;
    uint8_t tag = 0;

    CM_TRY(cm_derread_check(in, "subjectAltName", err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "subjectAltName", &seq, NULL, err));
    if (seq.len == 0)
        CM_FAIL(err, CM_E_INPUT, "subjectAltName: empty");
    c->san = seq;
    while (seq.len > 0) {
        CM_TRY(cm_derread_any(&seq, "subjectAltName", &tag, &name, NULL, err));
        CM_TRY(check_general_name(tag, name, err));
    }
    c->has_san = true;
    c->san_critical = critical;
    return CM_OK;
}

static cm_err refuse(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err)
{
    (void) in, (void) critical, (void) c;
    CM_FAIL(err, CM_E_INPUT, "an extension that only a CA's certificate may have");
}

/* By the last octet of id-ce (2.5.29.n). */
static const struct reader {
    uint8_t number;
    cm_err (*read)(struct cm_span in, bool critical, struct cm_certread *c, struct cm_error *err);
} readers[] = {
    { 14, read_ski }, { 15, read_key_usage }, { 17, read_san }, { 19, read_basic }, { 35, read_aki },
    { 37, read_eku }, { 30, refuse },         { 33, refuse },   { 36, refuse },
};

static cm_err read_value(struct cm_span oid, struct cm_span value, bool critical, struct cm_certread *c,
                         struct cm_error *err)
{
    static const char id_pe[] = "\x2b\x06\x01\x05\x05\x07\x01";
    const bool is_ce = oid.len == 3 && oid.data[0] == 0x55 && oid.data[1] == 0x1d;
    const bool is_pe = oid.len == sizeof id_pe && memcmp(oid.data, id_pe, sizeof id_pe - 1) == 0;

    for (size_t i = 0; is_ce && i < CM_COUNT(readers); i++)
        if (oid.data[2] == readers[i].number)
            return readers[i].read(value, critical, c, err);
    return is_ce || is_pe ? cm_derread_check(value, "a standard extension", err) : CM_OK;
}

cm_err cm_certext(struct cm_span exts, struct cm_certread *c, struct cm_error *err)
{
    struct cm_span seen[EXTENSIONS_MAX];
    size_t count = 0;

    if (exts.len == 0)
        CM_FAIL(err, CM_E_INPUT, "extensions: an empty list");
    for (; exts.len > 0; count++) {
        struct cm_span ext, value;
        bool critical = false;
        if (count == EXTENSIONS_MAX)
            CM_FAIL(err, CM_E_INPUT, "extensions: more than %d", EXTENSIONS_MAX);
        CM_TRY(cm_derread_take(&exts, CM_TAG_SEQUENCE, "extension", &ext, NULL, err));
        CM_TRY(cm_derread_oid(&ext, "extension", &seen[count], err));
        for (size_t i = 0; i < count; i++)
            if (cm_span_eq(seen[i], seen[count]))
                CM_FAIL(err, CM_E_INPUT, "extensions: number %zu is the same as number %zu", count + 1,
                        i + 1);
        CM_TRY(cm_derread_flag(&ext, "extension's criticality", &critical, err));
        CM_TRY(cm_derread_take(&ext, CM_TAG_OCTET_STRING, "extension", &value, NULL, err));
        CM_TRY(cm_derread_end(ext, "extension", err));
        CM_TRY(read_value(seen[count], value, critical, c, err));
    }
    return CM_OK;
}
