#include "aws/kit.h"

#include "engine/row.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

enum { TEXT_MAX = 65536 };

/* ---- filling ---- */

static const struct cm_aws_kit_file *file_of(const char *name)
{
    for (size_t i = 0; i < cm_aws_kit_embedded_count; i++)
        if (strcmp(cm_aws_kit_embedded[i].name, name) == 0)
            return &cm_aws_kit_embedded[i];
    return NULL;
}

static void put_string(struct cm_writer *w, struct cm_span text)
{
    cm_put_byte(w, '"');
    cm_put_json(w, text);
    cm_put_byte(w, '"');
}

static cm_err put_template(const struct cm_aws_kit *k, struct cm_writer *w, struct cm_error *err)
{
    char *const text = malloc(TEXT_MAX);
    struct cm_writer in = cm_writer(text, TEXT_MAX);

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a template");
    const cm_err rc = cm_aws_kit_text(k, "jitp-template.json", &in, err);
    if (rc == CM_OK)
        put_string(w, cm_span(in.data, in.len));
    free(text);
    return rc;
}

/* Two lines of README.md. */
static void put_verification(const struct cm_aws_kit *k, struct cm_writer *w)
{
    if (k->verification_end != 0) {
        cm_put_lit(w, "verification.pem   is valid until ");
        cm_put_rfc3339(w, k->verification_end);
        cm_put_lit(w, "; then make the kit again");
    } else {
        cm_put_lit(w, "verification.csr   is for the CA to sign, as verification.pem here: for a day, with "
                      "this subject;\n"
                      "                       then certmill aws check says whether it is right");
    }
}

static cm_err put_place(const struct cm_aws_kit *k, struct cm_span place, bool in_document,
                        struct cm_writer *w, struct cm_error *err)
{
    const bool china = strcmp(k->partition, "aws-cn") == 0;
    const struct {
        const char *name, *value;
    } places[] = {
        { "CA_ID", k->ca_certificate_id },
        { "CA_SUBJECT", k->ca_subject },
        { "PARTITION", k->partition },
        { "DNS_SUFFIX", china ? "amazonaws.com.cn" : "amazonaws.com" },
        { "ACCOUNT", k->account != NULL ? k->account
                     : in_document      ? "ACCOUNT_ID"
                                        : "" },
        { "REGION", k->region != NULL ? k->region
                    : in_document     ? "AWS_REGION"
                                      : "" },
    };

    if (cm_span_eq(place, cm_span_str("JITP_TEMPLATE")))
        return put_template(k, w, err);
    if (cm_span_eq(place, cm_span_str("VERIFICATION"))) {
        put_verification(k, w);
        return CM_OK;
    }
    for (size_t i = 0; i < CM_COUNT(places); i++)
        if (cm_span_eq(place, cm_span_str(places[i].name)))
            cm_put_str(w, places[i].value);
    return CM_OK;
}

/* A place is @NAME@, of capitals and underlines. */
static cm_err put_text(const struct cm_aws_kit *k, const char *text, struct cm_writer *w,
                       struct cm_error *err)
{
    const bool in_document = text[0] == '{';

    for (const char *at = text; *at != '\0';) {
        const size_t name = *at == '@' ? strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
        if (name > 0 && at[name + 1] == '@') {
            CM_TRY(put_place(k, cm_span(at + 1, name), in_document, w, err));
            at += name + 2;
        } else {
            cm_put_byte(w, (uint8_t) *at++);
        }
    }
    CM_ASSERT(cm_writer_ok(w));
    return CM_OK;
}

cm_err cm_aws_kit_text(const struct cm_aws_kit *k, const char *name, struct cm_writer *w,
                       struct cm_error *err)
{
    const struct cm_aws_kit_file *const file = file_of(name);

    CM_ASSERT(file != NULL);
    return put_text(k, file->text, w, err);
}

/* ---- writing ---- */

/* The directory under its two names, below its parent. */
struct place {
    char parent[PATH_MAX], name[NAME_MAX + 1], part[NAME_MAX + 1];
    int parent_fd, fd;
};

static cm_err write_file(const struct place *p, const char *name, mode_t mode, struct cm_span data,
                         struct cm_error *err)
{
    char path[2 * NAME_MAX];
    int fd = -1;

