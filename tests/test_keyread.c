/* Goal: every key that libcrypto writes, in PKCS#8 and in the traditional forms, is read and found to belong
 * to its public key and to no other; keys with one thing wrong are refused for it. Method: walk the table of
 * key algorithms with libcrypto's encoders. Damaged EC and Ed25519 keys are written out (P-256 with the
 * scalars 1 and 2, whose points are the generator and its double, SEC 2 2.4.2); damaged RSA keys are
 * libcrypto's with one number changed, and one made around a composite that fits everything but primality. */
#include "engine/keymatch.h"
#include "engine/keyread.h"
#include "engine/pemread.h"
#include "tests/t_ident.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>

static struct cm_keymatch *match;

static void setup(void)
{
    cr_assert_eq(cm_keymatch_open(&match, NULL), CM_OK);
}

static void teardown(void)
{
    cm_keymatch_close(match);
    cm_keymatch_close(NULL);
}

static void write_pkcs8(EVP_PKEY *key, struct t_blob *out)
{
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    unsigned char *at = out->data;

    cr_assert_not_null(p8);
    out->len = (size_t) i2d_PKCS8_PRIV_KEY_INFO(p8, &at);
    PKCS8_PRIV_KEY_INFO_free(p8);
}

static void write_traditional(EVP_PKEY *key, struct t_blob *out)
{
    unsigned char *at = out->data;

    out->len = (size_t) i2d_PrivateKey(key, &at);
}

static void write_public(EVP_PKEY *key, struct t_blob *out)
{
    unsigned char *at = out->data;

    out->len = (size_t) i2d_PUBKEY(key, &at);
}

/* Reads and matches; "" when all is well, else what is wrong. */
static const char *judge(const struct t_blob *priv, const struct t_blob *pub, enum cm_keyread_form form)
{
    static struct cm_error err;
    struct cm_keyread_priv a;
    struct cm_keyread_pub b;

    err.what[0] = '\0';
    if (cm_keyread_spki(t_span(pub), &b, &err) == CM_OK &&
        cm_keyread_priv(t_span(priv), form, &a, &err) == CM_OK &&
        cm_keymatch_check(match, &a, &b, &err) == CM_OK)
        cr_assert_str_empty(err.what);
    return err.what;
}

static enum cm_keyread_form traditional_form(const struct cm_keyalg *alg)
{
    return alg->family == CM_KEYFAM_EC    ? CM_KEYREAD_SEC1
           : alg->family == CM_KEYFAM_RSA ? CM_KEYREAD_PKCS1
                                          : CM_KEYREAD_PKCS8;
}

Test(keyread, every_row_is_read_and_matched_and_no_other_matches, .init = setup, .fini = teardown,
     .timeout = 300)
{
    static struct t_blob priv, pub, other_pub;

    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        CM_AUTO(EVP_PKEY) key = t_key(alg->name);
        CM_AUTO(EVP_PKEY) other = t_key(alg->name);
        write_public(key, &pub);
        write_public(other, &other_pub);
        write_pkcs8(key, &priv);
        cr_expect_str_eq(judge(&priv, &pub, CM_KEYREAD_PKCS8), "");
        cr_expect_eq(cm_keyread_guess(t_span(&priv)), CM_KEYREAD_PKCS8);
        cr_expect_neq(*judge(&priv, &other_pub, CM_KEYREAD_PKCS8), '\0', "%s: another key's matches",
                      alg->name);
        write_traditional(key, &priv);
        cr_expect_str_eq(judge(&priv, &pub, traditional_form(alg)), "");
        cr_expect_eq(cm_keyread_guess(t_span(&priv)), traditional_form(alg), "%s", alg->name);
        cr_expect_neq(*judge(&priv, &other_pub, traditional_form(alg)), '\0', "%s", alg->name);
        for (size_t len = 0; len < priv.len; len++) {
            const struct t_blob *whole = &priv;
            struct cm_keyread_priv out;
            cr_expect_eq(cm_keyread_priv(cm_span(whole->data, len), traditional_form(alg), &out, NULL),
                         CM_E_INPUT, "%s: %zu octets", alg->name, len);
        }
    }
}

/* ---- EC and Ed25519, written out ---- */

#define ALG "30(06(2a8648ce3d0201) 06(2a8648ce3d030107))"
#define CURVE "06(2a8648ce3d030107)"
#define G                                                                                                    \
    "04 6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"                                    \
    "   4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
