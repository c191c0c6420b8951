#include "cli/audit_impl.h"

#include "engine/xxh.h"
#include "io/file.h"
#include "io/journalread.h"
#include "io/jsonread.h"

#include <fcntl.h>

typedef unsigned long long ull;

enum { PIECE = 256 << 10 };

static void find(struct cm_audit *a, const char *file, uint64_t offset, const char *what)
{
    cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, offset, "%s", what);
}

/* An attempt that ended has left nothing behind. */
static void check_tails(struct cm_audit *a, const struct cm_journal_state *j)
{
    if (j->ended[0] == '\0')
        return;
    if (j->file_bytes > j->at.length)
        find(a, "journal", j->at.length, "octets behind the last sound record");
    if (cm_fleet_manifest_size(a->fleet) > j->manifest_bytes)
        find(a, "manifest.ndjson", j->manifest_bytes, "octets behind the last commit");
}

static void check_outcome(struct cm_audit *a, const struct cm_journal_state *j)
{
    const struct cm_fleet_run *run = a->run;

    if (cm_fleet_manifest_size(a->fleet) < j->manifest_bytes)
        find(a, "manifest.ndjson", cm_fleet_manifest_size(a->fleet),
             "it ends before what the journal says is committed");
    if (run->state != CM_FLEET_OPEN && strcmp(j->ended, cm_fleet_state_name(run->state)) != 0)
        find(a, "run.json", CM_FINDING_NO_OFFSET, "outcome.state: not what the journal says");
    if (run->state != CM_FLEET_OPEN && run->devices + run->superseded != j->at.devices)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                      "outcome.devices and superseded are %llu, the journal has %llu rows",
                      (ull) (run->devices + run->superseded), (ull) j->at.devices);
    if (j->purging)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "keys", CM_FINDING_NO_OFFSET,
                      "purge-keys began at %s and did not end: give it again", j->purged_at);
}

/* The manifest's octets of each commit against their hash. */
static cm_err check_rows(struct cm_audit *a, const struct cm_journal_state *j, uint8_t *buf,
                         struct cm_error *err)
{
    uint64_t at = 0;

    for (size_t i = 0; i < j->commits; i++) {
        const uint64_t begin = at, end = j->commit[i].manifest_bytes;
        struct cm_xxh *x = cm_xxh_open();
        uint8_t hash[16];
        size_t got = 1;
        cm_err rc = CM_OK;
        if (x == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for a hash");
        while (rc == CM_OK && at < end && got > 0) {
            rc = cm_fleet_manifest_read(a->fleet, buf, end - at < PIECE ? (size_t) (end - at) : PIECE, at,
                                        &got, err);
            if (rc == CM_OK)
                cm_xxh_update(x, buf, got);
            at += got;
        }
        cm_xxh_final(x, hash);
        CM_TRY(rc);
        if (at < end)
            return CM_OK; /* it is too short, which is told elsewhere */
        if (memcmp(hash, j->commit[i].rows_xxh3, sizeof hash) != 0)
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "manifest.ndjson", begin,
                          "the rows of commit %zu are not those that were committed", i + 1);
    }
    return CM_OK;
}

static cm_err check_commits(struct cm_audit *a, const struct cm_journal_state *j, struct cm_error *err)
{
    uint8_t *const buf = malloc(PIECE);

    if (buf == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory to read the manifest");
    const cm_err rc = check_rows(a, j, buf, err);
    free(buf);
    return rc;
}

/* run.json is a view: what both have is the same. */
static cm_err check_view(struct cm_audit *a, const struct cm_journal_state *j, struct cm_error *err)
{
    static const char *const keys[] = { "run_id", "created_at", "request", "ca" };
    json_t *view = NULL;
    char *text = NULL;
    size_t len = 0;

    cm_err rc = cm_fleet_read_small(a->fleet, "run.json", &text, &len, err);
    if (rc == CM_OK)
        rc = cm_json_read(cm_span(text, len), &view, NULL, err);
    free(text);
    if (rc == CM_E_NOMEM)
        return rc;
    if (view == NULL) {
        find(a, "run.json", CM_FINDING_NO_OFFSET, "it can't be read again");
        return CM_OK;
    }
    for (size_t i = 0; i < CM_COUNT(keys); i++)
        if (!json_equal(json_object_get(view, keys[i]), json_object_get(j->run, keys[i])))
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                          "%s: not what the journal says", keys[i]);
    json_decref(view);
    return CM_OK;
}

cm_err cm_audit_journal(struct cm_audit *a, struct cm_error *err)
{
    const struct cm_journal_state *j = cm_fleet_journal(a->fleet);
    const uint64_t rows = atomic_load(&a->rows);

    CM_TRY(check_view(a, j, err));
    check_tails(a, j);
    check_outcome(a, j);
    if (a->sample == NULL && rows != j->at.devices)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "manifest.ndjson", CM_FINDING_NO_OFFSET,
                      "%llu readable rows, and the journal has commits of %llu", (ull) rows,
                      (ull) j->at.devices);
    if (cm_ranges_size(&j->seqs) + cm_ranges_size(&j->again) != cm_journal_rows_in_force(j))
        find(a, "journal", CM_FINDING_NO_OFFSET,
             "the numbers of its commits are not as many as their devices");
    if (a->sample == NULL)
        CM_TRY(check_commits(a, j, err));
    return cm_audit_books(a, err);
}
