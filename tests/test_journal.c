/* Goal: what the writer puts on record is what the reader gives back; after any damage to one place the
 * reader gives the sound records before it or refuses, and never anything else; every contradiction is
 * refused. Method: a journal with all types of records, read back after every prefix of it, every bit turned
 * over and every length; records that a sealer of the test's own makes, one for each refusal; writes that
 * fail half-way. */
#include "io/journalread.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10, SECTOR = 512, RECORDS_MAX = 32 };

/* --- a journal by the writer ---------------------------------------------- */

struct rig {
    struct t_place place;
    struct cm_places places;
    struct cm_journal *j;
    uint64_t reserved, devices;
};

static uint8_t file[FILE_MAX];

static size_t read_file(const struct rig *g)
{
    char path[128];
    (void) snprintf(path, sizeof path, "%s/journal", g->place.out);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    const size_t len = fread(file, 1, sizeof file, f);
    (void) fclose(f);
    return len;
}

static struct cm_journal_conf conf_of(struct rig *g)
{
    return (struct cm_journal_conf) { .dir = &g->place.dir,
                                      .run_id = "0b5ee8ea-5c5b-4b37-8b1f-1d2f0d7d9a11",
                                      .places = &g->places,
                                      .requested = 1000,
                                      .durable = true };
}

static void open_rig(struct rig *g)
{
    struct cm_error err = { 0 };
    json_t *run = json_pack("{s:i s:s s:{s:i}}", "version", 1, "profile_text", "[profile]\nJ \"{\"*\n",
                            "request", "devices", 1000);

    *g = (struct rig) { 0 };
    t_place_open(&g->place);
    const struct cm_journal_conf conf = conf_of(g);
    cr_assert_eq(cm_journal_create(&conf, run, &g->j, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_journal_attempt(g->j, "mint", NULL, &err), CM_OK, "%s", err.what);
    json_decref(run);
}

static void close_rig(struct rig *g)
{
    cm_journal_close(g->j);
    t_place_close(&g->place);
}

static void prefix_of(uint64_t number, uint8_t out[CM_SERIAL_PREFIX])
{
    memset(out, 0x11, CM_SERIAL_PREFIX);
    out[6] = (uint8_t) (number >> 8);
    out[7] = (uint8_t) number;
}

static const uint8_t (*some_prefixes(const struct rig *g, size_t count))[CM_SERIAL_PREFIX]
{
    static uint8_t octets[64][CM_SERIAL_PREFIX];

    for (size_t i = 0; i < count; i++)
        prefix_of(g->reserved + i, octets[i]);
    return (const uint8_t(*)[CM_SERIAL_PREFIX]) octets;
}

static struct cm_prefixes more_of(const struct rig *g, size_t count)
{
    return (struct cm_prefixes) {
        .first = g->reserved, .at_most = 7, .count = count, .prefix = some_prefixes(g, count)
    };
}

static void reserve(struct rig *g, size_t count)
{
    struct cm_recorder *r = cm_journal_recorder(g->j);
    const struct cm_prefixes more = more_of(g, count);
    struct cm_error err = { 0 };

    cr_assert_eq(r->ops->reserve(r, &more, &err), CM_OK, "%s", err.what);
    g->reserved += count;
}

/* devices first..last under the prefix, in a unit; more prefixes ride along. */
static cm_err commit(struct rig *g, uint64_t first, uint64_t last, uint64_t prefix, uint32_t unit,
                     size_t more, struct cm_error *err)
{
    struct cm_recorder *r = cm_journal_recorder(g->j);
    struct cm_commit c = { .devices = last - first + 1 };
    const struct cm_prefixes next = more_of(g, more);

    g->places.manifest_bytes += 4096;
    g->places.unit[0] = (struct cm_unit) { .number = unit,
                                           .chain_len = g->places.unit[0].chain_len + 8192,
                                           .key_len = g->places.unit[0].key_len + 4096 };
    g->places.units = 1;
    memset(g->places.rows_xxh3, (int) first, sizeof g->places.rows_xxh3);
    cr_assert_eq(cm_ranges_add(&c.seqs, first, last, NULL), CM_OK);
    cr_assert_eq(cm_ranges_add(&c.prefixes, prefix, prefix, NULL), CM_OK);
    const cm_err rc = r->ops->commit(r, &c, &next, err);
    cm_ranges_close(&c.seqs);
    cm_ranges_close(&c.prefixes);
    if (rc == CM_OK) {
        g->reserved += more;
        g->devices += c.devices;
    }
    return rc;
}

static void commit_well(struct rig *g, uint64_t first, uint64_t last, uint64_t prefix, uint32_t unit,
                        size_t more)
{
    struct cm_error err = { 0 };

    cr_assert_eq(commit(g, first, last, prefix, unit, more, &err), CM_OK, "%s", err.what);
}

static void end_attempt(struct rig *g, bool failed, uint64_t unused_first, uint64_t unused_last)
{
    struct cm_recorder *r = cm_journal_recorder(g->j);
    struct cm_burned burned = { .number = 2, .signatures = 5 };
    struct cm_attempt_end end = { .failed = failed, .signatures = 33, .burned = &burned, .burned_count = 1 };
    struct cm_error err = { 0 };

    prefix_of(2, burned.prefix);
    end.burned_count = failed;
    cr_assert_eq(cm_ranges_add(&end.unused, unused_first, unused_last, NULL), CM_OK);
    cr_assert_eq(r->ops->end(r, &end, &err), CM_OK, "%s", err.what);
    cr_expect(cm_journal_ended(g->j));
    cm_ranges_close(&end.unused);
}

static cm_err parse(size_t len, struct cm_journal_state *s, struct cm_error *err)
{
    return cm_journal_parse(cm_span(file, len), "journal", s, err);
}

static struct cm_journal_state read_back(const struct rig *g)
{
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_journal_read(g->place.dir.fd, g->place.out, &s, &err), CM_OK, "%s", err.what);
    return s;
}