#define G2                                                                                                   \
    "04 7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978"                                    \
    "   07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1"
#define Z31 "00000000000000000000000000000000000000000000000000000000000000"
#define ONE "04(" Z31 "01)"
#define TWO "04(" Z31 "02)"
#define N "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
#define INNER(scalar, rest) "30(02(01) " scalar " " rest ")"
#define PKCS8(inner) "30(02(00) " ALG " 04(" inner "))"
#define PUB "a1(03(00 " G "))"
#define ED "30(06(2b6570))"

static const struct {
    const char *what;
    const char *spec;
    enum cm_keyread_form form;
    const char *finding; /* "" none */
} written[] = {
    { "the control", PKCS8(INNER(ONE, PUB)), CM_KEYREAD_PKCS8, "" },
    { "the control", INNER(ONE, "a0(" CURVE ") " PUB), CM_KEYREAD_SEC1, "" },
    { "another scalar", PKCS8(INNER(TWO, PUB)), CM_KEYREAD_PKCS8,
      "isn't that of the certificate's public key" },
    { "scalar 0", PKCS8(INNER("04(" Z31 "00)", PUB)), CM_KEYREAD_PKCS8, "isn't in [1, n-1]" },
    { "scalar n", PKCS8(INNER("04(" N ")", PUB)), CM_KEYREAD_PKCS8, "isn't in [1, n-1]" },
    { "scalar n + 1, the same point",
      PKCS8(INNER("04(ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552)", PUB)),
      CM_KEYREAD_PKCS8, "isn't in [1, n-1]" },
    { "scalar cut", PKCS8(INNER("04(01)", PUB)), CM_KEYREAD_PKCS8, "scalar of 1 octets" },
    { "scalar too long", PKCS8(INNER("04(00 " Z31 "01)", PUB)), CM_KEYREAD_PKCS8, "scalar of 33 octets" },
    { "no public key", PKCS8(INNER(ONE, "")), CM_KEYREAD_PKCS8, "ECPrivateKey public key: missing" },
    { "public key compressed", PKCS8(INNER(ONE, "a1(03(00 03" Z31 "00))")), CM_KEYREAD_PKCS8,
      "not an uncompressed" },
    { "public key with unused bits", PKCS8(INNER(ONE, "a1(03(01 " Z31 "00))")), CM_KEYREAD_PKCS8,
      "1 unused bits" },
    { "parameters inside PKCS#8", PKCS8(INNER(ONE, "a0(" CURVE ") " PUB)), CM_KEYREAD_PKCS8, "tag a0" },
    { "no parameters in SEC1", INNER(ONE, PUB), CM_KEYREAD_SEC1, "parameters: tag a1" },
    { "another curve in SEC1", INNER(ONE, "a0(06(2b81040022)) " PUB), CM_KEYREAD_SEC1,
      "32 octets where P-384 has 48" },
    { "explicit parameters", INNER(ONE, "a0(30(02(01))) " PUB), CM_KEYREAD_SEC1, "tag 30 where 06" },
    { "ECPrivateKey version 2", PKCS8("30(02(02) " ONE " " PUB ")"), CM_KEYREAD_PKCS8,
      "ECPrivateKey version: isn't 1" },
    { "more behind the public key", PKCS8(INNER(ONE, PUB " 05()")), CM_KEYREAD_PKCS8,
      "ECPrivateKey: 2 octets too many" },
    { "more behind ECPrivateKey", PKCS8(INNER(ONE, PUB) "05()"), CM_KEYREAD_PKCS8,
      "ECPrivateKey: 2 octets too many" },
    { "more behind PKCS#8", PKCS8(INNER(ONE, PUB)) "00", CM_KEYREAD_PKCS8, "PKCS#8: 1 octets too many" },
    { "attributes", "30(02(00) " ALG " 04(" INNER(ONE, PUB) ") a0(31()))", CM_KEYREAD_PKCS8,
      "PKCS#8: 4 octets too many" },
    { "PKCS#8 version 1", "30(02(01) " ALG " 04(" INNER(ONE, PUB) "))", CM_KEYREAD_PKCS8,
      "PKCS#8 version: isn't 0" },
    { "version with a zero in front", "30(02(0000) " ALG " 04(" INNER(ONE, PUB) "))", CM_KEYREAD_PKCS8,
      "isn't minimal" },
    { "SEC1 as PKCS#8", INNER(ONE, "a0(" CURVE ") " PUB), CM_KEYREAD_PKCS8, "PKCS#8 version: isn't 0" },
    { "PKCS#8 as PKCS#1", PKCS8(INNER(ONE, PUB)), CM_KEYREAD_PKCS1, "RSA modulus: tag 30" },
    { "another kind of key", "30(02(00) " ED " 04(04(" Z31 "01)))", CM_KEYREAD_PKCS8, "it is Ed25519" },
    { "Ed25519 of 31", "30(02(00) " ED " 04(04(" Z31 ")))", CM_KEYREAD_PKCS8, "an Ed25519 seed of 31" },
    { "Ed25519 without the inner string", "30(02(00) " ED " 04(" Z31 "01))", CM_KEYREAD_PKCS8,
      "Ed25519 seed: tag 00" },
    { "Ed25519 with NULL", "30(02(00) 30(06(2b6570) 05()) 04(04(" Z31 "01)))", CM_KEYREAD_PKCS8,
      "2 octets too many" },
    { "an unknown type", "30(02(00) 30(06(2b6571)) 04(04(" Z31 "01)))", CM_KEYREAD_PKCS8,
      "a key type that isn't" },
    { "RSA with a third prime", "30(02(00) 02(03) 02(03) 02(03) 02(03) 02(03) 02(03) 02(03) 02(03) 30())",
      CM_KEYREAD_PKCS1, "RSAPrivateKey: 2 octets too many" },
    { "RSA version 1", "30(02(01) 02(03))", CM_KEYREAD_PKCS1, "RSAPrivateKey version: isn't 0" },
    { "RSA, a negative number", "30(02(00) 02(83))", CM_KEYREAD_PKCS1, "RSA modulus: negative" },
    { "nothing", "", CM_KEYREAD_PKCS8, "PKCS#8: missing" },
};

