#ifndef CM_IO_REGISTRATIONS_H
#define CM_IO_REGISTRATIONS_H

#include "io/db_query.h"

/* registrations.h - what a registry says of the devices it was given goes into the
 * database's table `registration` (docs/formats.md, "The database").
 *
 * Reads the result files of AWS IoT's bulk registration tasks, RESULTS and ERRORS: NDJSON, a
 * line a device, in any mix. A line with an object `response` tells of a success. Any
 * other is a failure, and names its device wherever it does so: the form of ERRORS is not
 * documented.
 *
 *  Whole      all lines of a file, or none; reading one again changes nothing.
 *  Once good  a device that was registered stays so, whatever a later failure says: a
 *             second task fails for what the first has registered.
 *  Memory     one line, of at most CM_REGISTRATION_LINE octets.
 *  Errors     CM_E_INPUT: no such file, not NDJSON, with the line; CM_E_DB.
 */
enum { CM_REGISTRATION_LINE = 1 << 20 };

struct cm_registrations {
    uint64_t registered, failed;
    uint64_t unknown;       /* lines whose device the database does not have, or that name none */
    uint64_t first_unknown; /* the number of the first such line; 0: none */
};

/* Adds to *out. */
CM_MUST_CHECK cm_err cm_registrations_read(struct cm_db *d, const char *path, struct cm_registrations *out,
                                           struct cm_error *err);

#endif
