/* Goal: the template keeps its limits, folds what is constant, and refuses a device's values before anything
 * is made of them; what the compiler can't put into a certificate is refused, never left as it stands.
 * Method: small templates by hand, and profiles that must fail. That right ones come out right is test_tbs's.
 */
#include "tests/t_authority.h"
#include "tests/t_mill.h"

#include <criterion/criterion.h>

static struct cm_field field_of(const char *pattern, enum cm_charset charset, uint32_t min, uint32_t max)
{
    struct cm_field f = { .label = "field", .charset = charset, .min = min, .max = max };

    cr_assert_eq(cm_pattern_parse(pattern, true, NULL, &f.text, NULL), CM_OK);
    return f;
}

static struct cm_tmpl *new_tmpl(void)
{
    struct cm_tmpl *t = NULL;

    cr_assert_eq(cm_tmpl_new(&t, NULL), CM_OK);
    return t;
}

Test(tmpl, literals_slots_and_fields_in_their_order)
{
    static const uint8_t expected[] = { 0x30, 0x16, 0x02, 0x01, 7,    0x31, 0x08, 'k',  'e', 'y', 0x0c, 0x03,
                                        'S',  'N',  '1',  'x',  0x30, 0x00, 0x04, 0x03, 's', 'k', 'i',  'e' };
    const struct t_ask ask = { .id = "SN1" };
    const struct cm_values v = t_values(&ask);
    struct cm_tmpl *t = new_tmpl();
    const struct cm_field f = field_of("{id}", CM_CHARS_UTF8, 1, 0);
    uint8_t buf[64];
    struct cm_der d = cm_der(buf, sizeof buf);

    cm_tmpl_open(t, 0x30);
    cm_tmpl_open(t, 0x02);
    cm_tmpl_slot(t, CM_SLOT_SERIAL);
    cm_tmpl_close(t);
    cm_tmpl_open(t, 0x31);
    cm_tmpl_slot(t, CM_SLOT_SPKI);
    cm_tmpl_open(t, 0x0c);
    cm_tmpl_field(t, &f);
    cm_tmpl_close(t);
    cm_tmpl_close(t);
    cm_tmpl_literal(t, "x", 1);
    cm_tmpl_open(t, 0x30);
    cm_tmpl_close(t);
    cm_tmpl_open(t, 0x04);
    cm_tmpl_slot(t, CM_SLOT_SKI);
    cm_tmpl_close(t);
    cm_tmpl_literal(t, "", 0);
    cm_tmpl_literal(t, "e", 1);
    cm_tmpl_close(t);
    cr_assert_eq(cm_tmpl_seal(t, NULL), CM_OK);
    const struct cm_tmpl_input in = {
        .values = &v, .serial = cm_span("\x07", 1), .spki = cm_span("key", 3), .ski = cm_span("ski", 3)
    };
    for (int again = 0; again < 2; again++) {
        d = cm_der(buf, sizeof buf);
        cm_tmpl_emit(t, &in, &d);
        cr_expect(cm_der_ok(&d) && cm_span_eq(cm_der_span(&d), cm_span(expected, sizeof expected)));
    }
    cr_expect(cm_tmpl_uses(t, CM_SLOT_SKI) && cm_tmpl_uses(t, CM_SLOT_SERIAL));
    d = cm_der(buf, sizeof expected - 1);
    cm_tmpl_emit(t, &in, &d);
    cr_expect(!cm_der_ok(&d), "a buffer that is one octet short");
    cm_tmpl_free(t);
}

Test(tmpl, limits_are_told_at_the_seal)
{
    static uint8_t big[40000];
    const struct cm_field f = field_of("{id}", CM_CHARS_ANY, 0, 0);
    struct cm_error err = { 0 };

    for (int kind = 0; kind < 3; kind++)
        for (int more = 0; more < 2; more++) {
            struct cm_tmpl *t = new_tmpl();
            if (kind == 0)
                cm_tmpl_literal(t, big, 32768 + (size_t) more);
            for (int i = 0; kind == 1 && i < 64 + more; i++)
                cm_tmpl_field(t, &f);
            for (int i = 0; kind == 2 && i < 512 + more; i++)
                cm_tmpl_slot(t, CM_SLOT_SKI);
            cr_expect_eq(cm_tmpl_seal(t, &err), more != 0 ? CM_E_LIMIT : CM_OK, "kind %d: %s", kind,
                         err.what);
            cr_expect(more == 0 || strstr(err.what, "the profile is too large") != NULL, "%s", err.what);
            cm_tmpl_free(t);
        }
}

