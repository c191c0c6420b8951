#include "io/claims.h"

#include <stdarg.h>

enum { SQL = 4096, PARAMETERS = 8 };

/* Columns of an identity: their names there and in the answer. time, hex: as cm_db_words writes those. */
static const struct {
    const char *name, *column;
    enum { PLAIN, TIME, HEX } form;
} fields[CM_IDENTITY_FIELDS] = {
    [CM_IDENTITY_DEVICE_ID] = { "device_id", "d.device_id", PLAIN },
    [CM_IDENTITY_CERTIFICATE_ID] = { "certificate_id", "d.certificate_id", PLAIN },
    [CM_IDENTITY_SERIAL] = { "serial", "d.serial", PLAIN },
    [CM_IDENTITY_SUBJECT] = { "subject", "d.subject", PLAIN },
    [CM_IDENTITY_NOT_AFTER] = { "not_after", "d.not_after", TIME },
    [CM_IDENTITY_LOT] = { "lot", "d.lot", PLAIN },
    [CM_IDENTITY_SKU] = { "sku", "d.sku", PLAIN },
    [CM_IDENTITY_ORDER] = { "order", "d.order_name", PLAIN },
    [CM_IDENTITY_RUN_ID] = { "run_id", "d.run_id", PLAIN },
    [CM_IDENTITY_DIRECTORY] = { "directory", "r.directory", PLAIN },
    [CM_IDENTITY_KEYS_DIR] = { "keys_dir", "r.keys_dir", PLAIN },
    [CM_IDENTITY_CHAIN_FILE] = { "chain_file", "d.chain_file", PLAIN },
    [CM_IDENTITY_CHAIN_OFFSET] = { "chain_offset", "d.chain_offset", PLAIN },
    [CM_IDENTITY_CHAIN_LENGTH] = { "chain_length", "d.chain_length", PLAIN },
    [CM_IDENTITY_KEY_FILE] = { "key_file", "d.key_file", PLAIN },
    [CM_IDENTITY_KEY_OFFSET] = { "key_offset", "d.key_offset", PLAIN },
    [CM_IDENTITY_KEY_LENGTH] = { "key_length", "d.key_length", PLAIN },
    [CM_IDENTITY_ATTRIBUTES] = { "attributes", "d.attributes", PLAIN },
    [CM_IDENTITY_STATE] = { "state", "d.state", PLAIN },
    [CM_IDENTITY_STATION] = { "station", "d.station", PLAIN },
    [CM_IDENTITY_REQUEST_ID] = { "request_id", "d.request_id", PLAIN },
    [CM_IDENTITY_CLAIMED_AT] = { "claimed_at", "d.claimed_at", TIME },
    [CM_IDENTITY_LEASE_UNTIL] = { "lease_until", "d.lease_until", TIME },
    [CM_IDENTITY_REPORTED_AT] = { "reported_at", "d.reported_at", TIME },
    [CM_IDENTITY_NOTE] = { "note", "d.note", PLAIN },
    [CM_IDENTITY_SUPERSEDED_BY] = { "superseded_by", "d.superseded_by", PLAIN },
    [CM_IDENTITY_CERTIFICATE] = { "certificate", "d.certificate", HEX },
    [CM_IDENTITY_CHAIN_PEM] = { "chain_pem", "c.pem", PLAIN },
};

const char *cm_identity_name(size_t field)
{
    return fields[field].name;
}

void cm_identity_done(struct cm_identity *i)
{
    cm_db_answer_done(&i->answer);
    *i = (struct cm_identity) { 0 };
}

static void put_format(struct cm_writer *w, const char *format, const char *column)
{
    const char *const at = strstr(format, "%s");

    cm_put(w, format, (size_t) (at - format));
    cm_put_str(w, column);
    cm_put_str(w, at + 2);
}

/* Text of a statement: pieces up to NULL. */
static void put_all(struct cm_writer *w, ...)
{
    va_list pieces;
    const char *piece = NULL;

    va_start(pieces, w);
    while ((piece = va_arg(pieces, const char *)) != NULL)
        cm_put_str(w, piece);
    va_end(pieces);
}

static const char *sql_of(struct cm_writer *w)
{
    cm_put_byte(w, '\0');
    CM_ASSERT(cm_writer_ok(w));
    return (const char *) w->data;
}

/* The rows of devices of which `where` is true of $1; at most two. */
static cm_err read_identities(struct cm_db *d, const char *where, const char *value, struct cm_identity *out,
                              struct cm_error *err)
{
    const struct cm_db_words *const words = cm_db_words(d);
    const char *const text[] = { value };
    char sql[SQL];
    struct cm_writer w = cm_writer(sql, sizeof sql);

