#include "engine/ca_impl.h"
#include "engine/secret.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

/* signer.c - the CA's private key: reads it, signs with it. */

enum { PASSPHRASE_MAX = 1024 };

static bool has(struct cm_span text, const char *needle)
{
    return text.len > 0 && memmem(text.data, text.len, needle, strlen(needle)) != NULL;
}

static bool begins(struct cm_span text, const char *with, size_t len)
{
    return text.len >= len && memcmp(text.data, with, len) == 0;
}

const char *cm_signer_name_format(struct cm_span text)
{
    if (begins(text, "PuTTY-User-Key-File", 19))
        return "a PuTTY key; convert it: puttygen FILE -O private-openssh, then ssh-keygen -p -m PKCS8";
    if (begins(text, "\xfe\xed\xfe\xed", 4) || begins(text, "\xce\xce\xce\xce", 4))
        return "a Java key store; convert it: keytool -importkeystore to PKCS#12, then openssl pkcs12";
    if (text.len > 8 && text.data[0] == 0x30) {
        /* A PKCS#12 store is a SEQUENCE whose first member is the INTEGER 3. */
        const size_t at = 2 + (text.data[1] > 0x80 ? text.data[1] & 0x7fu : 0);
        if (at + 4 <= text.len && memcmp(text.data + at, "\x02\x01\x03\x30", 4) == 0)
            return "a PKCS#12 store; take it apart with openssl pkcs12 (-nokeys: certificate, -nocerts: key)";
        return "DER, not PEM; convert it: openssl x509 -inform DER (openssl pkey -inform DER for a key)";
    }
    if (begins(text, "\x1f\x8b", 2) || begins(text, "PK\x03\x04", 4))
        return "a compressed archive; unpack it";
    if (begins(text, "\xff\xfe", 2) || begins(text, "\xfe\xff", 2))
        return "UTF-16 text; save it as ASCII";
    return NULL;
}

static const char *instead_of_key(struct cm_span text)
{
    static const struct {
        const char *label, *kind;
    } kinds[] = {
        { "-----BEGIN OPENSSH PRIVATE KEY-----",
          "an OpenSSH key; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY (not for Ed25519)" },
        { "-----BEGIN DSA PRIVATE KEY-----",
          "a DSA key; use a CA key on P-256, P-384, P-521, RSA or Ed25519" },
        { "-----BEGIN CERTIFICATE REQUEST-----", "a certificate request (CSR); the private key is needed" },
        { "-----BEGIN NEW CERTIFICATE REQUEST-----",
          "a certificate request (CSR); the private key is needed" },
        { "-----BEGIN PUBLIC KEY-----", "a public key; the private key is needed" },
        { "-----BEGIN RSA PUBLIC KEY-----", "a public key; the private key is needed" },
        { "-----BEGIN CERTIFICATE-----", "a certificate; the private key is needed" },
        { "-----BEGIN PKCS12", "a PKCS#12 store; take it apart: openssl pkcs12 -in FILE -nocerts" },
        { "-----BEGIN PKCS7", "a PKCS#7 bundle; the private key is needed" },
        { "ssh-rsa ", "an OpenSSH public key; the private key is needed" },
        { "ecdsa-sha2-", "an OpenSSH public key; the private key is needed" },
        { "ssh-ed25519 ", "an OpenSSH public key; the private key is needed" },
    };

    for (size_t i = 0; i < CM_COUNT(kinds); i++)
        if (has(text, kinds[i].label))
            return kinds[i].kind;
    return cm_signer_name_format(text);
}

struct passphrase {
    const uint8_t *data;
    size_t len;
    bool wanted; /* libcrypto asked */
};

static int give_passphrase(char *buf, int size, int rwflag, void *arg)
{
    struct passphrase *p = arg;

    (void) rwflag;
    p->wanted = true;
    if (p->data == NULL || size < 0 || p->len > (size_t) size)
        return -1;
    memcpy(buf, p->data, p->len);
    return (int) p->len;
}

static cm_err decode(const struct cm_ca_conf *conf, struct passphrase *pass, EVP_PKEY **out,
                     struct cm_error *err)
{
    CM_AUTO(BIO) in = BIO_new_mem_buf(conf->key_pem.data, (int) conf->key_pem.len);
    EVP_PKEY *key = NULL;

