#include "engine/cert.h"

#include "engine/ident.h"
#include "engine/keyenc.h"
#include "engine/pem.h"
#include "engine/source.h"
#include "engine/tarfmt.h"
#include "engine/xxh.h"

#include <openssl/rand.h>

enum { CERT_MAX = 20480, SPKI_MAX = 640, SIG_MAX = 640, KEY_DER_MAX = 2560 };

/* The part of a minter that holds private keys; lies in cm_secret memory. */
struct key_scratch {
    struct cm_keypair pair;
    uint8_t der[KEY_DER_MAX];
};

struct cm_minter {
    struct cm_mint_conf conf;
    struct cm_keymaker *maker;
    struct cm_signer *signer;
    struct cm_hasher hasher;
    struct cm_secret secret;
    struct key_scratch *scratch;
    bool has_ski;
    uint8_t tbs[CERT_MAX], cert[CERT_MAX], spki[SPKI_MAX], bits[SPKI_MAX], sig[SIG_MAX];
    /* The batch's first certificate, for cm_mint_end. */
    uint8_t first_tbs[CERT_MAX], first_sig[SIG_MAX];
    size_t first_tbs_len, first_sig_len;
    struct cm_span column[CM_COLUMNS_MAX]; /* of the device at hand: views into the batch */
};

