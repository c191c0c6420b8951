#include "cli/audit_asked.h"

#include "io/journalread.h"

struct cm_asked {
    const struct cm_journal_state *journal; /* borrowed */
    /* of the request; NULL: it does not tell */
    const char *key_alg, *sig_alg, *not_before, *not_after;
    struct cm_pattern id;
    bool has_id; /* the pattern and the number tell the id */
    uint64_t start, mac_base;
    char (*prefix)[2 * CM_SERIAL_PREFIX]; /* of committed ones, as hex, ascending */
    size_t prefixes;
    struct cm_audit_device device;
};

static int compare_prefixes(const void *a, const void *b)
{
    return memcmp(a, b, 2 * CM_SERIAL_PREFIX);
}

static cm_err list_prefixes(struct cm_asked *asked, struct cm_error *err)
{
    const struct cm_journal_state *j = asked->journal;

    asked->prefix = calloc((size_t) cm_ranges_size(&j->used) + 1, sizeof *asked->prefix);
    if (asked->prefix == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %zu serial prefixes", j->prefixes);
    for (uint64_t n = 0; n < j->prefixes; n++) {
        if (!cm_ranges_meets(&j->used, n, n))
            continue;
        struct cm_writer w = cm_writer(asked->prefix[asked->prefixes++], 2 * CM_SERIAL_PREFIX);
        cm_put_hex(&w, j->prefix[n].octets, CM_SERIAL_PREFIX);
    }
    qsort(asked->prefix, asked->prefixes, sizeof *asked->prefix, compare_prefixes);
    return CM_OK;
}

static void read_id_pattern(struct cm_asked *asked, const json_t *request)
{
    const char *const pattern = json_string_value(json_object_get(request, "id_pattern"));
    const char *const mac = json_string_value(json_object_get(request, "mac_base"));
    const json_int_t start = json_integer_value(json_object_get(request, "start"));

    asked->start = start > 0 ? (uint64_t) start : 0;
    asked->mac_base = mac != NULL ? strtoull(mac, NULL, 16) : 0;
    asked->has_id = pattern != NULL && cm_pattern_parse(pattern, false, NULL, &asked->id, NULL) == CM_OK &&
                    !cm_pattern_uses(&asked->id, CM_PIECE_UUID) &&
                    (mac != NULL || !cm_pattern_uses(&asked->id, CM_PIECE_MAC));
}

cm_err cm_asked_open(const struct cm_fleet *fleet, struct cm_asked **out, struct cm_error *err)
{
    struct cm_asked *asked = calloc(1, sizeof *asked);
    const json_t *request = NULL;

    if (asked == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the request");
    asked->journal = cm_fleet_journal(fleet);
    request = json_object_get(asked->journal->run, "request");
    asked->key_alg = json_string_value(json_object_get(request, "key"));
    asked->sig_alg = json_string_value(json_object_get(request, "signature"));
    asked->not_before = json_string_value(json_object_get(request, "not_before"));
    asked->not_after = json_string_value(json_object_get(request, "not_after"));
    read_id_pattern(asked, request);
    cm_audit_device_read(request, &asked->device);
    const cm_err rc = list_prefixes(asked, err);
    if (rc != CM_OK)
        cm_asked_close(asked);
    else
        *out = asked;
    return rc;
}

void cm_asked_close(struct cm_asked *asked)
{
    if (asked == NULL)
        return;
    free(asked->prefix);
    free(asked);
}

static bool differs(const char *is, const char *asked)
{
    return asked != NULL && strcmp(is, asked) != 0;
}

/* Is the id another one than the pattern makes of the number? */
static bool id_differs(const struct cm_asked *asked, const struct cm_row *row)
{
    char id[CM_PATTERN_OUT];
    struct cm_writer w = cm_writer(id, sizeof id);
    const uint64_t seq = (uint64_t) row->seq;

    if (!asked->has_id || seq < asked->start)
        return false;
    cm_pattern_put(&asked->id,
                   &(struct cm_values) { .seq = seq, .mac = asked->mac_base + seq - asked->start }, &w);
    return !cm_span_eq(cm_span(id, w.len), cm_span_str(row->device_id));
}

void cm_asked_check(const struct cm_asked *asked, const struct cm_row *row, cm_asked_report *report,
                    void *arg)
{
    const uint64_t seq = (uint64_t) row->seq;
    const struct {
        bool wrong;
        const char *what;
    } checks[] = {
        { differs(row->key_alg, asked->key_alg), "key_alg: not what was asked" },
        { differs(row->sig_alg, asked->sig_alg), "sig_alg: not what was asked" },
        { differs(row->not_before, asked->not_before), "not_before: not what was asked" },
        { differs(row->not_after, asked->not_after), "not_after: not what was asked" },
        { id_differs(asked, row), "device_id: not what the id pattern makes of seq" },
        { !cm_ranges_meets(&asked->journal->seqs, seq, seq) &&
              !cm_ranges_meets(&asked->journal->again, seq, seq),
          "seq: in no commit of the journal" },
        { bsearch(row->serial, asked->prefix, asked->prefixes, sizeof *asked->prefix, compare_prefixes) ==
              NULL,
          "serial: its prefix is in no commit of the journal" },
    };

    for (size_t i = 0; i < CM_COUNT(checks); i++)
        if (checks[i].wrong)
            report(arg, checks[i].what);
    cm_audit_device_check(&asked->device, row, report, arg);
}

struct cm_span cm_asked_san(const struct cm_asked *asked, const struct cm_row *row, uint8_t *buf)
{
    return cm_audit_device_san(&asked->device, row, buf);
}
