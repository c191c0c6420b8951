#include "io/journal.h"

#include "engine/digest.h"
#include "io/file.h"
#include "io/jsontext.h"
#include "io/sys.h"

#include <stdatomic.h>
#include <fcntl.h>

/* A record fills whole sectors, so that no write touches one that holds an older record. */
enum { SECTOR = 512, HASH_HEX = 64 };

struct cm_journal {
    struct cm_recorder recorder;
    struct cm_journal_conf conf;
    struct cm_journal_at at;
    int fd;
    char path[300], burned_path[300];
    uint32_t at_most;                 /* certificates under a prefix of this attempt */
    struct cm_ranges again;           /* devices asked for again and not committed since */
    char ended_at[24];                /* "": it has not */
    const char *end_state;            /* as the end is on record */
    bool in_doubt;                    /* a record failed and could not be taken back */
    _Atomic uint64_t committed_bytes; /* of the manifest, in this attempt */
};

static void when_text(cm_when t, char out[24])
{
    struct cm_writer w = cm_writer(out, 23);

    cm_put_rfc3339(&w, t);
    out[w.len] = '\0';
}

/* The text of a record in malloced memory: room for the hash, a space, JSON, spaces, LF. */
static cm_err render(const struct cm_journal *j, const json_t *record, char **out, size_t *out_len,
                     struct cm_error *err)
{
    size_t len = 0;
    char *const json = cm_json_text(record, JSON_COMPACT, &len);
    const size_t whole = (HASH_HEX + 1 + len + 1 + SECTOR - 1) / SECTOR * SECTOR;
    char *const text = json != NULL ? malloc(whole) : NULL;

    if (text == NULL) {
        free(json);
        CM_FAIL(err, CM_E_NOMEM, "no memory for a record of %s", j->path);
    }
    memset(text, ' ', whole);
    memcpy(text + HASH_HEX + 1, json, len);
    text[whole - 1] = '\n';
    free(json);
    *out = text;
    *out_len = whole;
    return CM_OK;
}

static cm_err seal(struct cm_journal *j, char *text, size_t len, uint8_t chain[32], struct cm_error *err)
{
    struct cm_digest *d = NULL;
    struct cm_writer hex = cm_writer(text, HASH_HEX);

    CM_TRY(cm_digest_open(&d, err));
    cm_err rc = cm_digest_update(d, j->at.chain, sizeof j->at.chain, err);
    if (rc == CM_OK)
        rc = cm_digest_update(d, text + HASH_HEX, len - HASH_HEX, err);
    if (rc == CM_OK)
        rc = cm_digest_final(d, chain, err);
    cm_digest_close(d);
    cm_put_hex(&hex, chain, 32);
    return rc;
}

/* Cuts off a record that failed: of a write or a sync that did not succeed nobody
 * knows what is on disk, and another sync would not tell. */
static void take_back(struct cm_journal *j)
{
    cm_err rc = cm_file_truncate(j->fd, j->path, j->at.length, NULL);

    if (rc == CM_OK && j->conf.durable)
        rc = cm_dir_sync(j->fd, j->path, NULL);
    j->in_doubt = rc != CM_OK;
}

static cm_err write_record(struct cm_journal *j, const char *text, size_t len, struct cm_error *err)
{
    CM_POINT("journal.write");
    CM_TRY(cm_file_write(j->fd, j->path, text, len, j->at.length, err));
    CM_POINT("journal.sync");
    if (j->conf.durable)
        CM_TRY(cm_file_sync(j->fd, j->path, err));
    CM_POINT("journal.synced");
    return CM_OK;
}

static cm_err append(struct cm_journal *j, const json_t *record, struct cm_error *err)
{
    char *text = NULL;
    size_t len = 0;
    uint8_t chain[32];

    if (j->in_doubt)
        CM_FAIL(err, CM_E_IO, "can't write %s behind a record that failed", j->path);
    CM_TRY(render(j, record, &text, &len, err));
    cm_err rc = seal(j, text, len, chain, err);
    if (rc == CM_OK) {
        rc = write_record(j, text, len, err);
        if (rc != CM_OK)
            take_back(j);
    }
    free(text);
    CM_TRY(rc);
    j->at.length += len;
    j->at.records++;
    memcpy(j->at.chain, chain, sizeof chain);
    return CM_OK;
}

/* Takes over a reference to `keys`. */
static cm_err put(struct cm_journal *j, const char *type, json_t *keys, struct cm_error *err)
{
    json_t *record = json_pack("{s:I s:s}", "record", (json_int_t) j->at.records, "type", type);
    cm_err rc = CM_OK;

    if (record == NULL || keys == NULL || json_object_update(record, keys) != 0)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for a record of %s", j->path);
    if (rc == CM_OK)
        rc = append(j, record, err);
    json_decref(record);
    json_decref(keys);
    return rc;
}

