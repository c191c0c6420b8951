#include "tests/t_authority.h"

#include "engine/ca.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>

/* What cm_ca_open and cm_ca_check say about the CA in `top` under `root` (zeroed: alone). */
struct verdict {
    cm_err open, check;
    struct cm_error err;
    struct cm_ca *ca;
};

static struct verdict judge(BIO *certs, BIO *key, const char *signature)
{
    struct verdict v = { .open = CM_OK, .check = CM_OK };
    const struct cm_ca_conf conf = { .cert_pem = t_authority_span(certs),
                                     .key_pem = t_authority_span(key),
                                     .cert_name = "ca.pem",
                                     .key_name = "ca.key",
                                     .signature = signature };

    v.open = cm_ca_open(&conf, &v.ca, &v.err);
    if (v.open == CM_OK)
        v.check = cm_ca_check(v.ca, cm_when_now(), &v.err);
    return v;
}

/* Goal: each thing that cm_ca_check promises to find is found, and named. Method: a CA made for it, right in
 * all else. */
struct fault {
    const char *what;
    struct t_spec ca, root;
    bool no_root;
    const char *words;
};

static const struct fault faults[] = {
    { .what = "expired",
      .ca = { .begins_days = -10, .ends_days = -1 },
      .words = "certificate 1 (CN=Test CA): it expired" },
    { .what = "not yet", .ca = { .begins_days = 2, .ends_days = 9 }, .words = "not valid before" },
    { .what = "root expired",
      .root = { .begins_days = -9, .ends_days = -1 },
      .words = "certificate 2 (CN=Test Root): it exp" },
    { .what = "backwards", .ca = { .begins_days = 9, .ends_days = 2 }, .words = "before it begins" },
    { .what = "no CA",
      .ca = { .basic = "critical,CA:FALSE", .usage = "digitalSignature" },
      .words = "CA:FALSE" },
    { .what = "no basicConstraints", .ca = { .basic = "-", .usage = "-" }, .words = "no basicConstraints" },
    { .what = "no keyCertSign",
      .ca = { .usage = "critical,digitalSignature,cRLSign" },
      .words = "lacks keyCertSign" },
    { .what = "v1", .ca = { .v1 = true }, .words = "X.509 v1" },
    { .what = "path length",
      .root = { .basic = "critical,CA:TRUE,pathlen:0" },
      .words = "allows 0 CAs below it, here are 1" },
    { .what = "SHA-1", .ca = { .digest = "SHA1" }, .words = "signed with ecdsa-with-SHA1" },
    { .what = "MD5",
      .ca = { .key = "RSA-2048", .digest = "MD5" },
      .no_root = true,
      .words = "md5WithRSAEncryption" },
    { .what = "RSA-1024", .ca = { .key = "RSA-1024" }, .words = "has 1024 bits" },
    { .what = "RSA-1024 root",
      .root = { .key = "RSA-1024" },
      .words = "certificate 2 (CN=Test Root): its RSA key has 1024" },
    { .what = "secp256k1 root", .root = { .key = "secp256k1" }, .words = "neither on P-256" },
    { .what = "unknown critical",
      .ca = { .extra_type = "1.2.3.4", .extra = "critical,DER:0500" },
      .words = "critical extension 1.2.3.4 is unknown" },
    { .what = "no subject", .ca = { .no_subject = true }, .words = "subject is empty" },
    { .what = "root's names exclude the CA",
      .ca = { .subject = "Test CA", .extra_type = "subjectAltName", .extra = "DNS:ca.example.org" },
      .root = { .extra_type = "nameConstraints", .extra = "critical,permitted;DNS:example.com" },
      .words = "its name constraints exclude certificate 1" },
};

static void chain(const struct fault *f, struct t_authority *root, struct t_authority *ca, BIO *certs,
                  BIO *key)
{
    if (!f->no_root)
        t_authority_init(root, &f->root, NULL);
    t_authority_init(ca, &f->ca, f->no_root ? NULL : root);
    t_authority_put_cert(certs, ca);
    if (!f->no_root)
        t_authority_put_cert(certs, root);
    t_authority_put_key(key, ca, NULL);
}