static const struct {
    const char *pattern, *id;
    enum cm_charset charset;
    uint32_t min, max;
    const char *words; /* NULL: accepted */
} checks[] = {
    { "{id}", "a", CM_CHARS_DNS, 1, 0, NULL },
    { "{id}", "a-b.c9", CM_CHARS_DNS, 1, 0, NULL },
    { "*.{id}", "a", CM_CHARS_DNS, 1, 0, NULL },
    { "{id}", "a_b", CM_CHARS_DNS, 1, 0, "DNS name does not allow" },
    { "{id}", "a b", CM_CHARS_DNS, 1, 0, "DNS name does not allow" },
    { "{id}", "ü", CM_CHARS_DNS, 1, 0, "DNS name does not allow" },
    { "{id}", "a..b", CM_CHARS_DNS, 1, 0, "a label that is empty" },
    { "{id}.", "a", CM_CHARS_DNS, 1, 0, "a label that is empty" },
    { ".{id}", "a", CM_CHARS_DNS, 1, 0, "a label that is empty" },
    { "{id}.x", "-a", CM_CHARS_DNS, 1, 0, "begins or ends with '-'" },
    { "{id}.x", "a-", CM_CHARS_DNS, 1, 0, "begins or ends with '-'" },
    { "{id}", "a-", CM_CHARS_DNS, 1, 0, "begins or ends with '-'" },
    { "{id}", "012345678901234567890123456789012345678901234567890123456789012", CM_CHARS_DNS, 1, 0, NULL },
    { "{id}", "0123456789012345678901234567890123456789012345678901234567890123", CM_CHARS_DNS, 1, 0,
      "longer than 63" },
    { "{id}.{id}.{id}.{id}.0", "01234567890123456789012345678901234567890123456789012345678901", CM_CHARS_DNS,
      1, 0, NULL }, /* 253 */
    { "{id}.{id}.{id}.{id}.01", "01234567890123456789012345678901234567890123456789012345678901",
      CM_CHARS_DNS, 1, 0, "a label" },
    { "{id}@b.example", "a", CM_CHARS_EMAIL, 1, 0, NULL },
    { "{id}", "a.b+c@d", CM_CHARS_EMAIL, 1, 0, NULL },
    { "{id}", "a", CM_CHARS_EMAIL, 1, 0, "no e-mail address" },
    { "{id}", "@b", CM_CHARS_EMAIL, 1, 0, "no e-mail address" },
    { "{id}", "a@", CM_CHARS_EMAIL, 1, 0, "no e-mail address" },
    { "{id}", "a@b@c", CM_CHARS_EMAIL, 1, 0, "no e-mail address" },
    { "{id}", "a@-b", CM_CHARS_EMAIL, 1, 0, "no e-mail address" },
    { "{id}", "a b@c", CM_CHARS_EMAIL, 1, 0, "e-mail address does not allow" },
    { "{id}", "ü@c", CM_CHARS_EMAIL, 1, 0, "e-mail address does not allow" },
    { "{id}@b", "0123456789012345678901234567890123456789012345678901234567890123", CM_CHARS_EMAIL, 1, 0,
      NULL },
    { "{id}0@b", "0123456789012345678901234567890123456789012345678901234567890123", CM_CHARS_EMAIL, 1, 0,
      "no e-mail address" },
    { "urn:dev:{id}", "a", CM_CHARS_URI, 1, 0, NULL },
    { "x+y-z.1:{id}", "a", CM_CHARS_URI, 1, 0, NULL },
    { "{id}", "a", CM_CHARS_URI, 1, 0, "no URI" },
    { "{id}", "a:", CM_CHARS_URI, 1, 0, "no URI" },
    { "{id}", ":a", CM_CHARS_URI, 1, 0, "no URI" },
    { "{id}", "1a:b", CM_CHARS_URI, 1, 0, "no URI" },
    { "{id}", "+a:b", CM_CHARS_URI, 1, 0, "no URI" },
    { "{id}", "a_:b", CM_CHARS_URI, 1, 0, "no URI" },
    { "urn:{id}", "a b", CM_CHARS_URI, 1, 0, "URI does not allow" },
    { "urn:{id}", "<", CM_CHARS_URI, 1, 0, "URI does not allow" },
    { "urn:{id}", "ü", CM_CHARS_URI, 1, 0, "URI does not allow" },
    { "{id}", "a~\x7f", CM_CHARS_IA5, 1, 0, "outside printable ASCII" },
    { "{id}", "ü", CM_CHARS_IA5, 1, 0, "outside printable ASCII" },
    { "{id}", "~ !", CM_CHARS_IA5, 1, 0, NULL },
    { "{id}", "ü😀", CM_CHARS_UTF8, 1, 2, NULL },
    { "{id}", "ü😀x", CM_CHARS_UTF8, 1, 2, "has 3 characters; X.520 allows 2" },
    { "{id}", "\xff\x01", CM_CHARS_ANY, 1, 2, NULL },
    { "{id}", "", CM_CHARS_ANY, 1, 0, "is empty: at least 1" },
    { "{id}", "a", CM_CHARS_PRINTABLE, 2, 0, "is too short: at least 2" },
};

