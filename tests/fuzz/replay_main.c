#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs every file of a corpus directory through the target, each in a buffer of
 * exactly its size (so that a sanitizer sees one octet too far), then again with
 * each of its octets changed and cut at each length, up to a bound. */
enum { FILE_MAX = 1 << 16, CHANGES_MAX = 2000 };

static void feed(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, len);
    (void) LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void feed_changed(uint8_t *data, size_t len)
{
    const size_t step = len / CHANGES_MAX + 1;

    for (size_t i = 0; i < len; i += step) {
        const uint8_t was = data[i];
        data[i] = (uint8_t) (was ^ (1u << (i & 7)));
        feed(data, len);
        data[i] = was;
        feed(data, i);
    }
}

int main(int argc, char **argv)
{
    static uint8_t buf[FILE_MAX];
    const struct dirent *e = NULL;
    unsigned passed = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;

    if (dir == NULL) {
        fprintf(stderr, "usage: replay CORPUS-DIRECTORY\n");
        return 2;
    }
    while ((e = readdir(dir)) != NULL) {
        char path[4096];
        (void) snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "rb") : NULL;
        if (f == NULL)
            continue;
        const size_t len = fread(buf, 1, sizeof buf, f);
        (void) fclose(f);
        feed(buf, len);
        feed_changed(buf, len);
        passed++;
    }
    (void) closedir(dir);
    printf("%u passed, %u failed\n", passed, passed == 0);
    return passed > 0 ? 0 : 1;
}
