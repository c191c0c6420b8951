#ifndef CM_TESTS_FAULTS_PLAN_H
#define CM_TESTS_FAULTS_PLAN_H

#include <stdbool.h>
#include <stdint.h>

/* plan.h - what the environment variable CERTMILL_FAULTS asks for: which call is to
 * fail, how, and where the process is to die. README.md has the language.
 *
 *  Counting  every rule counts the calls that its kind and pattern match, over all
 *            threads; the first rule whose number is reached decides.
 *  Threads   every function but init may be called from any.
 */
enum cm_event_kind {
    CM_EV_OPENAT,
    CM_EV_MKDIRAT,
    CM_EV_FCHMOD,
    CM_EV_PREAD,
    CM_EV_PWRITE,
    CM_EV_FDATASYNC,
    CM_EV_FSYNC,
    CM_EV_SYNCFS,
    CM_EV_FTRUNCATE,
    CM_EV_RENAMEAT2,
    CM_EV_UNLINKAT,
    CM_EV_CLOSE,
    CM_EV_RESULT, /* of a write, before it is judged */
    CM_EV_POINT,  /* path: the point's name */
    CM_EV_COUNT,
};

enum cm_fault {
    CM_FAULT_NONE,
    CM_FAULT_FAIL,
    CM_FAULT_LOSE,
    CM_FAULT_SHORT,
    CM_FAULT_KILL,
    CM_FAULT_KILL_AFTER,
    CM_FAULT_STALL
};

enum cm_short { CM_SHORT_0, CM_SHORT_1, CM_SHORT_HALF, CM_SHORT_LESS }; /* LESS: one octet */

struct cm_verdict {
    enum cm_fault fault;
    int value; /* FAIL, LOSE: an errno; SHORT: an enum cm_short; STALL: milliseconds */
};

/* Reads the plan, NULL: none. A plan that can't be understood ends the process with
 * exit code 2: a test must not pass because its fault was misspelt. */
void cm_plan_init(const char *text);

/* What is to happen to this call. KILL and STALL have happened already. */
struct cm_verdict cm_plan_decide(enum cm_event_kind kind, const char *path);
/* After the call: dies when the verdict was KILL_AFTER. */
void cm_plan_after(struct cm_verdict v);
/* How many of len octets a short write takes; at most len - 1. */
uint64_t cm_short_of(int value, uint64_t len);

uint64_t cm_plan_tune(const char *name, uint64_t value);
/* True for `percent` of the calls, by the plan's seed; and a number below n. */
bool cm_plan_hold(void);
unsigned cm_plan_pick(unsigned n);
bool cm_plan_loses(void); /* some rule says lose */

#endif