Test(keyread, every_written_key_is_judged, .init = setup, .fini = teardown)
{
    static struct t_blob priv, pub;

    t_der("30(" ALG " 03(00 " G "))", &pub);
    for (size_t i = 0; i < CM_COUNT(written); i++) {
        t_der(written[i].spec, &priv);
        const char *got = judge(&priv, &pub, written[i].form);
        if (*written[i].finding == '\0')
            cr_expect_str_empty(got, "%s: %s", written[i].what, got);
        else
            cr_expect_not_null(strstr(got, written[i].finding), "%s: \"%s\"", written[i].what, got);
    }
    /* The point beside the scalar isn't keymatch's to compare, but it is there to be compared. */
    struct cm_keyread_priv key;
    t_der(PKCS8(INNER(ONE, "a1(03(00 " G2 "))")), &priv);
    cr_assert_eq(cm_keyread_priv(t_span(&priv), CM_KEYREAD_PKCS8, &key, NULL), CM_OK);
    t_der(G2, &pub);
    cr_expect(cm_span_eq(key.point, t_span(&pub)));
}

Test(keyread, a_point_off_its_curve_is_found, .init = setup, .fini = teardown)
{
    static struct t_blob der;
    struct cm_keyread_pub pub;

    t_der("30(" ALG " 03(00 " G2 "))", &der);
    cr_assert_eq(cm_keyread_spki(t_span(&der), &pub, NULL), CM_OK);
    cr_expect_eq(cm_keymatch_public(match, &pub, NULL), CM_OK);
    der.data[der.len - 1] ^= 1;
    cr_expect_eq(cm_keymatch_public(match, &pub, NULL), CM_E_INPUT);
}

static const struct {
    const char *spec, *finding;
} publics[] = {
    { "30(" ALG " 03(00 " G "))", "" },
    { "31(" ALG " 03(00 " G "))", "subjectPublicKeyInfo: tag 31" },
    { "30(" ALG " 03(00 " G ")) 00", "subjectPublicKeyInfo: 1 octets too many" },
    { "30(" ALG " 03(00 " G ") 05())", "subjectPublicKeyInfo: 2 octets too many" },
    { "30(" ALG " 04(00 " G "))", "public key: tag 04" },
    { "30(" ALG " 03(00 " G "00))", "a point of 66 octets" },
    { "30(30(06(2a8648ce3d0201) 06(2b81040022)) 03(00 " G "))", "a point of 65 octets where P-384 has 97" },
    { "30(30(06(2a864886f70d010101) 05(00)) 03(00 30()))", "public key algorithm: 1 octets too many" },
    { "30(30(06(2a864886f70d010101) 05()) 03(00 30() 00))", "RSAPublicKey: 1 octets too many" },
    { "30(30(06(2a864886f70d010101) 05()) 03(00 30(02(03) 02(03) 05())))",
      "RSAPublicKey: 2 octets too many" },
    { "30(" ED " 03(00 " Z31 "01))", "" },
};

