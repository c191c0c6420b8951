#include "cli/badrows.h"

#include "cli/msg.h"
#include "engine/row.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static cm_err create(const char *path, FILE **out, struct cm_error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 && errno == EEXIST)
        CM_FAIL(err, CM_E_USAGE, "--skip-bad: %s is there already; name a new file", path);
    *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (*out != NULL)
        return CM_OK;
    (void) cm_fail(err, CM_E_IO, CM_HERE, "can't write the refused rows to %s", path);
    if (fd >= 0)
        (void) close(fd);
    return CM_E_IO;
}

static cm_err write_fault(FILE *f, const char *path, struct cm_span text, struct cm_error *err)
{
    if (fwrite(text.data, 1, text.len, f) != text.len || fputc('\n', f) == EOF)
        CM_FAIL(err, CM_E_IO, "can't write the refused rows to %s", path);
    return CM_OK;
}

static cm_err open_files(struct cm_badrows *b, struct cm_error *err)
{
    CM_TRY(create(b->path, &b->rows, err));
    if (asprintf(&b->reasons_path, "%s.reasons", b->path) < 0) {
        b->reasons_path = NULL;
        CM_FAIL(err, CM_E_NOMEM, "no memory for the refused rows");
    }
    CM_TRY(create(b->reasons_path, &b->reasons, err));
    return b->header.len > 0 ? write_fault(b->rows, b->path, b->header, err) : CM_OK;
}

cm_err cm_badrows_take(void *arg, const struct cm_list_fault *fault, struct cm_error *err)
{
    struct cm_badrows *const b = arg;
    uint8_t line[2 * CM_ERROR_TEXT + 64];
    struct cm_writer w = cm_writer(line, sizeof line);

    if (b->count < CM_LIST_SHOWN) {
        b->shown[b->count].line = fault->line;
        (void) snprintf(b->shown[b->count].reason, sizeof b->shown[0].reason, "%s", fault->reason);
    }
    if (b->count++ == 0 && b->path != NULL)
        CM_TRY(open_files(b, err));
    if (b->path == NULL)
        return CM_OK;
    cm_put_lit(&w, "{\"line\":");
    cm_put_dec(&w, fault->line, 0);
    cm_put_lit(&w, ",\"reason\":\"");
    cm_put_json(&w, cm_span_str(fault->reason));
    cm_put_lit(&w, "\"}");
    CM_TRY(write_fault(b->reasons, b->reasons_path, cm_span(line, w.len), err));
    return write_fault(b->rows, b->path, fault->raw, err);
}

static cm_err sync_file(FILE *f, const char *path, struct cm_error *err)
{
    if (fflush(f) != 0 || fsync(fileno(f)) != 0)
        CM_FAIL(err, CM_E_IO, "can't write the refused rows to %s", path);
    return CM_OK;
}

cm_err cm_badrows_sync(struct cm_badrows *b, struct cm_error *err)
{
    if (b->rows == NULL)
        return CM_OK;
    CM_TRY(sync_file(b->rows, b->path, err));
    return sync_file(b->reasons, b->reasons_path, err);
}

cm_err cm_badrows_conclude(const struct cm_badrows *b, const char *path, struct cm_error *err)
{
    if (b->count == 0)
        return CM_OK;
    CM_FAIL(err, CM_E_FOUND, "%llu row%s of %s left out: see %s, and %s.reasons for why",
            (unsigned long long) b->count, b->count == 1 ? "" : "s", b->list, path, path);
}

void cm_badrows_print(const struct cm_badrows *b)
{
    for (uint64_t i = 0; i < b->count && i < CM_LIST_SHOWN; i++)
        cm_msg_note("%s, line %llu: %s", b->list, (unsigned long long) b->shown[i].line, b->shown[i].reason);
    if (b->count > CM_LIST_SHOWN)
        cm_msg_note("%s: and %llu more", b->list, (unsigned long long) (b->count - CM_LIST_SHOWN));
}

json_t *cm_badrows_json(const struct cm_badrows *b)
{
    json_t *const all = json_array();

    for (uint64_t i = 0; all != NULL && i < b->count && i < CM_LIST_SHOWN; i++)
        (void) json_array_append_new(
            all, json_pack("{s:I s:s}", "line", (json_int_t) b->shown[i].line, "reason", b->shown[i].reason));
    if (json_array_size(all) == (b->count < CM_LIST_SHOWN ? b->count : CM_LIST_SHOWN))
        return all;
    json_decref(all);
    return NULL;
}

/* What was made and is not kept is removed; a name that was there before was never opened. */
static void drop(FILE *f, const char *path, bool kept)
{
    if (f == NULL)
        return;
    (void) fclose(f);
    if (!kept)
        (void) unlink(path);
}

void cm_badrows_close(struct cm_badrows *b)
{
    drop(b->rows, b->path, b->kept);
    drop(b->reasons, b->reasons_path, b->kept);
    free(b->reasons_path);
    *b = (struct cm_badrows) { 0 };
}
