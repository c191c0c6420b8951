/* Goal: a pattern expands to what its placeholders say, and a slip is found before anything is minted.
 * Method: tables of texts with their expansion, or with words of their refusal. */
#include "engine/pattern.h"
#include "tests/t_oracle.h"

#include <criterion/criterion.h>

static struct cm_hasher hasher;

static void setup(void)
{
    cr_assert_eq(cm_hasher_open(&hasher, NULL), CM_OK);
}

static void teardown(void)
{
    cm_hasher_close(&hasher);
}

static struct cm_values values(void)
{
    return (struct cm_values) {
        .id = cm_span_str("SN-ü"), .seq = 255, .mac = 0x02a0b1c2d3ffull, .run_id = t_run_id, .hasher = &hasher
    };
}

static const struct {
    const char *text, *expansion;
} fine[] = {
    { "", "" },
    { "plain", "plain" },
    { "{id}", "SN-ü" },
    { "a{id}b{id}", "aSN-übSN-ü" },
    { "{seq}", "255" },
    { "{seq:1}", "255" },
    { "{seq:08}", "00000255" },
    { "{seq:8}", "00000255" },
    { "{seq:20}", "00000000000000000255" },
    { "{seq:x}", "ff" },
    { "{seq:08x}", "000000ff" },
    { "{seq:012x}", "0000000000ff" },
    { "{seq:016}", "0000000000000255" },
    { "{mac}", "02:a0:b1:c2:d3:ff" },
    { "{seq}{seq}{mac}", "25525502:a0:b1:c2:d3:ff" },
    { "ü{seq}€", "ü255€" },
};

Test(pattern, expansions, .init = setup, .fini = teardown)
{
    const struct cm_values v = values();

    for (size_t i = 0; i < CM_COUNT(fine); i++) {
        struct cm_pattern p;
        struct cm_error err = { 0 };
        char text[CM_PATTERN_OUT + 1] = "";
        struct cm_writer w = cm_writer(text, CM_PATTERN_OUT);
        cr_assert_eq(cm_pattern_parse(fine[i].text, true, NULL, &p, &err), CM_OK, "%s: %s", fine[i].text,
                     err.what);
        cm_pattern_put(&p, &v, &w);
        cr_expect(cm_writer_ok(&w));
        cr_expect_str_eq(text, fine[i].expansion);
    }
}

/* Numbers at the ends of their ranges, and the UUID by another implementation. */
Test(pattern, extremes, .init = setup, .fini = teardown)
{
    static const uint64_t seqs[] = { 0, 1, 9, 10, 99999999, 100000000, INT64_MAX, UINT64_MAX };
    static const char *const texts[] = { "{seq}", "{seq:08}", "{seq:08x}", "{seq:020}", "{uuid}", "{mac}" };

    for (size_t s = 0; s < CM_COUNT(seqs); s++)
        for (size_t i = 0; i < CM_COUNT(texts); i++) {
            const struct t_ask ask = { .seq = seqs[s], .mac = seqs[s] & 0xffffffffffffull };
            struct cm_values v = values();
            struct cm_pattern p;
            static char expected[T_TEXT_MAX];
            char text[CM_PATTERN_OUT + 1] = "";
            struct cm_writer w = cm_writer(text, CM_PATTERN_OUT);
            v.seq = ask.seq;
            v.mac = ask.mac;
            t_expand(&ask, texts[i], expected);
            cr_assert_eq(cm_pattern_parse(texts[i], true, NULL, &p, NULL), CM_OK);
            cm_pattern_put(&p, &v, &w);
            cr_expect_str_eq(text, expected);
        }
}

static const struct {
    const char *text, *words;
    bool no_id;
} bad[] = {
    { "{", "unknown placeholder at \"{\"", false },
    { "}", "unknown placeholder at \"}\"", false },
    { "a}b", "unknown placeholder at \"}b\"", false },
    { "{id", "unknown placeholder at \"{id\"", false },
    { "{}", "unknown placeholder", false },
    { "{ID}", "unknown placeholder at \"{ID}\"", false },
    { "{ id}", "unknown placeholder", false },
    { "{ids}", "unknown placeholder", false },
    { "{serial}", "{id}, {seq}, {seq:08}", false },
    { "{id:08}", "unknown placeholder", false },
    { "{mac:x}", "unknown placeholder", false },
    { "{seq:}", "unknown placeholder", false },
    { "{seq:X}", "unknown placeholder", false },
    { "{seq:x8}", "unknown placeholder", false },
    { "{seq:-1}", "unknown placeholder", false },
    { "{seq:21}", "unknown placeholder", false },
    { "{seq:021}", "unknown placeholder", false },
    { "{seq:0008}", "unknown placeholder", false },
    { "{{id}}", "unknown placeholder at \"{{id}}\"", false },
    { "{id}", "so it can't use {id}", true },
    { "a{seq}{id}", "so it can't use {id}", true },
};

Test(pattern, refusals)
{
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct cm_pattern p;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_pattern_parse(bad[i].text, !bad[i].no_id, NULL, &p, &err), CM_E_USAGE, "%s",
                     bad[i].text);
        cr_expect_not_null(strstr(err.what, bad[i].words), "%s: %s", bad[i].text, err.what);
    }
}

