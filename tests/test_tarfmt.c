/* Goal: segments are archives for everybody: what we render is listed and extracted by GNU tar, bsdtar,
 * busybox and Python as we meant it, whatever the padding. Method: images of entries of many sizes, padded
 * batch by batch, with every gap from 512 to 4096; the tools read a file, and what they extract is compared.
 * A tool that is not there is named. The header's fields are also read here, by their offsets in IEEE 1003.1.
 */
#include "engine/err.h"
#include "engine/tarfmt.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGE_MAX = 4 << 20, ENTRIES_MAX = 400 };

struct image {
    uint8_t *data;
    struct cm_writer w;
    size_t entries;
    size_t last; /* where the last entry begins */
    size_t size[ENTRIES_MAX];
    bool gap[9]; /* of 512 times this, that padding had to fill */
};

static uint8_t octet(size_t entry, size_t at)
{
    return (uint8_t) (entry * 31 + at * 7 + at / 256);
}

static void add_entry(struct image *m, size_t size)
{
    char name[101];

    m->last = m->w.len;
    uint8_t *header = cm_put_room(&m->w, CM_TAR_BLOCK);

    /* Some names take all of their 100 octets. */
    const int n =
        m->entries % 5 == 0
            ? snprintf(name, sizeof name, "%04zu%.92s.crt", m->entries,
                       "%C3%BCxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                       "xxxxxxxxxxxxxxxx")
            : snprintf(name, sizeof name, "%04zu.key", m->entries);
    cm_tar_header(header, '0', cm_span(name, (size_t) n), size, m->entries % 2 == 0 ? 0600 : 0644,
                  1700000000);
    uint8_t *data = cm_put_room(&m->w, size);
    for (size_t i = 0; i < size; i++)
        data[i] = octet(m->entries, i);
    cm_tar_fill_block(&m->w);
    m->size[m->entries++] = size;
}

static void pad(struct image *m)
{
    const size_t before = m->w.len, gap = (4096 - before % 4096) % 4096;

    const size_t moved = cm_tar_pad(&m->w, m->last, 1700000000);
    cr_assert(cm_writer_ok(&m->w) && m->w.len % 4096 == 0);
    cr_assert_eq(moved, gap == 512 ? 4608 : gap, "a gap of %zu", gap);
    cr_assert_eq(m->w.len - before, moved);
    m->gap[gap / 512] = true;
}

/* Batches of one to three entries, whose sizes walk over all remainders of 4096. */
static void fill(struct image *m)
{
    *m = (struct image) { .data = malloc(IMAGE_MAX) };
    m->w = cm_writer(m->data, IMAGE_MAX);
    for (size_t i = 0; i < 60; i++) {
        for (size_t k = 0; k <= i % 3; k++)
            add_entry(m, i < 6 ? i : 1 + (i * 467 + k * 1300) % 6000);
        pad(m);
    }
    for (size_t blocks = 8; blocks-- > 0;) { /* each gap by itself; the last one, too, needs padding */
        add_entry(m, blocks * 512);
        pad(m);
    }
    memset(cm_put_room(&m->w, CM_TAR_END), 0, CM_TAR_END);
    cr_assert(cm_writer_ok(&m->w));
    for (size_t i = 0; i < 8; i++)
        cr_assert(m->gap[i], "no batch had a gap of %zu", i * 512);
}

/* ---- fields ---- */

Test(tarfmt, fields_of_a_header)
{
    uint8_t h[512];
    uint32_t sum = 0;

    memset(h, 0xaa, sizeof h);
    cm_tar_header(h, '0', cm_span_str("SN1.key"), 227, 0600, 1700000000);
    cr_expect_str_eq((char *) h, "SN1.key");
    cr_expect(memcmp(h + 100, "0000600", 8) == 0);
    cr_expect(memcmp(h + 108, "0000000", 8) == 0 && memcmp(h + 116, "0000000", 8) == 0);
    cr_expect(memcmp(h + 124, "00000000343", 12) == 0);
    cr_expect(memcmp(h + 136, "14524770400", 12) == 0);
    cr_expect_eq(h[156], '0');
    cr_expect(memcmp(h + 257, "ustar\00000", 8) == 0);
    for (size_t i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : h[i];
    cr_expect_eq(strtoul((char *) h + 148, NULL, 8), sum);
    cr_expect(h[154] == 0 && h[155] == ' ');
    for (size_t i = 0; i < 512; i++)
        cr_expect((i >= 7 && i < 100) || i >= 345 ? h[i] == 0 : true, "octet %zu", i);
}

Test(tarfmt, extremes_of_a_header)
{
    char name[100];
    uint8_t h[512];

    memset(name, 'n', sizeof name);
    cm_tar_header(h, '0', cm_span(name, sizeof name), (1ull << 33) - 1, 07777, 8589934591);
    cr_expect(memcmp(h, name, 100) == 0, "a name of 100 octets has no NUL");
    cr_expect(memcmp(h + 124, "77777777777", 12) == 0 && memcmp(h + 136, "77777777777", 12) == 0);
}

Test(tarfmt, padding_is_a_pax_comment_before_the_last_entry)
{
    for (size_t blocks = 1; blocks < 9; blocks++) {
        uint8_t data[16384];
        struct cm_writer w = cm_writer(data, sizeof data);
        memset(cm_put_room(&w, 1024), 'a', 1024);
        memset(cm_put_room(&w, blocks * 512), 'x', blocks * 512);
        const size_t moved = cm_tar_pad(&w, 1024, 0);
        cr_expect_eq(w.len, 1024 + blocks * 512 + moved);
        for (size_t i = 0; i < 1024; i++)
            cr_assert_eq(data[i], 'a');
        for (size_t i = 1024 + moved; i < w.len; i++)
            cr_assert_eq(data[i], 'x');
        cr_expect((moved == 0) == (blocks == 6));
        if (moved == 0)
            continue;
        const uint8_t *h = data + 1024, *record = h + 512;
        const size_t size = moved - 512;
        char expected[32];
        cr_expect(h[156] == 'g' && strcmp((const char *) h, "pax_global_header") == 0);
        cr_expect_eq(strtoul((const char *) h + 124, NULL, 8), size);
        (void) snprintf(expected, sizeof expected, "%zu comment= ", size);
        cr_expect(size >= 512 && memcmp(record, expected, strlen(expected)) == 0 && record[size - 1] == '\n');
        for (size_t i = strlen(expected); i + 1 < size; i++)
            cr_assert_eq(record[i], ' ');
    }
}

Test(tarfmt, no_room)
{
    for (size_t cap = 512; cap < 4096; cap += 512) {
        uint8_t data[4096];
        struct cm_writer w = cm_writer(data, cap);
        (void) cm_put_room(&w, 512);
        cr_expect_eq(cm_tar_pad(&w, 0, 0), 0);
        cr_expect(!cm_writer_ok(&w) && w.len <= cap);
    }
    uint8_t data[600];
    struct cm_writer w = cm_writer(data, sizeof data);
    (void) cm_put_room(&w, 513);
    cm_tar_fill_block(&w);
    cr_expect(!cm_writer_ok(&w));
}

/* ---- the tools ---- */

static const struct {
    const char *name, *there, *list, *extract, *extract_end; /* the directory in between */
} tools[] = {
    { "GNU tar", "tar --version | grep -q GNU", "tar -tf a.tar", "tar -xf a.tar -C ", "" },
    { "bsdtar", "bsdtar --version", "bsdtar -tf a.tar", "bsdtar -xf a.tar -C ", "" },
    { "busybox tar", "busybox tar --help", "busybox tar -tf a.tar", "busybox tar -xf a.tar -C ", "" },
    { "Python tarfile", "python3 -c 'import tarfile'",
      "python3 -c 'import tarfile; t = tarfile.open(\"a.tar\", \"r:\"); print(\"\\n\".join(t.getnames()))'",
      "python3 -c 'import tarfile; tarfile.open(\"a.tar\", \"r:\").extractall(\"", "\")'" },
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static void expect_listing(const struct image *m, const char *tool, const char *command)
{
    char line[256], number[8];
    size_t i = 0;
    FILE *out = popen(command, "r");

    cr_assert_not_null(out);
    for (; fgets(line, sizeof line, out) != NULL; i++) {
        (void) snprintf(number, sizeof number, "%04zu", i);
        cr_assert(strncmp(line, number, 4) == 0, "%s lists %s as entry %zu", tool, line, i);
        cr_assert_eq(strcspn(line, "\n"), i % 5 == 0 ? 100 : 8, "%s: %s", tool, line);
    }
    cr_expect_eq(pclose(out), 0, "%s", tool);
    cr_expect_eq(i, m->entries, "%s lists %zu entries of %zu", tool, i, m->entries);
}

static void expect_extracted(const struct image *m, const char *tool, const char *dir)
{
    static uint8_t data[8192];

    for (size_t i = 0; i < m->entries; i++) {
        char path[400];
        struct stat st;
        FILE *names = NULL;
        (void) snprintf(path, sizeof path, "ls %s/%04zu*", dir, i);
        names = popen(path, "r");
        cr_assert(names != NULL && fgets(path, sizeof path, names) != NULL, "%s lost entry %zu", tool, i);
        (void) pclose(names);
        path[strcspn(path, "\n")] = '\0';
        FILE *file = fopen(path, "r");
        cr_assert_not_null(file, "%s", path);
        const size_t len = fread(data, 1, sizeof data, file);
        cr_assert_eq(len, m->size[i], "%s: %s has %zu octets", tool, path, len);
        for (size_t k = 0; k < len; k++)
            cr_assert_eq(data[k], octet(i, k), "%s: %s at %zu", tool, path, k);
        cr_assert_eq(fstat(fileno(file), &st), 0);
        cr_expect_eq(st.st_mode & 0777, i % 2 == 0 ? 0600u : 0644u, "%s: %s", tool, path);
        cr_expect_eq(st.st_mtime, 1700000000, "%s: %s", tool, path);
        (void) fclose(file);
    }
}

Test(tarfmt, every_tool_reads_it, .timeout = 200)
{
    char base[] = "/tmp/certmill-tar-XXXXXX", command[300], dir[32];
    struct image m;
    unsigned tried = 0;

    fill(&m);
    cr_assert(mkdtemp(base) != NULL && chdir(base) == 0);
    FILE *file = fopen("a.tar", "w");
    cr_assert(file != NULL && fwrite(m.data, 1, m.w.len, file) == m.w.len && fclose(file) == 0);
    (void) umask(022);
    for (size_t i = 0; i < CM_COUNT(tools); i++) {
        (void) snprintf(command, sizeof command, "%s >/dev/null 2>&1", tools[i].there);
        if (system(command) != 0) {
            cr_log_warn("NOT TESTED: %s is not there", tools[i].name);
            continue;
        }
        (void) snprintf(dir, sizeof dir, "x%zu", i);
        cr_assert_eq(mkdir(dir, 0755), 0);
        expect_listing(&m, tools[i].name, tools[i].list);
        (void) snprintf(command, sizeof command, "%s%s%s", tools[i].extract, dir, tools[i].extract_end);
        cr_assert_eq(system(command), 0, "%s: %s", tools[i].name, command);
        expect_extracted(&m, tools[i].name, dir);
        tried++;
    }
    cr_expect_gt(tried, 0);
    cr_assert_eq(chdir("/"), 0);
    (void) nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(m.data);
}