    cm_put_lit(&w, "SELECT ");
    for (size_t i = 0; i < CM_IDENTITY_FIELDS; i++) {
        cm_put_str(&w, i > 0 ? ", " : "");
        put_format(&w,
                   fields[i].form == TIME  ? words->time
                   : fields[i].form == HEX ? words->hex
                                           : "%s",
                   fields[i].column);
    }
    put_all(&w, " FROM ", words->schema, "device d JOIN ", words->schema,
            "run r ON r.run_no = d.run_no JOIN ", words->schema, "chain c ON c.chain_no = r.chain_no WHERE ",
            where, " LIMIT 2", NULL);
    CM_TRY(cm_db_query(d, sql_of(&w), text, 1, &out->answer, err));
    for (size_t i = 0; out->answer.rows > 0 && i < CM_IDENTITY_FIELDS; i++)
        out->field[i] = out->answer.cell[i];
    return out->answer.rows > 0 ? CM_OK : CM_E_END;
}

/* ---- claim ---- */

/* A claim's UPDATE of the row that `where` chooses by the index. Parameters: $1 lease, $2 station, $3
 * request, then what `where` has for its own. *id: of the certificate; CM_E_END: no such row. */
static cm_err take(struct cm_db *d, const struct cm_claim_request *r, const char *index, const char *where,
                   const char *const *more, size_t mores, char id[65], struct cm_error *err)
{
    const struct cm_db_words *const words = cm_db_words(d);
    char lease[24], sql[SQL];
    struct cm_writer w = cm_writer(sql, sizeof sql);
    const char *text[PARAMETERS] = { r->lease_s > 0 ? lease : NULL, r->station, r->request_id };
    struct cm_db_answer answer = { 0 };

    (void) snprintf(lease, sizeof lease, "%llu", (unsigned long long) r->lease_s);
    for (size_t i = 0; i < mores; i++)
        text[3 + i] = more[i];
    put_all(&w, "UPDATE ", words->schema,
            "device SET state = 'claimed', station = $2, request_id = $3, claimed_at = ", words->now,
            ", lease_until = ", words->then, ", reported_at = NULL, note = NULL WHERE certificate_id = (",
            "SELECT certificate_id FROM ", words->schema, "device",
            words->by_index != NULL ? words->by_index : "", words->by_index != NULL ? index : "",
            " WHERE superseded_by IS NULL AND ", where, words->skip_locked, ") RETURNING certificate_id",
            NULL);
    CM_TRY(cm_db_query(d, sql_of(&w), text, 3 + mores, &answer, err));
    const bool found = answer.rows > 0;
    if (found)
        (void) snprintf(id, 65, "%s", answer.cell[0]);
    cm_db_answer_done(&answer);
    return found ? CM_OK : CM_E_END;
}

/* First what nobody has had: what comes back by its lease may be in a slow station's hands still. */
static cm_err take_next(struct cm_db *d, const struct cm_claim_request *r, char id[65], struct cm_error *err)
{
    static const char *const column[] = { "sku", "lot", "order_name" };
    const char *const value[] = { r->sku, r->lot, r->order };
    const char *more[CM_COUNT(value)];
    size_t mores = 0;
    bool leading = true; /* those before it are all given: the index leads to them */
    char filter[256] = "", where[640];

    for (size_t i = 0; i < CM_COUNT(value); i++) {
        if (value[i] == NULL) {
            leading = false;
            continue;
        }
        more[mores++] = value[i];
        const size_t used = strlen(filter);
        (void) snprintf(filter + used, sizeof filter - used, " AND %s%s = $%zu",
                        leading ? "" : cm_db_words(d)->scanned, column[i], 3 + mores);
    }
    (void) snprintf(where, sizeof where,
                    "state = 'unused'%s ORDER BY sku, lot, order_name, run_no, seq LIMIT 1", filter);
    const cm_err rc = take(d, r, "device_unused", where, more, mores, id, err);
    if (rc != CM_E_END)
        return rc;
    (void) snprintf(where, sizeof where,
                    "state = 'claimed' AND lease_until < %s%s ORDER BY lease_until LIMIT 1",
                    cm_db_words(d)->now, filter);
    return take(d, r, "device_lease", where, more, mores, id, err);
}

static bool differs(const char *asked, const char *is)
{
    return asked != NULL && (is == NULL || strcmp(asked, is) != 0);
}