Test(ca, every_fault_is_found)
{
    for (size_t i = 0; i < CM_COUNT(faults); i++) {
        struct t_authority root = { 0 }, ca = { 0 };
        CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
        CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
        chain(&faults[i], &root, &ca, certs, key);
        struct verdict v = judge(certs, key, NULL);
        cr_expect_eq(v.open, CM_OK, "%s: %s", faults[i].what, v.err.what);
        cr_expect_eq(v.check, CM_E_INPUT, "%s", faults[i].what);
        cr_expect_not_null(strstr(v.err.what, faults[i].words), "%s: %s", faults[i].what, v.err.what);
        cr_expect_not_null(strstr(v.err.what, "ca.pem"), "%s: %s", faults[i].what, v.err.what);
        cm_ca_close(v.ca);
        t_authority_done(&ca);
        t_authority_done(&root);
    }
}

/* Goal: good CAs pass, with every kind of key and with limits that are kept. */
Test(ca, good_ones_pass)
{
    static const struct fault good[] = {
        { .what = "plain" },
        { .what = "P-384", .ca = { .key = "P-384" }, .root = { .key = "P-521" } },
        { .what = "RSA", .ca = { .key = "RSA-2048" }, .root = { .key = "RSA-3072" } },
        { .what = "Ed25519", .ca = { .key = "Ed25519" }, .root = { .key = "Ed25519" } },
        { .what = "alone", .no_root = true },
        { .what = "no keyUsage", .ca = { .usage = "-" } },
        { .what = "tight path lengths",
          .ca = { .basic = "critical,CA:TRUE,pathlen:0" },
          .root = { .basic = "critical,CA:TRUE,pathlen:1" } },
        { .what = "no SKI", .ca = { .no_ski = true } },
        { .what = "name constraints",
          .root = { .extra_type = "nameConstraints", .extra = "permitted;DNS:example.com" } },
    };

    for (size_t i = 0; i < CM_COUNT(good); i++) {
        struct t_authority root = { 0 }, ca = { 0 };
        CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
        CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
        chain(&good[i], &root, &ca, certs, key);
        struct verdict v = judge(certs, key, NULL);
        cr_assert_eq(v.open, CM_OK, "%s: %s", good[i].what, v.err.what);
        cr_expect_eq(v.check, CM_OK, "%s: %s", good[i].what, v.err.what);
        cr_expect_eq(cm_ca_has_ski(v.ca), !good[i].ca.no_ski);
        cr_expect_eq(cm_ca_key_id(v.ca).len, 20);
        cr_expect_eq(cm_ca_chain_count(v.ca), good[i].no_root ? 1 : 2);
        cr_expect_eq(cm_ca_constrains_names(v.ca), good[i].root.extra != NULL);
        cr_expect_str_eq(cm_ca_key_type(v.ca), good[i].ca.key != NULL ? good[i].ca.key : "P-256");
        cr_expect(cm_span_eq(cm_ca_chain_pem(v.ca), t_authority_span(certs)), "canonical PEM");
        cm_ca_close(v.ca);
        t_authority_done(&ca);
        t_authority_done(&root);
    }
}

/* Three good ones in a row, to be put together in all the wrong ways. */
static struct t_authority top, middle, low, stranger;

static void setup(void)
{
    const struct t_spec m = { .subject = "Middle" }, l = { .subject = "Low" }, t = { .subject = "Top" };

    t_authority_init(&top, &t, NULL);
    t_authority_init(&middle, &m, &top);
    t_authority_init(&low, &l, &middle);
    t_authority_init(&stranger, &t, NULL); /* of the same name, with another key */
}

static void teardown(void)
{
    t_authority_done(&top);
    t_authority_done(&middle);
    t_authority_done(&low);
    t_authority_done(&stranger);
}

TestSuite(ca_order, .init = setup, .fini = teardown);

