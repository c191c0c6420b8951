#include "io/source_list_impl.h"

static cm_err changed(const struct cm_list_source *s, struct cm_error *err)
{
    CM_FAIL(err, CM_E_INPUT, "the device list %s changed during the run", s->path);
}

cm_err cm_list_restart(struct cm_list_source *s, struct cm_error *err)
{
    s->next = 0;
    s->refused_at = 0;
    s->verified = false;
    s->begun = true;
    return cm_listread_restart(s->l, err);
}

/* The next row that was not refused. The check was made on the first reading; a row that
 * can't be read now has changed since. */
static cm_err next_row(struct cm_list_source *s, struct cm_list_row *row, struct cm_error *err)
{
    bool refused = true;

    while (refused) {
        CM_TRY(cm_listread_next(s->l, row, err));
        refused = s->refused_at < s->refused_count && row->line == s->refused[s->refused_at].line;
        s->refused_at += refused;
    }
    return row->fault != NULL ? changed(s, err) : CM_OK;
}

/* At the end of a reading after the first: was it the same file all the time? */
static cm_err check_unchanged(struct cm_list_source *s, struct cm_error *err)
{
    uint8_t now[32];

    CM_TRY(cm_listread_sha256(s->l, now, err));
    if (memcmp(now, s->sha256, sizeof now) != 0 || s->next != s->base.devices)
        return changed(s, err);
    s->verified = true;
    return CM_E_END;
}

static bool is_done(const struct cm_list_source *s)
{
    return s->base.done != NULL && cm_ranges_meets(s->base.done, s->next + 1, s->next + 1);
}

static cm_err add(struct cm_list_source *s, struct cm_batch *b, const struct cm_list_row *row,
                  struct cm_error *err)
{
    const bool added = cm_batch_add(b, row->id, s->next + 1, s->mac_base + s->next) &&
                       (s->columns == NULL || cm_batch_add_values(b, row->value, s->columns->count));

    return added && cm_id_check(row->id, NULL) == CM_OK ? CM_OK : changed(s, err);
}

static cm_err list_next(struct cm_source *base, struct cm_batch *b, struct cm_error *err)
{
    struct cm_list_source *s = (struct cm_list_source *) base;
    struct cm_list_row row;
    cm_err rc = CM_OK;

    if (!s->begun)
        CM_TRY(cm_list_restart(s, err));
    if (s->verified)
        return CM_E_END;
    while (b->count < b->cap && s->next < s->base.devices && (rc = next_row(s, &row, err)) == CM_OK) {
        if (!is_done(s))
            CM_TRY(add(s, b, &row, err));
        s->next++;
    }
    if (rc != CM_OK && rc != CM_E_END)
        return rc;
    if (b->count > 0 && s->next < s->base.devices && rc == CM_OK)
        return CM_OK;
    /* The last device was given out: read on to the end, which must be there. */
    while (rc == CM_OK && (rc = next_row(s, &row, err)) == CM_OK)
        s->next++;
    if (rc != CM_E_END)
        return rc;
    rc = check_unchanged(s, err);
    return rc == CM_E_END && b->count > 0 ? CM_OK : rc;
}

cm_err cm_source_list_each(struct cm_source *base,
                           cm_err (*take)(void *arg, struct cm_span id, struct cm_error *err), void *arg,
                           struct cm_error *err)
{
    struct cm_list_source *s = (struct cm_list_source *) base;
    struct cm_list_row row;
    cm_err rc = cm_list_restart(s, err);

    while (rc == CM_OK && (rc = next_row(s, &row, err)) == CM_OK) {
        if (cm_id_check(row.id, NULL) != CM_OK)
            return changed(s, err);
        CM_TRY(take(arg, row.id, err));
        s->next++;
    }
    if (rc == CM_E_END)
        rc = check_unchanged(s, err);
    s->begun = false;
    return rc == CM_E_END ? CM_OK : rc;
}

static void list_close(struct cm_source *base)
{
    struct cm_list_source *s = (struct cm_list_source *) base;

    for (size_t i = 0; i < CM_LIST_FIRST; i++)
        free(s->first[i].data);
    free(s->refused);
    cm_listread_close(s->l);
    free(s);
}

static const struct cm_source_ops list_ops = { .name = "list", .next = list_next, .close = list_close };

cm_err cm_source_list_open(const char *path, enum cm_list_format format, const char *id_column,
                           struct cm_source **out, struct cm_error *err)
{
    struct cm_list_source *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the device source");
    s->base.ops = &list_ops;
    s->path = path;
    const cm_err rc = cm_listread_open(path, format, id_column, &s->l, err);
    if (rc != CM_OK) {
        list_close(&s->base);
        return rc;
    }
    s->columns = cm_listread_columns(s->l);
    *out = &s->base;
    return CM_OK;
}

const struct cm_listread *cm_source_list_reader(const struct cm_source *base)
{
    return ((const struct cm_list_source *) base)->l;
}

void cm_source_list_sha256(const struct cm_source *base, uint8_t out[32])
{
    memcpy(out, ((const struct cm_list_source *) base)->sha256, 32);
}

uint64_t cm_source_list_refused(const struct cm_source *base)
{
    return ((const struct cm_list_source *) base)->refused_count;
}

const struct cm_column_bounds *cm_source_list_bounds(const struct cm_source *base)
{
    const struct cm_list_source *s = (const struct cm_list_source *) base;

    return s->columns != NULL ? &s->bounds : NULL;
}

bool cm_source_list_first(struct cm_source *base, size_t index, struct cm_values *out)
{
    struct cm_list_source *s = (struct cm_list_source *) base;
    const uint8_t *const data = index < CM_LIST_FIRST ? s->first[index].data : NULL;

    if (data == NULL)
        return false;
    if (s->columns != NULL)
        cm_columns_unpack(data + s->first[index].id_len, s->first_value, s->columns->count);
    *out = (struct cm_values) { .id = cm_span(data, s->first[index].id_len),
                                .seq = index + 1,
                                .mac = s->mac_base + index,
                                .column = s->first_value };
    return true;
}
