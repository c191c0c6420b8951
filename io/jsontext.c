#include "io/jsontext.h"

#include <stdlib.h>

char *cm_json_text(const json_t *value, size_t flags, size_t *len)
{
    const size_t size = json_dumpb(value, NULL, 0, flags); /* 0: no memory */
    char *text = size > 0 ? malloc(size + 1) : NULL;

    if (text == NULL)
        return NULL;
    if (json_dumpb(value, text, size, flags) != size) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    if (len != NULL)
        *len = size;
    return text;
}
