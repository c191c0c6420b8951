#ifndef CM_CLI_AWSFOUND_H
#define CM_CLI_AWSFOUND_H

#include "aws/rules.h"

struct json_t;

/* awsfound.h - what the rules of AWS IoT have against certificates, counted and told by rule: a fleet has the
 * same fault a million times.
 *
 *  Memory   bounded: of each rule the first are kept.
 *  Threads  one.
 */
enum { CM_AWSFOUND_SHOWN = 5, CM_AWSFOUND_KEPT = 100 }; /* of each rule and verdict: printed, in the JSON */

struct cm_awsfound;
/* silent: print says nothing. */
CM_MUST_CHECK cm_err cm_awsfound_open(bool silent, struct cm_awsfound **out, struct cm_error *err);
void cm_awsfound_close(struct cm_awsfound *f); /* NULL accepted */
/* device_id: NULL for a CA; file: where it lies. Both are copied. */
void cm_awsfound_judge(struct cm_awsfound *f, const struct cm_aws_cert *c, cm_when now, const char *device_id,
                       const char *file);
uint64_t cm_awsfound_refused(const struct cm_awsfound *f); /* certificates */
uint64_t cm_awsfound_warned(const struct cm_awsfound *f);  /* and those that have warnings only */
void cm_awsfound_print(const struct cm_awsfound *f);       /* on stderr */
/* [{rule, verdict, count, cases: [{device_id, file, what}]}]; NULL: out of memory. The caller's. */
struct json_t *cm_awsfound_json(const struct cm_awsfound *f);

#endif