Test(keyread, every_written_public_key_is_judged)
{
    static struct t_blob der;

    for (size_t i = 0; i < CM_COUNT(publics); i++) {
        struct cm_keyread_pub pub;
        struct cm_error err = { 0 };
        t_der(publics[i].spec, &der);
        const bool fine = cm_keyread_spki(t_span(&der), &pub, &err) == CM_OK;
        cr_expect_eq(fine, *publics[i].finding == '\0', "row %zu: \"%s\"", i, err.what);
        cr_expect_not_null(strstr(err.what, publics[i].finding), "row %zu: \"%s\"", i, err.what);
    }
}

/* ---- RSA ---- */

enum number { RSA_N, RSA_E, RSA_D, RSA_P, RSA_Q, RSA_DP, RSA_DQ, RSA_QINV, RSA_NUMBERS };

static const char *const params[RSA_NUMBERS] = {
    OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
    OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
    OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
    OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

static void add_number(struct t_blob *out, const BIGNUM *n)
{
    ASN1_INTEGER *number = BN_to_ASN1_INTEGER(n, NULL);
    unsigned char *at = out->data + out->len;

    cr_assert_leq(out->len + 1024, sizeof out->data);
    out->len += (size_t) i2d_ASN1_INTEGER(number, &at);
    ASN1_INTEGER_free(number);
}

/* SEQUENCE of 256 to 65535 octets around what is in *body. */
static void wrap(const struct t_blob *body, const char *front, struct t_blob *out)
{
    struct t_blob head;
    t_der(front, &head);
    const size_t n = head.len + body->len;

    out->len = 0;
    t_add(out, (uint8_t[]) { 0x30, 0x82, (uint8_t) (n >> 8), (uint8_t) n }, 4);
    t_add(out, head.data, head.len);
    t_add(out, body->data, body->len);
}

static void write_rsa(BIGNUM *const number[RSA_NUMBERS], struct t_blob *priv, struct t_blob *pub)
{
    static struct t_blob body, inner;

    body.len = 0;
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        add_number(&body, number[i]);
    wrap(&body, "02(00)", priv);
    body.len = 0;
    add_number(&body, number[RSA_N]);
    add_number(&body, number[RSA_E]);
    wrap(&body, "", &inner);
    const size_t n = inner.len + 1;
    body.len = 0;
    t_add(&body, (uint8_t[]) { 0x03, 0x82, (uint8_t) (n >> 8), (uint8_t) n, 0 }, 5);
    t_add(&body, inner.data, inner.len);
    wrap(&body, "30(06(2a864886f70d010101) 05())", pub);
}

static void take_numbers(EVP_PKEY *key, BIGNUM *number[RSA_NUMBERS])
{
    for (size_t i = 0; i < RSA_NUMBERS; i++) {
        number[i] = NULL;
        cr_assert_eq(EVP_PKEY_get_bn_param(key, params[i], &number[i]), 1);
    }
}

static void free_numbers(BIGNUM *number[RSA_NUMBERS])
{
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        BN_clear_free(number[i]);
}

/* Each number two more than it should be, in the private key only. */
static const struct {
    enum number which;
    const char *finding;
} wrong[] = {
    { RSA_N, "its modulus and exponent aren't the certificate's" },
    { RSA_E, "its modulus and exponent aren't the certificate's" },
    { RSA_D, "d doesn't invert e" },
    { RSA_P, "p times q isn't the modulus" },
    { RSA_Q, "p times q isn't the modulus" },
    { RSA_DP, "d mod p-1 is wrong" },
    { RSA_DQ, "d mod q-1 is wrong" },
    { RSA_QINV, "1/q mod p is wrong" },
};

Test(keyread, every_number_of_an_rsa_key_is_checked, .init = setup, .fini = teardown, .timeout = 60)
{
    static struct t_blob priv, pub, unused;
    CM_AUTO(EVP_PKEY) key = t_key("RSA-2048");
    BIGNUM *number[RSA_NUMBERS];

    take_numbers(key, number);
    write_rsa(number, &priv, &pub);
    cr_assert_str_empty(judge(&priv, &pub, CM_KEYREAD_PKCS1));
    for (size_t i = 0; i < CM_COUNT(wrong); i++) {
        cr_assert_eq(BN_add_word(number[wrong[i].which], 2), 1);
        write_rsa(number, &priv, &unused);
        const char *got = judge(&priv, &pub, CM_KEYREAD_PKCS1);
        cr_expect_not_null(strstr(got, wrong[i].finding), "row %zu: \"%s\"", i, got);
        cr_assert_eq(BN_sub_word(number[wrong[i].which], 2), 1);
    }
    BN_set_word(number[RSA_E], 3); /* in both: an exponent that is too small */
    write_rsa(number, &priv, &pub);
    cr_expect_not_null(strstr(judge(&priv, &pub, CM_KEYREAD_PKCS1), "below 65537"));
    BN_set_word(number[RSA_E], 65538);
    write_rsa(number, &priv, &pub);
    cr_expect_not_null(strstr(judge(&priv, &pub, CM_KEYREAD_PKCS1), "exponent is even"));
    free_numbers(number);
}

/* d, the CRT values and n from p, q and e; false: e has no inverse. */
static bool complete(BIGNUM *number[RSA_NUMBERS])
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) p1 = BN_dup(number[RSA_P]);
    CM_AUTO(BIGNUM) q1 = BN_dup(number[RSA_Q]);
    CM_AUTO(BIGNUM) phi = BN_new();

    cr_assert(BN_sub_word(p1, 1) == 1 && BN_sub_word(q1, 1) == 1 && BN_mul(phi, p1, q1, ctx) == 1);
    if (BN_mod_inverse(number[RSA_D], number[RSA_E], phi, ctx) == NULL)
        return false;
    return BN_mul(number[RSA_N], number[RSA_P], number[RSA_Q], ctx) == 1 &&
           BN_num_bits(number[RSA_N]) == 2048 && BN_mod(number[RSA_DP], number[RSA_D], p1, ctx) == 1 &&
           BN_mod(number[RSA_DQ], number[RSA_D], q1, ctx) == 1 &&
           BN_mod_inverse(number[RSA_QINV], number[RSA_Q], number[RSA_P], ctx) != NULL;
}

