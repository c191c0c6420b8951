/* Goal: the auditor finds nothing in devices that libcrypto made, for every key algorithm under every
 * signature algorithm, and exactly what is wrong with damaged ones. Method: certificates, keys and the facts
 * of their rows come from libcrypto. A damaged device has one thing wrong and everything else made to fit it
 * (digests, ids, signature), so that each finding is owed to one check; an undamaged control runs beside.
 * Flips of single bits are sampled from a seed that is printed. */
#include "engine/audit.h"
#include "engine/keyalg.h"
#include "engine/xxh.h"
#include "tests/t_ident.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <time.h>

/* ---- a device and its row ---- */

struct device {
    struct t_blob chain, key;
    bool der;
    char subject[512], certificate_id[65], ca_certificate_id[65], serial[48], serial_dec[64], spki_sha256[65];
    char ski[41], thumbprint_sha1[41], not_before[32], not_after[32];
    char chain_xxh3[33], chain_sha256[65], key_xxh3[33], key_sha256[65];
    struct cm_evidence ev;
};

static void put_hex(const uint8_t *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        (void) snprintf(out + 2 * i, 3, "%02x", data[i]);
}

static void put_digest(const char *name, struct cm_span s, char *out)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    size_t len = 0;

    cr_assert_eq(EVP_Q_digest(NULL, name, NULL, s.data, s.len, md, &len), 1);
    put_hex(md, len, out);
}

/* The row's digests of the stored bytes. */
static void rehash(struct device *d)
{
    uint8_t fast[16];

    cm_xxh128(d->chain.data, d->chain.len, fast);
    put_hex(fast, sizeof fast, d->chain_xxh3);
    put_digest("SHA256", t_span(&d->chain), d->chain_sha256);
    cm_xxh128(d->key.data, d->key.len, fast);
    put_hex(fast, sizeof fast, d->key_xxh3);
    put_digest("SHA256", t_span(&d->key), d->key_sha256);
    d->ev.chain = t_span(&d->chain);
    d->ev.key = t_span(&d->key);
}

static void put_names(X509 *leaf, struct device *d)
{
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    CM_AUTO(BIGNUM) serial = ASN1_INTEGER_to_BN(X509_get_serialNumber(leaf), NULL);
    char *text = NULL, *dec = BN_bn2dec(serial);
    uint8_t octets[20];

    cr_assert_geq(
        X509_NAME_print_ex(bio, X509_get_subject_name(leaf), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB), 0);
    const int len = (int) BIO_get_mem_data(bio, &text);
    (void) snprintf(d->subject, sizeof d->subject, "%.*s", len, text);
    (void) snprintf(d->serial_dec, sizeof d->serial_dec, "%s", dec);
    OPENSSL_free(dec);
    cr_assert_eq(BN_bn2binpad(serial, octets, 20), 20);
    put_hex(octets, 20, d->serial);
}

static void put_time(const ASN1_TIME *time, char *out)
{
    struct tm tm;

    cr_assert_eq(ASN1_TIME_to_tm(time, &tm), 1);
    cr_assert_eq(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm), 20);
}

static void store_leaf(struct device *d, struct cm_span leaf, const struct t_ca *ca)
{
    d->chain.len = 0;
    if (d->der)
        t_add(&d->chain, leaf.data, leaf.len);
    else
        t_pem("CERTIFICATE", leaf, 64, &d->chain);
    if (d->der)
        for (int i = 0; i < 2; i++)
            t_add(&d->chain, ca->der[i].data, ca->der[i].len);
    else
        t_add(&d->chain, ca->pem.data, ca->pem.len);
    put_digest("SHA256", leaf, d->certificate_id);
    put_digest("SHA1", leaf, d->thumbprint_sha1);
    rehash(d);
}

static void store_key(struct device *d, EVP_PKEY *key, bool traditional)
{
    static const char *const labels[] = { "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY" };
    const bool ec = EVP_PKEY_is_a(key, "EC") == 1, rsa = EVP_PKEY_is_a(key, "RSA") == 1;
    const char *label = labels[!traditional ? 0 : ec ? 1 : rsa ? 2 : 0];
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    unsigned char *der = NULL;

    const int len = label == labels[0] ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : i2d_PrivateKey(key, &der);
    cr_assert_gt(len, 0);
    d->key.len = 0;
    if (d->der)
        t_add(&d->key, der, (size_t) len);
    else
        t_pem(label, cm_span(der, (size_t) len), 64, &d->key);
    PKCS8_PRIV_KEY_INFO_free(p8);
    OPENSSL_free(der);
    rehash(d);
}