cm_err cm_journal_put(struct cm_journal *j, const char *type, const json_t *keys, struct cm_error *err)
{
    return put(j, type, json_incref((json_t *) (uintptr_t) keys), err);
}

/* --- the recorder -------------------------------------------------------- */

static json_t *ranges_json(const struct cm_ranges *r)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < r->count; i++)
        if (json_array_append_new(
                list, json_pack("[I, I]", (json_int_t) r->at[i].first, (json_int_t) r->at[i].last)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *units_json(const struct cm_places *p)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < p->units; i++)
        if (json_array_append_new(list, json_pack("[I, I, I]", (json_int_t) p->unit[i].number,
                                                  (json_int_t) p->unit[i].chain_len,
                                                  (json_int_t) p->unit[i].key_len)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *prefixes_json(const struct cm_prefixes *p)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < p->count; i++) {
        char hex[2 * CM_SERIAL_PREFIX];
        struct cm_writer w = cm_writer(hex, sizeof hex);
        cm_put_hex(&w, p->prefix[i], CM_SERIAL_PREFIX);
        if (json_array_append_new(list, json_stringn(hex, sizeof hex)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:I s:I s:o}", "first", (json_int_t) p->first, "at_most", (json_int_t) p->at_most,
                     "prefixes", list);
}

static struct cm_journal *journal_of(struct cm_recorder *r)
{
    return (struct cm_journal *) (void *) ((char *) r - offsetof(struct cm_journal, recorder));
}

static cm_err record_reserve(struct cm_recorder *r, const struct cm_prefixes *more, struct cm_error *err)
{
    struct cm_journal *j = journal_of(r);

    j->at_most = more->at_most;
    return put(j, "reserve", prefixes_json(more), err);
}

static cm_err add_all(struct cm_ranges *to, const struct cm_ranges *from, struct cm_error *err)
{
    for (size_t i = 0; i < from->count; i++)
        CM_TRY(cm_ranges_add(to, from->at[i].first, from->at[i].last, err));
    return CM_OK;
}

static cm_err put_commit(struct cm_journal *j, const struct cm_commit *c, const struct cm_prefixes *more,
                         struct cm_error *err)
{
    const struct cm_places *places = j->conf.places;
    char xxh3[33] = "";
    struct cm_writer w = cm_writer(xxh3, 32);

    cm_put_hex(&w, places->rows_xxh3, sizeof places->rows_xxh3);
    CM_TRY(put(j, "commit",
               json_pack("{s:I s:I s:I s:s s:o s:o s:o s:o}", "commit", (json_int_t) (j->at.commits + 1),
                         "devices", (json_int_t) (j->at.devices + c->devices), "manifest_bytes",
                         (json_int_t) places->manifest_bytes, "rows_xxh3", xxh3, "units", units_json(places),
                         "seqs", ranges_json(&c->seqs), "prefixes", ranges_json(&c->prefixes), "reserve",
                         more->count > 0 ? prefixes_json(more) : json_null()),
               err));
    j->at.commits++;
    j->at.devices += c->devices;
    atomic_store(&j->committed_bytes, places->manifest_bytes);
    return CM_OK;
}

/* What is still to be minted again, when a commit with these devices will be on record. */
static cm_err still_again(const struct cm_journal *j, const struct cm_ranges *seqs, struct cm_ranges *out,
                          struct cm_error *err)
{
    CM_TRY(add_all(out, &j->again, err));
    for (size_t i = 0; out->count > 0 && i < seqs->count; i++)
        CM_TRY(cm_ranges_remove(out, seqs->at[i].first, seqs->at[i].last, err));
    return CM_OK;
}

/* Once a commit is on record nothing may fail any more: what needs memory comes first. */
static cm_err record_commit(struct cm_recorder *r, const struct cm_commit *c, const struct cm_prefixes *more,
                            struct cm_error *err)
{
    struct cm_journal *j = journal_of(r);
    struct cm_ranges again = { 0 };

    cm_err rc = still_again(j, &c->seqs, &again, err);
    if (rc == CM_OK)
        rc = put_commit(j, c, more, err);
    if (rc == CM_OK) {
        const struct cm_ranges before = j->again;
        j->again = again;
        again = before;
    }
    cm_ranges_close(&again);
    return rc;
}

/* A record that failed was cut off when it did. */
static cm_err record_retract(struct cm_recorder *r, struct cm_error *err)
{
    const struct cm_journal *j = journal_of(r);

    if (j->in_doubt)
        CM_FAIL(err, CM_E_IO, "can't take back the last record of %s", j->path);
    return CM_OK;
}

/* --- burned.ndjson ------------------------------------------------------- */

/* signed null: nobody counted. */
static cm_err put_burned(const struct cm_journal *j, const struct cm_burned *b, uint32_t at_most, bool killed,
                         struct cm_writer *w, struct cm_error *err)
{
    char prefix[2 * CM_SERIAL_PREFIX + 1] = "", now[24];
    struct cm_writer hex = cm_writer(prefix, sizeof prefix - 1);

    cm_put_hex(&hex, b->prefix, sizeof b->prefix);
    when_text(cm_when_now(), now);
    json_t *line =
        json_pack("{s:s s:I s:s s:I s:o s:I s:s s:s}", "run_id", j->conf.run_id, "attempt",
                  (json_int_t) j->at.attempts, "prefix", prefix, "number", (json_int_t) b->number, "signed",
                  killed ? json_null() : json_integer((json_int_t) b->signatures), "at_most",
                  (json_int_t) at_most, "reason", killed ? "killed" : "failed", "burned_at", now);
    size_t len = 0;
    char *text = line != NULL ? cm_json_text(line, JSON_COMPACT, &len) : NULL;
    json_decref(line);
    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a line of %s", j->burned_path);
    cm_put(w, text, len);
    cm_put(w, "\n", 1);
    free(text);
    return CM_OK;
}

static cm_err open_burned(const struct cm_journal *j, int *fd, struct cm_error *err)
{
    const struct cm_rundir *dir = j->conf.dir;

    if (faccessat(dir->fd, "burned.ndjson", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return cm_file_open_write(dir->fd, dir->path, "burned.ndjson", fd, err);
    return cm_file_create(dir->fd, dir->path, "burned.ndjson", 0, 0644, fd, err);
}

static cm_err write_burned(struct cm_journal *j, struct cm_span lines, struct cm_error *err)
{
    int fd = -1;

    CM_TRY(open_burned(j, &fd, err));
    CM_POINT("burned.write");
    cm_err rc = cm_file_truncate(fd, j->burned_path, j->at.burned_bytes, err);
    if (rc == CM_OK)
        rc = cm_file_write(fd, j->burned_path, lines.data, lines.len, j->at.burned_bytes, err);
    if (rc == CM_OK && j->conf.durable)
        rc = cm_dir_sync(fd, j->burned_path, err);
    cm_fd_close(&fd);
    if (rc == CM_OK && j->conf.durable)
        rc = cm_dir_sync(j->conf.dir->fd, j->conf.dir->path, err);
    CM_TRY(rc);
    CM_POINT("burned.synced");
    j->at.burned_bytes += lines.len;
    return CM_OK;
}

static cm_err burn(struct cm_journal *j, const struct cm_burned *burned, size_t count,
                   const uint32_t *at_most, struct cm_error *err)
{
    enum { LINE_MAX = 400 };
    char *buf = NULL;
    cm_err rc = CM_OK;

    if (count == 0)
        return CM_OK;
    buf = malloc(count * LINE_MAX);
    if (buf == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %zu lines of %s", count, j->burned_path);
    struct cm_writer w = cm_writer(buf, count * LINE_MAX);
    for (size_t i = 0; i < count && rc == CM_OK; i++)
        rc = put_burned(j, &burned[i], at_most != NULL ? at_most[i] : j->at_most, at_most != NULL, &w, err);
    CM_ASSERT(rc != CM_OK || cm_writer_ok(&w));
    if (rc == CM_OK)
        rc = write_burned(j, cm_span(buf, w.len), err);
    free(buf);
    return rc;
}

cm_err cm_journal_burn(struct cm_journal *j, const struct cm_burned *burned, size_t count,
                       const uint32_t *at_most, struct cm_error *err)
{
    return burn(j, burned, count, at_most, err);
}

static cm_err record_end(struct cm_recorder *r, const struct cm_attempt_end *end, struct cm_error *err)
{
    struct cm_journal *j = journal_of(r);
    const bool whole = j->at.devices == j->conf.requested + j->at.superseded;
    const char *const state = end->failed ? "failed" : whole ? "complete" : "stopped";
    char now[24];

    CM_TRY(burn(j, end->burned, end->burned_count, NULL, err));
    when_text(cm_when_now(), now);
    CM_TRY(put(j, "end",
               json_pack("{s:s s:I s:o s:I s:s}", "state", state, "signatures", (json_int_t) end->signatures,
                         "unused", ranges_json(&end->unused), "burned_bytes", (json_int_t) j->at.burned_bytes,
                         "ended_at", now),
               err));
    memcpy(j->ended_at, now, sizeof now);
    j->end_state = state;
    return CM_OK;
}

static const struct cm_recorder_ops recorder_ops = {
    .reserve = record_reserve, .commit = record_commit, .retract = record_retract, .end = record_end
};

/* --- rework -------------------------------------------------------------- */

cm_err cm_journal_supersede(struct cm_journal *j, const char *reason, const struct cm_ranges *seqs,
                            struct cm_error *err)
{
    CM_TRY(add_all(&j->again, seqs, err));
    CM_TRY(put(j, "supersede", json_pack("{s:s s:o}", "reason", reason, "seqs", ranges_json(seqs)), err));
    j->at.superseded += cm_ranges_size(seqs);
    return CM_OK;
}

uint64_t cm_journal_committed_bytes(const struct cm_journal *j)
{
    return j != NULL ? atomic_load(&j->committed_bytes) : 0;
}

uint64_t cm_journal_rows_superseded(const struct cm_journal *j)
{
    return j->at.superseded - cm_ranges_size(&j->again);
}

cm_err cm_journal_purge(struct cm_journal *j, bool done, uint32_t before, struct cm_error *err)
{
    char now[24];

    when_text(cm_when_now(), now);
    return put(j, "purge",
               json_pack("{s:s s:I s:s}", "state", done ? "done" : "begun", "before", (json_int_t) before,
                         "purged_at", now),
               err);
}

/* --- opening ------------------------------------------------------------- */

static cm_err open_journal(const struct cm_journal_conf *conf, struct cm_journal **out, struct cm_error *err)
{
    struct cm_journal *j = calloc(1, sizeof *j);

    if (j == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the journal");
    j->recorder.ops = &recorder_ops;
    j->conf = *conf;
    j->fd = -1;
    (void) snprintf(j->path, sizeof j->path, "%s/journal", conf->dir->path);
    (void) snprintf(j->burned_path, sizeof j->burned_path, "%s/burned.ndjson", conf->dir->path);
    *out = j;
    return CM_OK;
}

cm_err cm_journal_create(const struct cm_journal_conf *conf, const json_t *run, struct cm_journal **out,
                         struct cm_error *err)
{
    struct cm_journal *j = NULL;

    CM_TRY(open_journal(conf, &j, err));
    cm_err rc = cm_file_create(conf->dir->fd, conf->dir->path, "journal", 0, 0644, &j->fd, err);
    if (rc == CM_OK)
        rc = cm_journal_put(j, "run", run, err);
    /* Its name, and with it those of chains/ and keys/. */
    if (rc == CM_OK && conf->durable)
        rc = cm_dir_sync(conf->dir->fd, conf->dir->path, err);
    if (rc != CM_OK) {
        cm_journal_close(j);
        return rc;
    }
    *out = j;
    return CM_OK;
}

cm_err cm_journal_continue(const struct cm_journal_conf *conf, const struct cm_journal_at *at,
                           const struct cm_ranges *again, struct cm_journal **out, struct cm_error *err)
{
    struct cm_journal *j = NULL;

    CM_TRY(open_journal(conf, &j, err));
    j->at = *at;
    cm_err rc = cm_file_open_write(conf->dir->fd, conf->dir->path, "journal", &j->fd, err);
    if (rc == CM_OK) /* a torn tail, so that no octet of it stays behind what comes */
        rc = cm_file_truncate(j->fd, j->path, at->length, err);
    if (rc == CM_OK)
        rc = add_all(&j->again, again, err);
    if (rc != CM_OK) {
        cm_journal_close(j);
        return rc;
    }
    *out = j;
    return CM_OK;
}

cm_err cm_journal_attempt(struct cm_journal *j, const char *command, json_t *discarded, struct cm_error *err)
{
    char now[24];

    when_text(cm_when_now(), now);
    CM_TRY(put(j, "attempt",
               json_pack("{s:I s:s s:s s:I s:o}", "attempt", (json_int_t) (j->at.attempts + 1), "command",
                         command, "started_at", now, "burned_bytes", (json_int_t) j->at.burned_bytes,
                         "discarded", discarded != NULL ? json_incref(discarded) : json_array()),
               err));
    j->at.attempts++;
    return CM_OK;
}

const char *cm_journal_end_state(const struct cm_journal *j)
{
    return j->end_state;
}

const char *cm_journal_ended(const struct cm_journal *j)
{
    return j->ended_at[0] != '\0' ? j->ended_at : NULL;
}

struct cm_recorder *cm_journal_recorder(struct cm_journal *j)
{
    return &j->recorder;
}

void cm_journal_close(struct cm_journal *j)
{
    if (j == NULL)
        return;
    cm_fd_close(&j->fd);
    cm_ranges_close(&j->again);
    free(j);
}
