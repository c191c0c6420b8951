#include "bench/textfile.h"

#include "io/file.h"

cm_err cm_textfile_open(struct cm_textfile *t, struct cm_error *err)
{
    *t = (struct cm_textfile) { 0 };
    t->out = open_memstream(&t->text, &t->len);
    if (t->out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the report");
    return CM_OK;
}

cm_err cm_textfile_save(struct cm_textfile *t, int dirfd, const char *dir, const char *name,
                        struct cm_error *err)
{
    const bool failed = ferror(t->out) != 0;
    cm_err rc = CM_OK;

    if (fclose(t->out) != 0 || failed)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for %s", name);
    else
        rc = cm_file_replace(dirfd, dir, name, cm_span(t->text, t->len), 0644, err);
    free(t->text);
    return rc;
}
