#include "engine/row.h"
#include "io/export_impl.h"
#include "io/jsontext.h"

#include <stddef.h>

/* The manifest's fields as flat columns, and the certificate. */
enum kind { TEXT, SEQ, CHAIN, KEY, PEM, ATTRIBUTES, ARN, CA_ARN };

struct column {
    const char *name;
    enum kind kind;
    bool number;
    size_t offset; /* TEXT: in cm_row; CHAIN, KEY: in cm_place */
};

#define ROW(field)                                                                                           \
    {                                                                                                        \
#field, TEXT, false, offsetof(struct cm_row, field)                                                  \
    }
#define PLACE(name, kind, number, field)                                                                     \
    {                                                                                                        \
        name, kind, number, offsetof(struct cm_place, field)                                                 \
    }

static const struct column columns[] = {
    ROW(run_id),
    { "seq", SEQ, true, 0 },
    ROW(device_id),
    ROW(lot),
    ROW(sku),
    { "order_name", TEXT, false, offsetof(struct cm_row, order) }, /* ORDER is SQL's own word */
    ROW(profile),
    ROW(subject),
    ROW(certificate_id),
    ROW(ca_certificate_id),
    ROW(serial),
    ROW(serial_dec),
    ROW(key_alg),
    ROW(sig_alg),
    ROW(spki_sha256),
    ROW(ski),
    ROW(thumbprint_sha1),
    ROW(not_before),
    ROW(not_after),
    ROW(minted_at),
    PLACE("chain_file", CHAIN, false, file),
    PLACE("chain_offset", CHAIN, true, offset),
    PLACE("chain_length", CHAIN, true, length),
    PLACE("chain_xxh3", CHAIN, false, xxh3),
    PLACE("chain_sha256", CHAIN, false, sha256),
    PLACE("key_file", KEY, false, file),
    PLACE("key_offset", KEY, true, offset),
    PLACE("key_length", KEY, true, length),
    PLACE("key_xxh3", KEY, false, xxh3),
    PLACE("key_sha256", KEY, false, sha256),
    { "attributes", ATTRIBUTES, false, 0 },
    { "certificate_pem", PEM, false, 0 },
    /* Behind here: with an AWS account only. */
    { "certificate_arn", ARN, false, 0 },
    { "ca_certificate_arn", CA_ARN, false, 0 },
};

enum { ARNS = 2 };

size_t cm_table_count(const struct cm_export *x)
{
    return CM_COUNT(columns) - (x->options->account == NULL ? ARNS : 0);
}

const char *cm_table_name(size_t i)
{
    return columns[i].name;
}

bool cm_table_number(size_t i)
{
    return columns[i].number;
}

static bool put_text(struct cm_writer *w, const char *text)
{
    if (text != NULL)
        cm_put_str(w, text);
    return text != NULL;
}

static bool put_place(const struct column *c, const struct cm_row *row, struct cm_writer *w)
{
    const bool tree_offset = row->tree && c->number && c->offset == offsetof(struct cm_place, offset);
    const char *const place = (const char *) (c->kind == CHAIN ? &row->chain : &row->key);

    if (tree_offset || (c->kind == KEY && !row->has_key))
        return false;
    if (c->number)
        cm_put_dec(w, *(const uint64_t *) (const void *) (place + c->offset), 1);
    else
        cm_put_str(w, *(const char *const *) (const void *) (place + c->offset));
    return true;
}

/* An overflow of w is how memory that runs out is told. */
static void put_attributes(const struct cm_row *row, struct cm_writer *w)
{
    size_t len = 0;
    char *text = cm_json_text(row->attributes, JSON_COMPACT, &len);

    if (text == NULL)
        (void) cm_put_room(w, SIZE_MAX);
    else
        cm_put(w, text, len);
    free(text);
}

static bool put_value(const struct cm_export *x, size_t i, const struct cm_row *row, struct cm_writer *w)
{
    const struct column *const c = &columns[i];

    switch (c->kind) {
    case TEXT:
        return put_text(w, *(const char *const *) (const void *) ((const char *) row + c->offset));
    case SEQ:
        cm_put_dec(w, (uint64_t) row->seq, 1);
        return true;
    case CHAIN:
    case KEY:
        return put_place(c, row, w);
    case PEM:
        cm_put(w, x->leaf.data, x->leaf.len);
        return true;
    case ATTRIBUTES:
        put_attributes(row, w);
        return true;
    case ARN:
        cm_put_arn(x, w, "cert", row->certificate_id);
        return true;
    case CA_ARN:
        cm_put_arn(x, w, "cacert", row->ca_certificate_id);
        return true;
    }
    return false;
}

/* What does not fit is told as the row's text that does not. */
bool cm_table_value(struct cm_export *x, size_t i, const struct cm_row *row, struct cm_span *out)
{
    struct cm_writer cell = x->cell;
    const bool is = put_value(x, i, row, &cell);

    x->text.overflow = x->text.overflow || cell.overflow;
    *out = cm_span(cell.data, cell.len);
    return is;
}
