#include "engine/row.h"

#include <stdarg.h>

void cm_put_json(struct cm_writer *w, struct cm_span text)
{
    size_t from = 0;

    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        cm_put(w, text.data + from, i - from);
        if (c >= 0x20) {
            cm_put(w, (const uint8_t[]) { '\\', c }, 2);
        } else {
            cm_put_lit(w, "\\u00");
            cm_put_hex(w, &c, 1);
        }
        from = i + 1;
    }
    cm_put(w, text.data + from, text.len - from);
}

void cm_put_serial_dec(struct cm_writer *w, const uint8_t serial[CM_SERIAL_LEN])
{
    enum { LIMBS = CM_SERIAL_LEN / 4, CHUNKS = 6, BASE = 1000000000 };
    uint32_t limb[LIMBS], chunk[CHUNKS];
    size_t top = CHUNKS - 1;

    for (size_t i = 0; i < LIMBS; i++)
        limb[i] = (uint32_t) serial[4 * i] << 24 | (uint32_t) serial[4 * i + 1] << 16 |
                  (uint32_t) serial[4 * i + 2] << 8 | serial[4 * i + 3];
    /* Long division by 10^9, six times: 2^160 has 49 digits. */
    for (size_t k = 0; k < CHUNKS; k++) {
        uint64_t rest = 0;
        for (size_t i = 0; i < LIMBS; i++) {
            rest = rest << 32 | limb[i];
            limb[i] = (uint32_t) (rest / BASE);
            rest %= BASE;
        }
        chunk[k] = (uint32_t) rest;
    }
    while (top > 0 && chunk[top] == 0)
        top--;
    cm_put_dec(w, chunk[top], 0);
    while (top-- > 0)
        cm_put_dec(w, chunk[top], 9);
}

/* Octets of that. */
static size_t json_len(struct cm_span text)
{
    size_t len = text.len;

    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        len += c < 0x20 ? 5 : c == '"' || c == '\\';
    }
    return len;
}

size_t cm_row_attributes_len(const struct cm_columns *columns, const struct cm_span *value)
{
    size_t len = 2;

    for (size_t i = 0; i < columns->count; i++)
        len += json_len(cm_span_str(columns->name[i])) + json_len(value[i]) + (i > 0 ? 6 : 5);
    return len;
}

static void put_label(const char *name, bool first, struct cm_writer *w)
{
    cm_put_str(w, first ? "\"" : "\",\"");
    cm_put_json(w, cm_span_str(name));
    cm_put_lit(w, "\":\"");
}

void cm_row_put_attributes(const struct cm_columns *columns, const struct cm_span *value, struct cm_writer *w)
{
    cm_put_lit(w, "{");
    for (size_t i = 0; i < columns->count; i++) {
        put_label(columns->name[i], i == 0, w);
        cm_put_json(w, value[i]);
    }
    cm_put_str(w, columns->count > 0 ? "\"}" : "}");
}

static void put_optional(struct cm_writer *w, const char *key, const char *value)
{
    cm_put_lit(w, "\"");
    cm_put_str(w, key);
    if (value == NULL) {
        cm_put_lit(w, "\":null,");
        return;
    }
    cm_put_lit(w, "\":\"");
    cm_put_json(w, cm_span_str(value));
    cm_put_lit(w, "\",");
}

static void put_string(struct cm_writer *w, const char *key, const char *value)
{
    cm_put_lit(w, "\"");
    cm_put_str(w, key);
    cm_put_lit(w, "\":\"");
    cm_put_json(w, cm_span_str(value));
    cm_put_lit(w, "\"");
}

