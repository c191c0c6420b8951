#include "engine/xxh.h"
#include "io/extsort.h"
#include "io/source_list_impl.h"

/* The first reading, and where a row was refused a second one, which tells why: so what
 * is kept of a refused row is its line. */
struct check {
    struct cm_list_source *s;
    const struct cm_source_list_conf *conf;
    struct cm_extsort *sort;
    uint64_t good; /* rows that can be used by themselves */
    bool too_many; /* refused rows: the rest was not looked at */
};

/* A record for the search for duplicates: hash of the id, then the line's number,
 * so that equal ids stand together, the earlier first. */
struct dup_record {
    uint8_t hash[16];
    uint8_t line[8]; /* big-endian */
};

static cm_err note_id(struct check *c, struct cm_span id, uint64_t line, struct cm_error *err)
{
    struct dup_record rec;
    uint8_t folded[CM_ID_MAX];

    for (size_t i = 0; i < id.len; i++)
        folded[i] = c->conf->fold_case && id.data[i] >= 'A' && id.data[i] <= 'Z'
                        ? (uint8_t) (id.data[i] | 0x20)
                        : id.data[i];
    cm_xxh128(folded, id.len, rec.hash);
    for (int i = 0; i < 8; i++)
        rec.line[i] = (uint8_t) (line >> (56 - 8 * i));
    return cm_extsort_push(c->sort, &rec, err);
}

static uint64_t line_of(const struct dup_record *rec)
{
    uint64_t line = 0;

    for (int i = 0; i < 8; i++)
        line = line << 8 | rec->line[i];
    return line;
}

static cm_err refuse(struct check *c, uint64_t line, uint64_t other, struct cm_error *err)
{
    struct cm_list_source *const s = c->s;

    if (s->refused_count == CM_LIST_REFUSED_MAX) {
        c->too_many = true;
        return CM_OK;
    }
    if (s->refused_count == s->refused_room) {
        const size_t room = s->refused_room > 0 ? 2 * s->refused_room : 64;
        struct cm_list_refused *const more = reallocarray(s->refused, room, sizeof *more);
        if (more == NULL)
            CM_FAIL(err, CM_E_NOMEM, "no memory for the refused rows of %s", s->path);
        s->refused = more;
        s->refused_room = room;
    }
    s->refused[s->refused_count++] = (struct cm_list_refused) { line, other };
    return CM_OK;
}

/* CM_OK: the row can be used. A failure of the class of CM_E_USAGE is the row's own. */
static cm_err judge(const struct check *c, const struct cm_list_row *row, struct cm_error *why)
{
    const struct cm_values v = { .id = row->id,
                                 .seq = c->good + 1,
                                 .mac = c->conf->mac_base + c->good,
                                 .run_id = c->conf->run_id,
                                 .hasher = c->conf->hasher,
                                 .column = row->value };

    if (row->fault != NULL)
        CM_FAIL(why, CM_E_INPUT, "%s", row->fault);
    CM_TRY(cm_id_check(row->id, why));
    return c->conf->check != NULL ? c->conf->check(c->conf->check_arg, &v, why) : CM_OK;
}

static bool is_of_row(cm_err rc)
{
    return cm_err_class(rc) == CM_E_USAGE;
}

static cm_err keep_first(struct cm_list_source *s, const struct cm_list_row *row, size_t index,
                         struct cm_error *err)
{
    const size_t count = s->columns != NULL ? s->columns->count : 0;
    const size_t len = row->id.len + cm_columns_packed_len(row->value, count);
    struct cm_writer w = cm_writer(malloc(len), len);