Test(tmpl, values_are_checked)
{
    for (size_t i = 0; i < CM_COUNT(checks); i++) {
        const struct t_ask ask = { .id = checks[i].id };
        const struct cm_values v = t_values(&ask);
        const struct cm_field f =
            field_of(checks[i].pattern, checks[i].charset, checks[i].min, checks[i].max);
        struct cm_tmpl *t = new_tmpl();
        struct cm_error err = { 0 };
        cm_tmpl_field(t, &f);
        cr_assert_eq(cm_tmpl_seal(t, NULL), CM_OK);
        const cm_err rc = cm_tmpl_check(t, &v, &err);
        cr_expect_eq(rc, checks[i].words == NULL ? CM_OK : CM_E_INPUT, "%zu: %s", i, err.what);
        cr_expect(checks[i].words == NULL || strstr(err.what, checks[i].words) != NULL, "%zu: %s", i,
                  err.what);
        cr_expect(checks[i].words == NULL || strncmp(err.what, "field \"", 7) == 0, "%zu: %s", i, err.what);
        cm_tmpl_free(t);
    }
}

/* ---- what can't be compiled, and what a compiled one refuses ---- */

static struct t_authority authority;
static struct cm_ca *ca;

static void open_authority(void)
{
    CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());

    t_authority_init(&authority, &(struct t_spec) { 0 }, NULL);
    t_authority_put_cert(certs, &authority);
    ca = t_open_ca(t_authority_span(certs), authority.key, NULL);
}

static void close_authority(void)
{
    cm_ca_close(ca);
    t_authority_done(&authority);
}

#define E "[profile]\nextensions = e\n[e]\n"

