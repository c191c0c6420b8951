/* Goal: the auditor finds nothing in devices that libcrypto made, for every key algorithm under every
 * signature algorithm, and exactly what is wrong with certificates that are damaged, of another CA or of
 * another row. Method: certificates, keys and the facts of their rows come from libcrypto. A damaged device
 * has one thing wrong and everything else made to fit it (digests, ids, signature), so that each finding is
 * owed to one check; an undamaged control runs before and after. What is stored around the certificate:
 * test_audit_stored.c. */
#include "engine/keyalg.h"
#include "tests/t_device.h"

#include <criterion/criterion.h>

/* ---- one good device, for the tests that damage it ---- */

static struct t_ca ca;
static struct t_device dev;
static struct cm_auditor *auditor;
static EVP_PKEY *dev_key;
static X509 *dev_leaf;

static void setup(void)
{
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    dev_key = t_key("P-256");
    dev_leaf = t_leaf(&ca, dev_key, "20491231235959Z");
    auditor = t_open(&ca);
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
    cr_assert_eq(t_audit(auditor, &dev, NULL), 0, "the control: %s", t_seen.text);
}

static void teardown(void)
{
    cr_expect_eq(t_audit(auditor, &dev, NULL), 0, "the control, at the end: %s", t_seen.text);
    cm_auditor_close(auditor);
    EVP_PKEY_free(dev_key);
    X509_free(dev_leaf);
    t_ca_done(&ca);
}

/* ---- what libcrypto makes is accepted ---- */

static void expect_clean(struct cm_auditor *a, EVP_PKEY *key, const char *key_alg, const char *not_after)
{
    CM_AUTO(X509) leaf = t_leaf(&ca, key, not_after);

    for (unsigned way = 0; way < 4; way++) {
        struct cm_audit_ids ids = { 0 };
        char serial[41] = "", spki[65] = "";
        t_make_device(&dev, &ca, leaf, key, key_alg, (way & 1) != 0, (way & 2) != 0);
        cr_expect_eq(t_audit(a, &dev, &ids), 0, "%s under %s, way %u: %s", key_alg, ca.sig->name, way,
                     t_seen.text);
        t_hex(ids.serial, sizeof ids.serial, serial);
        t_hex(ids.spki_sha256, sizeof ids.spki_sha256, spki);
        cr_expect_str_eq(serial, dev.serial);
        cr_expect_str_eq(spki, dev.spki_sha256);
    }
}

static void expect_clean_under(const char *ca_key, const char *sig_alg, EVP_PKEY *const *keys)
{
    t_ca_init(&ca, ca_key, sig_alg);
    struct cm_auditor *a = t_open(&ca);
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

/* ---- the certificate ---- */

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
        t_store_leaf(&dev, t_span(&der), &ca);
        t_expect_one(auditor, &dev, d->finding, d->what);
        parts.part[d->part] = kept;
    }
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
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
        t_store_leaf(&dev, t_span(&der), &ca);
        cr_expect_geq(t_audit(auditor, &dev, NULL), 1, "%s: nothing found", foreign[i].what);
        cr_expect_not_null(strstr(t_seen.text, foreign[i].finding), "%s: %s", foreign[i].what, t_seen.text);
        cr_expect_null(strstr(t_seen.text, "signature"), "%s: %s", foreign[i].what, t_seen.text);
        parts.part[foreign[i].part] = kept;
    }
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
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
        t_store_leaf(&dev, t_span(&der), &ca);
        cr_expect_eq(t_audit(auditor, &dev, NULL), wrong ? 2 : 0, "%s", t_seen.text);
        cr_expect_eq(strstr(t_seen.text, "names another certificate") != NULL, wrong == 1, "%s", t_seen.text);
    }
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

Test(audit, a_signature_by_another_key_or_of_another_kind_is_found, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;
    CM_AUTO(EVP_PKEY) other = t_key("P-256");
    CM_AUTO(EVP_PKEY) other_384 = t_key("P-384");

    t_take_apart(dev_leaf, &parts);
    t_put_together(&parts, other, ca.sig, &der);
    t_store_leaf(&dev, t_span(&der), &ca);
    t_expect_one(auditor, &dev, "the signature (ecdsa-with-SHA256) isn't the CA's", "another key");

    dev.ev.facts.sig_alg = "ecdsa-with-SHA384";
    t_der("30(06(2a 86 48 ce 3d 04 03 03))", &parts.part[T_INNER]);
    parts.part[T_OUTER] = parts.part[T_INNER];
    t_put_together(&parts, other_384, cm_sigalg_find("ecdsa-with-SHA384"), &der);
    t_store_leaf(&dev, t_span(&der), &ca);
    t_expect_one(auditor, &dev, "which the CA's key can't make", "another kind");
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

Test(audit, a_digest_that_the_ca_never_signed_is_found_for_every_padding, .timeout = 120)
{
    static const char *const rows[] = { "sha256WithRSAEncryption", "RSASSA-PSS-SHA256", "Ed25519" };
    static struct t_parts parts;
    static struct t_blob der;
    CM_AUTO(EVP_PKEY) key = t_key("P-256");

    for (size_t i = 0; i < CM_COUNT(rows); i++) {
        t_ca_init(&ca, i == 2 ? "Ed25519" : "RSA-2048", rows[i]);
        struct cm_auditor *a = t_open(&ca);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
        t_make_device(&dev, &ca, leaf, key, "P-256", true, false);
        for (int again = 0; again < 3; again++) /* contexts are used again and again */
            cr_expect_eq(t_audit(a, &dev, NULL), 0, "%s", t_seen.text);
        t_take_apart(leaf, &parts);
        CM_AUTO(EVP_PKEY) other = t_key(i == 2 ? "Ed25519" : "RSA-2048");
        t_put_together(&parts, other, ca.sig, &der);
        t_store_leaf(&dev, t_span(&der), &ca);
        t_expect_one(a, &dev, "isn't the CA's", rows[i]);
        /* The other padding under the same name. */
        if (i < 2) {
            t_put_together(&parts, ca.key, cm_sigalg_find(rows[1 - i]), &der);
            t_store_leaf(&dev, t_span(&der), &ca);
            t_expect_one(a, &dev, "isn't the CA's", "the other padding");
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
            t_expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
            other[at] = kept[at];
        }
        other[len - 1] = '\0'; /* cut short */
        t_expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = "";
        t_expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = NULL;
        t_expect_one(auditor, &dev, called(facts[i].name), facts[i].name);
        *fact = kept;
    }
}

Test(audit, control_characters_of_a_row_do_not_reach_the_finding, .init = setup, .fini = teardown)
{
    const char *kept = dev.ev.facts.serial;

    dev.ev.facts.serial = "\033[31mred\n";
    t_expect_one(auditor, &dev, "\"?[31mred?\"", "escape sequence");
    dev.ev.facts.serial = kept;
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
    t_pem("CERTIFICATE", t_leaf_der(dev_leaf), 64, &device);
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