    if (in == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA key %s: out of memory", conf->key_name);
    key = PEM_read_bio_PrivateKey(in, NULL, give_passphrase, pass);
    if (key == NULL && pass->wanted && pass->data != NULL)
        CM_FAIL(err, CM_E_INPUT, "CA key %s can't be decrypted: wrong passphrase, or a damaged file",
                conf->key_name);
    if (key == NULL) {
        const unsigned long code = ERR_peek_last_error();
        const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
        CM_FAIL(err, CM_E_INPUT, "CA key %s is damaged or of a kind that libcrypto doesn't know%s%s",
                conf->key_name, reason != NULL ? ": " : "", reason != NULL ? reason : "");
    }
    ERR_clear_error(); /* decoders that were tried in vain leave their remarks */
    *out = key;
    return CM_OK;
}

cm_err cm_signer_read_key(const struct cm_ca_conf *conf, EVP_PKEY **out, struct cm_error *err)
{
    const struct cm_span text = conf->key_pem;
    const bool is_key = has(text, "-----BEGIN PRIVATE KEY-----") ||
                        has(text, "-----BEGIN EC PRIVATE KEY-----") ||
                        has(text, "-----BEGIN RSA PRIVATE KEY-----");
    const bool encrypted =
        has(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || (is_key && has(text, "Proc-Type: 4,ENCRYPTED"));
    struct cm_error local = { 0 };
    struct passphrase pass = { 0 };
    struct cm_secret memory = { 0 };
    int len = 0;
    cm_err rc = CM_OK;

    if (!is_key && !encrypted) {
        const char *kind = instead_of_key(text);
        CM_FAIL(err, CM_E_INPUT, "CA key %s %s%s", conf->key_name,
                kind != NULL ? "is " : "holds no private key in PEM", kind != NULL ? kind : "");
    }
    if (!encrypted)
        return decode(conf, &pass, out, err);
    if (conf->passphrase == NULL)
        CM_FAIL(err, CM_E_INPUT, "CA key %s is encrypted; its passphrase is needed", conf->key_name);

    CM_TRY(cm_secret_init(&memory, PASSPHRASE_MAX, err));
    len = conf->passphrase(conf->passphrase_arg, (char *) memory.base, PASSPHRASE_MAX, &local);
    if (len < 0) {
        rc = local.code != CM_OK ? local.code : CM_E_INPUT;
        if (err != NULL)
            *err = local;
    } else {
        pass = (struct passphrase) { .data = memory.base, .len = (size_t) len };
        rc = decode(conf, &pass, out, err);
    }
    cm_secret_done(&memory);
    return rc;
}

struct cm_signer {
    const struct cm_sigalg *alg;
    EVP_PKEY *key;    /* the CA's, one reference */
    EVP_PKEY *public; /* out of the CA's certificate, one reference */
    EVP_MD *md;       /* these four: rows with a digest only */
    EVP_MD_CTX *digest;
    EVP_PKEY_CTX *sign;
    EVP_PKEY_CTX *verify;
    EVP_MD_CTX *whole_sign, *whole_verify; /* rows without one: Ed25519 */
    size_t max;
};

static cm_err open_digested(struct cm_signer *s, struct cm_error *err)
{
    s->md = EVP_MD_fetch(NULL, s->alg->digest, NULL);
    s->digest = EVP_MD_CTX_new();
    s->sign = EVP_PKEY_CTX_new_from_pkey(NULL, s->key, NULL);
    s->verify = EVP_PKEY_CTX_new_from_pkey(NULL, s->public, NULL);
    if (s->md == NULL || s->digest == NULL || s->sign == NULL || s->verify == NULL ||
        EVP_DigestInit_ex2(s->digest, s->md, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't prepare signing", s->alg->name);
    CM_TRY(cm_sigalg_setup(s->alg, s->sign, err));

    if (EVP_PKEY_verify_init(s->verify) != 1 ||
        (s->alg->padding != 0 && EVP_PKEY_CTX_set_rsa_padding(s->verify, s->alg->padding) != 1) ||
        EVP_PKEY_CTX_set_signature_md(s->verify, s->md) != 1 ||
        (s->alg->padding == RSA_PKCS1_PSS_PADDING &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(s->verify, RSA_PSS_SALTLEN_DIGEST) != 1))
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't prepare verifying", s->alg->name);
    return CM_OK;
}

static cm_err fill(struct cm_signer *s, const struct cm_ca *ca, struct cm_error *err)
{
    EVP_PKEY *public = X509_get0_pubkey(ca->link[0].x509);

    s->alg = ca->sigalg;
    s->max = (size_t) EVP_PKEY_get_size(ca->key);
    if (public == NULL || EVP_PKEY_up_ref(public) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the CA certificate's public key can't be used");
    s->public = public;
    if (EVP_PKEY_up_ref(ca->key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the CA's key can't be used");
    s->key = ca->key;
    if (s->alg->digest != NULL)
        return open_digested(s, err);
    s->whole_sign = EVP_MD_CTX_new();
    s->whole_verify = EVP_MD_CTX_new();
    if (s->whole_sign == NULL || s->whole_verify == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't prepare signing", s->alg->name);
    return CM_OK;
}

cm_err cm_signer_open(const struct cm_ca *ca, struct cm_signer **out, struct cm_error *err)
{
    struct cm_signer *s = calloc(1, sizeof *s);
    cm_err rc = CM_OK;

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a signer");
    rc = fill(s, ca, err);
    if (rc != CM_OK) {
        cm_signer_close(s);
        return rc;
    }
    *out = s;
    return CM_OK;
}

size_t cm_signer_max(const struct cm_signer *s)
{
    return s->max;
}

/* The digest of tbs. A NULL type re-initialises the context with the digest that
 * it has: nothing is fetched, nothing looked up. */
static cm_err digest(struct cm_signer *s, struct cm_span tbs, uint8_t out[EVP_MAX_MD_SIZE], unsigned *len,
                     struct cm_error *err)
{
    if (EVP_DigestInit_ex2(s->digest, NULL, NULL) != 1 ||
        EVP_DigestUpdate(s->digest, tbs.data, tbs.len) != 1 || EVP_DigestFinal_ex(s->digest, out, len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s failed", s->alg->digest);
    return CM_OK;
}

cm_err cm_signer_sign(struct cm_signer *s, struct cm_span tbs, uint8_t *sig, size_t *sig_len,
                      struct cm_error *err)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned md_len = 0;

    CM_ASSERT(*sig_len >= s->max);
    if (s->alg->digest == NULL) {
        /* A second EVP_DigestSign after one init fails in some releases (openssl
         * #23075), so every signature begins anew. */
        if (EVP_DigestSignInit_ex(s->whole_sign, NULL, NULL, NULL, NULL, s->key, NULL) != 1 ||
            EVP_DigestSign(s->whole_sign, sig, sig_len, tbs.data, tbs.len) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "signing with the CA key failed");
        return CM_OK;
    }
    CM_TRY(digest(s, tbs, md, &md_len, err));
    if (EVP_PKEY_sign(s->sign, sig, sig_len, md, md_len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "signing with the CA key failed");
    /* libcrypto 3.0 may report success and sign wrongly, 32 times over, when memory runs out as it renews an
     * RSA key's blinding (tests/torture_keymake.c); and one wrong CRT signature gives the key away. Verifying
     * costs some 3 % of an RSA signature. */
    if (s->alg->padding != 0 && EVP_PKEY_verify(s->verify, sig, *sig_len, md, md_len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the CA key made a signature that does not verify");
    return CM_OK;
}

cm_err cm_signer_verify(struct cm_signer *s, struct cm_span tbs, struct cm_span sig, struct cm_error *err)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned md_len = 0;
    int ok = 0;

    if (s->alg->digest == NULL) {
        ok = EVP_DigestVerifyInit_ex(s->whole_verify, NULL, NULL, NULL, NULL, s->public, NULL) == 1 &&
             EVP_DigestVerify(s->whole_verify, sig.data, sig.len, tbs.data, tbs.len) == 1;
    } else {
        CM_TRY(digest(s, tbs, md, &md_len, err));
        ok = EVP_PKEY_verify(s->verify, sig.data, sig.len, md, md_len) == 1;
    }
    if (!ok)
        CM_FAIL(err, CM_E_CRYPTO, "a signature does not verify with the key in the CA's certificate");
    return CM_OK;
}

void cm_signer_close(struct cm_signer *s)
{
    if (s == NULL)
        return;
    EVP_PKEY_CTX_free(s->sign);
    EVP_PKEY_CTX_free(s->verify);
    EVP_MD_CTX_free(s->digest);
    EVP_MD_CTX_free(s->whole_sign);
    EVP_MD_CTX_free(s->whole_verify);
    EVP_MD_free(s->md);
    EVP_PKEY_free(s->key);
    EVP_PKEY_free(s->public);
    free(s);
}