Test(ca_order, every_wrong_order_is_found)
{
    const struct {
        const struct t_authority *file[4], *key;
        const char *words; /* NULL: good */
    } cases[] = {
        { { &low, &middle, &top }, &low, NULL },
        { { &low, &middle }, &low, NULL },
        { { &low }, &low, NULL },
        { { &low, &top, &middle }, &low, "was not issued by certificate 2 (CN=Top)" },
        { { &top, &middle, &low }, &low, "don't belong together" },
        { { &top, &middle }, &top, "self-signed root, yet another certificate follows" },
        { { &low, &top }, &low, "was not issued by certificate 2" },
        { { &low, &middle, &stranger }, &low, "was not issued by certificate 3" },
        { { &low, &low, &middle }, &low, "not issued by certificate 2" },
        { { &low, &middle, &top, &top }, &low, "certificate 3 (CN=Top): it is a self-signed root" },
        { { &low, &middle }, &middle, "don't belong together" },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
        CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
        for (size_t j = 0; j < 4 && cases[i].file[j] != NULL; j++)
            t_authority_put_cert(certs, cases[i].file[j]);
        t_authority_put_key(key, cases[i].key, NULL);
        struct verdict v = judge(certs, key, NULL);
        cr_assert_eq(v.open, CM_OK, "%zu: %s", i, v.err.what);
        cr_expect_eq(v.check, cases[i].words == NULL ? CM_OK : CM_E_INPUT, "%zu: %s", i, v.err.what);
        cr_expect(cases[i].words == NULL || strstr(v.err.what, cases[i].words) != NULL, "%zu: %s", i,
                  v.err.what);
        cm_ca_close(v.ca);
    }
}

/* Goal: a signature by another key of the same name is found even where no key identifier tells. */
Test(ca_order, a_forged_link_is_found)
{
    const struct t_spec bare = { .subject = "Bare", .no_ski = true }, m = { .subject = "Sub" };
    struct t_authority one = { 0 }, two = { 0 }, sub = { 0 };
    CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) key = BIO_new(BIO_s_mem());

    t_authority_init(&one, &(struct t_spec) { .subject = "Bare" }, NULL);
    t_authority_init(&two, &bare, NULL);
    t_authority_init(&sub, &m, &one);
    t_authority_put_cert(certs, &sub);
    t_authority_put_cert(certs, &two);
    t_authority_put_key(key, &sub, NULL);
    struct verdict v = judge(certs, key, NULL);
    cr_expect_eq(v.check, CM_E_INPUT);
    cr_expect_not_null(strstr(v.err.what, "its signature is not by the key of certificate 2"), "%s",
                       v.err.what);
    cm_ca_close(v.ca);
    t_authority_done(&one);
    t_authority_done(&two);
    t_authority_done(&sub);
}

/* Goal: what the files are instead is said. */
Test(ca_order, diagnosis_of_files)
{
    CM_AUTO(BIO) cert = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) public = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) both = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) csr = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) der = BIO_new(BIO_s_mem());
    X509_REQ *req = X509_to_X509_REQ(low.x509, low.key, EVP_sha256());
    static const char pfx[] = "\x30\x82\x01\x00\x02\x01\x03\x30\x82\x00\xfa";

    t_authority_put_cert(cert, &low);
    t_authority_put_key(key, &low, NULL);
    t_authority_put_cert(both, &low);
    t_authority_put_key(both, &low, NULL);
    cr_assert_eq(PEM_write_bio_PUBKEY(public, low.key), 1);
    cr_assert_eq(PEM_write_bio_X509_REQ(csr, req), 1);
    cr_assert_eq(i2d_X509_bio(der, low.x509), 1);
    X509_REQ_free(req);

    const struct {
        struct cm_span cert, key;
        const char *words;
    } cases[] = {
        { t_authority_span(cert), t_authority_span(public), "ca.key is a public key" },
        { t_authority_span(cert), t_authority_span(csr), "ca.key is a certificate request" },
        { t_authority_span(cert), t_authority_span(cert), "ca.key is a certificate; the private key" },
        { t_authority_span(cert), cm_span(pfx, sizeof pfx), "ca.key is a PKCS#12 store" },
        { t_authority_span(cert), cm_span_str("-----BEGIN OPENSSH PRIVATE KEY-----\n"), "an OpenSSH key" },
        { t_authority_span(cert), cm_span_str("ssh-ed25519 AAAA x@y"), "an OpenSSH public key" },
        { t_authority_span(cert), cm_span_str("PuTTY-User-Key-File-2: ssh-rsa"), "a PuTTY key" },
        { t_authority_span(cert), cm_span_str("hello"), "ca.key holds no private key in PEM" },
        { t_authority_span(cert), t_authority_span(der), "ca.key is DER, not PEM" },
        { t_authority_span(cert),
          cm_span_str("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
          "ca.key is damaged" },
        { t_authority_span(key), t_authority_span(key), "ca.pem holds a private key" },
        { t_authority_span(both), t_authority_span(key), "ca.pem holds a private key" },
        { t_authority_span(csr), t_authority_span(key), "ca.pem holds a certificate request" },
        { t_authority_span(public), t_authority_span(key), "ca.pem holds a public key" },
        { t_authority_span(der), t_authority_span(key), "ca.pem is DER, not PEM" },
        { cm_span_str("hello"), t_authority_span(key), "ca.pem holds no certificate" },
        { cm_span_str("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
          t_authority_span(key), "certificate 1 is damaged" },
        { cm_span(t_authority_span(cert).data, t_authority_span(cert).len - 40), t_authority_span(key),
          "damaged PEM" },
    };
    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        struct cm_ca *ca = NULL;
        struct cm_error err = { 0 };
        const struct cm_ca_conf conf = {
            .cert_pem = cases[i].cert, .key_pem = cases[i].key, .cert_name = "ca.pem", .key_name = "ca.key"
        };
        cr_expect_eq(cm_ca_open(&conf, &ca, &err), CM_E_INPUT, "%s", cases[i].words);
        cr_expect_null(ca);
        cr_expect_not_null(strstr(err.what, cases[i].words), "%s: %s", cases[i].words, err.what);
    }
}

