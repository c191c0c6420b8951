/* Goal: the strict reader accepts what libcrypto makes for every key algorithm and reads the same facts out
 * of it, and refuses each certificate of a table of damaged ones for its own damage. Method: certificates
 * come from libcrypto's X509 calls; facts are compared with libcrypto's getters; damaged ones differ from a
 * good one in a single DER part (t_damage.c). Random damage is judged by a property: what the reader accepts,
 * libcrypto reads too and would encode to the same octets. */
#include "engine/certread.h"
#include "engine/keyalg.h"
#include "engine/nameread.h"
#include "tests/t_ident.h"

#include <criterion/criterion.h>
#include <time.h>

static const char not_after[] = "20491231235959Z";

static struct cm_span whole(X509 *leaf, struct t_blob *out)
{
    unsigned char *at = out->data;

    cr_assert_leq(i2d_X509(leaf, NULL), T_BLOB_MAX);
    out->len = (size_t) i2d_X509(leaf, &at);
    return t_span(out);
}

static void expect_octets(const ASN1_STRING *expected, struct cm_span got, const char *what)
{
    cr_expect(
        cm_span_eq(cm_span(ASN1_STRING_get0_data(expected), (size_t) ASN1_STRING_length(expected)), got),
        "%s", what);
}

static void expect_same_facts(X509 *leaf, const struct cm_certread *c, const struct cm_keyalg *alg)
{
    const unsigned char *der = NULL;
    size_t len = 0;

    expect_octets(X509_get_serialNumber(leaf), c->serial, "serial");
    expect_octets(X509_get0_subject_key_id(leaf), c->ski, "ski");
    expect_octets(X509_get0_authority_key_id(leaf), c->aki, "aki");
    expect_octets(X509_get0_pubkey_bitstr(leaf), c->key.bits, "public key");
    cr_expect(X509_NAME_get0_der(X509_get_subject_name(leaf), &der, &len) == 1 &&
              cm_span_eq(cm_span(der, len), c->subject));
    cr_expect(X509_NAME_get0_der(X509_get_issuer_name(leaf), &der, &len) == 1 &&
              cm_span_eq(cm_span(der, len), c->issuer));
    cr_expect_str_eq(c->not_before.text, "2026-01-02T03:04:05Z");
    cr_expect_eq(c->not_before.at, 1767323045);
    cr_expect_str_eq(c->not_after.text, "2049-12-31T23:59:59Z");
    cr_expect_eq(c->not_after.at, 2524607999);
    cr_expect_eq(c->key.alg, alg, "%s", alg->name);
    cr_expect_eq(c->key_usage, alg->family == CM_KEYFAM_RSA ? 5u : 1u);
    cr_expect(c->has_basic && c->has_eku && !c->has_san);
}

Test(certread, every_key_algorithm_is_read, .timeout = 300)
{
    static struct t_ca ca;
    static struct t_blob der;

    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        CM_AUTO(EVP_PKEY) key = t_key(cm_keyalg_at(i)->name);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, not_after);
        struct cm_error err = { 0 };
        struct cm_certread c;
        cr_assert_eq(cm_certread(whole(leaf, &der), &c, &err), CM_OK, "%s: %s", cm_keyalg_at(i)->name,
                     err.what);
        cr_expect_eq(c.sigalg, ca.sig);
        expect_same_facts(leaf, &c, cm_keyalg_at(i));
    }
    t_ca_done(&ca);
}

/* The parts of one good certificate, for the tests that damage it. */
static struct t_parts parts;
static struct t_blob good;

static void setup(void)
{
    static struct t_ca ca;
    CM_AUTO(EVP_PKEY) key = t_key("P-256");

    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    CM_AUTO(X509) leaf = t_leaf(&ca, key, not_after);
    t_take_apart(leaf, &parts);
    (void) whole(leaf, &good);
    t_ca_done(&ca);
}

static cm_err read_parts(struct cm_error *err)
{
    static struct t_blob der;
    struct cm_certread c;

    t_put_together(&parts, NULL, NULL, &der);
    return cm_certread(t_span(&der), &c, err);
}