static void make_row(struct device *d, X509 *leaf, const struct t_ca *ca, const char *key_alg)
{
    unsigned char *spki = NULL;
    const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(leaf);

    put_names(leaf, d);
    put_time(X509_get0_notBefore(leaf), d->not_before);
    put_time(X509_get0_notAfter(leaf), d->not_after);
    put_digest("SHA256", cm_span(spki, (size_t) len), d->spki_sha256);
    put_digest("SHA256", t_span(&ca->der[0]), d->ca_certificate_id);
    put_hex(ASN1_STRING_get0_data(ski), (size_t) ASN1_STRING_length(ski), d->ski);
    OPENSSL_free(spki);
    d->ev.facts = (struct cm_facts) {
        .device_id = "SN-0001",
        .subject = d->subject,
        .certificate_id = d->certificate_id,
        .ca_certificate_id = d->ca_certificate_id,
        .serial = d->serial,
        .serial_dec = d->serial_dec,
        .key_alg = key_alg,
        .sig_alg = ca->sig->name,
        .spki_sha256 = d->spki_sha256,
        .ski = d->ski,
        .thumbprint_sha1 = d->thumbprint_sha1,
        .not_before = d->not_before,
        .not_after = d->not_after,
        .chain_xxh3 = d->chain_xxh3,
        .chain_sha256 = d->chain_sha256,
        .key_xxh3 = d->key_xxh3,
        .key_sha256 = d->key_sha256,
        .der = d->der,
    };
}

static void make_device(struct device *d, const struct t_ca *ca, X509 *leaf, EVP_PKEY *key,
                        const char *key_alg, bool der, bool traditional)
{
    static struct t_blob whole;
    unsigned char *at = whole.data;

    d->der = der;
    whole.len = (size_t) i2d_X509(leaf, &at);
    make_row(d, leaf, ca, key_alg);
    store_leaf(d, t_span(&whole), ca);
    store_key(d, key, traditional);
}

/* ---- findings ---- */

static struct findings {
    unsigned count;
    char text[8192];
} seen;

static void note(void *arg, const struct cm_evidence *ev, const char *what)
{
    struct findings *f = arg;
    const size_t used = strlen(f->text);

    cr_assert_str_eq(ev->facts.device_id, "SN-0001");
    (void) snprintf(f->text + used, sizeof f->text - used, "%s\n", what);
    f->count++;
}

static unsigned audit(struct cm_auditor *a, const struct device *d, struct cm_audit_ids *ids)
{
    struct cm_audit_ids unused;

    seen = (struct findings) { 0 };
    const unsigned n = cm_audit(a, &d->ev, note, &seen, ids != NULL ? ids : &unused);
    cr_assert_eq(n, seen.count);
    return n;
}

static struct cm_auditor *open_for(const struct t_ca *ca)
{
    struct cm_auditor *a = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_auditor_open(t_span(&ca->pem), &a, &err), CM_OK, "%s", err.what);
    return a;
}

/* Exactly one finding, with these words in it. */
static void expect_one(struct cm_auditor *a, const struct device *d, const char *words, const char *what)
{
    const unsigned n = audit(a, d, NULL);

    cr_expect_eq(n, 1, "%s: %u findings: %s", what, n, seen.text);
    cr_expect_not_null(strstr(seen.text, words), "%s: not \"%s\" but: %s", what, words, seen.text);
}

/* ---- what libcrypto makes is accepted ---- */

static struct t_ca ca;
static struct device dev;

static void expect_clean(struct cm_auditor *a, EVP_PKEY *key, const char *key_alg, const char *not_after)
{
    CM_AUTO(X509) leaf = t_leaf(&ca, key, not_after);

    for (unsigned way = 0; way < 4; way++) {
        struct cm_audit_ids ids = { 0 };
        char serial[41] = "", spki[65] = "";
        make_device(&dev, &ca, leaf, key, key_alg, (way & 1) != 0, (way & 2) != 0);
        cr_expect_eq(audit(a, &dev, &ids), 0, "%s under %s, way %u: %s", key_alg, ca.sig->name, way,
                     seen.text);
        put_hex(ids.serial, sizeof ids.serial, serial);
        put_hex(ids.spki_sha256, sizeof ids.spki_sha256, spki);
        cr_expect_str_eq(serial, dev.serial);
        cr_expect_str_eq(spki, dev.spki_sha256);
    }
}

