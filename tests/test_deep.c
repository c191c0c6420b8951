/* Goal: libcrypto's second opinion has nothing to say of a sound device, whatever its key, and speaks up
 * where its own reader, its own writer or the arithmetic disagree. Method: devices come from libcrypto
 * (t_device.c) for every row of the key table in every form; then keys are damaged with the row's digests
 * made to follow. RSA numbers that are wrong are planted into whole fleets by cli_deep.py. */
#include "engine/deep.h"
#include "engine/keyalg.h"
#include "tests/t_device.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>

static struct t_ca ca;
static struct t_device dev;

static struct cm_auditor *open_deep(void)
{
    struct cm_auditor *a = t_open(&ca);
    struct cm_error err = { 0 };

    cr_assert_eq(cm_auditor_deepen(a, &err), CM_OK, "%s", err.what);
    return a;
}

static bool primes_given(const struct cm_audit_ids *ids)
{
    static const uint8_t none[32];

    return memcmp(ids->prime_sha256[0], none, 32) != 0 && memcmp(ids->prime_sha256[1], none, 32) != 0;
}

Test(deep, every_sound_key_in_every_form_passes, .timeout = 240)
{
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    struct cm_auditor *a = open_deep();

    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        if (alg->family == CM_KEYFAM_RSA && alg->bits > 3072)
            continue; /* seconds each, and nothing else than 3072 bits */
        CM_AUTO(EVP_PKEY) key = t_key(alg->name);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
        for (int form = 0; form < 4; form++) {
            struct cm_audit_ids ids = { 0 };
            const bool traditional = form >= 2 && alg->family != CM_KEYFAM_ED25519;
            t_make_device(&dev, &ca, leaf, key, alg->name, form % 2 == 1, traditional);
            cr_expect_eq(t_audit(a, &dev, &ids), 0, "%s, form %d: %s", alg->name, form, t_seen.text);
            cr_expect_eq(primes_given(&ids), alg->family == CM_KEYFAM_RSA, "%s", alg->name);
            cr_expect_not(ids.key_encrypted);
        }
    }
    cm_auditor_close(a);
    t_ca_done(&ca);
}

Test(deep, every_ca_key_and_padding_passes, .timeout = 120)
{
    static const char *const rows[][2] = { { "RSA-2048", "sha256WithRSAEncryption" },
                                           { "RSA-2048", "RSASSA-PSS-SHA256" },
                                           { "P-384", "ecdsa-with-SHA384" },
                                           { "Ed25519", "Ed25519" } };

    CM_AUTO(EVP_PKEY) key = t_key("P-256");
    for (size_t i = 0; i < CM_COUNT(rows); i++) {
        t_ca_init(&ca, rows[i][0], rows[i][1]);
        struct cm_auditor *a = open_deep();
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "99991231235959Z");
        t_make_device(&dev, &ca, leaf, key, "P-256", false, false);
        dev.ev.facts.may_outlive_ca = true;
        cr_expect_eq(t_audit(a, &dev, NULL), 0, "%s: %s", rows[i][1], t_seen.text);
        cm_auditor_close(a);
        t_ca_done(&ca);
    }
}

static void note(void *arg, const char *what)
{
    struct t_findings *f = arg;
    const size_t used = strlen(f->text);

    (void) snprintf(f->text + used, sizeof f->text - used, "%s\n", what);
    f->count++;
}

Test(deep, the_authority_is_judged_once_and_by_itself)
{
    struct cm_deep *d = NULL;
    struct t_findings seen = { 0 };

    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    cr_assert_eq(cm_deep_open(t_span(&ca.pem), &d, NULL), CM_OK);
    cm_deep_authority(d, note, &seen);
    cr_expect_eq(seen.count, 1, "%s", seen.text); /* t_ca's has none */
    cr_expect_not_null(strstr(seen.text, "certificate 1: libcrypto: Missing Authority Key Identifier"), "%s",
                       seen.text);
    cm_deep_close(d);
    cm_deep_close(NULL);
    d = NULL;
    cr_expect_eq(cm_deep_open(cm_span_str("no PEM"), &d, NULL), CM_E_INPUT);
    cr_expect_null(d);
    t_ca_done(&ca);
}

/* ---- damaged keys ---- */

static EVP_PKEY *dev_key;
static X509 *dev_leaf;
static struct cm_auditor *auditor;

