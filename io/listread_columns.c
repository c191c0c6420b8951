#include "engine/ident.h"
#include "engine/row.h"
#include "io/listread_impl.h"

/* What the id's column may be called, the likelier first; as fold_name leaves it. */
static const char *const id_names[] = { "id", "deviceid", "serial", "serialnumber" };

/* "a, b, c", as far as it fits. */
static const char *list_names(const struct cm_columns *c, char *buf, size_t cap)
{
    struct cm_writer w = cm_writer(buf, cap - 8);
    size_t i = 0;

    for (; i < c->count && w.len + strlen(c->name[i]) + 4 < w.cap; i++) {
        cm_put_str(&w, i > 0 ? ", " : "");
        cm_put_str(&w, c->name[i]);
    }
    memcpy(buf + w.len, i < c->count ? ", …" : "", i < c->count ? 6 : 1);
    return buf;
}

static const char *name_fault(const struct cm_listread *l, struct cm_span name)
{
    const struct cm_columns before = { l->name, l->columns.count, 0 };
    uint32_t code = 0;

    if (name.len == 0)
        return "is empty";
    if (name.len > CM_COLUMN_NAME_MAX)
        return "is longer than 64 octets";
    for (size_t i = 0, n = 0; i < name.len; i += n) {
        n = cm_utf8_next(name.data + i, name.len - i, &code);
        if (n == 0)
            return "is not UTF-8";
        if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            return "holds a control character";
    }
    return cm_columns_find(&before, name) < before.count ? "is another column's, too" : NULL;
}

cm_err cm_listread_set_columns(struct cm_listread *l, const struct cm_span *name, size_t count, uint64_t line,
                               struct cm_error *err)
{
    static const struct cm_span empty[CM_COLUMNS_MAX];
    char shown[100];

    if (count == 0)
        CM_FAIL(err, CM_E_INPUT, "%s, line %llu: an object without a key", l->path,
                (unsigned long long) line);
    for (size_t i = 0; i < count; i++) {
        const char *const fault = name_fault(l, name[i]);
        if (fault != NULL)
            CM_FAIL(err, CM_E_INPUT, "%s, line %llu: the name of column %zu, \"%s\", %s", l->path,
                    (unsigned long long) line, i + 1, cm_printable(name[i], shown, sizeof shown), fault);
        l->name[i] = strndup((const char *) name[i].data, name[i].len);
        if (l->name[i] == NULL)
            CM_FAIL(err, CM_E_NOMEM, "no memory for the columns of %s", l->path);
        l->columns.count++;
    }
    l->columns.name = l->name;
    l->braces = cm_row_attributes_len(&l->columns, empty);
    return CM_OK;
}

/* In small letters, without what people put between words. */
static void fold_name(const char *name, char out[CM_COLUMN_NAME_MAX + 1])
{
    for (; *name != '\0'; name++)
        if (strchr("_- ", *name) == NULL)
            *out++ = *name >= 'A' && *name <= 'Z' ? (char) (*name | 0x20) : *name;
    *out = '\0';
}

/* How many columns have this name; *index: the last of them. */
static size_t count_named(const struct cm_columns *c, const char *folded, size_t *index)
{
    char name[CM_COLUMN_NAME_MAX + 1];
    size_t found = 0;

    for (size_t i = 0; i < c->count; i++) {
        fold_name(c->name[i], name);
        if (strcmp(name, folded) == 0) {
            *index = i;
            found++;
        }
    }
    return found;
}

cm_err cm_listread_choose_id(struct cm_listread *l, const char *asked, struct cm_error *err)
{
    struct cm_columns *const c = &l->columns;
    char names[240];
    size_t found = c->count == 1;

    if (asked != NULL) {
        c->id = cm_columns_find(c, cm_span_str(asked));
        if (c->id == c->count)
            CM_FAIL(err, CM_E_USAGE, "%s has no column \"%.64s\" for --id-column; it has %s", l->path, asked,
                    list_names(c, names, sizeof names));
        return CM_OK;
    }
    for (size_t i = 0; found == 0 && i < CM_COUNT(id_names); i++)
        found = count_named(c, id_names[i], &c->id);
    if (found != 1)
        CM_FAIL(err, CM_E_USAGE, "%s: which column holds the device ids is %s; say --id-column; there are %s",
                l->path, found == 0 ? "not clear from their names" : "unclear: two could",
                list_names(c, names, sizeof names));
    return CM_OK;
}
