/* Reserves and frees ids in a ledger, for scripts that let processes race (e2e_ledger.py). Not installed.
 *
 *   t_ledger_tool reserve URL WAIT_MS CA RUN ORDER    ids on standard input, a line each; ORDER "-": none. At
 * an empty line it says "ready" and reads on t_ledger_tool release URL WAIT_MS CA RUN t_ledger_tool public
 * URL
 *
 * Exit codes are certmill's; the message of a failure goes to standard error. */
#include "cli/msg.h"
#include "engine/bytes.h"
#include "io/ledger.h"

#include <time.h>

static double now(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Most memory that this program had, in KiB; getrusage would count its parent's, too. */
static long peak_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");

    while (f != NULL && kib < 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    if (f != NULL)
        (void) fclose(f);
    return kib;
}

static cm_err add_all(struct cm_ledger *l, uint64_t *count, struct cm_error *err)
{
    char line[128];

    while (fgets(line, sizeof line, stdin) != NULL) {
        const size_t len = strcspn(line, "\n");
        if (len == 0) {
            (void) puts("ready");
            (void) fflush(stdout);
            continue;
        }
        CM_TRY(cm_ledger_add(l, cm_span(line, len), err));
        ++*count;
    }
    return CM_OK;
}

static cm_err reserve(struct cm_ledger *l, const struct cm_ledger_claim *claim, struct cm_error *err)
{
    const double started = now();
    uint64_t count = 0;

    CM_TRY(cm_ledger_begin(l, claim, err));
    CM_TRY(add_all(l, &count, err));
    CM_TRY(cm_ledger_commit(l, err));
    (void) printf("reserved %llu new %d seconds %.2f kib %ld\n", (unsigned long long) count,
                  cm_ledger_is_new(l), now() - started, peak_kib());
    return CM_OK;
}

static cm_err act(int argc, char **argv, struct cm_error *err)
{
    char public[CM_LEDGER_URL_MAX];
    struct cm_ledger *l = NULL;
    cm_err rc = CM_OK;

    if (argc == 3 && strcmp(argv[1], "public") == 0) {
        CM_TRY(cm_ledger_public(argv[2], public, sizeof public, err));
        (void) puts(public);
        return CM_OK;
    }
    CM_ASSERT(argc >= 6);
    CM_TRY(cm_ledger_open(argv[2], (unsigned) strtoul(argv[3], NULL, 10), &l, err));
    if (strcmp(argv[1], "release") == 0) {
        rc = cm_ledger_release(l, argv[4], argv[5], err);
    } else {
        CM_ASSERT(argc == 7);
        const struct cm_ledger_claim claim = { argv[4], argv[5], strcmp(argv[6], "-") == 0 ? NULL : argv[6] };
        rc = reserve(l, &claim, err);
    }
    cm_ledger_close(l);
    return rc;
}

int main(int argc, char **argv)
{
    struct cm_error err = { 0 };
    const cm_err rc = act(argc, argv, &err);

    if (rc != CM_OK)
        (void) fprintf(stderr, "%s\n", err.what);
    return cm_msg_exit_code(rc, &err);
}