    if (w.data == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a device of %s", s->path);
    cm_put_span(&w, row->id);
    cm_columns_pack(row->value, count, &w);
    s->first[index].data = w.data;
    s->first[index].id_len = row->id.len;
    return CM_OK;
}

static void raise(uint32_t *bound, size_t n)
{
    *bound = n > *bound ? (uint32_t) n : *bound;
}

static void measure(struct cm_list_source *s, const struct cm_list_row *row)
{
    const size_t count = s->columns != NULL ? s->columns->count : 0;

    for (size_t i = 0; i < count; i++)
        raise(&s->bounds.value[i], row->value[i].len);
    raise(&s->bounds.packed, cm_columns_packed_len(row->value, count));
    raise(&s->bounds.json, row->attributes_len);
}

static cm_err take_good(struct check *c, const struct cm_list_row *row, struct cm_error *err)
{
    measure(c->s, row);
    if (c->good < CM_LIST_FIRST)
        CM_TRY(keep_first(c->s, row, c->good, err));
    c->good++;
    return note_id(c, row->id, row->line, err);
}

static cm_err scan(struct check *c, struct cm_error *err)
{
    struct cm_list_row row;
    struct cm_error why;
    cm_err rc = CM_OK;

    while (!c->too_many && (rc = cm_listread_next(c->s->l, &row, err)) == CM_OK) {
        if (c->conf->mac_base + c->good >= 1ull << 48)
            CM_FAIL(err, CM_E_USAGE, "%s, line %llu: --mac-base passes ff:ff:ff:ff:ff:ff here", c->s->path,
                    (unsigned long long) row.line);
        rc = judge(c, &row, &why);
        if (rc != CM_OK && !is_of_row(rc)) {
            if (err != NULL)
                *err = why;
            return rc;
        }
        CM_TRY(rc == CM_OK ? take_good(c, &row, err) : refuse(c, row.line, 0, err));
    }
    if (c->too_many)
        return CM_OK;
    return rc == CM_E_END ? cm_listread_sha256(c->s->l, c->s->sha256, err) : rc;
}

/* The first row that has an id keeps it. */
static cm_err refuse_duplicates(struct check *c, struct cm_error *err)
{
    struct dup_record first = { 0 };
    const uint8_t *p = NULL;
    cm_err rc = CM_OK;

    for (bool any = false; (rc = cm_extsort_pop(c->sort, &p, err)) == CM_OK; any = true) {
        struct dup_record rec;
        memcpy(&rec, p, sizeof rec);
        if (any && memcmp(first.hash, rec.hash, sizeof rec.hash) == 0)
            CM_TRY(refuse(c, line_of(&rec), line_of(&first), err));
        else
            first = rec;
    }
    return rc == CM_E_END ? CM_OK : rc;
}

static int compare_lines(const void *a, const void *b)
{
    const uint64_t x = ((const struct cm_list_refused *) a)->line;
    const uint64_t y = ((const struct cm_list_refused *) b)->line;

    return (x > y) - (x < y);
}

static void tell_duplicate(const struct check *c, const struct cm_list_refused *refused, struct cm_error *why)
{
    (void) cm_fail(why, CM_E_INPUT, CM_HERE, "the same device id as line %llu%s",
                   (unsigned long long) refused->other,
                   c->conf->fold_case ? " (upper and lower case make no difference in --layout tree)" : "");
}

/* Reads once more, and says of each refused row what is wrong with it; the first one's is left in *first. */
static cm_err report(struct check *c, struct cm_error *first, struct cm_error *err)
{
    struct cm_list_source *const s = c->s;
    const size_t shown = c->conf->skip ? SIZE_MAX : CM_LIST_SHOWN;
    struct cm_list_row row;
    struct cm_error why;
    cm_err rc = CM_OK;

    c->good = 0;
    CM_TRY(cm_list_restart(s, err));
    for (size_t i = 0; i < s->refused_count && i < shown;) {
        const struct cm_list_refused *const refused = &s->refused[i];
        rc = cm_listread_next(s->l, &row, err);
        if (rc == CM_OK && row.line < refused->line) {
            c->good++;
            continue;
        }
        if (rc == CM_OK && refused->other != 0)
            tell_duplicate(c, refused, &why);
        if (rc == CM_E_END || (rc == CM_OK && (row.line != refused->line ||
                                               (refused->other == 0 && judge(c, &row, &why) == CM_OK))))
            CM_FAIL(err, CM_E_INPUT, "the device list %s changed while it was checked", s->path);
        CM_TRY(rc);
        const struct cm_list_fault fault = { .line = row.line, .reason = why.what, .raw = row.raw };
        if (c->conf->report != NULL)
            CM_TRY(c->conf->report(c->conf->report_arg, &fault, err));
        c->good += refused->other != 0; /* it could be used by itself */
        if (i++ == 0)
            *first = why;
    }
    return CM_OK;
}

static cm_err conclude(const struct check *c, const struct cm_error *first, struct cm_error *err)
{
    const struct cm_list_source *const s = c->s;
    const unsigned long long n = s->refused_count;

    if (c->too_many)
        CM_FAIL(
            err, CM_E_INPUT,
            "%s: more than %d rows can't be used, the first in line %llu; is it the list that was meant, its "
            "format and its id column?",
            s->path, CM_LIST_REFUSED_MAX, (unsigned long long) s->refused[0].line);
    if (n == 1 && (!c->conf->skip || s->base.devices == 0))
        CM_FAIL(err, first->code, "%s, line %llu: %.400s", s->path, (unsigned long long) s->refused[0].line,
                first->what);
    if (n > 0 && c->conf->skip && s->base.devices == 0)
        CM_FAIL(err, CM_E_INPUT,
                "%s: none of its %llu rows can be used; is it the list that was meant, its format and its id "
                "column?",
                s->path, n);
    if (n > 0 && !c->conf->skip)
        CM_FAIL(err, CM_E_INPUT,
                "%s: %llu rows can't be used; mend them, or mint the others with --skip-bad FILE", s->path,
                n);
    if (s->base.devices == 0)
        CM_FAIL(err, CM_E_INPUT, "%s holds no device id", s->path);
    return CM_OK;
}

static cm_err check(struct check *c, struct cm_error *err)
{
    struct cm_list_source *const s = c->s;
    struct cm_error first = { 0 };

    CM_TRY(cm_list_restart(s, err));
    CM_TRY(scan(c, err));
    s->base.devices = c->good;
    if (!c->too_many)
        CM_TRY(refuse_duplicates(c, err));
    if (s->refused_count > 0) {
        for (size_t i = 0; i < s->refused_count; i++)
            s->base.devices -= s->refused[i].other != 0;
        qsort(s->refused, s->refused_count, sizeof *s->refused, compare_lines);
        CM_TRY(report(c, &first, err));
    }
    s->begun = false;
    return conclude(c, &first, err);
}

cm_err cm_source_list_check(struct cm_source *base, const struct cm_source_list_conf *conf,
                            struct cm_error *err)
{
    struct check c = { .s = (struct cm_list_source *) base, .conf = conf };

    c.s->mac_base = conf->mac_base;
    CM_TRY(cm_extsort_open(conf->spill_dir, sizeof(struct dup_record), CM_EXTSORT_MEMORY, &c.sort, err));
    const cm_err rc = check(&c, err);
    cm_extsort_close(c.sort);
    return rc;
}
