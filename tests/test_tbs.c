/* Goal: what the template makes is, octet for octet, the TBSCertificate that libcrypto makes for the same
 * request: for every shipped profile, key algorithm and CA algorithm, for subjects, alternative names, times
 * and extensions of all kinds, and for lengths on both sides of every boundary of DER. Method: t_oracle.c
 * builds the certificate with X509_new and setters from the request; serial number and key pair, the only
 * random inputs, are given to both sides. The comparison is shown to be able to fail: every field is altered
 * in turn. */
#include "cli/profiles.h"
#include "tests/t_authority.h"
#include "tests/t_mill.h"

#include <criterion/criterion.h>

/* First octet 01 to 7f, as cm_serials_prefix draws it. */
static void draw_serial(uint8_t serial[20])
{
    static unsigned n;

    for (int i = 0; i < 20; i++)
        serial[i] = (uint8_t) (n * 97 + (unsigned) i * 31);
    serial[0] = n % 3 == 0 ? 1 : n % 3 == 1 ? 0x7f : 0x40;
    if (n++ % 5 == 0)
        memset(serial + 1, 0, 9);
}

static void expect_same(const struct t_blob *ours, const struct t_blob *theirs, const struct t_ask *ask,
                        const struct cm_keyalg *alg, const char *sig)
{
    size_t at = 0;

    while (at < ours->len && at < theirs->len && ours->data[at] == theirs->data[at])
        at++;
    cr_assert(ours->len == theirs->len && at == ours->len,
              "%s, %s, %s, id of %zu: %zu octets, %zu expected, the first difference at %zu", ask->what,
              alg->name, sig, strlen(t_ask_id(ask)), ours->len, theirs->len, at);
}

struct side {
    struct cm_ca *ca;
    X509 *x509;
    EVP_PKEY *key;
    const struct cm_sigalg *sig;
};

static void compare(const struct t_ask *ask, const struct side *ca, const struct cm_keyalg *alg)
{
    static struct t_blob ours, theirs;
    const struct cm_keypair *pair = t_pair(alg);
    CM_AUTO(EVP_PKEY) key = t_oracle_key(pair);
    struct cm_tmpl *tmpl = NULL;
    struct cm_error err = { 0 };
    uint8_t serial[20];

    draw_serial(serial);
    cr_assert_eq(t_compile(ask, ca->ca, alg, &tmpl, &err), CM_OK, "%s: %s", ask->what, err.what);
    t_emit(tmpl, ask, pair, serial, &ours);
    cm_tmpl_free(tmpl);
    CM_AUTO(X509) x509 = t_oracle_cert(ask, ca->x509, ca->key, ca->sig, key, alg->family, serial);
    t_oracle_tbs(x509, &theirs);
    expect_same(&ours, &theirs, ask, alg, ca->sig->name);
}

/* ---- every profile, key and CA ---- */

static void all_asks(const struct side *ca, unsigned *same)
{
    for (size_t p = 0; p < cm_profiles_embedded_count; p++)
        for (size_t k = 0; k < cm_keyalg_count(); k++)
            for (size_t i = 0; i < t_asks_count; i++, ++*same) {
                struct t_ask ask = t_asks[i];
                ask.profile = cm_profiles_embedded[p].text;
                compare(&ask, ca, cm_keyalg_at(k));
            }
}

