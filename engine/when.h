#ifndef CM_ENGINE_WHEN_H
#define CM_ENGINE_WHEN_H

#include "engine/bytes.h"
#include "engine/err.h"

#include <time.h>

/* when.h - points in time as X.509 and the manifest write them.
 *
 * A cm_when is seconds since 1970-01-01T00:00:00Z in the proleptic Gregorian
 * calendar, without leap seconds; 64 bits, so that 9999-12-31T23:59:59Z (RFC
 * 5280 4.1.2.5: "no well-defined expiration date") is an ordinary value.
 */
typedef int64_t cm_when;

#define CM_WHEN_MAX ((cm_when) 253402300799) /* 9999-12-31T23:59:59Z */

cm_when cm_when_now(void);
/* The monotonic clock `ms` milliseconds from now, for pthread_cond_timedwait. */
struct timespec cm_when_deadline(int ms);
/* Year 1..9999 and so on, all checked. CM_E_USAGE otherwise. */
CM_MUST_CHECK cm_err cm_when_make(int year, int month, int day, int hour, int minute, int second,
                                  cm_when *out, struct cm_error *err);
/* "YYYYMMDDHHMMSSZ" or RFC 3339 with Z ("2027-01-31T00:00:00Z", "2027-01-31"). */
CM_MUST_CHECK cm_err cm_when_parse(const char *text, cm_when *out, struct cm_error *err);
/* 20 characters: 2027-01-31T00:00:00Z. */
void cm_put_rfc3339(struct cm_writer *w, cm_when t);
/* A DER UTCTime through 2049, a GeneralizedTime from 2050 on (RFC 5280 4.1.2.5). */
void cm_put_der_time(struct cm_writer *w, cm_when t);

#endif