Test(certread, every_damage_is_named, .init = setup)
{
    struct cm_error err = { 0 };

    cr_assert_eq(read_parts(&err), CM_OK, "the undamaged one: %s", err.what);
    for (size_t i = 0; i < t_damage_count(); i++) {
        const struct t_damage *d = t_damage_at(i);
        static struct t_blob kept;
        kept = parts.part[d->part];
        t_der(d->spec, &parts.part[d->part]);
        cr_expect_eq(read_parts(&err), CM_E_INPUT, "%s: accepted", d->what);
        cr_expect_not_null(strstr(err.what, d->finding), "%s: \"%s\"", d->what, err.what);
        parts.part[d->part] = kept;
    }
    cr_expect_eq(read_parts(&err), CM_OK, "undamaged again: %s", err.what);
}

Test(certread, an_empty_list_of_extensions_is_refused_and_none_accepted, .init = setup)
{
    struct cm_error err = { 0 };

    for (int i = T_BASIC; i <= T_EXTRA; i++)
        parts.part[i].len = 0;
    cr_expect_eq(read_parts(&err), CM_E_INPUT);
    cr_expect_str_eq(err.what, "extensions: an empty list");
    parts.bare = true;
    cr_expect_eq(read_parts(&err), CM_OK, "%s", err.what);
}

/* What the same strict rules must let through. */
static const struct {
    const char *what;
    enum t_part part;
    const char *spec;
} fine[] = {
    { "serial of one octet", T_SERIAL, "02(01)" },
    { "serial of 20 octets, the first 7f", T_SERIAL, "02(7f 0102030405060708090a0b0c0d0e0f10111213)" },
    { "serial with a needed zero", T_SERIAL, "02(00 80)" },
    { "GeneralizedTime from 2050 on", T_VALIDITY, "30(17('260102030405Z') 18('20500101000000Z'))" },
    { "no well-defined expiry", T_VALIDITY, "30(17('260102030405Z') 18('99991231235959Z'))" },
    { "UTCTime of 1950", T_VALIDITY, "30(17('500101000000Z') 17('491231235959Z'))" },
    { "29 February 2028", T_VALIDITY, "30(17('260102030405Z') 17('280229000000Z'))" },
    { "CN of 64", T_SUBJECT,
      "30(31(30(06(550403) 0c('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'))))" },
    { "CN of 64 in 128 octets", T_SUBJECT,
      "30(31(30(06(550403) 0c('ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää'))))" },
    { "Matter's vendor id", T_SUBJECT, "30(31(30(06(2b0601040182a27c0201) 0c('FFF1'))))" },
    { "the whole alphabet of PrintableString", T_SUBJECT,
      "30(31(30(06(55042e) 13('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ()+,-./:=?' "
      "27))))" },
    { "decipherOnly", T_USAGE, "30(06(551d0f) 01(ff) 04(03(07 88 80)))" },
    { "critical SAN", T_EXTRA,
      "30(06(551d11) 01(ff) 04(30(a0(06(2b06010505070804) a0(30(06(2a03) 04('SN1')))) 82('a.example') "
      "87(0a000001))))" },
    { "AKI with issuer", T_AKI,
      "30(06(551d23) 04(30(80(01) a1(a4(30(31(30(06(550403) 0c('a')))))) 82(00 ff))))" },
    { "raw octets in a private extension", T_EXTRA, "30(06(2a0304) 04(ff ff))" },
};