Test(tbs, every_profile_key_and_ca, .timeout = 280)
{
    static const char *const keys[] = { "P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "Ed25519" };
    unsigned same = 0, sigalgs = 0;

    for (size_t k = 0; k < CM_COUNT(keys); k++) {
        static struct t_ca ca;
        struct side side = { 0 };
        t_ca_init(&ca, keys[k], "ecdsa-with-SHA256");
        for (size_t i = 0; i < cm_sigalg_count(); i++) {
            if (cm_sigalg_for_key(ca.key, cm_sigalg_at(i)->name, &side.sig, NULL) != CM_OK)
                continue;
            side = (struct side) { t_open_ca(t_span(&ca.pem), ca.key, side.sig->name), ca.x509, ca.key,
                                   side.sig };
            all_asks(&side, &same);
            cm_ca_close(side.ca);
            sigalgs++;
            if (strcmp(keys[k], "RSA-3072") == 0)
                break; /* the size of the CA's key stands nowhere in the TBS: once is enough */
        }
        t_ca_done(&ca);
    }
    cr_expect_eq(sigalgs, cm_sigalg_count() + 1);
    cr_expect_eq(same, t_asks_count * sigalgs * cm_keyalg_count() * cm_profiles_embedded_count);
}

/* ---- every kind of extension ---- */

static struct side open_side(struct t_ca *ca, const char *key, const char *sig)
{
    t_ca_init(ca, key, "ecdsa-with-SHA256");
    return (struct side) { t_open_ca(t_span(&ca->pem), ca->key, sig), ca->x509, ca->key,
                           cm_sigalg_find(sig) };
}

Test(tbs, profiles_with_placeholders_anywhere, .timeout = 120)
{
    static const char *const keys[] = { "P-256", "RSA-2048", "Ed25519" };
    static struct t_ca ca[2];
    const struct side sides[] = { open_side(&ca[0], "Ed25519", "Ed25519"),
                                  open_side(&ca[1], "RSA-2048", "RSASSA-PSS-SHA256") };

    for (size_t i = 0; i < t_profile_asks_count; i++)
        for (size_t k = 0; k < CM_COUNT(keys); k++)
            for (size_t s = 0; s < CM_COUNT(sides); s++)
                compare(&t_profile_asks[i], &sides[s], cm_keyalg_find(keys[k]));
    for (size_t s = 0; s < CM_COUNT(sides); s++) {
        cm_ca_close(sides[s].ca);
        t_ca_done(&ca[s]);
    }
}

/* Lengths move by one at a time over 127/128 and 255/256 at every level: the id has 1 to 64 characters, the
 * number 1 to 4 digits, and each stands at several places. */
Test(tbs, lengths_ripple_over_every_boundary, .timeout = 200)
{
    static struct t_ca ca;
    const struct side side = open_side(&ca, "Ed25519", "Ed25519");
    const struct cm_keyalg *alg = cm_keyalg_find("P-256");
    struct t_ask ask = {
        .what = "ripple",
        .profile = "[profile]\nextensions = e\n[e]\nbasicConstraints = critical,CA:FALSE\n"
                   "1.2.3.4 = ASN1:SEQUENCE:s\n[s]\na = OCTWRAP,UTF8String:{id}{id}{seq}\n",
        .subject = "/O={id}/OU={id}/CN={id}/serialNumber={seq}",
        .attr = { { "O", "{id}" }, { "OU", "{id}" }, { "CN", "{id}" }, { "serialNumber", "{seq}" } },
        .san = "URI:u:{id}{id}{id}{id}{seq},otherName:1.2.3;UTF8:{id}{seq}"
    };
    char id[65] = "";
    bool seen[2000] = { false };

    for (size_t n = 1; n <= 64; n++) {
        memset(id, 'x', n);
        ask.id = id;
        for (ask.seq = 1; ask.seq < 10000; ask.seq = ask.seq * 10 + 1) {
            compare(&ask, &side, alg);
            seen[4 * n + (ask.seq > 9) + (ask.seq > 99) + (ask.seq > 999)] = true;
        }
    }
    for (size_t n = 4; n <= 256; n++)
        cr_expect(seen[n], "no content of %zu octets (and two of the URI's prefix)", n);
    cm_ca_close(side.ca);
    t_ca_done(&ca);
}

/* ---- what only the CA decides ---- */

/* A CA whose name is in string types of the last century, two attributes in one RDN. */
static void rename_ca(struct t_authority *a)
{
    X509_NAME *name = X509_NAME_new();
    static const unsigned char bmp[] = { 0, 'B', 0, 'M', 0x20, 0xac }, t61[] = { 'T', 0xe4 };

    cr_assert(X509_NAME_add_entry_by_NID(name, NID_organizationName, V_ASN1_T61STRING, t61, 2, -1, 0) == 1 &&
              X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_BMPSTRING, bmp, 6, -1, 0) == 1 &&
              X509_NAME_add_entry_by_txt(name, "OU", V_ASN1_PRINTABLESTRING, (const unsigned char *) "a b",
                                         -1, -1, -1) == 1);
    cr_assert(X509_set_subject_name(a->x509, name) == 1 && X509_set_issuer_name(a->x509, name) == 1 &&
              X509_sign(a->x509, a->key, EVP_sha256()) > 0);
    X509_NAME_free(name);
}