    (void) snprintf(path, sizeof path, "%s/%s", p->part, name);
    CM_TRY(cm_file_create(p->fd, p->part, name, 0, mode, &fd, err));
    cm_err rc = cm_file_write(fd, path, data.data, data.len, 0, err);
    if (rc == CM_OK)
        rc = cm_file_sync(fd, path, err);
    if (close(fd) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write %s", path);
    return rc;
}

static bool is_script(const char *name)
{
    const char *const dot = strrchr(name, '.');

    return dot != NULL && strcmp(dot, ".sh") == 0 && strcmp(name, "settings.sh") != 0;
}

static cm_err write_texts(const struct cm_aws_kit *k, const struct place *p, struct cm_error *err)
{
    char *const text = malloc(TEXT_MAX);
    cm_err rc = text != NULL ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the kit");

    for (size_t i = 0; rc == CM_OK && i < cm_aws_kit_embedded_count; i++) {
        const struct cm_aws_kit_file *const file = &cm_aws_kit_embedded[i];
        struct cm_writer w = cm_writer(text, TEXT_MAX);
        rc = put_text(k, file->text, &w, err);
        if (rc == CM_OK)
            rc = write_file(p, file->name, is_script(file->name) ? 0755 : 0644, cm_span(w.data, w.len), err);
    }
    free(text);
    return rc;
}

static cm_err fill(const struct cm_aws_kit *k, const struct place *p, struct cm_error *err)
{
    CM_TRY(write_texts(k, p, err));
    CM_TRY(write_file(p, "ca.pem", 0644, k->ca_pem, err));
    CM_TRY(write_file(p, k->verification_end != 0 ? "verification.pem" : "verification.csr", 0644,
                      k->verification, err));
    return cm_dir_sync(p->fd, p->part, err);
}

static cm_err find_place(const char *dir, struct place *p, struct cm_error *err)
{
    size_t len = strlen(dir);

    while (len > 1 && dir[len - 1] == '/')
        len--;
    const char *const slash = memrchr(dir, '/', len);
    const char *const name = slash != NULL ? slash + 1 : dir;
    const size_t name_len = len - (size_t) (name - dir);
    if (name_len == 0 || name_len > NAME_MAX - 5 || len >= PATH_MAX || strncmp(name, "..", name_len) == 0)
        CM_FAIL(err, CM_E_USAGE, "--out %.200s is no name for a new directory", dir);
    (void) snprintf(p->parent, sizeof p->parent, "%.*s",
                    slash == NULL  ? 1
                    : slash == dir ? 1
                                   : (int) (slash - dir),
                    slash == NULL ? "." : dir);
    (void) snprintf(p->name, sizeof p->name, "%.*s", (int) name_len, name);
    (void) snprintf(p->part, sizeof p->part, "%.*s.part", (int) name_len, name);
    const cm_err rc = cm_dir_open(p->parent, &p->parent_fd, err);
    if (rc == CM_E_IO && err->os == ENOENT)
        CM_FAIL(err, CM_E_USAGE, "--out %.200s: there is no directory %.200s; make it first", dir, p->parent);
    CM_TRY(rc);
    for (int part = 0; part < 2; part++)
        if (faccessat(p->parent_fd, part ? p->part : p->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            CM_FAIL(err, CM_E_USAGE, "%.200s%s is there already%s", dir, part ? ".part" : "",
                    part ? " (from an interrupted or running aws kit); remove it"
                         : " and is never overwritten; name another --out, or move it away");
    return CM_OK;
}

cm_err cm_aws_kit_write(const struct cm_aws_kit *k, const char *dir, struct cm_error *err)
{
    struct place p = { .parent_fd = -1, .fd = -1 };
    cm_err rc = find_place(dir, &p, err);
    const char *there = NULL; /* what is to go when a step fails */

    if (rc == CM_OK) {
        rc = cm_dir_make(p.parent_fd, p.parent, p.part, 0755, &p.fd, err);
        there = rc != CM_OK && err->os == EEXIST ? NULL : p.part; /* somebody else's, who was quicker */
    }
    if (rc == CM_OK)
        rc = fill(k, &p, err);
    if (rc == CM_OK) {
        rc = cm_rename_new(p.parent_fd, p.parent, p.part, p.name, err);
        there = rc == CM_OK ? p.name : p.part;
    }
    if (rc == CM_OK)
        rc = cm_dir_sync(p.parent_fd, p.parent, err);
    if (rc != CM_OK && there != NULL)
        (void) !cm_dir_discard(p.parent_fd, p.parent, there, false, NULL);
    cm_fd_close(&p.fd);
    cm_fd_close(&p.parent_fd);
    return rc;
}