Test(certread, odd_but_right_is_accepted, .init = setup)
{
    for (size_t i = 0; i < CM_COUNT(fine); i++) {
        struct t_blob *part = &parts.part[fine[i].part];
        static struct t_blob kept;
        struct cm_error err = { 0 };
        kept = *part;
        t_der(fine[i].spec, part);
        cr_expect_eq(read_parts(&err), CM_OK, "%s: %s", fine[i].what, err.what);
        *part = kept;
    }
    struct cm_error err = { 0 };
    t_der("30()", &parts.part[T_SUBJECT]);
    cr_expect_eq(read_parts(&err), CM_E_INPUT);
    t_der("30(06(551d11) 01(ff) 04(30(82('a.example'))))", &parts.part[T_EXTRA]);
    cr_expect_eq(read_parts(&err), CM_OK, "empty subject, critical SAN: %s", err.what);
    t_der("30(06(551d11) 04(30(82('a.example'))))", &parts.part[T_EXTRA]);
    cr_expect_eq(read_parts(&err), CM_E_INPUT, "the SAN must be critical");
}

Test(certread, every_prefix_is_refused, .init = setup)
{
    struct cm_certread c;

    cr_assert_eq(cm_certread(t_span(&good), &c, NULL), CM_OK);
    for (size_t len = 0; len < good.len; len++) {
        uint8_t *exact = malloc(len + 1); /* its end is where a sanitizer looks */
        memcpy(exact + 1, good.data, len);
        cr_expect_eq(cm_certread(cm_span(exact + 1, len), &c, NULL), CM_E_INPUT, "%zu octets", len);
        free(exact);
    }
}

/* Does libcrypto read these octets, and would it write the signed part the same way? */
static bool libcrypto_agrees(struct cm_span der, struct cm_span tbs)
{
    const unsigned char *in = der.data;
    CM_AUTO(X509) x509 = d2i_X509(NULL, &in, (long) der.len);
    unsigned char *again = NULL;

    if (x509 == NULL || in != der.data + der.len)
        return false;
    const int len = i2d_re_X509_tbs(x509, &again);
    const bool same = len > 0 && cm_span_eq(tbs, cm_span(again, (size_t) len));
    OPENSSL_free(again);
    return same;
}

/* The issuer's inside is the CA's affair (certread.h): a round that hit it says nothing. */
Test(certread, whatever_is_accepted_is_der_for_libcrypto_too, .init = setup, .timeout = 120)
{
    const struct t_blob *issuer = &parts.part[T_ISSUER];
    const unsigned seed = (unsigned) time(NULL);
    unsigned accepted = 0;

    cr_log_info("seed %u", seed);
    srandom(seed);
    for (unsigned round = 0; round < 40000; round++) {
        static struct t_blob hurt;
        struct cm_certread c;
        hurt = good;
        for (long n = 1 + random() % 3; n > 0; n--) {
            uint8_t *at = &hurt.data[(size_t) random() % hurt.len];
            *at = (uint8_t) (random() % 2 != 0 ? random() : *at ^ 1 << random() % 8);
        }
        if (cm_certread(t_span(&hurt), &c, NULL) != CM_OK || !cm_span_eq(c.issuer, t_span(issuer)))
            continue;
        accepted++;
        cr_assert(libcrypto_agrees(t_span(&hurt), c.tbs), "seed %u round %u", seed, round);
    }
    cr_expect_gt(accepted, 100, "seed %u: only %u accepted: nothing was tested", seed, accepted);
}

/* ---- names ---- */

/* Multi-valued RDNs follow with '+'. */
static const char *const names[] = {
    "30(31(30(06(55040a) 0c('Acme, Inc.'))) 31(30(06(550403) 0c(' a \"quoted\" <x;y>+z\\ '))))",
    "30(31(30(06(550406) 13('DE'))) 31(30(06(550408) 0c('#Bayern'))) 31(30(06(550407) 0c('München'))))",
    "30(31(30(06(550405) 13('SN-1')) 30(06(550403) 0c('two in one')) 30(06(55040a) 0c('three in one')))"
    " 31(30(06(55040b) 0c(' '))))",
    "30(31(30(06(09922689 93f22c640119) 16('example'))) 31(30(06(09922689 93f22c640101) 0c('u')))"
    " 31(30(06(2a864886f70d010901) 16('a@b.c'))))",
    "30(31(30(06(2b0601040182a27c0201) 0c('FFF1'))) 31(30(06(2b0601040182a27c0202) 0c('8000'))))",
    "30(31(30(06(550404) 0c('S'))) 31(30(06(55042a) 0c('G'))) 31(30(06(55042b) 0c('I'))) 31(30(06(550429) "
    "0c('N')))"
    " 31(30(06(55042c) 0c('Q'))) 31(30(06(550441) 0c('P'))) 31(30(06(55042e) 13('D'))) 31(30(06(550411) "
    "0c('80331')))"
    " 31(30(06(550409) 0c('Str. 1'))) 31(30(06(55040c) 0c('Dr.'))))",
    "30(31(30(06(2a864886f70d010902) 16('unstructured'))) 31(30(06(55040f) 0c('business'))) 31(30(06(55042d) "
    "03(00 ff))))",
    "30(31(30(06(550461) 0c('organizationIdentifier'))) 31(30(06(55040d) 13('description'))))",
    "30()",
};

