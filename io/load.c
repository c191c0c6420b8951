#include "io/load.h"

#include "engine/hash.h"
#include "io/journalread.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "io/leafread.h"
#include "io/sys.h"

#include <limits.h>

typedef unsigned long long ull;

enum {
    ROWS_WINDOW = 2 * CM_ROW_MAX
}; /* octets of the manifest at a time; they stay in a processor's cache */

/* A stretch of the manifest, and where it lies. */
struct window {
    uint8_t *data;
    uint64_t from;
    size_t len;
};

struct cm_loader {
    struct cm_loader_conf conf;
    struct cm_db *db;
    char name[160];
    struct cm_db_cursor at;
    uint64_t loaded;   /* rows that this loader committed */
    bool entered;      /* the run is there, and its ids are nobody else's */
    uint64_t rows_max; /* of a transaction */
    bool lost;         /* the connection could not be made anew */
    struct cm_rowview_reader *reader;
    struct cm_hasher hasher;
    struct cm_leafread *leaves;
    struct window rows;
    struct cm_db_successor *next; /* CM_LOAD_ROWS of them; NULL until the first rework */
};

/* --- rows ------------------------------------------------------------------ */

/* The row at the offset, without its LF; a view that lives until the next one. CM_E_END: there is none. */
static cm_err row_at(struct cm_loader *l, uint64_t offset, struct cm_span *out, struct cm_error *err)
{
    struct window *w = &l->rows;

    for (unsigned tries = 0; tries < 2; tries++) {
        if (offset >= w->from && offset < w->from + w->len) {
            const uint8_t *at = w->data + (offset - w->from);
            const uint8_t *lf = memchr(at, '\n', (size_t) (w->data + w->len - at));
            if (lf != NULL) {
                *out = cm_span(at, (size_t) (lf - at));
                return CM_OK;
            }
        }
        w->from = offset;
        w->len = 0;
        CM_TRY(cm_fleet_manifest_read(l->conf.fleet, w->data, ROWS_WINDOW, offset, &w->len, err));
        if (w->len == 0)
            return CM_E_END;
    }
    CM_FAIL(err, CM_E_INPUT, "%s/manifest.ndjson at offset %llu: no whole row; run certmill verify %s",
            cm_fleet_path(l->conf.fleet), (ull) offset, cm_fleet_path(l->conf.fleet));
}

/* Parsed, and of this run. *end: behind its LF. */
static cm_err read_row(struct cm_loader *l, uint64_t offset, struct cm_rowview *row, uint64_t *end,
                       struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(l->conf.fleet);
    const char *const path = cm_fleet_path(l->conf.fleet);
    struct cm_error why = { 0 };
    struct cm_span text;

    CM_TRY(row_at(l, offset, &text, err));
    const cm_err rc = cm_rowview_read(l->reader, text, row, &why);
    if (rc == CM_E_INPUT)
        CM_FAIL(err, CM_E_INPUT, "%s/manifest.ndjson at offset %llu: %.200s; run certmill verify %s", path,
                (ull) offset, why.what, path);
    if (rc != CM_OK) {
        *err = why;
        return rc;
    }
    if (!cm_span_eq(row->run_id, cm_span_str(run->run_id)) ||
        !cm_span_eq(row->ca_certificate_id, cm_span_str(run->ca_certificate_id)))
        CM_FAIL(err, CM_E_INPUT,
                "%s/manifest.ndjson at offset %llu: a row of another run or CA; run certmill verify %s", path,
                (ull) offset, path);
    *end = offset + text.len + 1;
    return CM_OK;
}

/* --- the run ---------------------------------------------------------------- */

static cm_err sha256_hex(struct cm_loader *l, struct cm_span data, char out[65], struct cm_error *err)
{
    struct cm_writer h = cm_writer(out, 64);
    uint8_t digest[32];

    CM_TRY(cm_sha256(&l->hasher, data.data, data.len, digest, err));
    cm_put_hex(&h, digest, sizeof digest);
    out[64] = '\0';
    return CM_OK;
}

