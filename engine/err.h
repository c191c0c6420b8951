#ifndef CM_ENGINE_ERR_H
#define CM_ENGINE_ERR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* err.h - how a failure travels.
 *
 * Every call that can fail returns a `cm_err` and, where it takes a
 * `struct cm_error *err` as its last parameter, describes the failure there
 * before it returns. Thread-local error state (errno, libcrypto's queue) is
 * copied in at that moment, so a struct cm_error may cross threads freely.
 *
 *  Text       `what` says the thing, the reason and, where there is one, the
 *             next step, in one or two lines without a final full stop.
 *             Never key bytes, passphrases or PINs.
 *  Ownership  the caller's; plain data, no pointers into the heap.
 *  Classes    the high byte decides policy and the exit code (cli/main.c).
 */
typedef enum cm_err {
    CM_OK = 0,
    CM_E_USAGE = 0x0100,   /* the request or its inputs are wrong: exit 2 */
    CM_E_INPUT = 0x0101,   /* a file that the user named is wrong: exit 2 */
    CM_E_CRYPTO = 0x0200,  /* libcrypto refused or a self-check failed: exit 4 */
    CM_E_IO = 0x0300,      /* the kernel refused; detail in cm_error.os: exit 3 */
    CM_E_DB = 0x0301,      /* a database refused, is not there or went away: exit 3 */
    CM_E_LIMIT = 0x0400,   /* a limit of the process or of this program: exit 3 */
    CM_E_NOMEM = 0x0401,   /* out of memory: exit 3 */
    CM_E_NOSPACE = 0x0402, /* an arena or a fixed buffer is full: exit 3 */
    CM_E_CLOSED = 0x0500,  /* orderly stop; never printed as a failure */
    CM_E_END = 0x0501,     /* nothing left to read; never printed as a failure */
    CM_E_FOUND = 0x0600,   /* done, but something was found: exit 1 */
} cm_err;

enum { CM_ERROR_TEXT = 480 };

struct cm_error {
    cm_err code;
    int os;             /* errno at the failure, or 0 */
    unsigned long ossl; /* first libcrypto error code, or 0 */
    const char *where;  /* "file:line", static storage */
    char what[CM_ERROR_TEXT];
};

static inline unsigned cm_err_class(cm_err code)
{
    return (unsigned) code & 0xff00u;
}

#define CM_MUST_CHECK __attribute__((warn_unused_result))
#define CM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CM_STR2(x) #x
#define CM_STR(x) CM_STR2(x)
#define CM_HERE __FILE__ ":" CM_STR(__LINE__)

/* Fills *e (NULL allowed) and returns `code`. For CM_E_IO the text gets
 * ": " and strerror(errno) appended; for CM_E_CRYPTO libcrypto's reason.
 * Drains libcrypto's error queue of this thread (err.c is its only drain). */
cm_err cm_fail(struct cm_error *e, cm_err code, const char *where, const char *fmt, ...) CM_PRINTF(4, 5);

/* `code` stands in the return itself so that the compiler sees a failure that never is CM_OK. */
#define CM_FAIL(e, code, ...) return ((void) cm_fail((e), (code), CM_HERE, __VA_ARGS__), (code))
#define CM_TRY(expr)                                                                                         \
    do {                                                                                                     \
        const cm_err cm_try_rc_ = (expr);                                                                    \
        if (cm_try_rc_ != CM_OK)                                                                             \
            return cm_try_rc_;                                                                               \
    } while (0)

/* A broken invariant is a bug, not an operating error: stop before it becomes
 * a wrong certificate. Stays on in release builds. */
#define CM_ASSERT(cond)                                                                                      \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "certmill: bug at %s: %s\n", CM_HERE, #cond);                                    \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#define CM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
