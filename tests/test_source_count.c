/* Goal: a counted run gives each number once, in order, in batches of any size, and a run that would repeat
 * an id or run over a number is refused beforehand. Method: batches of odd sizes against a plain loop. */
#include "engine/source.h"
#include "tests/t_oracle.h"

#include <criterion/criterion.h>

enum { CAP = 7 };

static struct cm_pattern pattern_of(const char *text)
{
    struct cm_pattern p;

    cr_assert_eq(cm_pattern_parse(text, false, NULL, &p, NULL), CM_OK, "%s", text);
    return p;
}

static void expect_all(struct cm_source *s, const struct t_ask *first, const char *text, uint64_t count)
{
    static struct cm_rec rec[CAP];
    static char ids[CAP * 96], expected[T_TEXT_MAX];
    uint64_t n = 0;

    for (;;) {
        struct cm_batch b = {
            .cap = 1 + (uint32_t) (n % CAP), .rec = rec, .ids = ids, .plan = { .ids = sizeof ids }
        };
        const cm_err rc = s->ops->next(s, &b, NULL);
        if (rc == CM_E_END)
            break;
        cr_assert_eq(rc, CM_OK);
        cr_assert(b.count == b.cap || n + b.count == count, "a batch is not full");
        for (uint32_t i = 0; i < b.count; i++, n++) {
            const struct t_ask ask = { .seq = first->seq + n, .mac = first->mac + n };
            t_expand(&ask, text, expected);
            cr_assert(rec[i].seq == ask.seq && rec[i].mac == ask.mac && rec[i].id_len == strlen(expected) &&
                          memcmp(ids + rec[i].id_off, expected, rec[i].id_len) == 0,
                      "%.*s is not %s", (int) rec[i].id_len, ids + rec[i].id_off, expected);
        }
    }
    cr_expect_eq(n, count);
    struct cm_batch b = { .cap = CAP, .rec = rec, .ids = ids, .plan = { .ids = sizeof ids } };
    cr_expect_eq(s->ops->next(s, &b, NULL), CM_E_END, "asked again after the end");
    cr_expect_eq(b.count, 0);
}

static const struct {
    const char *id;
    uint64_t start, count, mac_base;
} runs[] = {
    { "SN{seq:08}", 1, 100, 0 },
    { "SN{seq:08}", 0, 1, 0 },
    { "constant", 5, 1, 7 },
    { "{mac}", 1, 300, 0x0200000000ffull },
    { "{mac}", 1, 4, (1ull << 48) - 4 },
    { "{uuid}", 1, 20, 0 },
    { "{seq:x}-{mac}", 250, 20, 3 },
    { "{seq}", INT64_MAX - 10, 10, 0 },
    { "{seq:08}", 99999990, 20, 0 },
};

Test(source_count, every_device_once_and_in_order)
{
    for (size_t i = 0; i < CM_COUNT(runs); i++) {
        const struct cm_pattern id = pattern_of(runs[i].id);
        const struct cm_source_count_conf conf = { .id = &id,
                                                   .start = runs[i].start,
                                                   .count = runs[i].count,
                                                   .mac_base = runs[i].mac_base,
                                                   .run_id = t_run_id };
        const struct t_ask first = { .seq = runs[i].start, .mac = runs[i].mac_base };
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        cr_assert_eq(cm_source_count_open(&conf, &s, &err), CM_OK, "%s: %s", runs[i].id, err.what);
        cr_expect_eq(s->devices, runs[i].count);
        expect_all(s, &first, runs[i].id, runs[i].count);
        char buf[CM_PATTERN_OUT];
        static char expected[T_TEXT_MAX];
        const struct t_ask last = { .seq = runs[i].start + runs[i].count - 1,
                                    .mac = runs[i].mac_base + runs[i].count - 1 };
        struct cm_values v;
        cr_assert_eq(cm_source_count_at(s, runs[i].count - 1, buf, &v, NULL), CM_OK);
        t_expand(&last, runs[i].id, expected);
        cr_expect(cm_span_eq(v.id, cm_span_str(expected)) && v.seq == last.seq && v.mac == last.mac);
        s->ops->close(s);
    }
}

static const struct {
    const char *id;
    uint64_t start, count, mac_base;
    const char *words;
} refused[] = {
    { "SN{seq}", 1, 0, 0, "nothing to mint" },
    { "constant", 1, 2, 0, "gives every device the same id" },
    { "SN{seq}", INT64_MAX, 1, 0, "passes the largest sequence number" },
    { "SN{seq}", INT64_MAX - 9, 10, 0, "passes the largest sequence number" },
    { "SN{seq}", 1, INT64_MAX, 0, "passes" },
    { "SN{seq}", 1, UINT64_MAX, 0, "passes" },
    { "{mac}", 1, 5, (1ull << 48) - 4, "passes ff:ff:ff:ff:ff:ff" },
    { "{seq}", 1, (1ull << 48) + 1, 0, "passes ff:ff:ff:ff:ff:ff" },
};

Test(source_count, runs_that_can_not_be)
{
    for (size_t i = 0; i < CM_COUNT(refused); i++) {
        const struct cm_pattern id = pattern_of(refused[i].id);
        const struct cm_source_count_conf conf = { .id = &id,
                                                   .start = refused[i].start,
                                                   .count = refused[i].count,
                                                   .mac_base = refused[i].mac_base,
                                                   .uses_mac = true,
                                                   .run_id = t_run_id };
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_source_count_open(&conf, &s, &err), CM_E_USAGE, "%zu", i);
        cr_expect_not_null(strstr(err.what, refused[i].words), "%zu: %s", i, err.what);
    }
}

Test(source_count, an_id_that_grows_too_long_is_told)
{
    char text[CM_PATTERN_TEXT] = "";
    struct cm_values v;
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };
    char buf[CM_PATTERN_OUT];

    for (int i = 0; i < 15; i++)
        memcpy(text + 6 * i, "{uuid}", 7);
    const struct cm_pattern id = pattern_of(text);
    const struct cm_source_count_conf conf = { .id = &id, .start = 1, .count = 1, .run_id = t_run_id };
    cr_assert_eq(cm_source_count_open(&conf, &s, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_source_count_at(s, 0, buf, &v, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "more than 512 octets"), "%s", err.what);
    s->ops->close(s);
}

Test(source_count, a_batch_takes_what_fits)
{
    struct cm_rec rec[2];
    char ids[10];
    struct cm_batch b = { .cap = 2, .rec = rec, .ids = ids, .plan = { .ids = sizeof ids } };

    cr_expect(cm_batch_add(&b, cm_span_str("12345"), 1, 2));
    cr_expect(!cm_batch_add(&b, cm_span_str("678901"), 2, 3), "one octet too many");
    cr_expect_eq(b.count, 1);
    cr_expect(cm_batch_add(&b, cm_span_str("67890"), 2, 3));
    cr_expect(!cm_batch_add(&b, cm_span_str(""), 3, 4), "no third record");
    cr_expect(rec[1].id_off == 5 && rec[1].id_len == 5 && rec[1].seq == 2 && rec[1].mac == 3);
    cr_expect(memcmp(ids, "1234567890", 10) == 0);
}