static cm_err enter_run(struct cm_loader *l, const char *request, const char *chain, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(l->conf.fleet);
    const json_t *record = cm_fleet_journal(l->conf.fleet)->run;
    const char *created = json_string_value(json_object_get(record, "created_at"));
    const char *engine = json_string_value(json_object_get(record, "engine"));
    const char *libcrypto = json_string_value(json_object_get(record, "libcrypto"));
    char directory[PATH_MAX], sha256[65];

    if (realpath(cm_fleet_path(l->conf.fleet), directory) == NULL)
        CM_FAIL(err, CM_E_IO, "can't find the absolute path of %s", cm_fleet_path(l->conf.fleet));
    CM_TRY(sha256_hex(l, cm_span_str(chain), sha256, err));
    const struct cm_db_run entry = { .run_id = run->run_id,
                                     .ca_certificate_id = run->ca_certificate_id,
                                     .created_at = created != NULL ? created : "",
                                     .engine = engine != NULL ? engine : "",
                                     .libcrypto = libcrypto != NULL ? libcrypto : "",
                                     .requested = run->requested,
                                     .directory = directory,
                                     .keys_dir = run->keys_dir[0] != '\0' ? run->keys_dir : NULL,
                                     .request = request,
                                     .chain_pem = chain,
                                     .chain_sha256 = sha256 };
    return cm_db_enter(l->db, &entry, err);
}