/* Two attempts with every type of record; more than 4 KiB. */
static void write_all(struct rig *g)
{
    struct cm_error err = { 0 };

    open_rig(g);
    reserve(g, 6);
    commit_well(g, 1, 10, 0, 0, 1);
    commit_well(g, 11, 20, 3, 0, 0);
    commit_well(g, 21, 27, 4, 1, 20);
    end_attempt(g, true, 5, 26);
    struct cm_journal_state s = read_back(g);
    cm_journal_close(g->j);
    const struct cm_journal_conf conf = conf_of(g);
    cr_assert_eq(cm_journal_continue(&conf, &s.at, &s.again, &g->j, &err), CM_OK, "%s", err.what);
    cm_journal_state_done(&s);
    json_t *gone = json_pack("[s]", "keys/000002.tar.part");
    cr_assert_eq(cm_journal_attempt(g->j, "resume", gone, &err), CM_OK, "%s", err.what);
    json_decref(gone);
    reserve(g, 3);
    commit_well(g, 29, 30, 28, 2, 30);
    commit_well(g, 31, 40, 29, 2, 0);
}

Test(journal, round_trip)
{
    struct rig g;

    write_all(&g);
    struct cm_journal_state s = read_back(&g);
    cr_expect(s.at.records == 11 && s.at.attempts == 2 && s.at.commits == 5 && s.at.devices == g.devices);
    cr_expect(s.at.length == s.file_bytes && s.at.length == read_file(&g));
    cr_expect(s.attempts == 2 && s.commits == 5 && s.units == 3 && s.prefixes == g.reserved);
    cr_expect(s.attempt[0].ended && s.attempt[0].signatures == 33 && s.attempt[0].devices == 27);
    cr_expect(!s.attempt[1].ended && s.attempt[1].first_prefix == 27 && s.attempt[1].devices == 12);
    cr_expect(s.ended[0] == '\0' && s.settled == 27 && s.manifest_bytes == 5 * 4096);
    cr_expect(s.seqs.count == 2 && s.seqs.at[0].last == 27 && s.seqs.at[1].first == 29 &&
              s.seqs.at[1].last == 40);
    cr_expect_eq(cm_ranges_size(&s.used), 5);
    cr_expect(cm_ranges_size(&s.unused) == 22 && cm_ranges_gap(&s.unused, 5) == 27);
    for (uint64_t n = 0; n < s.prefixes; n++) {
        uint8_t want[CM_SERIAL_PREFIX];
        prefix_of(n, want);
        cr_expect_arr_eq(s.prefix[n].octets, want, sizeof want);
        cr_expect_eq(s.prefix[n].at_most, 7);
    }
    cr_expect(s.unit[1].number == 1 && s.unit[2].number == 2 && s.unit[2].chain_len == 5 * 8192);
    cr_expect(s.commit[4].attempt == 2 && s.commit[0].attempt == 1 && s.commit[3].rows_xxh3[5] == 29);
    cr_expect(s.at.burned_bytes > 0 && json_is_object(json_object_get(s.run, "request")));
    end_attempt(&g, false, 27, 27);
    cm_journal_state_done(&s);
    s = read_back(&g);
    cr_expect_str_eq(s.ended, "stopped");
    cr_expect_eq(s.settled, s.prefixes);
    cm_journal_state_done(&s);
    close_rig(&g);
}

/* --- damage ---------------------------------------------------------------- */

static size_t record_at[RECORDS_MAX + 1], records; /* where each begins, and the end */

