#include "engine/cert.h"

#include "engine/ident.h"
#include "engine/keyenc.h"
#include "engine/pem.h"
#include "engine/tarfmt.h"

static size_t round_to(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Octets of the largest TBSCertificate: the template run with the longest id and
 * a key of the largest size. */
static cm_err tbs_max(const struct cm_mint_conf *conf, struct cm_hasher *hasher, size_t *tbs, size_t *subject,
                      struct cm_error *err)
{
    static const uint8_t zeros[1024];
    char quotes[CM_PATTERN_OUT];
    struct cm_span column[CM_COLUMNS_MAX];
    uint8_t buf[20480], text[CM_NAME_TEXT];
    struct cm_der d = cm_der(buf, sizeof buf);
    struct cm_writer w = cm_writer(text, sizeof text);

    memset(quotes, '"', sizeof quotes); /* the one character that both subject text and row escape */
    for (size_t i = 0; i < CM_COLUMNS_MAX && conf->bounds != NULL; i++) {
        const size_t len = conf->bounds->value[i]; /* longer ones don't stand in the certificate */
        column[i] = cm_span(quotes, len < sizeof quotes ? len : sizeof quotes);
    }
    const struct cm_values v = { .id = cm_span(quotes, CM_ID_MAX),
                                 .seq = UINT64_MAX,
                                 .mac = (1ull << 48) - 1,
                                 .run_id = conf->run_id,
                                 .hasher = hasher,
                                 .column = column };
    const struct cm_tmpl_input in = { .values = &v,
                                      .serial = cm_span(zeros, CM_SERIAL_LEN),
                                      .spki = cm_span(zeros, cm_keyenc_spki_max(conf->key)),
                                      .ski = cm_span(zeros, 20) };
    cm_tmpl_emit(conf->tmpl, &in, &d);
    if (conf->bounds == NULL)
        cm_name_put_text(conf->subject, &v, &w);
    if (!cm_der_ok(&d) || !cm_writer_ok(&w))
        CM_FAIL(err, CM_E_LIMIT, "a certificate of this profile is larger than %zu octets", sizeof buf);
    *tbs = cm_der_len(&d);
    *subject = conf->bounds == NULL ? w.len : conf->bounds->subject;
    return CM_OK;
}

static size_t image_max(const struct cm_mint_conf *conf, size_t data, uint32_t devices)
{
    const size_t entry = conf->layout == CM_LAYOUT_TREE ? data : CM_TAR_BLOCK + round_to(data, CM_TAR_BLOCK);

    return round_to(devices * entry + CM_TAR_PAD_MAX, CM_TAR_ALIGN);
}

cm_err cm_mint_plan(const struct cm_mint_conf *conf, uint32_t devices, struct cm_batch_plan *out,
                    struct cm_error *err)
{
    struct cm_hasher hasher = { 0 };
    struct cm_signer *signer = NULL;
    size_t tbs = 0, subject = 0, cert = 0, key = cm_keyenc_private_max(conf->key);
    cm_err rc = cm_hasher_open(&hasher, err);

    if (rc == CM_OK)
        rc = cm_signer_open(conf->ca, &signer, err);
    if (rc == CM_OK)
        rc = tbs_max(conf, &hasher, &tbs, &subject, err);
    if (rc == CM_OK)
        cert = tbs + cm_signer_max(signer) + cm_ca_sigalg(conf->ca)->algid_len + 16;
    cm_signer_close(signer);
    cm_hasher_close(&hasher);
    CM_TRY(rc);

    const size_t chain = conf->encoding == CM_ENCODE_PEM
                             ? cm_pem_len("CERTIFICATE", cert) + cm_ca_chain_pem(conf->ca).len
                             : cert + cm_ca_chain_der(conf->ca).len;
    if (conf->encoding == CM_ENCODE_PEM)
        key = cm_pem_len("RSA PRIVATE KEY", key);
    /* Each octet of id and subject text may take a backslash in the row. */
    const size_t packed = conf->bounds != NULL ? conf->bounds->packed : 0;
    const size_t json = conf->bounds != NULL ? conf->bounds->json : 0;
    const size_t row =
        CM_ROW_FIXED + cm_row_texts_len(conf->row) + 2 * (3 * (size_t) CM_ID_MAX + subject) + json;
    *out = (struct cm_batch_plan) { .devices = devices,
                                    .ids = devices * (CM_ID_MAX + packed),
                                    .chain = image_max(conf, chain, devices),
                                    .keys = image_max(conf, key, devices),
                                    .rows = devices * row };
    if (out->chain > UINT32_MAX / 2 || out->rows > UINT32_MAX / 2)
        CM_FAIL(err, CM_E_USAGE, "a batch of %u devices is too large; say less with --batch", devices);
    return CM_OK;
}
