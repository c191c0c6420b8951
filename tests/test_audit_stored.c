/* Goal: whatever is wrong with the stored bytes of a device (its bundle, its PEM, its key, any single bit) is
 * found, and no private key stays behind in the heap. Method: devices come from libcrypto (t_device.c) and
 * are damaged with the row's digests made to follow, so that the digests can't be what finds it; an undamaged
 * control runs before and after. Flips of single bits are sampled from a seed that is printed. */
#include "tests/t_device.h"

#include <criterion/criterion.h>
#include <time.h>

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

/* ---- the bundle ---- */

static struct t_blob pem_leaf, pem_ca, pem_root;

static void rewrite(const struct t_blob *one, const struct t_blob *two, const struct t_blob *three)
{
    const struct t_blob *all[] = { one, two, three };

    dev.chain.len = 0;
    for (size_t i = 0; i < CM_COUNT(all); i++)
        if (all[i] != NULL)
            t_add(&dev.chain, all[i]->data, all[i]->len);
    t_rehash(&dev);
}

static struct t_blob *text(const char *s)
{
    static struct t_blob b;

    b.len = 0;
    t_add(&b, s, strlen(s));
    return &b;
}

Test(audit_stored, the_bundle_is_the_leaf_and_then_the_ca_chain, .init = setup, .fini = teardown)
{
    static struct t_blob raw;

    t_add(&raw, t_leaf_der(dev_leaf).data, t_leaf_der(dev_leaf).len);
    t_pem("CERTIFICATE", t_leaf_der(dev_leaf), 64, &pem_leaf);
    t_pem("CERTIFICATE", t_span(&ca.der[0]), 64, &pem_ca);
    t_pem("CERTIFICATE", t_span(&ca.der[1]), 64, &pem_root);
    rewrite(&pem_leaf, &pem_ca, &pem_root);
    cr_assert_eq(t_audit(auditor, &dev, NULL), 0, "%s", t_seen.text);

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
        cr_expect_geq(t_audit(auditor, &dev, NULL), 1, "row %zu: nothing found", i);
        cr_expect_not_null(strstr(t_seen.text, bad[i].finding), "row %zu: %s", i, t_seen.text);
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

Test(audit_stored, pem_is_strict, .init = setup, .fini = teardown)
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
        t_rehash(&dev);
        t_expect_one(auditor, &dev, texts[i].finding, texts[i].what);
    }
    for (size_t width = 60; width <= 76; width += 16) {
        narrow.len = 0;
        t_pem("CERTIFICATE", t_leaf_der(dev_leaf), width, &narrow);
        rewrite(&narrow, &ca.pem, NULL);
        t_expect_one(auditor, &dev, "isn't 64 characters", "other line lengths");
    }
    dev.chain = kept;
    dev.chain.len = kept.len - 1;
    t_rehash(&dev);
    t_expect_one(auditor, &dev, "PEM doesn't end with", "no LF at the end");
    dev.chain = kept;
    t_rehash(&dev);
}

/* ---- the key ---- */

static void store_key_pem(const char *label, const char *spec)
{
    static struct t_blob der;

    t_der(spec, &der);
    dev.key.len = 0;
    t_pem(label, t_span(&der), 64, &dev.key);
    t_rehash(&dev);
}

Test(audit_stored, another_devices_key_is_found, .init = setup, .fini = teardown, .timeout = 60)
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
        t_store_key(&dev, other, false);
        t_expect_one(auditor, &dev, others[i].finding, others[i].alg);
    }
    t_store_key(&dev, same_kind, false);
    cr_expect_eq(t_audit(auditor, &dev, NULL), 2, "%s", t_seen.text);
    cr_expect_not_null(strstr(t_seen.text, "key: the EC scalar isn't that of the certificate's"), "%s",
                       t_seen.text);
    cr_expect_not_null(strstr(t_seen.text, "key: the public key that is stored in it isn't"), "%s",
                       t_seen.text);
    store_key_pem("PRIVATE KEY", "30(02(00))");
    t_expect_one(auditor, &dev, "key: PKCS#8 algorithm: missing", "not a key");
    t_store_key(&dev, dev_key, false);
    t_add(&dev.key, "\n", 1);
    t_rehash(&dev);
    t_expect_one(auditor, &dev, "key: PEM: 1 octets too many", "text behind");
    t_store_key(&dev, dev_key, false);
}

Test(audit_stored, a_key_is_stored_exactly_when_the_row_lists_it, .init = setup, .fini = teardown)
{
    static struct t_blob kept;

    kept = dev.key;
    dev.ev.facts.key_xxh3 = dev.ev.facts.key_sha256 = NULL;
    t_expect_one(auditor, &dev, "key: one is stored, but the row lists none", "unlisted");
    dev.key.len = 0;
    t_rehash(&dev);
    cr_expect_eq(t_audit(auditor, &dev, NULL), 0, "no keys in this run: %s", t_seen.text);
    dev.ev.facts.key_xxh3 = dev.key_xxh3;
    dev.ev.facts.key_sha256 = dev.key_sha256;
    t_expect_one(auditor, &dev, "key: the row lists one, but none is stored", "lost");
    dev.key = kept;
    t_rehash(&dev);
}

