#include "cli/mintsource.h"

#include "cli/mintrules.h"
#include "cli/msg.h"
#include "engine/ident.h"
#include "io/source_list.h"

/* One device against profile, template and, where the chain has any, its name
 * constraints and extended key usages. */
static cm_err check_device(struct cm_mint_plan *p, const struct cm_values *v, bool whole,
                           struct cm_error *err)
{
    const struct cm_certspec spec = cm_mint_plan_spec(p);

    CM_TRY(cm_profile_check_id(p->profile, v->id, err));
    CM_TRY(cm_mint_rules_check_id(p, v->id, err));
    CM_TRY(cm_tmpl_check(p->tmpl, v, err));
    return whole || cm_ca_constrains_names(p->ca) ? cm_tmpl_check_under_ca(p->tmpl, &spec, v, err) : CM_OK;
}

static cm_err reserve_id(void *arg, struct cm_span id, struct cm_error *err)
{
    struct cm_mint_plan *const p = arg;

    CM_TRY(cm_feeds_add(p->feeds, id, err));
    return p->ledger != NULL ? cm_ledger_add(p->ledger, id, err) : CM_OK;
}

static cm_err parse_mac(const char *text, uint64_t *out, struct cm_error *err)
{
    uint64_t mac = 0;
    int digits = 0;

    for (const char *c = text; *c != '\0'; c++) {
        const char *hex = strchr("0123456789abcdef0123456789ABCDEF", *c);
        if (hex != NULL && digits < 12) {
            mac = mac << 4 | (uint64_t) ((hex - "0123456789abcdef0123456789ABCDEF") & 15);
            digits++;
        } else if ((*c != ':' && *c != '-') || digits % 2 != 0 || digits == 0 || digits == 12) {
            digits = -1;
            break;
        }
    }
    if (digits != 12)
        CM_FAIL(err, CM_E_USAGE, "--mac-base \"%.40s\" is not a MAC address; write 02:00:00:00:00:01", text);
    *out = mac;
    return CM_OK;
}

/* --- a list ------------------------------------------------------------- */

/* The subject as text is the one thing of a row that no bound on a field keeps in bounds. */
static cm_err check_subject(struct cm_mint_plan *p, const struct cm_values *v, struct cm_error *err)
{
    uint8_t text[CM_NAME_TEXT];
    struct cm_writer w = cm_writer(text, sizeof text);

    cm_name_put_text(&p->name, v, &w);
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_INPUT, "the subject takes more than %zu octets as text", sizeof text);
    if (w.len > p->bounds.subject)
        p->bounds.subject = (uint32_t) w.len;
    return CM_OK;
}

static cm_err check_listed(void *arg, const struct cm_values *v, struct cm_error *err)
{
    struct cm_mint_plan *const p = arg;

    CM_TRY(check_device(p, v, v->seq == 1, err));
    return p->columns != NULL ? check_subject(p, v, err) : CM_OK;
}

cm_err cm_mint_source_list(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_mint_opts *o = p->o;

    if (o->devices == NULL)
        return CM_OK;
    CM_TRY(cm_source_list_open(o->devices, (enum cm_list_format) o->devices_format, o->id_column, &p->source,
                               err));
    p->list = cm_source_list_reader(p->source);
    p->columns = cm_listread_columns(p->list);
    if (o->mac_base != NULL && p->columns != NULL &&
        cm_columns_find(p->columns, cm_span_str("mac")) < p->columns->count)
        CM_FAIL(err, CM_E_USAGE,
                "%s has a column \"mac\", which is what {mac} stands for: leave --mac-base out, or rename it",
                o->devices);
    return CM_OK;
}

static cm_err open_list(struct cm_mint_plan *p, bool first, struct cm_error *err)
{
    const struct cm_mint_opts *o = p->o;
    char dir[PATH_MAX];

    /* A long list's sort spills beside the fleet, where there must be room anyway. */
    cm_mint_plan_parent(o->out, dir);
    p->bad = (struct cm_badrows) { .list = o->devices,
                                   .path = first && !o->explain ? o->skip_bad : NULL,
                                   .header = cm_listread_header(p->list) };
    const struct cm_source_list_conf conf = { .fold_case = o->layout == CM_LAYOUT_TREE,
                                              .mac_base = p->mac_base,
                                              .run_id = p->run_id,
                                              .hasher = &p->hasher,
                                              .spill_dir = dir,
                                              .check = check_listed,
                                              .check_arg = p,
                                              .skip = o->skip_bad != NULL || o->explain,
                                              .report = cm_badrows_take,
                                              .report_arg = &p->bad };
    const cm_err rc = cm_source_list_check(p->source, &conf, err);
    if (rc != CM_OK && p->bad.count > 1)
        cm_badrows_print(&p->bad);
    CM_TRY(rc);
    if (p->columns != NULL) {
        const uint32_t subject = p->bounds.subject;
        p->bounds = *cm_source_list_bounds(p->source);
        p->bounds.subject = subject;
    }
    return p->ledger != NULL || p->feeds != NULL ? cm_source_list_each(p->source, reserve_id, p, err) : CM_OK;
}

/* --- a count ------------------------------------------------------------ */

/* Ids of a counted run differ in their number only, so the first and the last
 * have the shortest and the longest of everything. */
static cm_err check_counted(struct cm_mint_plan *p, struct cm_error *err)
{
    const uint64_t n = p->source->devices;
    const bool every = cm_ca_constrains_names(p->ca);
    char id[CM_PATTERN_OUT];
    struct cm_values v;

    for (uint64_t i = 0; i < n; i = every || i == n - 1 ? i + 1 : n - 1) {
        CM_TRY(cm_source_count_at(p->source, i, id, &v, err));
        CM_TRY(cm_id_check(v.id, err));
        CM_TRY(check_device(p, &v, i == 0, err));
    }
    for (uint64_t i = 0; i < n && (p->ledger != NULL || p->feeds != NULL); i++) {
        CM_TRY(cm_source_count_at(p->source, i, id, &v, err));
        CM_TRY(reserve_id(p, v.id, err));
    }
    return CM_OK;
}

static bool uses_mac(const struct cm_mint_plan *p)
{
    const struct cm_mint_opts *o = p->o;
    bool uses = o->mac_base != NULL || (o->id_pattern != NULL && strstr(o->id_pattern, "{mac}") != NULL);

    for (size_t i = 0; i < p->profile->marks; i++) /* subject and SAN of the options have marks, too */
        uses |= p->profile->mark[i].kind == CM_PIECE_MAC;
    return uses || strstr(p->subject_text, "{mac}") != NULL;
}

static cm_err open_count(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_mint_opts *o = p->o;
    struct cm_pattern id;

    CM_TRY(cm_pattern_parse(o->id_pattern != NULL ? o->id_pattern : "SN{seq:08}", false, NULL, &id, err));
    const struct cm_source_count_conf conf = { .id = &id,
                                               .start = o->start,
                                               .count = o->count,
                                               .mac_base = p->mac_base,
                                               .uses_mac = uses_mac(p),
                                               .run_id = p->run_id };
    CM_TRY(cm_source_count_open(&conf, &p->source, err));
    return check_counted(p, err);
}

cm_err cm_mint_source_open(struct cm_mint_plan *p, bool first, struct cm_error *err)
{
    if (p->o->mac_base != NULL)
        CM_TRY(parse_mac(p->o->mac_base, &p->mac_base, err));
    return p->o->devices != NULL ? open_list(p, first, err) : open_count(p, err);
}