struct asked {
    const char *answer; /* NULL: there is none to be had */
    unsigned times;
};

static int answer(void *arg, char *buf, size_t cap, struct cm_error *err)
{
    struct asked *a = arg;

    a->times++;
    if (a->answer == NULL) {
        (void) cm_fail(err, CM_E_INPUT, CM_HERE, "no terminal");
        return -1;
    }
    cr_assert_leq(strlen(a->answer), cap);
    memcpy(buf, a->answer, strlen(a->answer));
    return (int) strlen(a->answer);
}

/* Goal: asked once, and only when needed; right, wrong and none are told apart. */
Test(ca_order, passphrases)
{
    CM_AUTO(BIO) cert = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) plain = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) locked = BIO_new(BIO_s_mem());
    CM_AUTO(BIO) old = BIO_new(BIO_s_mem());

    t_authority_put_cert(cert, &low);
    t_authority_put_key(plain, &low, NULL);
    t_authority_put_key(locked, &low, "correct horse");
    cr_assert_eq(PEM_write_bio_PrivateKey_traditional(old, low.key, EVP_aes_128_cbc(),
                                                      (const unsigned char *) "correct horse", 13, NULL,
                                                      NULL),
                 1);
    const struct {
        BIO *key;
        const char *answer;
        bool callback;
        cm_err rc;
        unsigned times;
        const char *words;
    } cases[] = {
        { plain, "unused", true, CM_OK, 0, NULL },
        { locked, "correct horse", true, CM_OK, 1, NULL },
        { old, "correct horse", true, CM_OK, 1, NULL },
        { locked, "wrong", true, CM_E_INPUT, 1, "wrong passphrase" },
        { old, "wrong", true, CM_E_INPUT, 1, "wrong passphrase" },
        { locked, NULL, true, CM_E_INPUT, 1, "no terminal" },
        { locked, NULL, false, CM_E_INPUT, 0, "is encrypted" },
    };
    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        struct asked a = { .answer = cases[i].answer };
        struct cm_ca *ca = NULL;
        struct cm_error err = { 0 };
        const struct cm_ca_conf conf = { .cert_pem = t_authority_span(cert),
                                         .key_pem = t_authority_span(cases[i].key),
                                         .cert_name = "ca.pem",
                                         .key_name = "ca.key",
                                         .passphrase = cases[i].callback ? answer : NULL,
                                         .passphrase_arg = &a };
        cr_expect_eq(cm_ca_open(&conf, &ca, &err), cases[i].rc, "%zu: %s", i, err.what);
        cr_expect_eq(a.times, cases[i].times, "%zu", i);
        cr_expect(cases[i].words == NULL || strstr(err.what, cases[i].words) != NULL, "%zu: %s", i, err.what);
        cm_ca_close(ca);
    }
}