static const struct {
    const char *profile, *subject, *san, *words;
    cm_err rc;
} uncompilable[] = {
    { E "keyUsage = flying\n", "/CN={id}", NULL, "\"keyUsage = flying\" is not what x509v3_config(5) allows",
      CM_E_INPUT },
    { E "noSuchExtension = x\n", "/CN={id}", NULL, "noSuchExtension", CM_E_INPUT },
    { E "1.2.3.4 = ASN1:INTEGER:{seq}\n", "/CN={id}", NULL, "is not what x509v3_config(5) allows",
      CM_E_INPUT },
    { E "1.2.3.4 = ASN1:BMPSTRING:{id}\n", "/CN={id}", NULL, "a placeholder can't stand in extension",
      CM_E_INPUT },
    { E "1.2.3.4 = ASN1:FORMAT:HEX,OCT:{id}\n", "/CN={id}", NULL, "is not what", CM_E_INPUT },
    { E "subjectAltName = IP:{id}\n", "/CN={id}", NULL, "is not what", CM_E_INPUT },
    { E "subjectAltName = email:copy\n", "/CN={id}", NULL, "is not what", CM_E_INPUT },
    { E "subjectKeyIdentifier = critical,hash\n", "/CN={id}", NULL, "is not what", CM_E_INPUT },
    { E "keyUsage = digitalSignature\nkeyUsage = keyAgreement\n", "/CN={id}", NULL, NULL,
      CM_OK }, /* NCONF: the last */
    { E "keyUsage = digitalSignature\n2.5.29.15 = DER:03020780\n", "/CN=x", NULL, "stands twice",
      CM_E_INPUT },
    { E "2.5.29.17 = DER:30038201 61\n", "/CN=x", "DNS:{id}", NULL, CM_OK }, /* replaced */
    { E "keyUsage = digitalSignature\n", "/", NULL, "an empty subject needs a critical subjectAltName",
      CM_E_USAGE },
    { E "subjectAltName = DNS:{id}\n", "/", NULL, "an empty subject needs a critical", CM_E_USAGE },
    { E "subjectAltName = critical,DNS:{id}\n", "/", NULL, NULL, CM_OK },
    { E "subjectAltName = critical,DNS:{id}\n", "/", "DNS:{id}", "an empty subject needs a critical",
      CM_E_USAGE },
    { E "subjectAltName = DNS:{id}\n", "/", "critical,DNS:{id}", NULL, CM_OK },
    { E "keyUsage = digitalSignature\n", "/CN=x", "DNS:{host}", "unknown placeholder", CM_E_INPUT },
    { E "keyUsage = digitalSignature\n", "/CN=x", "FOO:{id}", "is not what", CM_E_INPUT },
    { "[profile]\nextensions_rsa = e\n[e]\nkeyUsage = digitalSignature\n", "/CN={id}", NULL,
      "has no extensions for P-256 keys", CM_E_INPUT },
};

Test(tmpl, what_can_not_be_put_into_a_certificate, .init = open_authority, .fini = close_authority)
{
    for (size_t i = 0; i < CM_COUNT(uncompilable); i++) {
        const struct t_ask ask = { .what = "uncompilable",
                                   .profile = uncompilable[i].profile,
                                   .subject = uncompilable[i].subject,
                                   .san = uncompilable[i].san };
        struct cm_tmpl *t = NULL;
        struct cm_error err = { 0 };
        const cm_err rc = t_compile(&ask, ca, cm_keyalg_find("P-256"), &t, &err);
        cr_expect_eq(rc, uncompilable[i].rc, "%zu: %s", i, err.what);
        cr_expect(rc == CM_OK || strstr(err.what, uncompilable[i].words) != NULL, "%zu: %s", i, err.what);
        cm_tmpl_free(t);
    }
}

static const struct {
    const char *extension, *id, *words; /* NULL: accepted */
} extension_values[] = {
    { "subjectAltName = DNS:{id}.x", "a_b", "DNS name" },
    { "subjectAltName = DNS:{id}.x", "a-b", NULL },
    { "subjectAltName = URI:urn:{id}", "ü", "URI does not allow" },
    { "subjectAltName = email:{id}@x", "ü", "e-mail address does not allow" },
    { "subjectAltName = otherName:1.2.3;UTF8:{id}", "ü", NULL },
    { "subjectAltName = otherName:1.2.3;IA5:{id}", "ü", "printable ASCII" },
    { "1.2.3 = ASN1:PRINTABLESTRING:{id}", "a_b", "PrintableString" },
    { "1.2.3 = ASN1:VISIBLESTRING:{id}", "ü", "printable ASCII" },
    { "1.2.3 = ASN1:GENSTR:{id}", "ü", "printable ASCII" },
    { "1.2.3 = ASN1:T61STRING:{id}", "ü", "printable ASCII" },
    { "1.2.3 = ASN1:UTF8String:{id}", "a\x01", "control character" },
    { "1.2.3 = ASN1:OCT:{id}", "ü", NULL },
    { "nsComment = {id}", "ü", "printable ASCII" },
    { "crlDistributionPoints = URI:http://x/{id}", "ü", "printable ASCII" },
    { "subjectAltName = dirName:d\n[d]\nC = DE\nCN = {id}", "ü", NULL },
    { "certificatePolicies = 1.2.3,@p\n[p]\npolicyIdentifier = 1.2\nuserNotice = @n\n[n]\nexplicitText = "
      "{id}",
      "ü", "printable ASCII" },
};

