#include "cli/awscas.h"

#include "cli/input.h"
#include "io/file.h"

#include <limits.h>

struct one {
    uint8_t certificate_id[32], subject[32];
    struct cm_aws_cert facts;
    char *name; /* malloced */
};

struct cm_awscas {
    struct one *item; /* malloced */
    size_t count, cap, cas;
    size_t seen; /* files with a certificate, the same ones again included */
};

cm_err cm_awscas_open(struct cm_awscas **out, struct cm_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for CA certificates");
    return CM_OK;
}

void cm_awscas_close(struct cm_awscas *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->item[i].name);
    free(c->item);
    free(c);
}

size_t cm_awscas_count(const struct cm_awscas *c)
{
    return c->cas;
}

static cm_err make_room(struct cm_awscas *c, struct cm_error *err)
{
    struct one *more = NULL;

    if (c->count == CM_AWSCAS_MAX)
        CM_FAIL(err, CM_E_LIMIT, "more than %d certificates of CAs; check them in parts", CM_AWSCAS_MAX);
    if (c->count < c->cap)
        return CM_OK;
    more = reallocarray(c->item, c->cap * 2 + 16, sizeof *more);
    if (more == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for CA certificates");
    c->item = more;
    c->cap = c->cap * 2 + 16;
    return CM_OK;
}

static enum cm_aws_role role_of(const char *name)
{
    const char *const slash = strrchr(name, '/');

    return strcmp(slash != NULL ? slash + 1 : name, "verification.pem") == 0 ? CM_AWS_VERIFICATION
                                                                             : CM_AWS_CA;
}

cm_err cm_awscas_add(struct cm_awscas *c, const char *name, struct cm_span pem, struct cm_error *err)
{
    struct cm_error why = { 0 };

    CM_TRY(make_room(c, err));
    struct one *const one = &c->item[c->count];
    *one = (struct one) { .name = NULL };
    const cm_err rc =
        cm_aws_cert_pem(pem, role_of(name), &one->facts, one->certificate_id, one->subject, &why);
    if (rc != CM_OK)
        CM_FAIL(err, rc, "%.200s: %.200s", name, why.what);
    c->seen++;
    for (size_t i = 0; i < c->count; i++)
        if (memcmp(c->item[i].certificate_id, one->certificate_id, sizeof one->certificate_id) == 0)
            return CM_OK;
    one->name = strdup(name);
    if (one->name == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for CA certificates");
    c->count++;
    c->cas += one->facts.role == CM_AWS_CA;
    return CM_OK;
}

cm_err cm_awscas_add_file(struct cm_awscas *c, const char *path, struct cm_error *err)
{
    char *data = NULL;
    size_t len = 0;

    CM_TRY(cm_input_read(path, "CA certificate", &data, &len, err));
    const cm_err rc = cm_awscas_add(c, path, cm_span(data, len), err);
    free(data);
    return rc;
}

struct dir {
    struct cm_awscas *c;
    const char *path;
};

static cm_err on_name(void *arg, const char *name, struct cm_error *err)
{
    static const char *const suffixes[] = { ".pem", ".crt", ".cer" };
    const struct dir *const d = arg;
    const char *const dot = strrchr(name, '.');
    char path[PATH_MAX];

    for (size_t i = 0; dot != NULL && i < CM_COUNT(suffixes); i++) {
        if (strcmp(dot, suffixes[i]) != 0)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", d->path, name) >= (int) sizeof path)
            CM_FAIL(err, CM_E_USAGE, "%s/%s: the path is too long", d->path, name);
        return cm_awscas_add_file(d->c, path, err);
    }
    return CM_OK;
}

cm_err cm_awscas_add_dir(struct cm_awscas *c, const char *path, struct cm_error *err)
{
    struct dir d = { c, path };
    const size_t before = c->seen;
    int fd = -1;

    CM_TRY(cm_dir_open(path, &fd, err));
    const cm_err rc = cm_dir_each(fd, ".", path, on_name, &d, err);
    cm_fd_close(&fd);
    CM_TRY(rc);
    if (c->seen == before)
        CM_FAIL(
            err, CM_E_INPUT,
            "%s is no fleet (no run.json), and has no certificates (.pem, .crt, .cer); name a fleet, or a "
            "directory with CA certificates",
            path);
    return CM_OK;
}

static size_t count_subject(const struct cm_awscas *c, const struct one *one)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++)
        count += c->item[i].facts.role == CM_AWS_CA &&
                 memcmp(c->item[i].subject, one->subject, sizeof one->subject) == 0;
    return count;
}

static int by_name(const void *pa, const void *pb)
{
    const struct one *a = pa, *b = pb;

    return strcmp(a->name, b->name);
}

void cm_awscas_judge(struct cm_awscas *c, cm_when now, struct cm_awsfound *found)
{
    if (c->count > 0)
        qsort(c->item, c->count, sizeof *c->item, by_name);
    for (size_t i = 0; i < c->count; i++) {
        struct one *const one = &c->item[i];
        if (one->facts.role == CM_AWS_CA)
            one->facts.same_subject = count_subject(c, one);
        cm_awsfound_judge(found, &one->facts, now, NULL, one->name);
    }
}