/* What this request got before: CM_E_END when it got nothing, or lost it since. The lease begins anew. */
static cm_err take_again(struct cm_db *d, const struct cm_claim_request *r, char id[65], struct cm_error *err)
{
    struct cm_identity had = { 0 };

    cm_err rc = read_identities(d, "d.request_id = $1", r->request_id, &had, err);
    const char *const *const f = had.field;
    if (rc == CM_OK && differs(r->station, f[CM_IDENTITY_STATION]))
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "request %.60s is of station %.60s, not of %.60s: give each request its own id",
                     r->request_id, f[CM_IDENTITY_STATION], r->station);
    else if (rc == CM_OK && strcmp(f[CM_IDENTITY_STATE], "claimed") != 0)
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "request %.60s got %.96s, which was reported %s: another request takes another id",
                     r->request_id, f[CM_IDENTITY_DEVICE_ID], f[CM_IDENTITY_STATE]);
    else if (rc == CM_OK && f[CM_IDENTITY_SUPERSEDED_BY] != NULL)
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "request %.60s got %.96s, whose certificate was replaced since: report it scrapped, and "
                     "give another "
                     "request id",
                     r->request_id, f[CM_IDENTITY_DEVICE_ID]);
    else if (rc == CM_OK && (differs(r->sku, f[CM_IDENTITY_SKU]) || differs(r->lot, f[CM_IDENTITY_LOT]) ||
                             differs(r->order, f[CM_IDENTITY_ORDER])))
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "request %.60s got %.96s, which is not of the SKU, lot and order that are asked for now",
                     r->request_id, f[CM_IDENTITY_DEVICE_ID]);
    else if (rc == CM_OK)
        rc = take(d, r, "device_request", "request_id = $3", NULL, 0, id, err);
    cm_identity_done(&had);
    return rc;
}

static cm_err claim(struct cm_db *d, const struct cm_claim_request *r, struct cm_identity *out,
                    struct cm_error *err)
{
    char id[65] = "";
    cm_err rc = CM_E_END;

    CM_TRY(cm_db_transact(d, err));
    if (r->request_id != NULL) {
        CM_TRY(cm_db_alone(d, r->request_id, err));
        rc = take_again(d, r, id, err);
        out->again = rc == CM_OK;
    }
    if (rc == CM_E_END)
        rc = take_next(d, r, id, err);
    CM_TRY(rc);
    rc = read_identities(d, "d.certificate_id = $1", id, out, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_DB,
                "the database %.160s has devices of a run that is not there; restore it from a backup",
                cm_db_name(d));
    CM_TRY(rc);
    return cm_db_settle(d, err);
}

cm_err cm_claim(struct cm_db *d, const struct cm_claim_request *request, struct cm_identity *out,
                struct cm_error *err)
{
    *out = (struct cm_identity) { 0 };
    const cm_err rc = claim(d, request, out, err);
    if (rc != CM_OK) {
        cm_db_rollback(d);
        cm_identity_done(out);
    }
    return rc;
}

/* ---- report ---- */

/* By certificate id, or by device id, which leads to the row in force. Locked. */
static cm_err find(struct cm_db *d, const char *id, struct cm_identity *out, struct cm_error *err)
{
    const bool certificate = strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
    const char *const text[] = { id };
    const struct cm_db_words *const words = cm_db_words(d);
    char sql[SQL];

    for (int by_id = certificate ? 0 : 1; by_id <= 1; by_id++) {
        const char *const where = by_id ? "device_id = $1 AND superseded_by IS NULL" : "certificate_id = $1";
        char joined[160];
        struct cm_writer w = cm_writer(sql, sizeof sql);
        put_all(&w, "SELECT 1 FROM ", words->schema, "device WHERE ", where, words->lock, NULL);
        CM_TRY(cm_db_query(d, sql_of(&w), text, 1, NULL, err));
        (void) snprintf(joined, sizeof joined, "d.%s",
                        by_id ? "device_id = $1 AND d.superseded_by IS NULL" : where);
        const cm_err rc = read_identities(d, joined, id, out, err);
        if (rc == CM_OK && out->answer.rows > 1)
            CM_FAIL(err, CM_E_INPUT, "device %.96s is there under two CAs: name it by its certificate id",
                    id);
        if (rc != CM_E_END)
            return rc;
        cm_identity_done(out);
    }
    CM_FAIL(err, CM_E_INPUT,
            "the database %.120s has no device \"%.100s\"; give a device id or a certificate id",
            cm_db_name(d), id);
}

static const struct {
    const char *word, *state;
} targets[] = {
    [CM_REPORT_USED] = { "used", "used" },
    [CM_REPORT_SCRAPPED] = { "scrapped", "scrapped" },
    [CM_REPORT_RETURNED] = { "returned", "unused" },
};

