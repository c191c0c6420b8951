#ifndef CM_ENGINE_BYTES_H
#define CM_ENGINE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* bytes.h - borrowed views and a bounded writer.
 *
 * A span never owns what it points to. A writer appends to a buffer of fixed
 * size and remembers an overflow instead of failing each call: write a whole
 * record, then look at cm_writer_ok() once. Nothing is ever written past `cap`.
 */
struct cm_span {
    const uint8_t *data;
    size_t len; /* bytes */
};

static inline struct cm_span cm_span(const void *data, size_t len)
{
    return (struct cm_span) { .data = data, .len = len };
}

static inline struct cm_span cm_span_str(const char *text)
{
    return cm_span(text, strlen(text));
}

static inline bool cm_span_eq(struct cm_span a, struct cm_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct cm_writer {
    uint8_t *data;
    size_t cap;
    size_t len;
    bool overflow;
};

static inline struct cm_writer cm_writer(void *data, size_t cap)
{
    return (struct cm_writer) { .data = data, .cap = cap };
}

static inline bool cm_writer_ok(const struct cm_writer *w)
{
    return !w->overflow;
}

/* Room for len bytes, counted as written; NULL (and overflow) when there is none. */
static inline uint8_t *cm_put_room(struct cm_writer *w, size_t len)
{
    uint8_t *at = NULL;

    if (w->overflow || len > w->cap - w->len) {
        w->overflow = true;
    } else {
        at = w->data + w->len;
        w->len += len;
    }
    return at;
}

static inline void cm_put(struct cm_writer *w, const void *data, size_t len)
{
    uint8_t *at = cm_put_room(w, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

static inline void cm_put_byte(struct cm_writer *w, uint8_t byte)
{
    cm_put(w, &byte, 1);
}

static inline void cm_put_span(struct cm_writer *w, struct cm_span s)
{
    cm_put(w, s.data, s.len);
}

static inline void cm_put_str(struct cm_writer *w, const char *text)
{
    cm_put(w, text, strlen(text));
}

/* A string literal, its length known to the compiler. */
#define cm_put_lit(w, lit) cm_put((w), "" lit, sizeof(lit) - 1)

/* value in decimal, at least `width` digits (zeros in front). */
void cm_put_dec(struct cm_writer *w, uint64_t value, unsigned width);
/* value in lowercase hexadecimal, at least `width` digits. */
void cm_put_hexnum(struct cm_writer *w, uint64_t value, unsigned width);
/* data as 2*len lowercase hexadecimal digits. */
void cm_put_hex(struct cm_writer *w, const uint8_t *data, size_t len);

#endif