Test(audit_stored, without_a_key_the_public_point_must_be_on_its_curve, .init = setup, .fini = teardown)
{
    static struct t_parts parts;
    static struct t_blob der;

    t_take_apart(dev_leaf, &parts);
    parts.part[T_SPKI].data[parts.part[T_SPKI].len - 1] ^= 1;
    t_put_together(&parts, ca.key, ca.sig, &der);
    dev.ev.facts.key_xxh3 = dev.ev.facts.key_sha256 = NULL;
    dev.key.len = 0;
    t_store_leaf(&dev, t_span(&der), &ca);
    (void) t_audit(auditor, &dev, NULL);
    cr_expect_not_null(strstr(t_seen.text, "the public key isn't a point of P-256"), "%s", t_seen.text);
    t_make_device(&dev, &ca, dev_leaf, dev_key, "P-256", false, false);
}

/* ---- any bit ---- */

/* flips one bit of *b, has the row's digests follow, and demands a finding. */
static void flip(struct cm_auditor *a, struct t_blob *b, size_t bit, unsigned seed)
{
    b->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    t_rehash(&dev);
    cr_expect_gt(t_audit(a, &dev, NULL), 0, "seed %u: bit %zu of the %s (%s) flipped, nothing found", seed,
                 bit, b == &dev.key ? "key" : "chain", dev.der ? "DER" : "PEM");
    b->data[bit / 8] ^= (uint8_t) (1u << bit % 8);
}

Test(audit_stored, a_flipped_bit_is_found_even_when_the_digests_follow, .timeout = 300)
{
    static const char *const algs[] = { "P-256", "RSA-2048", "Ed25519" };
    const unsigned seed = (unsigned) time(NULL);

    cr_log_info("seed %u", seed);
    srandom(seed);
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    struct cm_auditor *a = t_open(&ca);
    for (size_t i = 0; i < 2 * CM_COUNT(algs); i++) {
        CM_AUTO(EVP_PKEY) key = t_key(algs[i / 2]);
        CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
        t_make_device(&dev, &ca, leaf, key, algs[i / 2], i % 2 != 0, false);
        for (unsigned round = 0; round < 400; round++) {
            flip(a, &dev.chain, (size_t) random() % (8 * dev.chain.len), seed);
            flip(a, &dev.key, (size_t) random() % (8 * dev.key.len), seed);
        }
        t_rehash(&dev);
        cr_expect_eq(t_audit(a, &dev, NULL), 0, "unflipped: %s", t_seen.text);
    }
    cm_auditor_close(a);
    t_ca_done(&ca);
}

/* Every bit of a certificate, its ids made to follow: only reading and verifying are left to find it. */
Test(audit_stored, every_bit_of_a_certificate_is_signed_or_read, .init = setup, .fini = teardown,
     .timeout = 300)
{
    static struct t_blob der;
    unsigned char *at = der.data;

    dev.der = dev.ev.facts.der = true;
    der.len = (size_t) i2d_X509(dev_leaf, &at);
    t_store_key(&dev, dev_key, false);
    for (size_t bit = 0; bit < 8 * der.len; bit++) {
        der.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        t_store_leaf(&dev, t_span(&der), &ca);
        cr_expect_gt(t_audit(auditor, &dev, NULL), 0, "bit %zu", bit);
        der.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    t_store_leaf(&dev, t_span(&der), &ca);
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
    t_hex(scalar, 32, s);
    t_hex(pub, 65, p);
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

Test(audit_stored, no_private_key_stays_in_the_heap)
{
    uint8_t masked[32];

    for (size_t i = 0; i < sizeof masked; i++)
        masked[i] = (uint8_t) ((37 * i + 11) ^ MASK);
    t_ca_init(&ca, "P-256", "ecdsa-with-SHA256");
    struct cm_auditor *a = t_open(&ca);
    CM_AUTO(EVP_PKEY) key = known_key(masked);
    CM_AUTO(X509) leaf = t_leaf(&ca, key, "20491231235959Z");
    static struct t_blob whole;
    unsigned char *at = whole.data;
    whole.len = (size_t) i2d_X509(leaf, &at);
    t_make_row(&dev, leaf, &ca, "P-256");
    t_store_leaf(&dev, t_span(&whole), &ca);

    uint8_t *planted = malloc(32); /* the scan must be able to find it */
    for (size_t i = 0; i < 32; i++)
        planted[i] = masked[i] ^ MASK;
    cr_assert_eq(in_heap(masked), 1, "the scan doesn't see what is there, or the test left copies itself");
    OPENSSL_cleanse(planted, 32);
    free(planted);
    cr_assert_eq(in_heap(masked), 0);
    cr_expect_eq(t_audit(a, &dev, NULL), 0, "%s", t_seen.text);
    cr_expect_eq(in_heap(masked), 0, "after an audit");
    cm_auditor_close(a);
    cr_expect_eq(in_heap(masked), 0, "after closing");
    t_ca_done(&ca);
}
#endif