/* What libcrypto prints for it. */
static void print_name(struct cm_span der, char *out, size_t cap)
{
    const unsigned char *in = der.data;
    CM_AUTO(X509_NAME) name = d2i_X509_NAME(NULL, &in, (long) der.len);
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    char *text = NULL;

    cr_assert_not_null(name);
    cr_assert_geq(X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB), 0);
    const size_t len = (size_t) BIO_get_mem_data(bio, &text);
    cr_assert_lt(len, cap);
    (void) snprintf(out, cap, "%.*s", (int) len, len > 0 ? text : "");
}

Test(certread, names_read_as_libcrypto_prints_them)
{
    for (size_t i = 0; i < CM_COUNT(names); i++) {
        static struct t_blob der;
        char text[1024], expected[1024];
        struct cm_writer w = cm_writer(text, sizeof text - 1);
        struct cm_error err = { 0 };
        t_der(names[i], &der);
        cr_assert_eq(cm_nameread(t_span(&der), &w, &err), CM_OK, "%zu: %s", i, err.what);
        text[w.len] = '\0';
        print_name(t_span(&der), expected, sizeof expected);
        cr_expect_str_eq(text, expected);
    }
}

/* RFC 5280 appendix A, X.520: how many characters each attribute may have. */
static const struct {
    const char *oid, *tag;
    size_t max;
} bounds[] = {
    { "550403", "0c", 64 },
    { "55040a", "0c", 64 },
    { "55040b", "13", 64 },
    { "550405", "13", 64 },
    { "550407", "0c", 128 },
    { "550408", "0c", 128 },
    { "550409", "0c", 128 },
    { "55040c", "0c", 64 },
    { "550406", "13", 2 },
    { "550441", "0c", 128 },
    { "550411", "13", 40 },
    { "2a864886f70d010901", "16", 255 },
    { "0992268993f22c640101", "0c", 256 },
};

Test(certread, names_keep_their_upper_bounds)
{
    static struct t_blob der;
    char spec[512], value[300];

    memset(value, 'x', sizeof value);
    for (size_t i = 0; i < CM_COUNT(bounds); i++)
        for (int more = 0; more < 2; more++) {
            const int len = (int) bounds[i].max + more;
            (void) snprintf(spec, sizeof spec, "30(31(30(06(%s) %s('%.*s'))))", bounds[i].oid, bounds[i].tag,
                            len, value);
            t_der(spec, &der);
            cr_expect_eq(cm_nameread(t_span(&der), NULL, NULL), more ? CM_E_INPUT : CM_OK, "%s of %d",
                         bounds[i].oid, len);
        }
}

Test(certread, a_name_that_does_not_fit_is_an_error)
{
    static struct t_blob der;
    char text[8];
    struct cm_writer w = cm_writer(text, sizeof text);

    t_der("30(31(30(06(550403) 0c('12345'))))", &der);
    cr_expect_eq(cm_nameread(t_span(&der), &w, NULL), CM_OK, "CN=12345 is 8 characters");
    w = cm_writer(text, sizeof text - 1);
    cr_expect_eq(cm_nameread(t_span(&der), &w, NULL), CM_E_NOSPACE);
}