static void expect_clean_under(const char *ca_key, const char *sig_alg, EVP_PKEY *const *keys)
{
    t_ca_init(&ca, ca_key, sig_alg);
    struct cm_auditor *a = open_for(&ca);
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        expect_clean(a, keys[i], cm_keyalg_at(i)->name, i % 2 == 0 ? "20491231235959Z" : "20500101000000Z");
    cm_auditor_close(a);
    t_ca_done(&ca);
}

Test(audit, every_key_under_every_signature_is_clean, .timeout = 600)
{
    EVP_PKEY *keys[16] = { NULL };

    cr_assert_leq(cm_keyalg_count(), CM_COUNT(keys));
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        keys[i] = t_key(cm_keyalg_at(i)->name);
    for (size_t i = 0; i < cm_sigalg_count(); i++) {
        const struct cm_sigalg *alg = cm_sigalg_at(i);
        const bool pss = strcmp(alg->key_type, "RSA-PSS") == 0;
        const char *rsa = strncmp(alg->key_type, "RSA", 3) == 0 ? "RSA-2048" : "Ed25519";
        expect_clean_under(alg->group != NULL ? alg->group : rsa, alg->name, keys);
        if (pss) /* both with a plain RSA key and with one that can do nothing else */
            expect_clean_under("RSA-PSS", alg->name, keys);
    }
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        EVP_PKEY_free(keys[i]);
}

/* ---- one good device, for the tests that damage it ---- */

static struct cm_auditor *auditor;
static EVP_PKEY *dev_key;
static X509 *dev_leaf;

static struct cm_span leaf_der(void)
{
    static struct t_blob der;
    unsigned char *at = der.data;

    der.len = (size_t) i2d_X509(dev_leaf, &at);
    return t_span(&der);
}

static void setup(void)
{
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    dev_key = t_key("P-256");
    dev_leaf = t_leaf(&ca, dev_key, "20491231235959Z");
    auditor = open_for(&ca);
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
    cr_assert_eq(audit(auditor, &dev, NULL), 0, "the control: %s", seen.text);
}

static void teardown(void)
{
    cr_expect_eq(audit(auditor, &dev, NULL), 0, "the control, at the end: %s", seen.text);
    cm_auditor_close(auditor);
    EVP_PKEY_free(dev_key);
    X509_free(dev_leaf);
    t_ca_done(&ca);
}

