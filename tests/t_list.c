#include "tests/t_list.h"

#include <criterion/criterion.h>
#include <unistd.h>

char t_list_path[64];
struct cm_hasher t_list_hasher;

void t_list_setup(void)
{
    (void) snprintf(t_list_path, sizeof t_list_path, "/tmp/certmill-list-%d.txt", (int) getpid());
    cr_assert_eq(cm_hasher_open(&t_list_hasher, NULL), CM_OK);
}

void t_list_teardown(void)
{
    (void) unlink(t_list_path);
    cm_hasher_close(&t_list_hasher);
}

void t_list_write(const void *data, size_t len)
{
    FILE *f = fopen(t_list_path, "w");

    cr_assert(f != NULL && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

cm_err t_list_open(enum cm_list_format format, const struct cm_source_list_conf *conf, struct cm_source **out,
                   struct cm_error *err)
{
    cm_err rc = cm_source_list_open(t_list_path, format, NULL, out, err);

    if (rc == CM_OK) {
        rc = cm_source_list_check(*out, conf, err);
        if (rc != CM_OK)
            (*out)->ops->close(*out);
    }
    *out = rc == CM_OK ? *out : NULL;
    return rc;
}