/* Goal: the chain's key usages and name constraints bind the leaf. */
Test(ca, leaves)
{
    static const struct {
        const char *type, *text, *eku, *san, *words;
    } cases[] = {
        { "extendedKeyUsage", "clientAuth", "clientAuth", NULL, NULL },
        { "extendedKeyUsage", "anyExtendedKeyUsage", "clientAuth", NULL, NULL },
        { "extendedKeyUsage", "serverAuth", "clientAuth", NULL,
          "excludes the devices' TLS Web Client Authentication" },
        { "extendedKeyUsage", "clientAuth", "clientAuth,serverAuth", NULL, "TLS Web Server" },
        { "nameConstraints", "permitted;DNS:example.com", "clientAuth", "DNS:a.example.com", NULL },
        { "nameConstraints", "permitted;DNS:example.com", "clientAuth", "DNS:a.example.org",
          "permitted subtree" },
        { "nameConstraints", "excluded;DNS:example.com", "clientAuth", "DNS:a.example.com",
          "excluded subtree" },
        { "nameConstraints", "permitted;DNS:example.com", "clientAuth", NULL, "permitted subtree" },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        const struct t_spec limited = { .extra_type = cases[i].type, .extra = cases[i].text };
        const struct t_spec device = { .subject = "a.host.example.net",
                                       .basic = "critical,CA:FALSE",
                                       .usage = "critical,digitalSignature",
                                       .extra_type =
                                           cases[i].san != NULL ? "subjectAltName" : "extendedKeyUsage",
                                       .extra = cases[i].san != NULL ? cases[i].san : cases[i].eku };
        struct t_authority ca = { 0 }, leaf = { 0 };
        CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
        CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
        struct cm_error err = { 0 };
        t_authority_init(&ca, &limited, NULL);
        t_authority_init(&leaf, &device, &ca);
        t_authority_put_cert(certs, &ca);
        t_authority_put_key(key, &ca, NULL);
        struct verdict v = judge(certs, key, NULL);
        cr_assert_eq(v.check, CM_OK, "%s", v.err.what);
        const cm_err rc = cm_ca_check_leaf(v.ca, leaf.x509, &err);
        cr_expect_eq(rc, cases[i].words == NULL ? CM_OK : CM_E_INPUT, "%zu: %s", i, err.what);
        cr_expect(cases[i].words == NULL || strstr(err.what, cases[i].words) != NULL, "%zu: %s", i, err.what);
        cm_ca_close(v.ca);
        t_authority_done(&leaf);
        t_authority_done(&ca);
    }
}

/* Goal: a signer's signatures verify, again and again, with every row that goes with the key; a changed octet
 * does not. */
Test(ca, signers)
{
    static const char *const keys[] = { "P-256", "P-384", "P-521", "RSA-2048", "Ed25519" };
    unsigned rows = 0;

    for (size_t k = 0; k < CM_COUNT(keys); k++) {
        struct t_authority ca = { 0 };
        CM_AUTO(BIO) certs = BIO_new(BIO_s_mem());
        CM_AUTO(BIO) key = BIO_new(BIO_s_mem());
        t_authority_init(&ca, &(struct t_spec) { .key = keys[k] }, NULL);
        t_authority_put_cert(certs, &ca);
        t_authority_put_key(key, &ca, NULL);
        for (size_t i = 0; i < cm_sigalg_count(); i++) {
            struct cm_error err = { 0 };
            struct cm_signer *s = NULL;
            struct verdict v = judge(certs, key, cm_sigalg_at(i)->name);
            if (v.open != CM_OK)
                continue;
            cr_assert_eq(v.check, CM_OK, "%s", v.err.what);
            rows++;
            cr_assert_eq(cm_signer_open(v.ca, &s, &err), CM_OK, "%s", err.what);
            for (uint8_t n = 0; n < 20; n++) {
                uint8_t tbs[300] = { n }, sig[1024];
                size_t len = sizeof sig;
                cr_assert_eq(cm_signer_sign(s, cm_span(tbs, sizeof tbs), sig, &len, &err), CM_OK, "%s",
                             err.what);
                cr_assert_leq(len, cm_signer_max(s));
                cr_expect_eq(cm_signer_verify(s, cm_span(tbs, sizeof tbs), cm_span(sig, len), &err), CM_OK);
                tbs[299] ^= 1;
                cr_expect_eq(cm_signer_verify(s, cm_span(tbs, sizeof tbs), cm_span(sig, len), &err),
                             CM_E_CRYPTO);
            }
            cm_signer_close(s);
            cm_ca_close(v.ca);
        }
        t_authority_done(&ca);
    }
    cr_expect_eq(rows, cm_sigalg_count());
}
