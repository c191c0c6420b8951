#include "tests/t_mill.h"

#include "engine/keyenc.h"
#include "tests/t_authority.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>

const struct cm_keypair *t_pair(const struct cm_keyalg *alg)
{
    static struct cm_keypair pairs[16]; /* by row of the table */
    size_t i = 0;
    struct cm_keymaker *maker = NULL;

    while (cm_keyalg_at(i) != alg)
        i++;
    cr_assert_lt(i, CM_COUNT(pairs));
    if (pairs[i].alg == NULL) {
        cr_assert_eq(cm_keymaker_open(alg, CM_KEYGEN_OWN, &maker, NULL), CM_OK);
        cr_assert_eq(cm_keymaker_make(maker, &pairs[i], NULL), CM_OK);
        cm_keymaker_close(maker);
    }
    return &pairs[i];
}

struct cm_ca *t_open_ca(struct cm_span certs, EVP_PKEY *key, const char *signature)
{
    CM_AUTO(BIO) pem = BIO_new(BIO_s_mem());
    struct cm_error err = { 0 };
    struct cm_ca *ca = NULL;

    cr_assert_eq(PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL), 1);
    const struct cm_ca_conf conf = { .cert_pem = certs,
                                     .key_pem = t_authority_span(pem),
                                     .cert_name = "ca.pem",
                                     .key_name = "ca.key",
                                     .signature = signature };
    cr_assert_eq(cm_ca_open(&conf, &ca, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ca_check(ca, cm_when_now(), &err), CM_OK, "%s", err.what);
    return ca;
}

static cm_when when_of(const char *text, const char *otherwise)
{
    cm_when t = 0;

    cr_assert_eq(cm_when_parse(text != NULL ? text : otherwise, &t, NULL), CM_OK);
    return t;
}

cm_err t_compile(const struct t_ask *ask, const struct cm_ca *ca, const struct cm_keyalg *alg,
                 struct cm_tmpl **out, struct cm_error *err)
{
    struct cm_profile *profile = NULL;
    struct cm_name name;
    cm_err rc = cm_profile_open("test", cm_span_str(ask->profile), &t_columns, &profile, err);

    cr_assert_eq(rc, CM_OK, "%s: %s", ask->what, err->what);
    cr_assert_eq(cm_name_parse(ask->subject, &t_columns, &name, err), CM_OK, "%s: %s", ask->what, err->what);
    const struct cm_certspec spec = { .ca = ca,
                                      .key = alg,
                                      .profile = profile,
                                      .subject = &name,
                                      .san = ask->san,
                                      .not_before = when_of(ask->not_before, "20260101000000Z"),
                                      .not_after = when_of(ask->not_after, "20360101000000Z") };
    rc = cm_profile_check(profile, alg, cm_ca_sigalg(ca), err);
    if (rc == CM_OK)
        rc = cm_tmpl_compile(&spec, out, err);
    cm_profile_close(profile);
    return rc;
}

struct cm_values t_values(const struct t_ask *ask)
{
    static struct cm_hasher hasher; /* for the life of the program */
    static struct cm_span column[T_COLUMNS];

    for (size_t i = 0; i < T_COLUMNS; i++)
        column[i] = cm_span_str(ask->column[i] != NULL ? ask->column[i] : "");

    if (hasher.sha1 == NULL)
        cr_assert_eq(cm_hasher_open(&hasher, NULL), CM_OK);
    return (struct cm_values) { .id = cm_span_str(t_ask_id(ask)),
                                .seq = ask->seq,
                                .mac = ask->mac,
                                .run_id = t_run_id,
                                .hasher = &hasher,
                                .column = column };
}

void t_emit(const struct cm_tmpl *tmpl, const struct t_ask *ask, const struct cm_keypair *pair,
            const uint8_t serial[20], struct t_blob *out)
{
    const struct cm_values v = t_values(ask);
    uint8_t spki[1024], bits[1024], ski[EVP_MAX_MD_SIZE];
    struct cm_der s = cm_der(spki, sizeof spki), b = cm_der(bits, sizeof bits);
    struct cm_der d = cm_der(out->data, sizeof out->data);

    cm_keyenc_spki(&s, pair);
    cm_keyenc_public(&b, pair);
    cr_assert_eq(EVP_Digest(cm_der_span(&b).data, cm_der_len(&b), ski, NULL, EVP_sha1(), NULL), 1);
    const struct cm_tmpl_input in = {
        .values = &v, .serial = cm_span(serial, 20), .spki = cm_der_span(&s), .ski = cm_span(ski, 20)
    };
    cm_tmpl_emit(tmpl, &in, &d);
    cr_assert(cm_der_ok(&d));
    out->len = cm_der_len(&d);
    memmove(out->data, cm_der_span(&d).data, out->len);
}