Test(tmpl, values_in_extensions_are_checked, .init = open_authority, .fini = close_authority)
{
    for (size_t i = 0; i < CM_COUNT(extension_values); i++) {
        char profile[512];
        const struct t_ask ask = { .what = extension_values[i].extension,
                                   .profile = profile,
                                   .subject = "/CN=x",
                                   .id = extension_values[i].id };
        const struct cm_values v = t_values(&ask);
        struct cm_tmpl *t = NULL;
        struct cm_error err = { 0 };
        (void) snprintf(profile, sizeof profile, E "%s\n", extension_values[i].extension);
        cr_assert_eq(t_compile(&ask, ca, cm_keyalg_find("P-256"), &t, &err), CM_OK, "%zu: %s", i, err.what);
        const cm_err rc = cm_tmpl_check(t, &v, &err);
        cr_expect_eq(rc, extension_values[i].words == NULL ? CM_OK : CM_E_INPUT, "%s: %s",
                     extension_values[i].extension, err.what);
        cr_expect(rc == CM_OK || strstr(err.what, extension_values[i].words) != NULL, "%s", err.what);
        cm_tmpl_free(t);
    }
}

/* Characters that configuration syntax would take for itself are a value's like any other. */
Test(tmpl, ids_are_never_read_as_configuration, .init = open_authority, .fini = close_authority)
{
    const char *const id = "a,b;c#d$e\"f'g\\h{id}=[x]@y:DNS:z";
    static struct t_blob ours;
    struct t_ask ask = { .what = "characters",
                         .profile = E "basicConstraints = CA:FALSE\n",
                         .subject = "/CN=x",
                         .san = "URI:urn:x:{id},DNS:plain",
                         .id = id };
    const struct cm_keypair *pair = t_pair(cm_keyalg_find("P-256"));
    const uint8_t serial[20] = { 1 };
    struct cm_tmpl *t = NULL;
    char uri[200];

    cr_assert_eq(t_compile(&ask, ca, pair->alg, &t, NULL), CM_OK);
    t_emit(t, &ask, pair, serial, &ours);
    cm_tmpl_free(t);

    GENERAL_NAMES *names = GENERAL_NAMES_new();
    static const int types[] = { GEN_URI, GEN_DNS };
    (void) snprintf(uri, sizeof uri, "urn:x:%s", id);
    for (int i = 0; i < 2; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        cr_assert_eq(ASN1_STRING_set(text, i == 0 ? uri : "plain", -1), 1);
        GENERAL_NAME_set0_value(name, types[i], text);
        cr_assert_gt(sk_GENERAL_NAME_push(names, name), 0);
    }
    CM_AUTO(EVP_PKEY) key = t_oracle_key(pair);
    ask.san = NULL;
    ask.attr[0] = (struct t_attr) { "CN", "x" };
    CM_AUTO(X509)
    x509 = t_oracle_cert(&ask, authority.x509, authority.key, cm_sigalg_find("ecdsa-with-SHA256"), key,
                         CM_KEYFAM_EC, serial);
    static struct t_blob theirs;
    cr_assert_eq(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT), 1);
    t_oracle_tbs(x509, &theirs);
    cr_expect(cm_span_eq(t_span(&ours), t_span(&theirs)));
    GENERAL_NAMES_free(names);
}
