#include "engine/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <string.h>

static void append_reason(struct cm_error *e)
{
    const size_t used = strlen(e->what);
    const size_t room = sizeof e->what - used;
    char text[128];

    if (e->code == CM_E_IO && e->os != 0) {
        (void) snprintf(e->what + used, room, ": %s", strerror_r(e->os, text, sizeof text));
    } else if (cm_err_class(e->code) == CM_E_CRYPTO && e->ossl != 0) {
        const char *reason = ERR_reason_error_string(e->ossl);
        if (reason != NULL)
            (void) snprintf(e->what + used, room, ": %s", reason);
    }
}

cm_err cm_fail(struct cm_error *e, cm_err code, const char *where, const char *fmt, ...)
{
    const int os = errno;

    if (e != NULL) {
        va_list ap;
        e->code = code;
        e->os = code == CM_E_IO ? os : 0;
        e->ossl = ERR_peek_error();
        e->where = where;
        va_start(ap, fmt);
        (void) vsnprintf(e->what, sizeof e->what, fmt, ap);
        va_end(ap);
        append_reason(e);
    }
    ERR_clear_error();
    return code;
}
