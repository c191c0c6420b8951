#ifndef CM_CLI_AUDIT_ASKED_H
#define CM_CLI_AUDIT_ASKED_H

#include "cli/audit_device.h"
#include "io/fleet.h"

/* audit_asked.h - a row against what was asked and what is committed, as the
 * journal has it.
 *
 *  Threads  none of the calls changes it: any number of threads may check rows.
 *  Memory   16 octets a serial prefix.
 *  Limits   ids with {uuid} in their pattern, and those of a list, are not made again;
 *           see audit_device.h.
 */
struct cm_asked;
typedef void cm_asked_report(void *arg, const char *what);

CM_MUST_CHECK cm_err cm_asked_open(const struct cm_fleet *fleet, struct cm_asked **out, struct cm_error *err);
void cm_asked_close(struct cm_asked *asked); /* NULL accepted */
/* See audit_device.h. */
struct cm_span cm_asked_san(const struct cm_asked *asked, const struct cm_row *row, uint8_t *buf);
void cm_asked_check(const struct cm_asked *asked, const struct cm_row *row, cm_asked_report *report,
                    void *arg);

#endif