static void composite(BIGNUM *out)
{
    CM_AUTO(BIGNUM) a = BN_new();
    CM_AUTO(BIGNUM) b = BN_new();
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();

    do
        cr_assert(BN_generate_prime_ex(a, 512, 0, NULL, NULL, NULL) == 1 &&
                  BN_generate_prime_ex(b, 512, 0, NULL, NULL, NULL) == 1 && BN_mul(out, a, b, ctx) == 1);
    while (BN_num_bits(out) != 1024);
}

/* Certtool passes such a key: it signs nothing that verifies. */
Test(keyread, an_rsa_key_around_a_composite_is_found, .init = setup, .fini = teardown, .timeout = 120)
{
    static struct t_blob priv, pub;
    CM_AUTO(EVP_PKEY) key = t_key("RSA-2048");
    BIGNUM *number[RSA_NUMBERS];

    take_numbers(key, number);
    do
        composite(number[RSA_P]);
    while (!complete(number));
    write_rsa(number, &priv, &pub);
    cr_expect_str_eq(judge(&priv, &pub, CM_KEYREAD_PKCS1), "RSA: p isn't prime");
    BN_swap(number[RSA_P], number[RSA_Q]);
    cr_assert(complete(number));
    write_rsa(number, &priv, &pub);
    cr_expect_str_eq(judge(&priv, &pub, CM_KEYREAD_PKCS1), "RSA: q isn't prime");
    free_numbers(number);
}

