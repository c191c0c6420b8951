#include "io/leftovers.h"

#include "engine/tarfmt.h"
#include "io/file.h"
#include "io/sys.h"

#include <errno.h>

/* One of chains/ and keys/. */
struct side {
    const struct cm_leftovers_conf *conf;
    int fd;
    const char *path, *label; /* label: as names in messages and records begin */
    bool keys;
    json_t *names;
};

static cm_err tell(json_t *names, const char *label, const char *name, struct cm_error *err)
{
    if (json_array_append_new(names, json_sprintf("%s%s", label, name)) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the list of what was left behind");
    return CM_OK;
}

/* --- making durable ------------------------------------------------------ */

static cm_err sync_entry(int dirfd, const char *dir, const char *name, int flags, struct cm_error *err)
{
    char path[512];
    int fd = cm_sys_openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0);
    cm_err rc = CM_OK;

    if (fd < 0 && errno == ENOENT)
        return CM_OK;
    (void) snprintf(path, sizeof path, "%.250s/%.250s", dir, name);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open %s", path);
    rc = cm_dir_sync(fd, path, err);
    /* A write that an earlier fsync reported as failed may live on in the page cache, as if it were on disk,
     * and this fsync knows nothing of it (Rebello et al., "Can Applications Recover from fsync Failures?",
     * USENIX ATC 2020). So what is read now comes from the disk. It is advice: a failure means that the file
     * system has no such cache. */
    if (rc == CM_OK && flags == 0)
        (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    cm_fd_close(&fd);
    return rc;
}

cm_err cm_leftovers_sync(const struct cm_rundir *d, struct cm_error *err)
{
    CM_TRY(sync_entry(d->fd, d->path, "journal", 0, err));
    CM_TRY(sync_entry(d->fd, d->path, "manifest.ndjson", 0, err));
    CM_TRY(sync_entry(d->fd, d->path, "burned.ndjson", 0, err));
    CM_TRY(sync_entry(d->fd, d->path, "chains", O_DIRECTORY, err));
    CM_TRY(sync_entry(d->fd, d->path, "keys", O_DIRECTORY, err));
    return cm_dir_sync(d->fd, d->path, err);
}

/* --- files at the top ---------------------------------------------------- */

/* Cuts a file to the length that is on record. */
static cm_err cut_file(const struct cm_leftovers_conf *c, const char *name, uint64_t len, json_t *names,
                       struct cm_error *err)
{
    char path[512];
    struct stat st;
    int fd = -1;

    (void) snprintf(path, sizeof path, "%.250s/%s", c->dir->path, name);
    if (fstatat(c->dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT && len == 0)
            return CM_OK;
        CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO,
                "%s, of which %llu octets are on record, is gone; restore it", path,
                (unsigned long long) len);
    }
    if ((uint64_t) st.st_size < len)
        CM_FAIL(err, CM_E_INPUT, "%s has %lld octets, and %llu are on record: it was cut; restore it", path,
                (long long) st.st_size, (unsigned long long) len);
    if ((uint64_t) st.st_size == len)
        return CM_OK;
    CM_TRY(cm_file_open_write(c->dir->fd, c->dir->path, name, &fd, err));
    cm_err rc = cm_file_truncate(fd, path, len, err);
    if (rc == CM_OK && c->durable)
        rc = cm_dir_sync(fd, path, err);
    cm_fd_close(&fd);
    CM_TRY(rc);
    return tell(names, "the end of ", name, err);
}

static cm_err clear_top(const struct cm_leftovers_conf *c, json_t *names, struct cm_error *err)
{
    static const char *const parts[] = { "run.json.part", "ca.pem.part", "index.part" };

    for (size_t i = 0; i < CM_COUNT(parts); i++) {
        if (cm_sys_unlinkat(c->dir->fd, parts[i], 0) == 0)
            CM_TRY(tell(names, "", parts[i], err));
        else if (errno != ENOENT)
            CM_FAIL(err, CM_E_IO, "can't remove %s/%s", c->dir->path, parts[i]);
    }
    CM_TRY(cut_file(c, "journal", c->journal->at.length, names, err));
    CM_TRY(cut_file(c, "manifest.ndjson", c->journal->manifest_bytes, names, err));
    CM_TRY(cut_file(c, "burned.ndjson", c->journal->at.burned_bytes, names, err));
    if (c->journal->manifest_bytes == 0 && cm_sys_unlinkat(c->dir->fd, "manifest.ndjson", 0) != 0 &&
        errno != ENOENT)
        CM_FAIL(err, CM_E_IO, "can't remove the empty %s/manifest.ndjson", c->dir->path);
    return CM_OK;
}