static cm_err enter(struct cm_loader *l, struct cm_error *err)
{
    const struct cm_span pem = cm_fleet_ca_pem(l->conf.fleet);
    char *request =
        cm_json_text(json_object_get(cm_fleet_journal(l->conf.fleet)->run, "request"), JSON_COMPACT, NULL);
    char *chain = strndup((const char *) pem.data, pem.len);
    cm_err rc = CM_OK;

    if (request == NULL || chain == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the run's row");
    else
        rc = enter_run(l, request, chain, err);
    free(request);
    free(chain);
    return rc;
}

/* Asks for the ids of all rows from the cursor on, before the first of them is loaded. */
static cm_err check_ids(struct cm_loader *l, uint64_t from, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(l->conf.fleet);
    char(*text)[CM_ROW_NAME_MAX] = malloc(CM_DB_IDS_MAX * sizeof *text);
    struct cm_span *id = malloc(CM_DB_IDS_MAX * sizeof *id);
    cm_err rc =
        text != NULL && id != NULL ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for ids");

    while (rc == CM_OK) {
        struct cm_rowview row;
        size_t n = 0;
        for (; rc == CM_OK && n < CM_DB_IDS_MAX; n += rc == CM_OK) {
            rc = read_row(l, from, &row, &from, err);
            if (rc == CM_OK) { /* at most that long: the reader has looked */
                memcpy(text[n], row.device_id.data, row.device_id.len);
                id[n] = cm_span(text[n], row.device_id.len);
            }
        }
        if (rc == CM_OK || rc == CM_E_END) {
            const cm_err taken = cm_db_taken(l->db, run->run_id, run->ca_certificate_id, id, n, err);
            rc = taken != CM_OK ? taken : rc;
        }
    }
    free(text);
    free(id);
    return rc == CM_E_END ? CM_OK : rc;
}

/* --- transactions ------------------------------------------------------------ */

/* Rows at this offset were minted before the supersede records behind it, and after the others. */
static uint64_t end_of_epoch(const struct cm_loader *l, uint64_t offset)
{
    const struct cm_journal_state *j = cm_fleet_journal(l->conf.fleet);
    uint64_t end = cm_fleet_manifest_bytes(l->conf.fleet);

    for (size_t i = 0; i < j->supersedes; i++)
        if (j->supersede[i].manifest_bytes > offset && j->supersede[i].manifest_bytes < end)
            end = j->supersede[i].manifest_bytes;
    return end;
}

/* Does the row at this offset take the place of another one? */
static bool is_successor(const struct cm_loader *l, uint64_t offset, int64_t seq)
{
    const struct cm_journal_state *j = cm_fleet_journal(l->conf.fleet);

    for (size_t i = 0; i < j->supersedes; i++)
        if (j->supersede[i].manifest_bytes <= offset &&
            cm_ranges_meets(&j->supersede[i].seqs, (uint64_t) seq, (uint64_t) seq))
            return true;
    return false;
}

static bool is_rework(const struct cm_loader *l, uint64_t offset)
{
    const struct cm_journal_state *j = cm_fleet_journal(l->conf.fleet);

    return j->supersedes > 0 && j->supersede[0].manifest_bytes <= offset;
}

/* The rows that those of the transaction replace: they say so first, so that at no moment two are in force.
 */
static cm_err supersede(struct cm_loader *l, uint64_t from, uint64_t end, struct cm_error *err)
{
    struct cm_rowview row;
    size_t n = 0;

    if (l->next == NULL)
        l->next = malloc(CM_LOAD_ROWS * sizeof *l->next);
    if (l->next == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the devices that were minted again");
    for (size_t rows = 0; from < end && rows < l->rows_max; rows++) {
        const uint64_t offset = from;
        CM_TRY(read_row(l, offset, &row, &from, err));
        if (!is_successor(l, offset, row.seq))
            continue;
        l->next[n].seq = row.seq;
        memcpy(l->next[n].certificate_id, row.certificate_id.data, 64);
        l->next[n++].certificate_id[64] = '\0';
    }
    return n > 0 ? cm_db_supersede(l->db, l->next, n, err) : CM_OK;
}

/* A row that is superseded may have lost its bundle: that is why it is. Then it is loaded without. */
static cm_err read_leaf(struct cm_loader *l, uint64_t offset, struct cm_db_row *row, struct cm_error *err)
{
    const cm_err rc = cm_leafread(l->leaves, &row->row, &row->certificate, err);

    if (rc != CM_E_INPUT ||
        cm_journal_superseded(cm_fleet_journal(l->conf.fleet), (uint64_t) row->row.seq, offset) == NULL)
        return rc;
    row->certificate = cm_span(NULL, 0);
    return CM_OK;
}

static cm_err put_rows(struct cm_loader *l, struct cm_db_cursor *at, uint64_t end, struct cm_error *err)
{
    struct cm_db_row row;
    uint64_t rows = 0;

    if (is_rework(l, at->manifest_bytes))
        CM_TRY(supersede(l, at->manifest_bytes, end, err));
    for (; at->manifest_bytes < end && rows < l->rows_max; rows++) {
        const uint64_t offset = at->manifest_bytes;
        CM_TRY(read_row(l, offset, &row.row, &at->manifest_bytes, err));
        CM_TRY(read_leaf(l, offset, &row, err));
        CM_TRY(cm_db_put(l->db, &row, err));
    }
    at->rows += rows;
    return CM_OK;
}

static cm_err check_cursor(const struct cm_loader *l, const struct cm_db_cursor *at, struct cm_error *err)
{
    if (at->manifest_bytes > cm_fleet_manifest_bytes(l->conf.fleet))
        CM_FAIL(
            err, CM_E_INPUT,
            "the database %.80s has more of this run (%llu octets of the manifest) than %s (%llu): is that "
            "an older copy of the fleet?",
            l->name, (ull) at->manifest_bytes, cm_fleet_path(l->conf.fleet),
            (ull) cm_fleet_manifest_bytes(l->conf.fleet));
    return CM_OK;
}

/* One transaction, from where the database is. CM_E_END: there is nothing left to load. */
static cm_err load_some(struct cm_loader *l, struct cm_error *err)
{
    struct cm_db_cursor at = { 0 };

    CM_TRY(cm_db_begin(l->db, &at, err));
    CM_TRY(check_cursor(l, &at, err));
    l->at = at;
    if (at.manifest_bytes == cm_fleet_manifest_bytes(l->conf.fleet))
        return CM_E_END;
    CM_POINT("db.begun");
    CM_TRY(put_rows(l, &at, end_of_epoch(l, at.manifest_bytes), err));
    CM_POINT("db.put");
    CM_TRY(cm_db_commit(l->db, &at, err));
    CM_POINT("db.committed");
    l->loaded += at.rows - l->at.rows;
    l->at = at;
    return CM_OK;
}

/* Where the row begins that ends at `end`. */
static cm_err row_before(struct cm_loader *l, uint64_t end, uint64_t *out, struct cm_error *err)
{
    struct window *w = &l->rows;

    w->from = end > CM_ROW_MAX ? end - CM_ROW_MAX : 0;
    CM_TRY(cm_fleet_manifest_read(l->conf.fleet, w->data, (size_t) (end - w->from), w->from, &w->len, err));
    const uint8_t *lf = w->len > 1 ? memrchr(w->data, '\n', w->len - 1) : NULL;
    *out = lf != NULL ? w->from + (uint64_t) (lf - w->data) + 1 : w->from;
    return CM_OK;
}

/* A fleet that was restored from an older copy and minted on has other rows than those that were loaded: the
 * last of these tells. */
static cm_err check_last(struct cm_loader *l, uint64_t cursor, struct cm_error *err)
{
    struct cm_rowview row;
    uint64_t offset = 0, end = 0;
    bool there = true;

    if (cursor == 0 || cursor > cm_fleet_manifest_bytes(l->conf.fleet))
        return CM_OK; /* load_some refuses what is too long */
    CM_TRY(row_before(l, cursor, &offset, err));
    CM_TRY(read_row(l, offset, &row, &end, err));
    if (end == cursor)
        CM_TRY(cm_db_has(l->db, row.certificate_id, &there, err));
    if (end != cursor || !there)
        CM_FAIL(err, CM_E_INPUT,
                "the database %.80s has other rows of this run than %s: the fleet was restored from an older "
                "copy "
                "and minted on; bring the later copy back",
                l->name, cm_fleet_path(l->conf.fleet));
    return CM_OK;
}

/* Ids that are somebody else's refuse the load before anything of it is there; then the run's row. */
static cm_err prepare(struct cm_loader *l, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(l->conf.fleet);
    uint64_t from = 0;
    bool others = false;

    CM_TRY(cm_db_has_others(l->db, run->run_id, run->ca_certificate_id, &others, &from, err));
    CM_TRY(check_last(l, from, err));
    if (others)
        CM_TRY(check_ids(l, from, err));
    CM_TRY(enter(l, err));
    l->entered = true;
    return CM_OK;
}

/* Another run has brought ids of these rows since they were asked for: refused as if it had been there then.
 */
static cm_err name_double(struct cm_loader *l, struct cm_error *err)
{
    struct cm_error why = { 0 };
    const cm_err rc = check_ids(l, l->at.manifest_bytes, &why);

    if (rc == CM_OK) /* no id of another run: what the database said stands */
        return CM_E_DB;
    *err = why;
    return rc;
}

cm_err cm_loader_run(struct cm_loader *l, cm_loader_more *more, void *arg, struct cm_error *err)
{
    cm_err rc = CM_OK;

    /* What lies behind the commit that was the last one then may have changed since. */
    l->rows.len = 0;
    cm_leafread_forget(l->leaves);
    if (l->db == NULL)
        CM_TRY(cm_loader_reopen(l, err));
    if (!l->entered)
        CM_TRY(prepare(l, err));
    if (cm_fleet_journal(l->conf.fleet)->supersedes > 0)
        CM_TRY(cm_db_index(l->db, err));
    while (rc == CM_OK) {
        rc = load_some(l, err);
        if (rc != CM_OK)
            cm_db_rollback(l->db);
        if (rc == CM_E_DB && cm_db_is_doubled(l->db))
            rc = name_double(l, err);
        if (rc == CM_OK && more != NULL && !more(arg, &l->at))
            rc = CM_E_CLOSED;
    }
    return rc == CM_E_END ? CM_OK : rc;
}

cm_err cm_loader_finish(struct cm_loader *l, struct cm_error *err)
{
    CM_TRY(cm_db_index(l->db, err));
    CM_POINT("db.indexed");
    return CM_OK;
}

/* --- opening ----------------------------------------------------------------- */

static cm_err open_db(struct cm_loader *l, struct cm_error *err)
{
    bool away = false;

    l->db = l->conf.db;
    l->conf.db = NULL;
    if (l->db == NULL)
        CM_TRY(cm_db_open(l->conf.url, l->conf.option, &l->conf.wait, &l->db, &away, err));
    (void) snprintf(l->name, sizeof l->name, "%s", cm_db_name(l->db));
    return CM_OK;
}

/* As if the connection were lost: is_away says so. */
static cm_err put_off(struct cm_loader *l, struct cm_error *err)
{
    char public[CM_DB_URL_MAX];

    CM_ASSERT(l->conf.db == NULL);
    CM_TRY(cm_db_url_public(l->conf.url, l->conf.option, public, sizeof public, err));
    (void) snprintf(l->name, sizeof l->name, "%.159s", public);
    l->lost = true;
    return CM_OK;
}

static cm_err set_up(struct cm_loader *l, struct cm_error *err)
{
    CM_TRY(cm_rowview_open(&l->reader, err));
    CM_TRY(cm_hasher_open(&l->hasher, err));
    CM_TRY(cm_leafread_open(l->conf.fleet, &l->leaves, err));
    l->rows.data = malloc(ROWS_WINDOW);
    if (l->rows.data == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for loading the database");
    return l->conf.later ? put_off(l, err) : open_db(l, err);
}

cm_err cm_loader_open(const struct cm_loader_conf *conf, struct cm_loader **out, struct cm_error *err)
{
    struct cm_loader *l = calloc(1, sizeof *l);

    if (l == NULL) {
        cm_db_close(conf->db);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for loading the database");
    }
    l->conf = *conf;
    l->rows_max = CM_TUNE("load_rows", CM_LOAD_ROWS);
    const cm_err rc = set_up(l, err);
    if (rc != CM_OK) {
        cm_db_close(l->conf.db); /* if it had not been taken over yet */
        cm_loader_close(l);
    }
    if (rc == CM_OK)
        *out = l;
    return rc;
}

void cm_loader_close(struct cm_loader *l)
{
    if (l == NULL)
        return;
    cm_db_close(l->db);
    cm_rowview_close(l->reader);
    cm_hasher_close(&l->hasher);
    cm_leafread_close(l->leaves);
    free(l->rows.data);
    free(l->next);
    free(l);
}

bool cm_loader_is_away(const struct cm_loader *l)
{
    return l->lost || cm_db_is_away(l->db);
}

void cm_loader_wait_with(struct cm_loader *l, const struct cm_db_wait *wait)
{
    l->conf.wait = *wait;
    if (l->db != NULL)
        cm_db_wait_with(l->db, wait);
}

cm_err cm_loader_reopen(struct cm_loader *l, struct cm_error *err)
{
    cm_db_close(l->db);
    l->db = NULL;
    l->entered = false;
    l->lost = true;
    CM_TRY(open_db(l, err));
    l->lost = false;
    return CM_OK;
}

uint64_t cm_loader_loaded(const struct cm_loader *l)
{
    return l->loaded;
}

struct cm_db_cursor cm_loader_at(const struct cm_loader *l)
{
    return l->at;
}

const char *cm_loader_name(const struct cm_loader *l)
{
    return l->name;
}
