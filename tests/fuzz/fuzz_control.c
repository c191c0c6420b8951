/* Targets: cm_operations_answer and, as if the signature were good, cm_operations_accepted: everything that a
 * request to the control plane reaches. */
#include "rehearsal/operation.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/request.h"

#include <unistd.h>

static char dir[] = "/tmp/fuzz_control.XXXXXX", path[64];
static struct cm_operations all;

static void clean_up(void)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char name[80];

    cm_registry_close(all.registry);
    cm_limits_free(all.limits);
    for (size_t i = 0; i < CM_COUNT(ends); i++) {
        (void) snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void) unlink(name);
    }
    (void) rmdir(dir);
}

static void set_up(void)
{
    static const char *const services[] = { "iot", NULL };
    struct cm_error err = { 0 };

    CM_ASSERT(mkdtemp(dir) != NULL);
    (void) snprintf(path, sizeof path, "%s/registry", dir);
    CM_ASSERT(cm_registry_open(path, NULL, &all.registry, &err) == CM_OK);
    all.keys = (struct cm_sigv4_keys) {
        .access_key = "AKIDEXAMPLE", .secret_key = "secret", .region = "us-east-1", .services = services
    };
    all.data_endpoint = "127.0.0.1";
    all.own_url = "http://127.0.0.1:1";
    (void) snprintf(all.token, sizeof all.token, "0123456789abcdef0123456789abcdef");
    (void) atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cm_op_answer a = { 0 };
    struct cm_error err = { 0 };
    struct fuzz_request f;

    if (all.registry == NULL)
        set_up();
    if (fuzz_request_read(&f, data, len)) {
        CM_ASSERT(cm_operations_answer(&all, &f.r, 1440938160, &a, &err) == CM_OK);
        free(a.body);
        CM_ASSERT(cm_operations_accepted(&all, &f.r, &a, &err) == CM_OK);
        CM_ASSERT(a.failed == CM_OK);
        free(a.body);
    }
    free(f.text);
    return 0;
}