/* --- segments and shards ------------------------------------------------- */

static const struct cm_unit *unit_of(const struct cm_journal_state *j, uint32_t number)
{
    size_t low = 0, high = j->units;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (j->unit[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < j->units && j->unit[low].number == number ? &j->unit[low] : NULL;
}

/* "000012" and the suffix: its number. */
static bool parse_name(const char *name, const char *suffix, uint32_t *number)
{
    unsigned long n = 0;
    char *end = NULL;

    if (name[0] < '0' || name[0] > '9' || strspn(name, "0123456789") < 6)
        return false;
    errno = 0;
    n = strtoul(name, &end, 10);
    *number = (uint32_t) n;
    return errno == 0 && n <= UINT32_MAX && strcmp(end, suffix) == 0;
}

static cm_err open_segment(const struct side *s, const char *name, int *fd, struct stat *st,
                           struct cm_error *err)
{
    CM_TRY(cm_file_open_write(s->fd, s->path, name, fd, err));
    if (fstat(*fd, st) == 0)
        return CM_OK;
    cm_fd_close(fd);
    CM_FAIL(err, CM_E_IO, "can't look at %s/%s", s->path, name);
}

/* Key octets from `from` on are overwritten, and that is durable, before the file is cut. */
static cm_err wipe_tail(const struct side *s, int fd, const char *path, uint64_t from, uint64_t end,
                        struct cm_error *err)
{
    if (!s->keys || from >= end)
        return CM_OK;
    CM_TRY(cm_file_wipe(fd, path, from, end, err));
    return s->conf->durable ? cm_file_sync(fd, path, err) : CM_OK;
}

/* A segment in work that has committed octets: its end, and its final name. */
static cm_err end_segment(const struct side *s, const char *part, int fd, const struct stat *st,
                          uint64_t committed, struct cm_error *err)
{
    static const uint8_t end[CM_TAR_END];
    char path[512], name[32];

    (void) snprintf(path, sizeof path, "%.400s/%.40s", s->path, part);
    (void) snprintf(name, sizeof name, "%.*s", (int) (strlen(part) - strlen(".part")), part);
    if ((uint64_t) st->st_size < committed)
        CM_FAIL(err, CM_E_INPUT, "%s has %lld octets, of which %llu are committed: it was cut; restore it",
                path, (long long) st->st_size, (unsigned long long) committed);
    CM_TRY(wipe_tail(s, fd, path, committed, (uint64_t) st->st_size, err));
    CM_TRY(cm_file_truncate(fd, path, committed, err));
    CM_TRY(cm_file_write(fd, path, end, sizeof end, committed, err));
    if (s->conf->durable)
        CM_TRY(cm_dir_sync(fd, path, err));
    CM_POINT("leftovers.ended");
    CM_TRY(cm_rename_new(s->fd, s->path, part, name, err));
    return (uint64_t) st->st_size > committed ? tell(s->names, "the end of ", path, err) : CM_OK;
}

static cm_err drop_segment(const struct side *s, const char *part, int fd, const struct stat *st,
                           struct cm_error *err)
{
    char path[512];

    (void) snprintf(path, sizeof path, "%.400s/%.40s", s->path, part);
    CM_TRY(wipe_tail(s, fd, path, 0, (uint64_t) st->st_size, err));
    CM_POINT("leftovers.wiped");
    if (cm_sys_unlinkat(s->fd, part, 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't remove %s", path);
    return tell(s->names, s->label, part, err);
}

static cm_err clear_segment(const struct side *s, const char *name, struct cm_error *err)
{
    struct stat st;
    uint32_t number = 0;
    int fd = -1;

    if (parse_name(name, ".tar", &number) && unit_of(s->conf->journal, number) == NULL)
        CM_FAIL(err, CM_E_INPUT,
                "%s/%s is a finished segment of which the journal knows nothing; move it away", s->path,
                name);
    if (!parse_name(name, ".tar.part", &number))
        return CM_OK; /* a finished one, or not ours: verify tells */
    const struct cm_unit *unit = unit_of(s->conf->journal, number);
    CM_TRY(open_segment(s, name, &fd, &st, err));
    const cm_err rc = unit == NULL
                          ? drop_segment(s, name, fd, &st, err)
                          : end_segment(s, name, fd, &st, s->keys ? unit->key_len : unit->chain_len, err);
    cm_fd_close(&fd);
    return rc;
}

static cm_err clear_shard(const struct side *s, const char *name, struct cm_error *err)
{
    uint32_t number = 0;
    const bool part = parse_name(name, ".part", &number);

    if (!part && !parse_name(name, "", &number))
        return CM_OK; /* not ours: verify tells */
    const bool committed = unit_of(s->conf->journal, number) != NULL;
    if (part && committed) /* it had its final name before it was committed */
        CM_FAIL(err, CM_E_INPUT, "%s/%s is committed under its final name; move it away, or back", s->path,
                name);
    if (committed)
        return CM_OK;
    CM_TRY(cm_dir_discard(s->fd, s->path, name, s->keys, err));
    return tell(s->names, s->label, name, err);
}

/* What is committed must be there. */
static cm_err check_units(const struct side *s, struct cm_error *err)
{
    const struct cm_journal_state *j = s->conf->journal;

    if (s->conf->reworked)
        return CM_OK;
    for (size_t i = 0; i < j->units; i++) {
        char name[32];
        if (s->keys && j->unit[i].number < j->purged_before)
            continue;
        (void) snprintf(name, sizeof name, "%06u%s", j->unit[i].number, s->conf->tree ? "" : ".tar");
        if (faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
            CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO,
                    "%s/%s, which is committed, is missing; restore it", s->path, name);
    }
    return CM_OK;
}

static cm_err take_name(void *arg, const char *name, struct cm_error *err)
{
    if (name[0] != '.' && json_array_append_new(arg, json_stringn_nocheck(name, strlen(name))) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the names in a directory");
    return CM_OK;
}

/* The names first, because the directory changes while it is gone through. */
static cm_err clear_side(const struct side *s, struct cm_error *err)
{
    json_t *const list = json_array();

    if (list == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the names in %s", s->path);
    cm_err rc = cm_dir_each(s->fd, ".", s->path, take_name, list, err);

    for (size_t i = 0; rc == CM_OK && i < json_array_size(list); i++) {
        const char *const name = json_string_value(json_array_get(list, i));
        rc = s->conf->tree ? clear_shard(s, name, err) : clear_segment(s, name, err);
    }
    json_decref(list);
    CM_TRY(rc);
    if (s->conf->durable)
        CM_TRY(cm_dir_sync(s->fd, s->path, err));
    return check_units(s, err);
}

cm_err cm_leftovers_clear(const struct cm_leftovers_conf *conf, json_t *names, struct cm_error *err)
{
    char chains[300];
    const struct side side[] = {
        { conf, conf->dir->keys_fd, conf->dir->keys_path, "keys/", true, names },
        { conf, conf->dir->chains_fd, chains, "chains/", false, names },
    };

    (void) snprintf(chains, sizeof chains, "%s/chains", conf->dir->path);
    CM_TRY(clear_top(conf, names, err));
    for (size_t i = 0; i < CM_COUNT(side); i++)
        CM_TRY(clear_side(&side[i], err));
    return conf->durable ? cm_dir_sync(conf->dir->fd, conf->dir->path, err) : CM_OK;
}

cm_err cm_leftovers_burn(struct cm_journal *j, const struct cm_journal_state *s, struct cm_error *err)
{
    const size_t most = s->prefixes - (size_t) s->settled;
    struct cm_burned *burned = calloc(most + 1, sizeof *burned);
    uint32_t *at_most = calloc(most + 1, sizeof *at_most);
    size_t count = 0;
    cm_err rc = CM_OK;

    if (burned == NULL || at_most == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for %zu burned serial prefixes", most);
    for (uint64_t n = s->settled; n < s->prefixes && rc == CM_OK; n++) {
        if (cm_ranges_meets(&s->used, n, n) || cm_ranges_meets(&s->unused, n, n))
            continue;
        burned[count].number = n;
        memcpy(burned[count].prefix, s->prefix[n].octets, CM_SERIAL_PREFIX);
        at_most[count++] = s->prefix[n].at_most;
    }
    if (rc == CM_OK)
        rc = cm_journal_burn(j, burned, count, at_most, err);
    free(burned);
    free(at_most);
    return rc;
}