static struct side open_alone(struct t_authority *a)
{
    CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());

    t_authority_put_cert(certs, a);
    return (struct side) { t_open_ca(t_authority_span(certs), a->key, NULL), a->x509, a->key,
                           cm_sigalg_find("ecdsa-with-SHA256") };
}

Test(tbs, the_issuer_is_copied_octet_for_octet)
{
    struct t_authority a = { 0 };
    struct t_ask ask = t_asks[0];

    t_authority_init(&a, &(struct t_spec) { 0 }, NULL);
    rename_ca(&a);
    const struct side side = open_alone(&a);
    ask.profile = cm_profiles_find("tls-client")->text;
    compare(&ask, &side, cm_keyalg_find("P-256"));
    cm_ca_close(side.ca);
    t_authority_done(&a);
}

/* libcrypto writes an empty identifier for such a CA; RFC 5280 4.2.1.1 wants one made from its key. */
Test(tbs, a_ca_without_a_key_identifier)
{
    static struct t_blob ours, theirs;
    const struct cm_keypair *pair = t_pair(cm_keyalg_find("P-256"));
    CM_AUTO(EVP_PKEY) key = t_oracle_key(pair);
    struct t_authority a = { 0 };
    struct t_ask ask = t_asks[0];
    struct cm_tmpl *tmpl = NULL;
    uint8_t serial[20], hash[EVP_MAX_MD_SIZE];
    AUTHORITY_KEYID *id = AUTHORITY_KEYID_new();

    t_authority_init(&a, &(struct t_spec) { .no_ski = true }, NULL);
    const struct side side = open_alone(&a);
    draw_serial(serial);
    ask.profile =
        "[profile]\nextensions = e\n[e]\nbasicConstraints = CA:FALSE\nauthorityKeyIdentifier = keyid\n";
    cr_assert_eq(t_compile(&ask, side.ca, pair->alg, &tmpl, NULL), CM_OK);
    t_emit(tmpl, &ask, pair, serial, &ours);
    cm_tmpl_free(tmpl);

    ask.profile = "[profile]\nextensions = e\n[e]\nbasicConstraints = CA:FALSE\n";
    CM_AUTO(X509) x509 = t_oracle_cert(&ask, a.x509, a.key, side.sig, key, CM_KEYFAM_EC, serial);
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(a.x509);
    cr_assert_eq(EVP_Digest(bits->data, (size_t) bits->length, hash, NULL, EVP_sha1(), NULL), 1);
    id->keyid = ASN1_OCTET_STRING_new();
    cr_assert(ASN1_OCTET_STRING_set(id->keyid, hash, 20) == 1 &&
              X509_add1_ext_i2d(x509, NID_authority_key_identifier, id, 0, X509V3_ADD_DEFAULT) == 1);
    t_oracle_tbs(x509, &theirs);
    expect_same(&ours, &theirs, &ask, pair->alg, side.sig->name);
    AUTHORITY_KEYID_free(id);
    cm_ca_close(side.ca);
    t_authority_done(&a);
}

/* ---- the comparison can fail ---- */

static void version(X509 *x, EVP_PKEY *ca_key)
{
    (void) ca_key;
    cr_assert_eq(X509_set_version(x, X509_VERSION_2), 1);
}

static void serial_number(X509 *x, EVP_PKEY *ca_key)
{
    (void) ca_key;
    X509_get_serialNumber(x)->data[19] ^= 1;
}

static void algorithm(X509 *x, EVP_PKEY *ca_key)
{
    cr_assert_gt(X509_sign(x, ca_key, EVP_sha384()), 0);
}

static void issuer(X509 *x, EVP_PKEY *ca_key)
{
    CM_AUTO(X509_NAME) name = X509_NAME_dup(X509_get_issuer_name(x));

    (void) ca_key;
    X509_NAME_ENTRY_free(X509_NAME_delete_entry(name, 0));
    cr_assert_eq(X509_set_issuer_name(x, name), 1);
}

static void begins(X509 *x, EVP_PKEY *ca_key)
{
    (void) ca_key;
    cr_assert_eq(ASN1_TIME_set_string(X509_getm_notBefore(x), "260101000001Z"), 1);
}

static void ends(X509 *x, EVP_PKEY *ca_key)
{
    (void) ca_key;
    cr_assert_eq(ASN1_TIME_set_string(X509_getm_notAfter(x), "351231235959Z"), 1);
}