Test(audit, every_damage_of_a_signed_certificate_is_the_one_finding, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;

    t_take_apart(dev_leaf, &parts);
    for (size_t i = 0; i < t_damage_count(); i++) {
        const struct t_damage *d = t_damage_at(i);
        static struct t_blob kept;
        kept = parts.part[d->part];
        t_der(d->spec, &parts.part[d->part]);
        t_put_together(&parts, ca.key, ca.sig, &der);
        store_leaf(&dev, t_span(&der), &ca);
        expect_one(auditor, &dev, d->finding, d->what);
        parts.part[d->part] = kept;
    }
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

/* Right in itself, but not of this CA or not of this row. */
static const struct {
    const char *what;
    enum t_part part;
    const char *spec;
    const char *finding;
} foreign[] = {
    { "issuer's name in other words", T_ISSUER, "30(31(30(06(55040a) 0c('Acme'))))",
      "its issuer isn't the CA's subject" },
    { "AKI of another key", T_AKI, "30(06(551d23) 04(30(80(0102030405060708090a0b0c0d0e0f1011121314))))",
      "its authorityKeyIdentifier isn't the CA's subjectKeyIdentifier" },
    { "no AKI", T_AKI, "", "no authorityKeyIdentifier" },
    { "SKI of another key", T_SKI, "30(06(551d0e) 04(04(0102030405060708090a0b0c0d0e0f1011121314)))",
      "its subjectKeyIdentifier isn't the SHA-1" },
    { "no SKI", T_SKI, "", "ski: the row says" },
    { "outlives the CA", T_VALIDITY, "30(17('260102030405Z') 18('20560101000000Z'))", "outlives the CA" },
    { "begins before the CA", T_VALIDITY, "30(17('191231235959Z') 17('491231235959Z'))", "before the CA's" },
    { "another serial", T_SERIAL, "02(0102)", "serial: the row says" },
    { "another subject", T_SUBJECT, "30(31(30(06(550403) 0c('other'))))", "subject: the row says" },
};

Test(audit, a_certificate_of_another_ca_or_row_is_found, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;

    t_take_apart(dev_leaf, &parts);
    for (size_t i = 0; i < CM_COUNT(foreign); i++) {
        static struct t_blob kept;
        kept = parts.part[foreign[i].part];
        t_der(foreign[i].spec, &parts.part[foreign[i].part]);
        t_put_together(&parts, ca.key, ca.sig, &der);
        store_leaf(&dev, t_span(&der), &ca);
        cr_expect_geq(audit(auditor, &dev, NULL), 1, "%s: nothing found", foreign[i].what);
        cr_expect_not_null(strstr(seen.text, foreign[i].finding), "%s: %s", foreign[i].what, seen.text);
        cr_expect_null(strstr(seen.text, "signature"), "%s: %s", foreign[i].what, seen.text);
        parts.part[foreign[i].part] = kept;
    }
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

Test(audit, the_authority_key_identifier_may_name_the_ca_by_issuer_and_serial, .init = setup,
     .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;

    for (int wrong = 0; wrong < 2; wrong++) {
        X509V3_CTX ctx;
        X509V3_set_ctx(&ctx, wrong ? ca.root : ca.x509, dev_leaf, NULL, NULL, 0);
        CM_AUTO(X509_EXTENSION)
        ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always,issuer:always");
        unsigned char *at = parts.part[T_AKI].data;
        t_take_apart(dev_leaf, &parts);
        parts.part[T_AKI].len = (size_t) i2d_X509_EXTENSION(ext, &at);
        t_put_together(&parts, ca.key, ca.sig, &der);
        store_leaf(&dev, t_span(&der), &ca);
        cr_expect_eq(audit(auditor, &dev, NULL), wrong ? 2 : 0, "%s", seen.text);
        cr_expect_eq(strstr(seen.text, "names another certificate") != NULL, wrong == 1, "%s", seen.text);
    }
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

Test(audit, a_signature_by_another_key_or_of_another_kind_is_found, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;
    CM_AUTO(EVP_PKEY) other = t_key("P-256");
    CM_AUTO(EVP_PKEY) other_384 = t_key("P-384");

    t_take_apart(dev_leaf, &parts);
    t_put_together(&parts, other, ca.sig, &der);
    store_leaf(&dev, t_span(&der), &ca);
    expect_one(auditor, &dev, "the signature (ecdsa-with-SHA256) isn't the CA's", "another key");

    dev.ev.facts.sig_alg = "ecdsa-with-SHA384";
    t_der("30(06(2a 86 48 ce 3d 04 03 03))", &parts.part[T_INNER]);
    parts.part[T_OUTER] = parts.part[T_INNER];
    t_put_together(&parts, other_384, cm_sigalg_find("ecdsa-with-SHA384"), &der);
    store_leaf(&dev, t_span(&der), &ca);
    expect_one(auditor, &dev, "which the CA's key can't make", "another kind");
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

Test(audit, a_digest_that_the_ca_never_signed_is_found_for_every_padding, .timeout = 120)
{
    static const char *const rows[] = { "sha256WithRSAEncryption", "RSASSA-PSS-SHA256", "Ed25519" };
    static struct t_parts parts;
    static struct t_blob der;
    CM_AUTO(EVP_PKEY) key = t_key("P-256");

    for (size_t i = 0; i < CM_COUNT(rows); i++) {
        t_ca_init(&ca, i == 2 ? "Ed25519" : "RSA-2048", rows[i]);
        struct cm_auditor *a = open_for(&ca);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
        make_device(&dev, &ca, leaf, key, "P-256", true, false);
        for (int again = 0; again < 3; again++) /* contexts are used again and again */
            cr_expect_eq(audit(a, &dev, NULL), 0, "%s", seen.text);
        t_take_apart(leaf, &parts);
        CM_AUTO(EVP_PKEY) other = t_key(i == 2 ? "Ed25519" : "RSA-2048");
        t_put_together(&parts, other, ca.sig, &der);
        store_leaf(&dev, t_span(&der), &ca);
        expect_one(a, &dev, "isn't the CA's", rows[i]);
        /* The other padding under the same name. */
        if (i < 2) {
            t_put_together(&parts, ca.key, cm_sigalg_find(rows[1 - i]), &der);
            store_leaf(&dev, t_span(&der), &ca);
            expect_one(a, &dev, "isn't the CA's", "the other padding");
        }
        cm_auditor_close(a);
        t_ca_done(&ca);
    }
}

/* ---- the row ---- */

#define FACT(member)                                                                                         \
    {                                                                                                        \
#member, offsetof(struct cm_facts, member)                                                           \
    }
static const struct fact {
    const char *name;
    size_t at;
} facts[] = {
    FACT(subject),    FACT(certificate_id),  FACT(ca_certificate_id), FACT(serial),
    FACT(serial_dec), FACT(key_alg),         FACT(sig_alg),           FACT(spki_sha256),
    FACT(ski),        FACT(thumbprint_sha1), FACT(not_before),        FACT(not_after),
    FACT(chain_xxh3), FACT(chain_sha256),    FACT(key_xxh3),          FACT(key_sha256),
};

/* How the finding calls it. */
static const char *called(const char *name)
{
    return strcmp(name, "chain_xxh3") == 0     ? "chain: its XXH3"
           : strcmp(name, "chain_sha256") == 0 ? "chain: its SHA-256"
           : strcmp(name, "key_xxh3") == 0     ? "key: its XXH3"
           : strcmp(name, "key_sha256") == 0   ? "key: its SHA-256"
                                               : name;
}

Test(audit, every_fact_of_the_row_is_compared, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < CM_COUNT(facts); i++) {
        const char **fact = (const char **) (void *) ((char *) &dev.ev.facts + facts[i].at);
        const char *kept = *fact;
        char other[512];
        const size_t len = strlen(kept);
        (void) snprintf(other, sizeof other, "%s", kept);
        for (size_t at = 0; at < len; at += len - 1) { /* its first character, then its last */
            other[at] = kept[at] == '7' ? '8' : '7';
            *fact = other;
            expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
            other[at] = kept[at];
        }
        other[len - 1] = '\0'; /* cut short */
        expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = "";
        expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = NULL;
        expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = kept;
    }
}

Test(audit, control_characters_of_a_row_do_not_reach_the_finding, .init = setup, .fini = teardown)
{
    const char *kept = dev.ev.facts.serial;

    dev.ev.facts.serial = "\033[31mred\n";
    expect_one(auditor, &dev, "\"?[31mred?\"", "escape sequence");
    dev.ev.facts.serial = kept;
}

/* ---- the bundle ---- */

static struct t_blob pem_leaf, pem_ca, pem_root;

static void rewrite(const struct t_blob *one, const struct t_blob *two, const struct t_blob *three)
{
    const struct t_blob *all[] = { one, two, three };

    dev.chain.len = 0;
    for (size_t i = 0; i < CM_COUNT(all); i++)
        if (all[i] != NULL)
            t_add(&dev.chain, all[i]->data, all[i]->len);
    rehash(&dev);
}

static struct t_blob *text(const char *s)
{
    static struct t_blob b;

    b.len = 0;
    t_add(&b, s, strlen(s));
    return &b;
}

Test(audit, the_bundle_is_the_leaf_and_then_the_ca_chain, .init = setup, .fini = teardown)
{
    static struct t_blob raw;

    t_add(&raw, leaf_der().data, leaf_der().len);
    t_pem("CERTIFICATE", leaf_der(), 64, &pem_leaf);
    t_pem("CERTIFICATE", t_span(&ca.der[0]), 64, &pem_ca);
    t_pem("CERTIFICATE", t_span(&ca.der[1]), 64, &pem_root);
    rewrite(&pem_leaf, &pem_ca, &pem_root);
    cr_assert_eq(audit(auditor, &dev, NULL), 0, "%s", seen.text);

    const struct {
        const struct t_blob *one, *two, *three;
        const char *finding;
    } bad[] = {
        { &pem_leaf, &pem_root, &pem_ca, "chain: certificate 2 isn't certificate 1 of ca.pem" },
        { &pem_leaf, &pem_ca, NULL, "chain: ends after 1 of the CA chain's 2" },
        { &pem_leaf, NULL, NULL, "chain: ends after 0 of the CA chain's 2" },
        { &pem_leaf, &pem_ca, &pem_ca, "chain: certificate 3 isn't certificate 2 of ca.pem" },
        { &pem_leaf, &pem_leaf, &pem_ca, "chain: certificate 2 isn't certificate 1 of ca.pem" },
        { &pem_leaf, &ca.pem, &pem_root, "chain: goes on after the leaf" },
        { &pem_leaf, &ca.pem, text("\n"), "chain: certificate 4: not PEM" },
        { &pem_ca, &pem_root, &pem_leaf, "chain: begins with certificate 1 of ca.pem" },
        { &pem_root, &pem_ca, &pem_leaf, "chain: begins with certificate 2 of ca.pem" },
        { NULL, NULL, NULL, "chain: certificate 1: not PEM" },
        { &raw, &ca.pem, NULL, "chain: certificate 1: not PEM" },
    };
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        rewrite(bad[i].one, bad[i].two, bad[i].three);
        cr_expect_geq(audit(auditor, &dev, NULL), 1, "row %zu: nothing found", i);
        cr_expect_not_null(strstr(seen.text, bad[i].finding), "row %zu: %s", i, seen.text);
    }
    rewrite(&pem_leaf, &ca.pem, NULL);
}

/* Damage to the text of the leaf's PEM that another reader would overlook. */
static const struct {
    const char *what;
    const char *from, *to; /* the first occurrence */
    const char *finding;
} texts[] = {
    { "CR LF", "-----\n", "-----\r\n", "not PEM that begins" },
    { "blank at a line's end", "\n-----END", " \n-----END", "PEM line" },
    { "empty line", "\n-----END", "\n\n-----END", "PEM line" },
    { "text before", "-----BEGIN", "x\n-----BEGIN", "not PEM that begins" },
    { "another label", "CERTIFICATE-----\n", "X509 CERTIFICATE-----\n", "not PEM that begins" },
    { "another label at the end", "END CERTIFICATE", "END X509 CERTIFICATE", "PEM doesn't end" },
    { "a header", "-----\n", "-----\nA: b\n\n", "PEM line 2" },
};

Test(audit, pem_is_strict, .init = setup, .fini = teardown)
{
    static struct t_blob kept, narrow;

    kept = dev.chain;
    for (size_t i = 0; i < CM_COUNT(texts); i++) {
        const uint8_t *at = memmem(kept.data, kept.len, texts[i].from, strlen(texts[i].from));
        cr_assert_not_null(at);
        dev.chain.len = 0;
        t_add(&dev.chain, kept.data, (size_t) (at - kept.data));
        t_add(&dev.chain, texts[i].to, strlen(texts[i].to));
        at += strlen(texts[i].from);
        t_add(&dev.chain, at, (size_t) (kept.data + kept.len - at));
        rehash(&dev);
        expect_one(auditor, &dev, texts[i].finding, texts[i].what);
    }
    for (size_t width = 60; width <= 76; width += 16) {
        narrow.len = 0;
        t_pem("CERTIFICATE", leaf_der(), width, &narrow);
        rewrite(&narrow, &ca.pem, NULL);
        expect_one(auditor, &dev, "isn't 64 characters", "other line lengths");
    }
    dev.chain = kept;
    dev.chain.len = kept.len - 1;
    rehash(&dev);
    expect_one(auditor, &dev, "PEM doesn't end with", "no LF at the end");
    dev.chain = kept;
    rehash(&dev);
}

/* ---- the key ---- */

static void store_key_pem(const char *label, const char *spec)
{
    static struct t_blob der;

    t_der(spec, &der);
    dev.key.len = 0;
    t_pem(label, t_span(&der), 64, &dev.key);
    rehash(&dev);
}

Test(audit, another_devices_key_is_found, .init = setup, .fini = teardown, .timeout = 60)
{
    const struct {
        const char *alg, *finding;
    } others[] = {
        { "P-384", "key: it is P-384, the certificate's is P-256" },
        { "RSA-2048", "key: it is RSA-2048, the certificate's is P-256" },
        { "Ed25519", "key: it is Ed25519, the certificate's is P-256" },
    };
    CM_AUTO(EVP_PKEY) same_kind = t_key("P-256");

    for (size_t i = 0; i < CM_COUNT(others); i++) {
        CM_AUTO(EVP_PKEY) other = t_key(others[i].alg);
        store_key(&dev, other, false);
        expect_one(auditor, &dev, others[i].finding, others[i].alg);
    }
    store_key(&dev, same_kind, false);
    cr_expect_eq(audit(auditor, &dev, NULL), 2, "%s", seen.text);
    cr_expect_not_null(strstr(seen.text, "key: the EC scalar isn't that of the certificate's"), "%s",
                       seen.text);
    cr_expect_not_null(strstr(seen.text, "key: the public key that is stored in it isn't"), "%s", seen.text);
    store_key_pem("PRIVATE KEY", "30(02(00))");
    expect_one(auditor, &dev, "key: PKCS#8 algorithm: missing", "not a key");
    store_key(&dev, dev_key, false);
    t_add(&dev.key, "\n", 1);
    rehash(&dev);
    expect_one(auditor, &dev, "key: PEM: 1 octets too many", "text behind");
    store_key(&dev, dev_key, false);
}

Test(audit, a_key_is_stored_exactly_when_the_row_lists_it, .init = setup, .fini = teardown)
{
    static struct t_blob kept;

    kept = dev.key;
    dev.ev.facts.key_xxh3 = dev.ev.facts.key_sha256 = NULL;
    expect_one(auditor, &dev, "key: one is stored, but the row lists none", "unlisted");
    dev.key.len = 0;
    rehash(&dev);
    cr_expect_eq(audit(auditor, &dev, NULL), 0, "no keys in this run: %s", seen.text);
    dev.ev.facts.key_xxh3 = dev.key_xxh3;
    dev.ev.facts.key_sha256 = dev.key_sha256;
    expect_one(auditor, &dev, "key: the row lists one, but none is stored", "lost");
    dev.key = kept;
    rehash(&dev);
}

Test(audit, without_a_key_the_public_point_must_be_on_its_curve, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;

    t_take_apart(dev_leaf, &parts);
    parts.part[T_SPKI].data[parts.part[T_SPKI].len - 1] ^= 1;
    t_put_together(&parts, ca.key, ca.sig, &der);
    dev.ev.facts.key_xxh3 = dev.ev.facts.key_sha256 = NULL;
    dev.key.len = 0;
    store_leaf(&dev, t_span(&der), &ca);
    (void) audit(auditor, &dev, NULL);
    cr_expect_not_null(strstr(seen.text, "the public key isn't a point of P-256"), "%s", seen.text);
    make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

/* ---- any bit ---- */

/* flips one bit of *b, has the row's digests follow, and demands a finding. */
static void flip(struct cm_auditor *a, struct t_blob *b, size_t bit, unsigned seed)
{
    b->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    rehash(&dev);
    cr_expect_gt(audit(a, &dev, NULL), 0, "seed %u: bit %zu of the %s (%s) flipped, nothing found", seed, bit,
                 b == &dev.key ? "key" : "chain", dev.der ? "DER" : "PEM");
    b->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
}

Test(audit, a_flipped_bit_is_found_even_when_the_digests_follow, .timeout = 300)
{
    static const char *const algs[] = { "P-256", "RSA-2048", "Ed25519" };
    const unsigned seed = (unsigned) time(NULL);

    cr_log_info("seed %u", seed);
    srandom(seed);
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    struct cm_auditor *a = open_for(&ca);
    for (size_t i = 0; i < 2 * CM_COUNT(algs); i++) {
        CM_AUTO(EVP_PKEY) key = t_key(algs[i / 2]);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
        make_device(&dev, &ca, leaf, key, algs[i / 2], i % 2 != 0, false);
        for (unsigned round = 0; round < 400; round++) {
            flip(a, &dev.chain, (size_t) random() % (8 * dev.chain.len), seed);
            flip(a, &dev.key, (size_t) random() % (8 * dev.key.len), seed);
        }
        rehash(&dev);
        cr_expect_eq(audit(a, &dev, NULL), 0, "unflipped: %s", seen.text);
    }
    cm_auditor_close(a);
    t_ca_done(&ca);
}

/* Every bit of a certificate, its ids made to follow: only reading and verifying are left to find it. */
Test(audit, every_bit_of_a_certificate_is_signed_or_read, .init = setup, .fini = teardown, .timeout = 300)
{
    static struct t_blob der;
    unsigned char *at = der.data;

    dev.der = dev.ev.facts.der = true;
    der.len = (size_t) i2d_X509(dev_leaf, &at);
    store_key(&dev, dev_key, false);
    for (size_t bit = 0; bit < 8 * der.len; bit++) {
        der.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        store_leaf(&dev, t_span(&der), &ca);
        cr_expect_gt(audit(auditor, &dev, NULL), 0, "bit %zu", bit);
        der.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    store_leaf(&dev, t_span(&der), &ca);
}

/* ---- ca.pem ---- */

Test(audit, a_wrong_ca_file_is_refused, .init = setup, .fini = teardown)
{
    static struct t_blob swapped, device, text_before, cut, nothing;
    const struct {
        const struct t_blob *pem;
        const char *finding;
    } bad[] = {
        { &swapped, "ca.pem: certificate 1 wasn't issued by certificate 2" },
        { &device, "ca.pem: certificate 1 isn't a CA's" },
        { &text_before, "ca.pem: certificate 1: not PEM" },
        { &cut, "ca.pem: certificate 1 isn't one" },
        { &nothing, "ca.pem: 0 octets" },
    };

    t_pem("CERTIFICATE", t_span(&ca.der[1]), 64, &swapped);
    t_pem("CERTIFICATE", t_span(&ca.der[0]), 64, &swapped);
    t_pem("CERTIFICATE", leaf_der(), 64, &device);
    t_add(&device, ca.pem.data, ca.pem.len);
    t_add(&text_before, "text\n", 5);
    t_add(&text_before, ca.pem.data, ca.pem.len);
    t_pem("CERTIFICATE", cm_span(ca.der[0].data, ca.der[0].len - 1), 64, &cut);
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct cm_auditor *a = NULL;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_auditor_open(t_span(bad[i].pem), &a, &err), CM_E_INPUT, "row %zu", i);
        cr_expect_null(a);
        cr_expect_not_null(strstr(err.what, bad[i].finding), "row %zu: %s", i, err.what);
    }
    cm_auditor_close(NULL);
}

/* ---- secrets ---- */

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#ifndef ASAN
enum { MASK = 0x5a };

/* How often does the heap hold these octets, forwards or backwards (as a BIGNUM does)? They are given masked,
 * so that the question itself isn't an answer. */
static unsigned in_heap(const uint8_t masked[32])
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned count = 0;

    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from = 0, to = 0;
        if (strstr(line, "[heap]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        for (const uint8_t *p = (const uint8_t *) from; p + 32 <= (const uint8_t *) to; p++) {
            size_t ahead = 0, back = 0;
            while (ahead < 32 && (p[ahead] ^ MASK) == masked[ahead])
                ahead++;
            while (back < 32 && (p[back] ^ MASK) == masked[31 - back])
                back++;
            count += ahead == 32 || back == 32;
        }
    }
    (void) fclose(maps);
    return count;
}

/* A P-256 key whose scalar never passes through libcrypto's encoders: PEM in dev.key, the public half
 * returned. */
static EVP_PKEY *known_key(const uint8_t masked[32])
{
    static struct t_blob der;
    CM_AUTO(EC_GROUP) group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    CM_AUTO(EC_POINT) point = EC_POINT_new(group);
    CM_AUTO(BIGNUM) k = BN_new();
    CM_AUTO(BN_CTX) ctx = BN_CTX_secure_new();
    uint8_t scalar[32], pub[65];
    char spec[512], s[65], p[131];

    for (size_t i = 0; i < 32; i++)
        scalar[i] = masked[i] ^ MASK;
    cr_assert(BN_bin2bn(scalar, 32, k) != NULL && EC_POINT_mul(group, point, k, NULL, NULL, ctx) == 1);
    cr_assert_eq(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, pub, 65, ctx), 65);
    put_hex(scalar, 32, s);
    put_hex(pub, 65, p);
    (void) snprintf(
        spec, sizeof spec,
        "30(02(00) 30(06(2a8648ce3d0201) 06(2a8648ce3d030107)) 04(30(02(01) 04(%s) a1(03(00 %s)))))", s, p);
    t_der(spec, &der);
    dev.key.len = 0;
    t_pem("PRIVATE KEY", t_span(&der), 64, &dev.key);
    OPENSSL_cleanse(&der, sizeof der);
    OPENSSL_cleanse(scalar, sizeof scalar);
    (void) snprintf(spec, sizeof spec, "30(30(06(2a8648ce3d0201) 06(2a8648ce3d030107)) 03(00 %s))", p);
    t_der(spec, &der);
    const unsigned char *in = der.data;
    return d2i_PUBKEY(NULL, &in, (long) der.len);
}

