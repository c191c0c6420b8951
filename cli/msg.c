#include "cli/msg.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>

/* Is the octet at text one that a terminal may act on? C0, DEL, and C1 in UTF-8
 * (c2 80 - c2 9f); the line feed between two lines of a message stays. */
static bool is_control(const unsigned char *text)
{
    if (*text == '\n')
        return false;
    return *text < 0x20 || *text == 0x7f || (*text == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0);
}

static void print_text(const char *text)
{
    for (const unsigned char *at = (const unsigned char *) text; *at != '\0'; at++) {
        if (is_control(at))
            (void) fprintf(stderr, "\\x%02x", *at);
        else
            (void) fputc(*at, stderr);
    }
    (void) fputc('\n', stderr);
}

void cm_msg_error(const struct cm_error *err)
{
    if (err->what[0] == '\0')
        return;
    (void) fflush(stdout);
    (void) fputs("certmill: ", stderr);
    print_text(err->what);
}

void cm_msg_note(const char *fmt, ...)
{
    char text[2 * CM_ERROR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void) fputs("certmill: ", stderr);
    print_text(text);
}

cm_err cm_msg_json(struct json_t *result, struct cm_error *err)
{
    int rc = 0;

    if (result == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    errno = 0;
    rc = json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(result);
    if (rc != 0 || fputc('\n', stdout) == EOF)
        CM_FAIL(err, CM_E_IO, "can't write the result to standard output");
    return CM_OK;
}

cm_err cm_msg_close_stdout(struct cm_error *err)
{
    const bool failed = ferror(stdout) != 0;
    const bool flushed = fflush(stdout) == 0;

    /* An earlier write may have failed and its errno be gone: then the flush has
     * nothing left to do and says nothing. */
    if (failed && flushed)
        errno = EIO;
    if (failed || !flushed || fclose(stdout) != 0)
        CM_FAIL(err, CM_E_IO, "can't write to standard output; what was printed is not complete");
    return CM_OK;
}

int cm_msg_exit_code(cm_err rc, const struct cm_error *err)
{
    if (rc == CM_OK || rc == CM_E_END)
        return 0;
    if (rc == CM_E_CLOSED)
        return 128 + (err->os > 0 && err->os < 65 ? err->os : SIGINT);
    switch (cm_err_class(rc)) {
    case CM_E_USAGE:
        return 2;
    case CM_E_CRYPTO:
        return 4;
    case CM_E_FOUND:
        return 1;
    default:
        return 3;
    }
}