static void find_records(size_t len)
{
    records = 0;
    record_at[0] = 0;
    for (size_t end = SECTOR; end <= len; end += SECTOR)
        if (file[end - 1] == '\n')
            record_at[++records] = end;
    cr_assert_eq(record_at[records], len);
}

static bool same_ranges(const struct cm_ranges *a, const struct cm_ranges *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->at, b->at, a->count * sizeof *a->at) == 0);
}

static bool same_units(const struct cm_journal_state *a, const struct cm_journal_state *b)
{
    bool good = a->units == b->units;

    for (size_t i = 0; good && i < a->units; i++)
        good = a->unit[i].number == b->unit[i].number && a->unit[i].chain_len == b->unit[i].chain_len &&
               a->unit[i].key_len == b->unit[i].key_len;
    return good;
}

/* Everything but file_bytes, which tells of the torn tail. */
static bool same(const struct cm_journal_state *a, const struct cm_journal_state *b)
{
    return memcmp(&a->at, &b->at, sizeof a->at) == 0 && strcmp(a->ended, b->ended) == 0 &&
           json_equal(a->run, b->run) && a->manifest_bytes == b->manifest_bytes && a->settled == b->settled &&
           same_ranges(&a->seqs, &b->seqs) && same_ranges(&a->used, &b->used) &&
           same_ranges(&a->unused, &b->unused) && a->prefixes == b->prefixes && same_units(a, b) &&
           a->commits == b->commits && a->attempts == b->attempts &&
           (a->prefixes == 0 || memcmp(a->prefix, b->prefix, a->prefixes * sizeof *a->prefix) == 0);
}

/* The octets that are there now must give the first n records. */
static void expect_prefix(const uint8_t *data, size_t len, size_t n, const struct cm_journal_state *want,
                          const char *what, size_t at)
{
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };
    const cm_err rc = cm_journal_parse(cm_span(data, len), "journal", &s, &err);

    if (n == 0) {
        cr_assert_eq(rc, CM_E_END, "%s %zu: %s", what, at, err.what);
        return;
    }
    cr_assert_eq(rc, CM_OK, "%s %zu: %s", what, at, err.what);
    cr_assert(same(&s, want) && s.file_bytes == len, "%s %zu: another state", what, at);
    cm_journal_state_done(&s);
}

static void read_prefixes(struct cm_journal_state *state)
{
    struct cm_error err = { 0 };

    for (size_t n = 1; n <= records; n++) {
        cr_assert_eq(parse(record_at[n], &state[n], &err), CM_OK, "%s", err.what);
        cr_assert_eq(state[n].at.records, n);
    }
}

Test(journal, every_bit_and_every_length, .timeout = 240)
{
    static struct cm_journal_state state[RECORDS_MAX + 1];
    struct rig g;

    write_all(&g);
    const size_t len = read_file(&g);
    cr_assert(len >= 4096);
    find_records(len);
    read_prefixes(state);
    for (size_t cut = 0, n = 0; cut <= len; cut++) {
        n += n < records && cut >= record_at[n + 1];
        uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees an octet too far */
        memcpy(exact, file, cut);
        expect_prefix(exact, cut, n, &state[n], "cut at", cut);
        free(exact);
    }
    for (size_t at = 0, n = 0; at < len; at++) {
        n += at >= record_at[n + 1];
        for (unsigned bit = 0; bit < 8; bit++) {
            struct cm_journal_state s = { 0 };
            struct cm_error err = { 0 };
            file[at] ^= (uint8_t) (1u << bit);
            if (n + 1 == records)
                expect_prefix(file, len, n, &state[n], "flip at", at);
            else
                cr_assert_eq(parse(len, &s, &err), CM_E_INPUT, "flip of bit %u at %zu", bit, at);
            file[at] ^= (uint8_t) (1u << bit);
        }
    }
    printf("%zu flips and %zu lengths of a journal of %zu records\n", 8 * len, len + 1, records);
    for (size_t n = 1; n <= records; n++)
        cm_journal_state_done(&state[n]);
    close_rig(&g);
}

/* A write that was torn leaves zeros, or a part of itself, in any of its sectors. */
Test(journal, torn_sectors_of_the_last_record)
{
    struct cm_journal_state want = { 0 };
    struct cm_error err = { 0 };
    struct rig g;

    write_all(&g);
    reserve(&g, 40); /* several sectors */
    const size_t len = read_file(&g);
    find_records(len);
    const size_t from = record_at[records - 1], sectors = (len - from) / SECTOR;
    cr_assert(sectors >= 2 && sectors < 8);
    cr_assert_eq(parse(from, &want, &err), CM_OK, "%s", err.what);
    for (unsigned kept = 0; kept + 1 < 1u << sectors; kept++) {
        static uint8_t torn[FILE_MAX];
        memcpy(torn, file, len);
        for (size_t i = 0; i < sectors; i++)
            if ((kept >> i & 1) == 0)
                memset(torn + from + i * SECTOR, 0, SECTOR);
        expect_prefix(torn, len, records - 1, &want, "sectors", kept);
    }
    cm_journal_state_done(&want);
    close_rig(&g);
}