cm_err cm_minter_open(const struct cm_mint_conf *conf, struct cm_minter **out, struct cm_error *err)
{
    struct cm_minter *m = calloc(1, sizeof *m);
    cm_err rc = CM_OK;

    if (m == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a worker");
    m->conf = *conf;
    m->has_ski = cm_tmpl_uses(conf->tmpl, CM_SLOT_SKI);
    rc = cm_secret_init(&m->secret, sizeof *m->scratch, err);
    if (rc == CM_OK)
        rc = cm_hasher_open(&m->hasher, err);
    if (rc == CM_OK)
        rc = cm_keymaker_open(conf->key, conf->keygen, &m->maker, err);
    if (rc == CM_OK)
        rc = cm_signer_open(conf->ca, &m->signer, err);
    if (rc != CM_OK) {
        cm_minter_close(m);
        return rc;
    }
    CM_ASSERT(cm_signer_max(m->signer) <= SIG_MAX);
    m->scratch = (struct key_scratch *) (void *) m->secret.base;
    *out = m;
    return CM_OK;
}

void cm_minter_close(struct cm_minter *m)
{
    if (m == NULL)
        return;
    cm_signer_close(m->signer);
    cm_keymaker_close(m->maker);
    cm_hasher_close(&m->hasher);
    cm_secret_done(&m->secret);
    free(m);
}

cm_err cm_mint_begin(struct cm_minter *m, struct cm_batch *b, struct cm_error *err)
{
    cm_keymaker_expect(m->maker, b->count);
    if (RAND_bytes(b->random, (int) (b->count * CM_SERIAL_RANDOM)) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the random generator failed");
    b->minted_at = cm_when_now();
    return CM_OK;
}

static struct cm_values values_of(struct cm_minter *m, const struct cm_batch *b, const struct cm_rec *rec)
{
    if (m->conf.columns != NULL)
        cm_batch_values(b, rec, m->column, m->conf.columns->count);
    return (struct cm_values) { .id = cm_span(b->ids + rec->id_off, rec->id_len),
                                .seq = rec->seq,
                                .mac = rec->mac,
                                .run_id = m->conf.run_id,
                                .hasher = &m->hasher,
                                .column = m->column };
}

/* Fills the TBS into m->tbs and signs it; the certificate ends up at the end of
 * m->cert and is returned in *out. */
static cm_err make_cert(struct cm_minter *m, const struct cm_values *v, uint32_t i, struct cm_row_device *dev,
                        uint8_t ski[20], struct cm_span *out, struct cm_error *err)
{
    struct cm_der spki = cm_der(m->spki, sizeof m->spki), bits = cm_der(m->bits, sizeof m->bits);
    struct cm_der tbs = cm_der(m->tbs, sizeof m->tbs), cert = cm_der(m->cert, sizeof m->cert);
    const struct cm_sigalg *alg = cm_ca_sigalg(m->conf.ca);
    size_t sig_len = sizeof m->sig;

    cm_keyenc_spki(&spki, &m->scratch->pair);
    cm_keyenc_public(&bits, &m->scratch->pair);
    CM_TRY(cm_sha256(&m->hasher, cm_der_span(&spki).data, cm_der_len(&spki), dev->spki_sha256, err));
    if (m->has_ski) {
        CM_TRY(cm_sha1(&m->hasher, cm_der_span(&bits).data, cm_der_len(&bits), ski, err));
        dev->ski = ski;
    }
    const struct cm_tmpl_input in = { .values = v,
                                      .serial = cm_span(dev->serial, sizeof dev->serial),
                                      .spki = cm_der_span(&spki),
                                      .ski = cm_span(ski, 20) };
    cm_tmpl_emit(m->conf.tmpl, &in, &tbs);
    if (!cm_der_ok(&tbs) || !cm_der_ok(&spki) || !cm_der_ok(&bits))
        CM_FAIL(err, CM_E_LIMIT, "a certificate of this profile is larger than %d octets", CERT_MAX);
    CM_TRY(cm_signer_sign(m->signer, cm_der_span(&tbs), m->sig, &sig_len, err));

    cm_der_raw(&cert, m->sig, sig_len);
    cm_der_byte(&cert, 0);
    cm_der_wrap(&cert, CM_DER_BIT_STRING, 0);
    cm_der_raw(&cert, alg->algid, alg->algid_len);
    cm_der_raw(&cert, cm_der_span(&tbs).data, cm_der_len(&tbs));
    cm_der_wrap(&cert, CM_DER_SEQUENCE, 0);
    if (!cm_der_ok(&cert))
        CM_FAIL(err, CM_E_LIMIT, "a certificate of this profile is larger than %d octets", CERT_MAX);
    if (i == 0) {
        m->first_tbs_len = cm_der_len(&tbs);
        m->first_sig_len = sig_len;
        memcpy(m->first_tbs, cm_der_span(&tbs).data, m->first_tbs_len);
        memcpy(m->first_sig, m->sig, sig_len);
    }
    *out = cm_der_span(&cert);
    return CM_OK;
}

/* An image is entries of header, data and filling (tar), or data only (tree). */
static uint8_t *begin_entry(const struct cm_minter *m, struct cm_writer *image)
{
    return m->conf.layout == CM_LAYOUT_TREE ? NULL : cm_put_room(image, CM_TAR_BLOCK);
}

static void end_entry(const struct cm_minter *m, struct cm_writer *image, uint8_t *header,
                      struct cm_span id_name, const char *suffix, uint32_t data_off, uint32_t mode)
{
    char name[CM_TAR_NAME_MAX];
    struct cm_writer n = cm_writer(name, sizeof name);

    if (header == NULL)
        return;
    cm_put_span(&n, id_name);
    cm_put_str(&n, suffix);
    cm_tar_header(header, '0', cm_span(name, n.len), image->len - data_off, mode, m->conf.mtime);
    cm_tar_fill_block(image);
}

static cm_err digest_blob(struct cm_minter *m, const uint8_t *data, size_t len, struct cm_row_blob *blob,
                          struct cm_error *err)
{
    blob->len = (uint32_t) len;
    cm_xxh128(data, len, blob->xxh3);
    return cm_sha256(&m->hasher, data, len, blob->sha256, err);
}

static cm_err put_chain(struct cm_minter *m, struct cm_batch *b, struct cm_rec *rec, struct cm_span cert,
                        struct cm_row_device *dev, struct cm_error *err)
{
    struct cm_writer image = { .data = b->chain, .cap = b->plan.chain, .len = b->chain_len };
    uint8_t *header = begin_entry(m, &image);

    rec->chain_off = (uint32_t) image.len;
    if (m->conf.encoding == CM_ENCODE_PEM) {
        cm_put_pem(&image, "CERTIFICATE", cert.data, cert.len);
        cm_put_span(&image, cm_ca_chain_pem(m->conf.ca));
    } else {
        cm_put_span(&image, cert);
        cm_put_span(&image, cm_ca_chain_der(m->conf.ca));
    }
    rec->chain_len = (uint32_t) image.len - rec->chain_off;
    end_entry(m, &image, header, dev->id_name, ".crt", rec->chain_off, 0644);
    if (!cm_writer_ok(&image))
        CM_FAIL(err, CM_E_NOSPACE, "bug: the chain image is too small for %u devices", b->cap);
    b->chain_len = image.len;
    return digest_blob(m, b->chain + rec->chain_off, rec->chain_len, &dev->chain, err);
}

static cm_err put_key(struct cm_minter *m, struct cm_batch *b, struct cm_rec *rec, struct cm_row_device *dev,
                      struct cm_error *err)
{
    struct cm_writer image = { .data = b->keys, .cap = b->plan.keys, .len = b->keys_len };
    struct cm_der der = cm_der(m->scratch->der, sizeof m->scratch->der);
    const bool traditional = m->conf.key_format == CM_KEYS_TRADITIONAL;
    uint8_t *header = begin_entry(m, &image);

    rec->key_off = (uint32_t) image.len;
    if (traditional)
        cm_keyenc_traditional(&der, &m->scratch->pair);
    else
        cm_keyenc_pkcs8(&der, &m->scratch->pair);
    if (m->conf.encoding == CM_ENCODE_PEM)
        cm_put_pem(&image, traditional ? cm_keyenc_traditional_label(m->conf.key) : "PRIVATE KEY",
                   cm_der_span(&der).data, cm_der_len(&der));
    else
        cm_put_span(&image, cm_der_span(&der));
    rec->key_len = (uint32_t) image.len - rec->key_off;
    end_entry(m, &image, header, dev->id_name, ".key", rec->key_off, 0600);
    if (!cm_writer_ok(&image) || !cm_der_ok(&der))
        CM_FAIL(err, CM_E_NOSPACE, "bug: the key image is too small for %u devices", b->cap);
    b->keys_len = image.len;
    return digest_blob(m, b->keys + rec->key_off, rec->key_len, &dev->key, err);
}

static cm_err put_row(struct cm_minter *m, struct cm_batch *b, struct cm_rec *rec,
                      const struct cm_row_device *dev, struct cm_error *err)
{
    struct cm_writer rows = { .data = b->rows, .cap = b->plan.rows, .len = b->rows_len };

    cm_row_render(m->conf.row, dev, &rows, rec);
    memcpy(rec->certificate_id, dev->certificate_id, sizeof rec->certificate_id);
    if (!cm_writer_ok(&rows))
        CM_FAIL(err, CM_E_NOSPACE, "bug: the row buffer is too small for %u devices", b->cap);
    b->rows_len = rows.len;
    return CM_OK;
}

/* All after the key exists. */
static cm_err finish_one(struct cm_minter *m, struct cm_batch *b, uint32_t i, struct cm_error *err)
{
    struct cm_rec *rec = &b->rec[i];
    const struct cm_values v = values_of(m, b, rec);
    struct cm_row_device dev = { .seq = rec->seq, .id = v.id, .minted_at = b->minted_at, .column = v.column };
    uint8_t ski[20] = { 0 };
    char name[CM_ID_NAME_MAX], subject[CM_NAME_TEXT];
    struct cm_writer n = cm_writer(name, sizeof name), s = cm_writer(subject, sizeof subject);
    struct cm_span cert = { 0 };

    memcpy(dev.serial, b->prefix, CM_SERIAL_PREFIX);
    memcpy(dev.serial + CM_SERIAL_PREFIX, b->random + (size_t) i * CM_SERIAL_RANDOM, CM_SERIAL_RANDOM);
    cm_put_id_name(&n, v.id);
    cm_name_put_text(m->conf.subject, &v, &s);
    if (!cm_writer_ok(&n) || !cm_writer_ok(&s))
        CM_FAIL(err, CM_E_LIMIT, "the subject of device \"%.*s\" is longer than %zu octets", (int) v.id.len,
                (const char *) v.id.data, sizeof subject);
    dev.id_name = cm_span(name, n.len);
    dev.subject = cm_span(subject, s.len);
    CM_TRY(make_cert(m, &v, i, &dev, ski, &cert, err));
    CM_TRY(cm_sha256(&m->hasher, cert.data, cert.len, dev.certificate_id, err));
    CM_TRY(cm_sha1(&m->hasher, cert.data, cert.len, dev.thumbprint_sha1, err));
    CM_TRY(put_chain(m, b, rec, cert, &dev, err));
    CM_TRY(put_key(m, b, rec, &dev, err));
    return put_row(m, b, rec, &dev, err);
}

cm_err cm_mint_one(struct cm_minter *m, struct cm_batch *b, uint32_t i, struct cm_error *err)
{
    cm_err rc = CM_OK;

    CM_ASSERT(b->state == CM_BATCH_FILLING && i < b->count && b->prefix[0] != 0);
    rc = cm_keymaker_make(m->maker, &m->scratch->pair, err);
    if (rc == CM_OK)
        rc = finish_one(m, b, i, err);
    cm_secret_wipe(m->scratch, sizeof *m->scratch);
    return rc;
}

cm_err cm_mint_end(struct cm_minter *m, struct cm_batch *b, struct cm_error *err)
{
    struct cm_writer chain = { .data = b->chain, .cap = b->plan.chain, .len = b->chain_len };
    struct cm_writer keys = { .data = b->keys, .cap = b->plan.keys, .len = b->keys_len };
    struct cm_rec *const last = &b->rec[b->count - 1];

    CM_ASSERT(b->count > 0);
    CM_TRY(cm_signer_verify(m->signer, cm_span(m->first_tbs, m->first_tbs_len),
                            cm_span(m->first_sig, m->first_sig_len), err));
    if (m->conf.layout != CM_LAYOUT_TREE) {
        last->chain_off += (uint32_t) cm_tar_pad(&chain, last->chain_off - CM_TAR_BLOCK, m->conf.mtime);
        last->key_off += (uint32_t) cm_tar_pad(&keys, last->key_off - CM_TAR_BLOCK, m->conf.mtime);
        if (!cm_writer_ok(&chain) || !cm_writer_ok(&keys))
            CM_FAIL(err, CM_E_NOSPACE, "bug: no room for the padding of %u devices", b->cap);
        b->chain_len = chain.len;
        b->keys_len = keys.len;
    }
    return CM_OK;
}
