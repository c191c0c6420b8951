#ifndef CM_IO_JSONTEXT_H
#define CM_IO_JSONTEXT_H

#include <jansson.h>

/* jsontext.h - JSON as text, whole or not at all.
 *
 * In its place json_dumps would do, but it does not notice when memory runs out while
 * it writes a key (jansson 2.14): the text then lacks the key. Nor does json_copy,
 * whose copy then lacks it. What is written here goes on record.
 */

/* For jansson's iterators, which take no const object and change nothing of it. */
static inline json_t *cm_json_each(const json_t *value)
{
    union {
        const json_t *in;
        json_t *out;
    } u = { .in = value };

    return u.out;
}

/* Malloced, with a NUL behind it that len (NULL: not wanted) does not count. NULL: no memory. */
char *cm_json_text(const json_t *value, size_t flags, size_t *len);

#endif