/* --- failures --------------------------------------------------------------- */

static void limit_files(rlim_t octets)
{
    const struct rlimit limit = { .rlim_cur = octets, .rlim_max = RLIM_INFINITY };

    (void) signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A commit whose record is cut short by a limit is taken back, and the end can be written. */
Test(journal, a_record_that_fails_half_way)
{
    struct rig g;
    struct cm_error err = { 0 };

    open_rig(&g);
    reserve(&g, 6);
    commit_well(&g, 1, 10, 0, 0, 0);
    const size_t len = read_file(&g);
    struct cm_recorder *r = cm_journal_recorder(g.j);
    for (rlim_t more = 0; more < 1024; more += 300) {
        limit_files(len + more);
        cr_expect_eq(commit(&g, 11, 20, 1, 0, 50, &err), CM_E_IO);
        limit_files(RLIM_INFINITY);
        cr_expect_eq(r->ops->retract(r, &err), CM_OK, "%s", err.what);
        cr_expect_eq(read_file(&g), len);
        g.places.manifest_bytes -= 4096;
    }
    limit_files(len + 100);
    const struct cm_prefixes more = more_of(&g, 60);
    cr_expect_eq(r->ops->reserve(r, &more, &err), CM_E_IO);
    cr_expect_eq(cm_journal_attempt(g.j, "resume", NULL, &err), CM_E_IO);
    limit_files(RLIM_INFINITY);
    cr_expect_eq(read_file(&g), len, "these, too");
    end_attempt(&g, true, 1, 1);
    struct cm_journal_state s = read_back(&g);
    cr_expect(s.at.commits == 1 && strcmp(s.ended, "failed") == 0 && s.file_bytes == s.at.length);
    cm_journal_state_done(&s);
    close_rig(&g);
}

/* The journal's own descriptor. */
static int fd_of(const struct rig *g)
{
    char want[128], link[64], name[256];

    (void) snprintf(want, sizeof want, "%s/journal", g->place.out);
    for (int fd = 3; fd < 100; fd++) {
        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(link, name, sizeof name - 1);
        if (n > 0 && (size_t) n == strlen(want) && memcmp(name, want, (size_t) n) == 0)
            return fd;
    }
    return -1;
}

/* When it can't be taken back either, nothing is written any more. */
Test(journal, in_doubt)
{
    struct rig g;
    struct cm_error err = { 0 };
    int ends[2];

    open_rig(&g);
    reserve(&g, 6);
    const size_t len = read_file(&g);
    const int fd = fd_of(&g), keep = dup(fd);
    cr_assert(fd >= 0 && keep >= 0 && pipe(ends) == 0 && dup2(ends[1], fd) == fd);
    cr_expect_eq(commit(&g, 1, 10, 0, 0, 0, &err), CM_E_IO);
    struct cm_recorder *r = cm_journal_recorder(g.j);
    cr_expect_eq(r->ops->retract(r, &err), CM_E_IO);
    cr_assert(dup2(keep, fd) == fd);
    cr_expect_eq(r->ops->retract(r, &err), CM_E_IO, "that it works now does not help");
    cr_expect_eq(commit(&g, 1, 10, 0, 0, 0, &err), CM_E_IO);
    cr_expect_eq(read_file(&g), len);
    close_rig(&g);
}

static long allocations_left;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* Each allocation for JSON fails in turn: an error, nothing written, nothing leaked (a sanitizer tells). */
Test(journal, no_memory_for_json)
{
    struct rig g;
    struct cm_error err = { 0 };
    long failed = 0;

    open_rig(&g);
    reserve(&g, 6);
    const size_t len = read_file(&g);
    json_set_alloc_funcs(failing_malloc, free);
    for (long n = 0;; n++) {
        g.places.manifest_bytes = 0;
        allocations_left = n;
        if (commit(&g, 1, 10, 0, 0, 3, &err) == CM_OK)
            break;
        cr_assert_eq(err.code, CM_E_NOMEM, "%s", err.what);
        cr_assert_eq(read_file(&g), len);
        failed++;
    }
    allocations_left = LONG_MAX;
    cr_expect_gt(failed, 20);
    end_attempt(&g, true, 4, 4);
    struct cm_journal_state s = read_back(&g);
    cr_expect(s.at.commits == 1);
    cm_journal_state_done(&s);
    json_set_alloc_funcs(malloc, free);
    close_rig(&g);
}
