#ifndef CM_CLI_FINDINGS_H
#define CM_CLI_FINDINGS_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;

/* findings.h - collects what an audit finds. All are counted, the first
 * CM_FINDINGS_MAX are kept; they are shown in the order of the manifest, what
 * concerns no device last.
 *
 *  Threads  add: any, it locks. The rest: when no thread adds any more.
 *  Memory   bounded by CM_FINDINGS_MAX; where there is none left, counting goes on.
 */
enum { CM_FINDINGS_MAX = 10000, CM_FINDINGS_SHOWN = 20 };

#define CM_FINDING_NO_OFFSET UINT64_MAX
#define CM_FINDING_NO_ROW UINT64_MAX

struct cm_finding {
    const char *device_id; /* NULL: of no device */
    const char *what;
    const char *file; /* in the fleet: "chains/000000.tar"; NULL: the fleet itself */
    uint64_t offset;  /* in the file, or CM_FINDING_NO_OFFSET */
    uint64_t row;     /* offset of the device's row, or CM_FINDING_NO_ROW */
    bool certificate; /* what is wrong is in the certificate, though its row is what shows it */
};

struct cm_findings;
CM_MUST_CHECK cm_err cm_findings_new(struct cm_findings **out, struct cm_error *err);
void cm_findings_free(struct cm_findings *f);                                  /* NULL accepted */
void cm_findings_add(struct cm_findings *f, const struct cm_finding *finding); /* copies */
/* Called with each finding that is added from now on, one at a time. */
typedef void cm_findings_on_add(void *arg, const struct cm_finding *finding);
void cm_findings_watch(struct cm_findings *f, cm_findings_on_add *on_add, void *arg);
uint64_t cm_findings_count(const struct cm_findings *f);
/* The first CM_FINDINGS_SHOWN on stderr, "ID: what (file at offset N)", and how many more there are. */
void cm_findings_print(struct cm_findings *f);
/* A JSON array of all that were kept; NULL: out of memory. The caller's. */
struct json_t *cm_findings_json(struct cm_findings *f);

#endif
