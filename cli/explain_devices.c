#include "cli/explain_devices.h"

#include "engine/row.h"
#include "io/jsonread.h"
#include "io/source_list.h"

enum { FIRST = CM_LIST_FIRST, SAN_MAX = 4096 };

/* What one of the first devices would get. */
struct first {
    char id[CM_PATTERN_OUT + 1];
    struct cm_values v; /* its id lies in id */
    char subject[CM_NAME_TEXT + 1], san[SAN_MAX + 1], attributes[CM_ATTRIBUTES_MAX + 1];
};

/* CM_E_END: there are not so many. */
static cm_err values_at(const struct cm_mint_plan *p, size_t index, struct first *out, struct cm_error *err)
{
    if (index >= p->source->devices)
        return CM_E_END;
    if (p->o->devices == NULL) {
        CM_TRY(cm_source_count_at(p->source, index, out->id, &out->v, err));
    } else {
        CM_ASSERT(cm_source_list_first(p->source, index, &out->v));
        memcpy(out->id, out->v.id.data, out->v.id.len);
        out->v.run_id = p->run_id;
        out->v.hasher = &((struct cm_mint_plan *) (uintptr_t) p)->hasher;
    }
    out->id[out->v.id.len] = '\0';
    return CM_OK;
}

static cm_err look_at(const struct cm_mint_plan *p, size_t index, struct first *out, struct cm_error *err)
{
    const struct cm_certspec spec = cm_mint_plan_spec(p);
    struct cm_writer subject = cm_writer(out->subject, CM_NAME_TEXT), san = cm_writer(out->san, SAN_MAX);
    struct cm_writer attributes = cm_writer(out->attributes, CM_ATTRIBUTES_MAX);

    CM_TRY(values_at(p, index, out, err));
    cm_name_put_text(&p->name, &out->v, &subject);
    CM_TRY(cm_tmpl_put_san(p->tmpl, &spec, &out->v, &san, err));
    if (p->columns != NULL)
        cm_row_put_attributes(p->columns, out->v.column, &attributes);
    out->subject[subject.len] = out->san[san.len] = out->attributes[attributes.len] = '\0';
    return CM_OK;
}

/* Calls take with each of the first devices. */
static cm_err each(const struct cm_mint_plan *p,
                   cm_err (*take)(const struct first *, void *, struct cm_error *), void *arg,
                   struct cm_error *err)
{
    struct first *const first = malloc(sizeof *first);
    cm_err rc = CM_OK;

    if (first == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to show the first devices");
    for (size_t i = 0; rc == CM_OK && i < FIRST; i++) {
        rc = look_at(p, i, first, err);
        if (rc == CM_OK)
            rc = take(first, arg, err);
    }
    free(first);
    return rc == CM_E_END ? CM_OK : rc;
}

/* --- as text -------------------------------------------------------------- */

static void print_columns(const struct cm_mint_plan *p)
{
    const struct cm_columns *const c = p->columns;

    (void) printf("  list         %s, %s", p->o->devices, cm_listread_format_name(p->list));
    for (size_t i = 0; c != NULL && i < c->count; i++)
        (void) printf("%s%s%s", i == 0 ? ", columns " : ", ", c->name[i],
                      i == c->id ? " (the device id)" : "");
    (void) printf("\n");
}

static cm_err print_first(const struct first *f, void *arg, struct cm_error *err)
{
    (void) arg;
    (void) err;
    (void) printf("  %s\n    subject    %s\n", f->id, f->subject);
    if (f->san[0] != '\0')
        (void) printf("    SAN        %s\n", f->san);
    if (f->attributes[0] != '\0')
        (void) printf("    attributes %s\n", f->attributes);
    return CM_OK;
}

static void print_bad(const struct cm_mint_plan *p)
{
    const struct cm_badrows *const b = &p->bad;

    if (b->count == 0)
        return;
    (void) printf("%llu row%s can't be used%s:\n", (unsigned long long) b->count, b->count == 1 ? "" : "s",
                  p->o->skip_bad != NULL
                      ? " and would be left out"
                      : ", so that the list would be refused; --skip-bad FILE mints the others");
    for (uint64_t i = 0; i < b->count && i < CM_LIST_SHOWN; i++)
        (void) printf("  line %llu: %s\n", (unsigned long long) b->shown[i].line, b->shown[i].reason);
    if (b->count > CM_LIST_SHOWN)
        (void) printf("  and %llu more\n", (unsigned long long) (b->count - CM_LIST_SHOWN));
}

cm_err cm_explain_print_devices(const struct cm_mint_plan *p, struct cm_error *err)
{
    if (p->list != NULL)
        print_columns(p);
    (void) printf("The first certificates:\n");
    CM_TRY(each(p, print_first, NULL, err));
    print_bad(p);
    return CM_OK;
}

/* --- as JSON -------------------------------------------------------------- */

static cm_err add_first(const struct first *f, void *arg, struct cm_error *err)
{
    json_t *attributes = json_null();

    if (f->attributes[0] != '\0')
        CM_TRY(cm_json_read(cm_span_str(f->attributes), &attributes, NULL, err));
    if (json_array_append_new(arg, json_pack("{s:s s:s s:s s:o}", "device_id", f->id, "subject", f->subject,
                                             "san", f->san, "attributes", attributes)) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory to show the first devices");
    return CM_OK;
}

static json_t *list_json(const struct cm_mint_plan *p)
{
    const struct cm_columns *const c = p->columns;
    json_t *const columns = json_array();

    for (size_t i = 0; c != NULL && i < c->count; i++)
        (void) json_array_append_new(columns, json_string(c->name[i]));
    return json_pack("{s:s s:s? s:o s:I s:o}", "format", cm_listread_format_name(p->list), "id_column",
                     c != NULL ? c->name[c->id] : NULL, "columns", columns, "refused",
                     (json_int_t) p->bad.count, "faults", cm_badrows_json(&p->bad));
}

cm_err cm_explain_add_devices(const struct cm_mint_plan *p, json_t *out, struct cm_error *err)
{
    json_t *const first = json_array();

    if (json_object_set_new(out, "first", first) != 0 ||
        json_object_set_new(out, "list", p->list != NULL ? list_json(p) : json_null()) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory to show the first devices");
    return each(p, add_first, first, err);
}
