#ifndef CM_TESTS_FUZZ_REQUEST_H
#define CM_TESTS_FUZZ_REQUEST_H

#include "rehearsal/sigv4.h"

#include <stdlib.h>
#include <string.h>

/* request.h - an input as a request: "METHOD URI", lines "name: value", an empty line, the body. */
struct fuzz_request {
    char *text;
    struct cm_sigv4_header header[CM_SIGV4_HEADERS];
    struct cm_sigv4_request r;
};

static inline void fuzz_request_header(struct fuzz_request *f, char *line)
{
    char *const colon = strchr(line, ':');

    if (colon == NULL || f->r.headers == CM_SIGV4_HEADERS)
        return;
    *colon = '\0';
    f->header[f->r.headers++] =
        (struct cm_sigv4_header) { .name = line, .value = colon + 1 + (colon[1] == ' ') };
}

/* false: it is none. The caller frees text. */
static inline bool fuzz_request_read(struct fuzz_request *f, const uint8_t *data, size_t len)
{
    char *line, *space, *next;

    *f = (struct fuzz_request) { .text = malloc(len + 1) };
    if (f->text == NULL)
        return false;
    if (len > 0)
        memcpy(f->text, data, len);
    f->text[len] = '\0';
    next = f->text;
    line = strsep(&next, "\n");
    space = strchr(line, ' ');
    if (space == NULL || next == NULL)
        return false;
    *space = '\0';
    f->r.method = line;
    f->r.path = space + 1;
    line = strchr(space + 1, '?');
    if (line != NULL) {
        *line = '\0';
        f->r.query = line + 1;
    }
    while (next != NULL && *next != '\n' && *next != '\0')
        fuzz_request_header(f, strsep(&next, "\n"));
    if (next != NULL && *next == '\n')
        f->r.body = cm_span(next + 1, len - (size_t) (next + 1 - f->text));
    f->r.header = f->header;
    return true;
}

#endif