/* Somebody else's? Whoever has it, or had it when it was used or scrapped. */
static cm_err check_station(const struct cm_identity *is, enum cm_report what, const char *station,
                            struct cm_error *err)
{
    const char *const *const f = is->field;

    if (station == NULL || !differs(station, f[CM_IDENTITY_STATION]))
        return CM_OK;
    if (f[CM_IDENTITY_STATION] == NULL)
        CM_FAIL(err, CM_E_USAGE, "%.96s is %s: station %.60s has not claimed it, or no longer has it",
                f[CM_IDENTITY_DEVICE_ID], f[CM_IDENTITY_STATE], station);
    CM_FAIL(err, CM_E_USAGE, "%.96s is %s by station %.60s%s: station %.60s can't report it %s",
            f[CM_IDENTITY_DEVICE_ID], f[CM_IDENTITY_STATE], f[CM_IDENTITY_STATION],
            strcmp(f[CM_IDENTITY_STATE], "claimed") == 0 ? "; a lease that ends gives it to others" : "",
            station, targets[what].word);
}

/* May it go from where it is to there? *already: it is there. */
static cm_err check_transition(const struct cm_identity *is, enum cm_report what, const char *station,
                               bool *already, struct cm_error *err)
{
    const char *const state = is->field[CM_IDENTITY_STATE], *const id = is->field[CM_IDENTITY_DEVICE_ID];

    *already = strcmp(state, targets[what].state) == 0;
    if (*already && what == CM_REPORT_RETURNED)
        return CM_OK; /* whoever returned it: it is there */
    CM_TRY(check_station(is, what, station, err));
    if (*already)
        return CM_OK;
    if (is->field[CM_IDENTITY_SUPERSEDED_BY] != NULL && what != CM_REPORT_SCRAPPED)
        CM_FAIL(err, CM_E_USAGE,
                "the certificate of %.96s was replaced by %.64s: it can only be reported scrapped, and the "
                "device needs "
                "the new one",
                id, is->field[CM_IDENTITY_SUPERSEDED_BY]);
    if (strcmp(state, "claimed") == 0 || (strcmp(state, "used") == 0 && what == CM_REPORT_SCRAPPED))
        return CM_OK;
    if (strcmp(state, "unused") == 0 && what == CM_REPORT_SCRAPPED)
        return CM_OK; /* by the office: check_station has refused stations */
    CM_FAIL(err, CM_E_USAGE, "%.96s is %s and can't be reported %s: %s", id, state, targets[what].word,
            strcmp(state, "unused") == 0 ? "claim it first"
            : strcmp(state, "used") == 0 ? "a device has it; it can only be scrapped"
                                         : "what was scrapped stays so");
}

static cm_err set_state(struct cm_db *d, const char *certificate_id, enum cm_report what, const char *note,
                        struct cm_error *err)
{
    const struct cm_db_words *const words = cm_db_words(d);
    const char *const text[] = { certificate_id, targets[what].state, note };
    char sql[SQL];
    struct cm_writer w = cm_writer(sql, sizeof sql);

    put_all(&w, "UPDATE ", words->schema,
            "device SET state = $2, note = $3, lease_until = NULL, reported_at = ", words->now,
            what == CM_REPORT_RETURNED ? ", station = NULL, request_id = NULL, claimed_at = NULL" : "",
            " WHERE certificate_id = $1 RETURNING 1", NULL);
    return cm_db_query(d, sql_of(&w), text, CM_COUNT(text), NULL, err);
}

static cm_err report(struct cm_db *d, const char *id, enum cm_report what, const char *station,
                     const char *note, struct cm_identity *out, struct cm_error *err)
{
    struct cm_identity is = { 0 };
    bool already = false;

    CM_TRY(cm_db_transact(d, err));
    cm_err rc = find(d, id, &is, err);
    if (rc == CM_OK)
        rc = check_transition(&is, what, station, &already, err);
    if (rc == CM_OK && !already)
        rc = set_state(d, is.field[CM_IDENTITY_CERTIFICATE_ID], what, note, err);
    if (rc == CM_OK)
        rc = read_identities(d, "d.certificate_id = $1", is.field[CM_IDENTITY_CERTIFICATE_ID], out, err);
    cm_identity_done(&is);
    CM_TRY(rc);
    out->again = already;
    return cm_db_settle(d, err);
}

cm_err cm_report(struct cm_db *d, const char *id, enum cm_report what, const char *station, const char *note,
                 struct cm_identity *out, struct cm_error *err)
{
    *out = (struct cm_identity) { 0 };
    const cm_err rc = report(d, id, what, station, note, out, err);
    if (rc != CM_OK) {
        cm_db_rollback(d);
        cm_identity_done(out);
    }
    return rc;
}