/* The names of the columns, escaped once. */
static cm_err open_labels(const struct cm_columns *columns, struct cm_row_texts *t, struct cm_error *err)
{
    uint8_t buf[CM_COLUMN_NAME_MAX * 2 + 8]; /* names hold no control characters */

    if (columns == NULL || columns->count == 0)
        return CM_OK;
    t->label = calloc(columns->count, sizeof *t->label);
    for (size_t i = 0; t->label != NULL && i < columns->count; i++) {
        struct cm_writer w = cm_writer(buf, sizeof buf);
        put_label(columns->name[i], i == 0, &w);
        CM_ASSERT(cm_writer_ok(&w));
        t->label[i] = (struct cm_row_label) { strndup((const char *) buf, w.len), w.len };
        t->labels++;
        if (t->label[i].text == NULL)
            break;
    }
    if (t->labels < columns->count || t->label[t->labels - 1].text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the names of %zu columns", columns->count);
    return CM_OK;
}

static char *keep(const struct cm_writer *w)
{
    return cm_writer_ok(w) ? strndup((const char *) w->data, w->len) : NULL;
}

cm_err cm_row_texts_open(const struct cm_row_run *run, struct cm_row_texts *out, struct cm_error *err)
{
    uint8_t buf[4096];
    struct cm_row_texts t = { .layout = run->layout };
    struct cm_writer w = cm_writer(buf, sizeof buf);

    cm_put_lit(&w, "{");
    put_string(&w, "run_id", run->run_id);
    cm_put_lit(&w, ",\"seq\":");
    t.head = keep(&w);

    w = cm_writer(buf, sizeof buf);
    cm_put_lit(&w, "\",");
    put_optional(&w, "lot", run->lot);
    put_optional(&w, "sku", run->sku);
    put_optional(&w, "order", run->order);
    put_string(&w, "profile", run->profile);
    cm_put_lit(&w, ",\"subject\":\"");
    t.after_id = keep(&w);

    w = cm_writer(buf, sizeof buf);
    cm_put_lit(&w, "\",");
    put_string(&w, "ca_certificate_id", run->ca_certificate_id);
    cm_put_lit(&w, ",\"serial\":\"");
    t.after_cert_id = keep(&w);

    w = cm_writer(buf, sizeof buf);
    cm_put_lit(&w, "\",");
    put_string(&w, "key_alg", run->key_alg);
    cm_put_lit(&w, ",");
    put_string(&w, "sig_alg", run->sig_alg);
    cm_put_lit(&w, ",\"spki_sha256\":\"");
    t.algs = keep(&w);

    w = cm_writer(buf, sizeof buf);
    cm_put_lit(&w, "\",\"not_before\":\"");
    cm_put_rfc3339(&w, run->not_before);
    cm_put_lit(&w, "\",\"not_after\":\"");
    cm_put_rfc3339(&w, run->not_after);
    cm_put_str(&w, run->layout == CM_LAYOUT_TREE ? "\",\"chain\":{\"path\":\"chains/"
                                                 : "\",\"chain\":{\"segment\":\"chains/");
    t.times = keep(&w);
    if (t.head == NULL || t.after_id == NULL || t.after_cert_id == NULL || t.algs == NULL ||
        t.times == NULL) {
        cm_row_texts_close(&t);
        CM_FAIL(err, CM_E_USAGE, "lot, sku, order and profile name together are longer than %zu octets",
                sizeof buf);
    }
    const cm_err rc = open_labels(run->columns, &t, err);
    if (rc != CM_OK)
        cm_row_texts_close(&t);
    else
        *out = t;
    return rc;
}

void cm_row_texts_close(struct cm_row_texts *t)
{
    for (size_t i = 0; i < t->labels; i++)
        free(t->label[i].text);
    free(t->label);
    free(t->head);
    free(t->after_id);
    free(t->after_cert_id);
    free(t->algs);
    free(t->times);
    *t = (struct cm_row_texts) { 0 };
}

size_t cm_row_texts_len(const struct cm_row_texts *t)
{
    return strlen(t->head) + strlen(t->after_id) + strlen(t->after_cert_id) + strlen(t->algs) +
           strlen(t->times);
}

/* Behind the place of a bundle or key. In the tree layout the place is the
 * shard's directory, and the file's name follows. */
static void put_blob(const struct cm_row_texts *t, const struct cm_row_blob *blob, struct cm_span name,
                     const char *suffix, struct cm_writer *w)
{
    if (t->layout == CM_LAYOUT_TREE) {
        cm_put_lit(w, "/");
        cm_put_span(w, name);
        cm_put_str(w, suffix);
        cm_put_lit(w, "\"");
    }
    cm_put_lit(w, ",\"length\":");
    cm_put_dec(w, blob->len, 0);
    cm_put_lit(w, ",\"xxh3\":\"");
    cm_put_hex(w, blob->xxh3, sizeof blob->xxh3);
    cm_put_lit(w, "\",\"sha256\":\"");
    cm_put_hex(w, blob->sha256, sizeof blob->sha256);
    cm_put_lit(w, "\"}");
}

/* All in front of the chain's place. */
static void put_facts(const struct cm_row_texts *t, const struct cm_row_device *dev, struct cm_writer *w)
{
    cm_put_str(w, t->head);
    cm_put_dec(w, dev->seq, 0);
    cm_put_lit(w, ",\"device_id\":\"");
    cm_put_json(w, dev->id);
    cm_put_str(w, t->after_id);
    cm_put_json(w, dev->subject);
    cm_put_lit(w, "\",\"certificate_id\":\"");
    cm_put_hex(w, dev->certificate_id, sizeof dev->certificate_id);
    cm_put_str(w, t->after_cert_id);
    cm_put_hex(w, dev->serial, sizeof dev->serial);
    cm_put_lit(w, "\",\"serial_dec\":\"");
    cm_put_serial_dec(w, dev->serial);
    cm_put_str(w, t->algs);
    cm_put_hex(w, dev->spki_sha256, sizeof dev->spki_sha256);
    if (dev->ski != NULL) {
        cm_put_lit(w, "\",\"ski\":\"");
        cm_put_hex(w, dev->ski, 20);
        cm_put_lit(w, "\",\"thumbprint_sha1\":\"");
    } else {
        cm_put_lit(w, "\",\"ski\":null,\"thumbprint_sha1\":\"");
    }
    cm_put_hex(w, dev->thumbprint_sha1, sizeof dev->thumbprint_sha1);
    cm_put_str(w, t->times);
}

void cm_row_render(const struct cm_row_texts *t, const struct cm_row_device *dev, struct cm_writer *w,
                   struct cm_rec *rec)
{
    const size_t start = w->len;

    put_facts(t, dev, w);
    rec->cut_chain = (uint32_t) (w->len - start);
    put_blob(t, &dev->chain, dev->id_name, ".crt", w);
    cm_put_str(w,
               t->layout == CM_LAYOUT_TREE ? ",\"key\":{\"path\":\"keys/" : ",\"key\":{\"segment\":\"keys/");
    rec->cut_key = (uint32_t) (w->len - start);
    put_blob(t, &dev->key, dev->id_name, ".key", w);
    cm_put_lit(w, ",\"minted_at\":\"");
    cm_put_rfc3339(w, dev->minted_at);
    cm_put_lit(w, "\",\"attributes\":{");
    for (size_t i = 0; i < t->labels; i++) {
        cm_put(w, t->label[i].text, t->label[i].len);
        cm_put_json(w, dev->column[i]);
    }
    cm_put_str(w, t->labels > 0 ? "\"},\"superseded_by\":null}\n" : "},\"superseded_by\":null}\n");
    rec->row_off = (uint32_t) start;
    rec->row_len = (uint32_t) (w->len - start);
}

static void put_place(enum cm_layout layout, uint32_t unit, uint64_t offset, struct cm_writer *w)
{
    cm_put_dec(w, unit, 6);
    if (layout != CM_LAYOUT_TREE) {
        cm_put_lit(w, ".tar\",\"offset\":");
        cm_put_dec(w, offset, 0);
    }
}

void cm_row_place(const struct cm_batch *b, const struct cm_rec *rec, enum cm_layout layout,
                  struct cm_writer *w)
{
    const uint8_t *row = b->rows + rec->row_off;

    cm_put(w, row, rec->cut_chain);
    put_place(layout, b->unit, b->chain_base + rec->chain_off, w);
    cm_put(w, row + rec->cut_chain, rec->cut_key - rec->cut_chain);
    put_place(layout, b->unit, b->key_base + rec->key_off, w);
    cm_put(w, row + rec->cut_key, rec->row_len - rec->cut_key);
}