Test(audit, no_private_key_stays_in_the_heap)
{
    uint8_t masked[32];

    for (size_t i = 0; i < sizeof masked; i++)
        masked[i] = (uint8_t) ((37 * i + 11) ^ MASK);
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    struct cm_auditor *a = open_for(&ca);
    CM_AUTO(EVP_PKEY) key = known_key(masked);
    CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
    static struct t_blob whole;
    unsigned char *at = whole.data;
    whole.len = (size_t) i2d_X509(leaf, &at);
    make_row(&dev, leaf, &ca, "P-256");
    store_leaf(&dev, t_span(&whole), &ca);

    uint8_t *planted = malloc(32); /* the scan must be able to find it */
    for (size_t i = 0; i < 32; i++)
        planted[i] = masked[i] ^ MASK;
    cr_assert_eq(in_heap(masked), 1, "the scan doesn't see what is there, or the test left copies itself");
    OPENSSL_cleanse(planted, 32);
    free(planted);
    cr_assert_eq(in_heap(masked), 0);
    cr_expect_eq(audit(a, &dev, NULL), 0, "%s", seen.text);
    cr_expect_eq(in_heap(masked), 0, "after an audit");
    cm_auditor_close(a);
    cr_expect_eq(in_heap(masked), 0, "after closing");
    t_ca_done(&ca);
}
#endif
