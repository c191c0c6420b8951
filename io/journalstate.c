#include "io/file.h"
#include "io/journalread.h"
#include "io/readat.h"
#include "io/sys.h"

#include <errno.h>

/* The journal's file, and what its records come to. */
enum { JOURNAL_MAX = 1 << 30 };

cm_err cm_journal_read(int dirfd, const char *dir, struct cm_journal_state *out, struct cm_error *err)
{
    char path[512];
    struct stat st;
    size_t got = 0;
    int fd = cm_sys_openat(dirfd, "journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);

    (void) snprintf(path, sizeof path, "%.480s/journal", dir);
    if (fd < 0 && errno == ENOENT)
        return CM_E_END;
    if (fd < 0 || fstat(fd, &st) != 0) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't open %s", path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_MAX) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_INPUT, "%s is not a regular file, or larger than %d octets", path, JOURNAL_MAX);
    }
    uint8_t *data = malloc((size_t) st.st_size + 1);
    cm_err rc = data != NULL ? cm_read_at(fd, path, data, (size_t) st.st_size, 0, &got, err)
                             : cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for %s", path);
    cm_fd_close(&fd);
    if (rc == CM_OK)
        rc = cm_journal_parse(cm_span(data, got), path, out, err);
    free(data);
    return rc;
}

const struct cm_journal_supersede *cm_journal_superseded(const struct cm_journal_state *s, uint64_t seq,
                                                         uint64_t row)
{
    const struct cm_journal_supersede *last = NULL, *first = NULL;

    for (size_t i = 0; i < s->supersedes; i++) {
        if (!cm_ranges_meets(&s->supersede[i].seqs, seq, seq))
            continue;
        last = &s->supersede[i];
        if (first == NULL && row < last->manifest_bytes)
            first = last;
    }
    /* The last one may not have come to a new certificate yet. */
    return first == last && cm_ranges_meets(&s->again, seq, seq) ? NULL : first;
}

uint64_t cm_journal_rows_in_force(const struct cm_journal_state *s)
{
    return s->at.devices - (s->at.superseded - cm_ranges_size(&s->again));
}

void cm_journal_state_done(struct cm_journal_state *s)
{
    for (size_t i = 0; i < s->supersedes; i++) {
        free(s->supersede[i].reason);
        cm_ranges_close(&s->supersede[i].seqs);
    }
    free(s->supersede);
    cm_ranges_close(&s->again);
    json_decref(s->run);
    cm_ranges_close(&s->seqs);
    cm_ranges_close(&s->used);
    cm_ranges_close(&s->unused);
    free(s->prefix);
    free(s->unit);
    free(s->commit);
    free(s->attempt);
    *s = (struct cm_journal_state) { 0 };
}