Test(keyread, rsa_primes_must_be_of_half_size_and_apart, .init = setup, .fini = teardown, .timeout = 120)
{
    static struct t_blob priv, pub;
    CM_AUTO(EVP_PKEY) key = t_key("RSA-2048");
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    BIGNUM *number[RSA_NUMBERS];

    take_numbers(key, number);
    /* q the next prime after p: Fermat's factoring finds it at once. Their top two bits are set. */
    cr_assert(BN_generate_prime_ex(number[RSA_P], 1024, 0, NULL, NULL, NULL) == 1 &&
              BN_copy(number[RSA_Q], number[RSA_P]) != NULL);
    do
        cr_assert_eq(BN_add_word(number[RSA_Q], 2), 1);
    while (BN_check_prime(number[RSA_Q], ctx, NULL) != 1);
    cr_assert(complete(number));
    write_rsa(number, &priv, &pub);
    cr_expect_not_null(strstr(judge(&priv, &pub, CM_KEYREAD_PKCS1), "they are too close"));
    do
        cr_assert(BN_generate_prime_ex(number[RSA_P], 1280, 0, NULL, NULL, NULL) == 1 &&
                  BN_generate_prime_ex(number[RSA_Q], 768, 0, NULL, NULL, NULL) == 1);
    while (!complete(number));
    write_rsa(number, &priv, &pub);
    cr_expect_not_null(strstr(judge(&priv, &pub, CM_KEYREAD_PKCS1), "isn't of half the modulus' length"));
    free_numbers(number);
}

/* ---- PEM ---- */

Test(keyread, pem_of_every_length_is_read_and_no_other_text_for_it)
{
    static struct t_blob content, pem;
    static uint8_t out[256];

    for (size_t len = 1; len <= 200; len++) {
        struct cm_span text;
        struct cm_error err = { 0 };
        size_t got = 0;
        cr_assert_eq(RAND_bytes(content.data, (int) len), 1);
        content.len = len;
        pem.len = 0;
        t_pem("PRIVATE KEY", t_span(&content), 64, &pem);
        text = t_span(&pem);
        cr_assert_eq(cm_pemread_next(&text, "PRIVATE KEY", out, sizeof out, &got, &err), CM_OK, "%zu: %s",
                     len, err.what);
        cr_expect(text.len == 0 && cm_span_eq(cm_span(out, got), t_span(&content)), "%zu", len);
        text = t_span(&pem);
        cr_expect_eq(cm_pemread_next(&text, "PRIVATE KEY", out, len - 1, &got, NULL), CM_E_INPUT, "no room");
        for (size_t bit = 0; bit < 8 * pem.len;
             bit += 1 + bit % 3) { /* a flip gives other content or an error */
            pem.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
            text = t_span(&pem);
            if (cm_pemread_next(&text, "PRIVATE KEY", out, sizeof out, &got, NULL) == CM_OK && text.len == 0)
                cr_expect(!cm_span_eq(cm_span(out, got), t_span(&content)), "length %zu, bit %zu", len, bit);
            pem.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
    }
}

static const char *const not_pem[] = {
    "",
    "-----BEGIN X-----\n",
    "-----BEGIN X-----\n-----END X-----\n",
    "-----BEGIN X-----\nAAA\n-----END X-----\n",
    "-----BEGIN X-----\nAB==\n-----END X-----\n", /* stray bits: AA== is canonical */
    "-----BEGIN X-----\nAAB=\n-----END X-----\n",
    "-----BEGIN X-----\nA===\n-----END X-----\n",
    "-----BEGIN X-----\nAA=A\n-----END X-----\n",
    "-----BEGIN X-----\n====\n-----END X-----\n",
    "-----BEGIN X-----\nAA==\nAAAA\n-----END X-----\n",
    "-----BEGIN X-----\nAAAA\nAAAA\n-----END X-----\n",
    "-----BEGIN X-----\nAAA-\n-----END X-----\n",
    "-----BEGIN X-----\nAAA_\n-----END X-----\n",
    "-----BEGIN X-----\nAAAA-----END X-----\n",
    "-----BEGIN X-----\nAAAA\n-----END X-----",
    "-----BEGIN X-----\nAAAA\n-----END Y-----\n",
    "-----BEGIN Y-----\nAAAA\n-----END X-----\n",
    "-----BEGIN X-----\nAAA\303\n-----END X-----\n",
};

Test(keyread, text_that_is_not_canonical_pem_is_refused)
{
    uint8_t out[64];
    size_t len = 0;
    struct cm_span text = cm_span_str("-----BEGIN X-----\nAA==\n-----END X-----\n");

    cr_assert_eq(cm_pemread_next(&text, "X", out, sizeof out, &len, NULL), CM_OK);
    cr_assert(len == 1 && out[0] == 0);
    for (size_t i = 0; i < CM_COUNT(not_pem); i++) {
        text = cm_span_str(not_pem[i]);
        cr_expect_eq(cm_pemread_next(&text, "X", out, sizeof out, &len, NULL), CM_E_INPUT, "row %zu", i);
    }
}