Test(pattern, limits)
{
    char text[CM_PATTERN_TEXT + 1], many[8 * CM_PATTERN_PIECES] = "";
    struct cm_pattern p;
    struct cm_error err = { 0 };

    memset(text, 'x', CM_PATTERN_TEXT);
    text[CM_PATTERN_TEXT] = '\0';
    cr_expect_eq(cm_pattern_parse(text, true, NULL, &p, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "longer than 255"), "%s", err.what);
    text[CM_PATTERN_TEXT - 1] = '\0';
    cr_expect_eq(cm_pattern_parse(text, true, NULL, &p, &err), CM_OK);
    for (int i = 0; i < CM_PATTERN_PIECES; i++)
        memcpy(many + 4 * i, "{id}", 5);
    cr_expect_eq(cm_pattern_parse(many, true, NULL, &p, &err), CM_OK);
    cr_expect_eq(p.count, CM_PATTERN_PIECES);
    memcpy(many + 4 * CM_PATTERN_PIECES, "x", 2);
    cr_expect_eq(cm_pattern_parse(many, true, NULL, &p, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "more than 16 parts"), "%s", err.what);
}

Test(pattern, uses)
{
    struct cm_pattern p;

    cr_assert_eq(cm_pattern_parse("a{seq:08}{mac}", true, NULL, &p, NULL), CM_OK);
    cr_expect(cm_pattern_uses(&p, CM_PIECE_SEQ) && cm_pattern_uses(&p, CM_PIECE_MAC) &&
              cm_pattern_uses(&p, CM_PIECE_TEXT));
    cr_expect(!cm_pattern_uses(&p, CM_PIECE_ID) && !cm_pattern_uses(&p, CM_PIECE_UUID));
}

/* ---- columns of a list ---- */

static const char *const names[] = { "serial", "mac", "uuid", "Part No", "a+b", "ä", "x" };
static const struct cm_columns columns = { names, CM_COUNT(names), 0 };

static const struct {
    const char *text, *expansion;
} of_columns[] = {
    { "{serial}", "SN-1" }, { "{Part No}/{ä}", "p/q" }, { "{id}{serial}{seq}", "SN-üSN-1255" },
    { "{mac}", "00-11" }, /* the list's, not the counted one */
    { "{x}{x}", "" },
};

Test(pattern, columns_stand_for_their_values, .init = setup, .fini = teardown)
{
    const struct cm_span column[] = { cm_span_str("SN-1"), cm_span_str("00-11"), cm_span_str("u"),
                                      cm_span_str("p"),    cm_span_str("ab"),    cm_span_str("q"),
                                      cm_span_str("") };
    struct cm_values v = values();

    v.column = column;
    for (size_t i = 0; i < CM_COUNT(of_columns); i++) {
        struct cm_pattern p;
        struct cm_error err = { 0 };
        char out[64] = "";
        struct cm_writer w = cm_writer(out, sizeof out - 1);
        cr_assert_eq(cm_pattern_parse(of_columns[i].text, true, &columns, &p, &err), CM_OK, "%s", err.what);
        cm_pattern_put(&p, &v, &w);
        cr_expect_str_eq(out, of_columns[i].expansion);
        for (size_t k = 0; k < p.count; k++)
            if (p.piece[k].kind == CM_PIECE_COLUMN)
                cr_expect(cm_span_eq(cm_span(p.text + p.piece[k].off, p.piece[k].len),
                                     cm_span_str(names[p.piece[k].column])),
                          "the name is kept for messages");
    }
}

static const struct {
    const char *text, *words;
} unclear[] = {
    { "{uuid}", "{uuid} is unclear: the list has a column of that name, too" },
    { "{a+b}", "can't stand in braces" },
    { "{Serial}", "{mac} and {uuid}, and of the list {serial}, {Part No}, {ä}, {x}" },
    { "{serial:08}", "unknown placeholder" },
    { "{mac:x}", "unknown placeholder" },
    { "{serial", "unknown placeholder at \"{serial\"" },
};

Test(pattern, columns_that_are_unclear)
{
    for (size_t i = 0; i < CM_COUNT(unclear); i++) {
        struct cm_pattern p;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_pattern_parse(unclear[i].text, true, &columns, &p, &err), CM_E_USAGE);
        cr_expect_not_null(strstr(err.what, unclear[i].words), "%s: %s", unclear[i].text, err.what);
    }
}

/* {id} is the device id; where a column "id" is something else, it is unclear. */
Test(pattern, a_column_named_id)
{
    static const char *const two[] = { "id", "serial" };
    const struct cm_columns first = { two, 2, 0 }, second = { two, 2, 1 };
    struct cm_pattern p;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_pattern_parse("{id}", true, &first, &p, &err), CM_OK);
    cr_expect_eq(p.piece[0].kind, CM_PIECE_ID);
    cr_expect_eq(cm_pattern_parse("{id}", true, &second, &p, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "{id} is unclear"), "%s", err.what);
    cr_expect_eq(cm_pattern_parse("{serial}", true, &second, &p, &err), CM_OK);
}

Test(pattern, packed_values_come_back)
{
    static uint8_t large[UINT16_MAX + 1];
    uint8_t packed[64];
    struct cm_span value[3] = { cm_span_str("a"), cm_span_str(""), cm_span_str("Größe") }, out[3];
    struct cm_writer w = cm_writer(packed, sizeof packed);

    cm_columns_pack(value, 3, &w);
    cr_assert(cm_writer_ok(&w) && w.len == cm_columns_packed_len(value, 3));
    cm_columns_unpack(packed, out, 3);
    for (size_t i = 0; i < 3; i++)
        cr_expect(cm_span_eq(value[i], out[i]));
    value[1] = cm_span(large, sizeof large);
    w = cm_writer(packed, sizeof packed);
    cm_columns_pack(value, 3, &w);
    cr_expect_not(cm_writer_ok(&w), "a length that two octets can't hold");
}
