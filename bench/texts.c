#include "bench/texts.h"

#include "engine/err.h"

#include <string.h>

const char *cm_bench_text_of(const char *name)
{
    size_t i = 0;

    while (strcmp(cm_bench_texts[i].name, name) != 0) {
        i++;
        CM_ASSERT(i < cm_bench_texts_count);
    }
    return cm_bench_texts[i].text;
}