static void ends_in_the_other_type(X509 *x, EVP_PKEY *ca_key)
{
    (void) ca_key;
    cr_assert_eq(ASN1_TIME_set_string(X509_getm_notAfter(x), "20360101000000Z"), 1);
}

static void subject_in_the_other_type(X509 *x, EVP_PKEY *ca_key)
{
    CM_AUTO(X509_NAME) name = X509_NAME_new();

    (void) ca_key;
    cr_assert(X509_NAME_add_entry_by_txt(name, "CN", V_ASN1_PRINTABLESTRING,
                                         (const unsigned char *) "SN00000001", -1, -1, 0) == 1 &&
              X509_set_subject_name(x, name) == 1);
}

static void subject(X509 *x, EVP_PKEY *ca_key)
{
    CM_AUTO(X509_NAME) name = X509_NAME_new();

    (void) ca_key;
    cr_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) "SN00000002", -1,
                                         -1, 0) == 1 &&
              X509_set_subject_name(x, name) == 1);
}

static void public_key(X509 *x, EVP_PKEY *ca_key)
{
    cr_assert_eq(X509_set_pubkey(x, ca_key), 1);
}

static void (*const alterations[])(X509 *, EVP_PKEY *) = {
    version,
    serial_number,
    algorithm,
    issuer,
    begins,
    ends,
    ends_in_the_other_type,
    subject,
    subject_in_the_other_type,
    public_key,
};

/* How one extension is altered. */
enum { FLIP, CRITICAL, REMOVE, TO_THE_END, EXTENSION_WAYS };

static void alter_extension(X509 *x, int i, int way)
{
    X509_EXTENSION *ext = X509_get_ext(x, i);

    if (way == FLIP) {
        ASN1_OCTET_STRING *data = X509_EXTENSION_get_data(ext);
        data->data[data->length - 1] ^= 1;
    } else if (way == CRITICAL) {
        cr_assert_eq(X509_EXTENSION_set_critical(ext, !X509_EXTENSION_get_critical(ext)), 1);
    } else {
        ext = X509_delete_ext(x, i);
        cr_assert(way == REMOVE || X509_add_ext(x, ext, -1) == 1);
        X509_EXTENSION_free(ext);
    }
}

static bool differs(X509 *x, const struct t_blob *ours)
{
    static struct t_blob theirs;

    t_oracle_tbs(x, &theirs);
    return !cm_span_eq(t_span(ours), t_span(&theirs));
}

Test(tbs, every_altered_field_is_seen)
{
    static struct t_ca ca;
    static struct t_blob ours;
    const struct side side = open_side(&ca, "P-256", "ecdsa-with-SHA256");
    const struct cm_keypair *pair = t_pair(cm_keyalg_find("P-256"));
    CM_AUTO(EVP_PKEY) key = t_oracle_key(pair);
    struct t_ask ask = t_asks[0];
    struct cm_tmpl *tmpl = NULL;
    uint8_t serial[20];

    draw_serial(serial);
    ask.profile = cm_profiles_find("aws-iot")->text;
    ask.san = "DNS:{id}.example.com";
    cr_assert_eq(t_compile(&ask, side.ca, pair->alg, &tmpl, NULL), CM_OK);
    t_emit(tmpl, &ask, pair, serial, &ours);
    cm_tmpl_free(tmpl);
    CM_AUTO(X509) good = t_oracle_cert(&ask, side.x509, side.key, side.sig, key, CM_KEYFAM_EC, serial);
    cr_assert(!differs(good, &ours));
    cr_assert_eq(X509_get_ext_count(good), 6);
    for (size_t i = 0; i < CM_COUNT(alterations); i++) {
        CM_AUTO(X509) x = X509_dup(good);
        cr_assert(!differs(x, &ours));
        alterations[i](x, side.key);
        cr_expect(differs(x, &ours), "alteration %zu is not seen", i);
    }
    for (int i = 0; i < 6; i++)
        for (int way = 0; way < EXTENSION_WAYS; way++) {
            CM_AUTO(X509) x = X509_dup(good);
            if (way == TO_THE_END && i == 5)
                continue; /* stands there */
            alter_extension(x, i, way);
            cr_expect(differs(x, &ours), "extension %d, way %d", i, way);
        }
    cm_ca_close(side.ca);
    t_ca_done(&ca);
}
