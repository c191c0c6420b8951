#include "engine/ident.h"
#include "engine/source.h"

struct count_source {
    struct cm_source base;
    struct cm_pattern id;
    uint64_t start, mac_base, next;
    uint8_t run_id[16];
    struct cm_hasher hasher;
};

cm_err cm_source_count_at(struct cm_source *base, uint64_t index, char id_buf[CM_PATTERN_OUT],
                          struct cm_values *out, struct cm_error *err)
{
    struct count_source *s = (struct count_source *) base;
    struct cm_writer w = cm_writer(id_buf, CM_PATTERN_OUT);
    struct cm_values v = {
        .seq = s->start + index, .mac = s->mac_base + index, .run_id = s->run_id, .hasher = &s->hasher
    };

    cm_pattern_put(&s->id, &v, &w);
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_USAGE, "the id pattern expands to more than %d octets", CM_PATTERN_OUT);
    v.id = cm_span(id_buf, w.len);
    *out = v;
    return CM_OK;
}

static cm_err count_next(struct cm_source *base, struct cm_batch *b, struct cm_error *err)
{
    struct count_source *s = (struct count_source *) base;
    char id[CM_PATTERN_OUT];
    struct cm_values v = { 0 };

    while (b->count < b->cap) {
        if (base->done != NULL)
            s->next = cm_ranges_gap(base->done, s->start + s->next) - s->start;
        if (s->next >= base->devices)
            break;
        CM_TRY(cm_source_count_at(base, s->next, id, &v, err));
        CM_ASSERT(cm_batch_add(b, v.id, v.seq, v.mac)); /* ids were checked: they fit */
        s->next++;
    }
    return b->count > 0 ? CM_OK : CM_E_END;
}

static void count_close(struct cm_source *base)
{
    struct count_source *s = (struct count_source *) base;

    cm_hasher_close(&s->hasher);
    free(s);
}

static const struct cm_source_ops count_ops = { .name = "count", .next = count_next, .close = count_close };

/* An id pattern makes distinct ids when one placeholder that differs from device
 * to device stands in it. */
static cm_err check_count(const struct cm_source_count_conf *c, struct cm_error *err)
{
    const bool distinct = cm_pattern_uses(c->id, CM_PIECE_SEQ) || cm_pattern_uses(c->id, CM_PIECE_MAC) ||
                          cm_pattern_uses(c->id, CM_PIECE_UUID);

    if (c->count == 0)
        CM_FAIL(err, CM_E_USAGE, "--count 0: nothing to mint; say how many devices");
    if (!distinct && c->count > 1)
        CM_FAIL(err, CM_E_USAGE,
                "id pattern \"%s\" gives every device the same id; use {seq}, {mac} or {uuid} in it",
                c->id->text);
    if (c->count > INT64_MAX || c->start > INT64_MAX - c->count)
        CM_FAIL(err, CM_E_USAGE, "--start %llu with --count %llu passes the largest sequence number, 2^63-1",
                (unsigned long long) c->start, (unsigned long long) c->count);
    if (c->uses_mac && (c->count > 1ull << 48 || c->mac_base > (1ull << 48) - c->count))
        CM_FAIL(err, CM_E_USAGE, "--mac-base with --count %llu passes ff:ff:ff:ff:ff:ff",
                (unsigned long long) c->count);
    return CM_OK;
}

cm_err cm_source_count_open(const struct cm_source_count_conf *conf, struct cm_source **out,
                            struct cm_error *err)
{
    struct count_source *s = NULL;
    cm_err rc = check_count(conf, err);

    if (rc != CM_OK)
        return rc;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the device source");
    s->base = (struct cm_source) { .ops = &count_ops, .devices = conf->count };
    s->id = *conf->id;
    s->start = conf->start;
    s->mac_base = conf->mac_base;
    memcpy(s->run_id, conf->run_id, sizeof s->run_id);
    rc = cm_hasher_open(&s->hasher, err);
    if (rc != CM_OK) {
        free(s);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}