static void setup(void)
{
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    dev_key = t_key("P-256");
    dev_leaf = t_leaf(&ca, dev_key, "20491231235959Z");
    auditor = open_deep();
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", true, false);
    cr_assert_eq(t_audit(auditor, &dev, NULL), 0, "the control: %s", t_seen.text);
}

static void teardown(void)
{
    cm_auditor_close(auditor);
    EVP_PKEY_free(dev_key);
    X509_free(dev_leaf);
    t_ca_done(&ca);
}

/* Where the scalar and the public point stand in the PKCS#8 of a P-256 key. */
enum { SCALAR_AT = 36, POINT_AT = 73, SCALAR_LEN = 32, POINT_LEN = 65 };

static void expect_words(const char *what, const char *words)
{
    t_rehash(&dev);
    cr_expect_geq(t_audit(auditor, &dev, NULL), 1, "%s: nothing found", what);
    cr_expect_not_null(strstr(t_seen.text, words), "%s: not \"%s\" but: %s", what, words, t_seen.text);
    cr_expect_null(strstr(t_seen.text, "SHA-256 is"), "%s: the digests found it: %s", what, t_seen.text);
}

Test(deep, a_scalar_out_of_range_or_of_another_point_is_refused, .init = setup, .fini = teardown)
{
    static const uint8_t order[SCALAR_LEN] = { 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,
                                               0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                               0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                               0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };
    static struct t_blob kept;
    uint8_t *const scalar = dev.key.data + SCALAR_AT;

    kept = dev.key;
    cr_assert_eq(dev.key.data[POINT_AT], 0x04);
    memset(scalar, 0, SCALAR_LEN);
    expect_words("zero", "key: libcrypto");
    memcpy(scalar, order, SCALAR_LEN);
    expect_words("n", "key: libcrypto");
    scalar[SCALAR_LEN - 1]++;
    expect_words("n + 1", "key: libcrypto");
    dev.key = kept;
    scalar[SCALAR_LEN - 1] ^= 1;
    expect_words("another scalar", "key: libcrypto's check of it fails");
    dev.key = kept;
    dev.key.data[POINT_AT + POINT_LEN - 1] ^= 1;
    expect_words("no point of the curve", "key: libcrypto");
}

Test(deep, an_encoding_that_libcrypto_reads_but_would_not_write_is_found, .init = setup, .fini = teardown)
{
    static struct t_blob text;

    t_add(&dev.key, "\0", 1);
    expect_words("an octet behind", "key: libcrypto can't read it, or not all of it");
    dev.der = dev.ev.facts.der = false;
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
    text = dev.key;
    dev.key.len = 0;
    t_add(&dev.key, "text\n", 5);
    t_add(&dev.key, text.data, text.len);
    expect_words("text before", "key: libcrypto would write it otherwise");
}

Test(deep, another_devices_key_is_found_by_libcrypto_too, .init = setup, .fini = teardown)
{
    CM_AUTO(EVP_PKEY) other = t_key("P-256");
    CM_AUTO(EVP_PKEY) stranger = t_key("Ed25519");

    t_store_key(&dev, other, false);
    expect_words("another key", "key: libcrypto says that it isn't the certificate's");
    t_store_key(&dev, stranger, false);
    expect_words("another kind", "key: libcrypto says that it isn't the certificate's");
}

Test(deep, an_encrypted_key_is_told_and_no_finding, .init = setup, .fini = teardown)
{
    for (int der = 0; der < 2; der++) {
        CM_AUTO(BIO) out = BIO_new(BIO_s_mem());
        struct cm_audit_ids ids = { 0 };
        char *made = NULL, pass[] = "passphrase";
        t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", der == 1, false);
        const int ok =
            der ? i2d_PKCS8PrivateKey_bio(out, dev_key, EVP_aes_128_cbc(), pass, 10, NULL, NULL)
                : PEM_write_bio_PKCS8PrivateKey(out, dev_key, EVP_aes_128_cbc(), pass, 10, NULL, NULL);
        cr_assert_eq(ok, 1);
        const long len = BIO_get_mem_data(out, &made);
        dev.key.len = 0;
        t_add(&dev.key, made, (size_t) len);
        t_rehash(&dev);
        cr_expect_eq(t_audit(auditor, &dev, &ids), 0, "%s", t_seen.text);
        cr_expect(ids.key_encrypted);
        dev.key.data[len / 2] ^= 1;
        cr_expect_gt(t_audit(auditor, &dev, &ids), 0, "its digests are compared all the same");
    }
}
