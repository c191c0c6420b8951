#include "cli/audit_impl.h"
#include "io/file.h"
#include "io/journalread.h"

#include <fcntl.h>
#include <sys/stat.h>

const char *const cm_audit_side_name[2] = { "chains", "keys" };

static bool has_suffix(const char *name, const char *suffix)
{
    const size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* "000012.tar" in the tar layout, "000012" in the tree layout. */
static bool is_unit_name(const char *name, bool tree, uint32_t *number)
{
    char again[32];
    const unsigned long long n = strtoull(name, NULL, 10);

    (void) snprintf(again, sizeof again, tree ? "%06llu" : "%06llu.tar", n);
    *number = (uint32_t) n;
    return n <= UINT32_MAX && strcmp(name, again) == 0;
}

static cm_err side_push(struct cm_audit_side *s, uint32_t number, struct cm_error *err)
{
    if ((s->count & (s->count - 1)) == 0) { /* at powers of two, and at zero */
        const size_t cap = s->count > 0 ? 2 * s->count : 1;
        uint32_t *grown = reallocarray(s->number, cap, sizeof *grown);
        if (grown == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the names of segments");
        s->number = grown;
    }
    s->number[s->count++] = number;
    return CM_OK;
}

static void check_mode(struct cm_audit *a, int dirfd, const char *name, const char *shown, mode_t want)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & 07777) != want)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, shown, CM_FINDING_NO_OFFSET,
                      "mode %04o, not %04o: chmod %o it", (unsigned) st.st_mode & 07777, (unsigned) want,
                      (unsigned) want);
}

struct listing {
    struct cm_audit *audit;
    enum cm_fleet_side side;
    struct cm_audit_side *out;
};

/* Keys that were purged, or are expected to be elsewhere, must not be there. */
static bool must_be_gone(struct cm_audit *a, uint32_t number, const char *shown)
{
    const struct cm_journal_state *journal = cm_fleet_journal(a->fleet);

    if (number < journal->purged_before && journal->purging)
        return true; /* which is a finding of its own */
    if (number >= journal->purged_before && !a->conf->keys_absent)
        return false;
    cm_audit_find(a, NULL, CM_FINDING_NO_ROW, shown, CM_FINDING_NO_OFFSET,
                  number < journal->purged_before ? "keys that the journal says were purged"
                                                  : "keys, where none are expected");
    return true;
}

static cm_err take_side_name(void *arg, const char *name, struct cm_error *err)
{
    const struct listing *l = arg;
    struct cm_audit *const a = l->audit;
    const int fd = cm_fleet_side_fd(a->fleet, l->side);
    uint32_t number = 0;
    char shown[300];

    (void) snprintf(shown, sizeof shown, "%s/%.256s", cm_audit_side_name[l->side], name);
    if (is_unit_name(name, a->run->tree, &number)) {
        if (l->side == CM_FLEET_KEYS && must_be_gone(a, number, shown))
            return CM_OK;
        if (l->side == CM_FLEET_KEYS)
            check_mode(a, fd, name, shown, a->run->tree ? 0700 : 0600);
        return side_push(l->out, number, err);
    }
    if (!has_suffix(name, ".part"))
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, shown, CM_FINDING_NO_OFFSET,
                      "a file that a fleet does not have");
    else if (!a->unclean)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, shown, CM_FINDING_NO_OFFSET,
                      "unfinished, though the run says that it ended");
    return CM_OK;
}

/* What may lie at the top, and whether it is a directory. */
static const struct {
    const char *name;
    bool directory;
} tops[] = {
    { "run.json", false }, { "ca.pem", false },        { "manifest.ndjson", false }, { "journal", false },
    { "index", false },    { "burned.ndjson", false }, { "chains", true },           { "keys", true },
};

static cm_err take_root_name(void *arg, const char *name, struct cm_error *err)
{
    struct cm_audit *a = arg;
    struct stat st;
    size_t i = 0;

    (void) err;
    while (i < CM_COUNT(tops) && strcmp(name, tops[i].name) != 0)
        i++;
    if (i == CM_COUNT(tops)) {
        if (!has_suffix(name, ".part"))
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, name, CM_FINDING_NO_OFFSET,
                          "a file that a fleet does not have");
        else if (!a->unclean)
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, name, CM_FINDING_NO_OFFSET,
                          "unfinished, though the run says that it ended");
        return CM_OK;
    }
    if (fstatat(cm_fleet_fd(a->fleet), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return CM_OK; /* it went while we looked */
    if (tops[i].directory ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, name, CM_FINDING_NO_OFFSET, "not a %s",
                      tops[i].directory ? "directory" : "regular file");
    else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, name, CM_FINDING_NO_OFFSET,
                      "mode %04o: others can change it: chmod go-w it", (unsigned) st.st_mode & 07777);
    return CM_OK;
}

int cm_audit_compare_numbers(const void *pa, const void *pb)
{
    const uint32_t *a = pa, *b = pb;

    return (*a > *b) - (*a < *b);
}

static cm_err list_side(struct cm_audit *a, enum cm_fleet_side side, struct cm_audit_side *out,
                        struct cm_error *err)
{
    struct listing l = { .audit = a, .side = side, .out = out };
    const int fd = cm_fleet_side_fd(a->fleet, side);

    if (fd < 0)
        return CM_OK;
    if (side == CM_FLEET_KEYS)
        check_mode(a, fd, ".", "keys", 0700);
    CM_TRY(cm_dir_each(fd, ".", cm_audit_side_name[side], take_side_name, &l, err));
    if (out->count > 0)
        qsort(out->number, out->count, sizeof *out->number, cm_audit_compare_numbers);
    out->named = calloc(out->count + 1, sizeof *out->named);
    if (out->named == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the names of segments");
    return CM_OK;
}

cm_err cm_audit_list(struct cm_audit *a, struct cm_audit_side out[2], struct cm_error *err)
{
    CM_TRY(list_side(a, CM_FLEET_CHAINS, &out[CM_FLEET_CHAINS], err));
    CM_TRY(list_side(a, CM_FLEET_KEYS, &out[CM_FLEET_KEYS], err));
    return cm_dir_each(cm_fleet_fd(a->fleet), ".", cm_fleet_path(a->fleet), take_root_name, a, err);
}
