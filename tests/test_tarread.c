/* Goal: the walker takes what the format says and nothing else. Method: segments made by the writer's tarfmt,
 * whole and with every single bit of them turned over. */
#include "engine/tarfmt.h"
#include "io/tarread.h"

#include <criterion/criterion.h>

enum { CAP = 64 << 10, MTIME = 1700000000 };

/* Two entries, padding, end blocks. */
struct segment {
    uint8_t data[CAP];
    size_t len;
    size_t padding, behind; /* offsets: its, and of the second entry */
};

static void put_entry(struct cm_writer *w, const char *name, size_t len, uint32_t mode)
{
    uint8_t *header = cm_put_room(w, CM_TAR_BLOCK), *data = NULL;

    cr_assert_not_null(header);
    cm_tar_header(header, '0', cm_span_str(name), len, mode, MTIME);
    data = cm_put_room(w, len);
    cr_assert_not_null(data);
    memset(data, 'x', len);
    cm_tar_fill_block(w);
}

static void make_segment(struct segment *s)
{
    struct cm_writer w = cm_writer(s->data, sizeof s->data);

    memset(s->data, 0, sizeof s->data);
    put_entry(&w, "SN00000001.crt", 1234, 0644);
    s->padding = w.len;
    put_entry(&w, "%20weird~.crt", 1, 0644);
    s->behind = s->padding + cm_tar_pad(&w, s->padding, MTIME);
    cr_assert_not_null(cm_put_room(&w, CM_TAR_END));
    s->len = w.len;
}

static cm_err next(const struct segment *s, size_t at, struct cm_tarread *out, struct cm_error *err)
{
    const size_t left = s->len - at;
    const size_t len = left < CM_TARREAD_WINDOW ? left : CM_TARREAD_WINDOW;

    return cm_tarread_next(cm_span(s->data + at, len), at, len == left, out, err);
}

/* Things up to the end; *at is where it stopped. CM_E_END: all was well. */
static cm_err walk(const struct segment *s, size_t *at, struct cm_error *err)
{
    struct cm_tarread t = { 0 };
    cm_err rc = CM_OK;

    *at = 0;
    while ((rc = next(s, *at, &t, err)) == CM_OK && t.total <= s->len - *at)
        *at += (size_t) t.total;
    return rc;
}

static struct segment seg;

static void setup(void)
{
    make_segment(&seg);
}

TestSuite(tarread, .init = setup);

Test(tarread, knows_what_the_writer_writes)
{
    struct cm_tarread t = { 0 };
    struct cm_error err = { 0 };
    size_t at = 0;

    cr_assert_eq(next(&seg, 0, &t, &err), CM_OK, "%s", err.what);
    cr_expect_eq(t.kind, CM_TARREAD_ENTRY);
    cr_expect_str_eq(t.name, "SN00000001.crt");
    cr_expect_eq(t.size, 1234);
    cr_expect_eq(t.mode, 0644);
    cr_expect_eq(t.mtime, MTIME);
    cr_expect_eq(t.total, 512 + 1536);
    cr_assert_eq(next(&seg, seg.padding, &t, &err), CM_OK, "%s", err.what);
    cr_expect_eq(t.kind, CM_TARREAD_PADDING);
    cr_assert_eq(next(&seg, seg.len - CM_TAR_END, &t, &err), CM_OK, "%s", err.what);
    cr_expect_eq(t.kind, CM_TARREAD_ENDING);
    cr_expect_eq(walk(&seg, &at, &err), CM_E_END, "%s", err.what);
    cr_expect_eq(at, seg.len);
}

/* Every length of padding that a batch may need. */
Test(tarread, takes_padding_of_every_length)
{
    for (size_t blocks = 1; blocks <= 16; blocks++) {
        struct cm_writer w = cm_writer(seg.data, sizeof seg.data);
        struct cm_error err = { 0 };
        size_t at = 0;
        memset(seg.data, 0, sizeof seg.data);
        put_entry(&w, "a.key", 512 * blocks, 0600);
        (void) cm_tar_pad(&w, 0, MTIME);
        cr_assert_not_null(cm_put_room(&w, CM_TAR_END));
        seg.len = w.len;
        cr_expect_eq(walk(&seg, &at, &err), CM_E_END, "%zu blocks: %s", blocks, err.what);
    }
}

/* Every bit of the headers, the padding and the end counts; those of the data are not the walker's. */
Test(tarread, refuses_every_flipped_bit)
{
    for (size_t i = 0; i < seg.len; i++) {
        const bool is_data =
            (i >= 512 && i < seg.padding) || (i >= seg.behind + 512 && i < seg.len - CM_TAR_END);
        for (unsigned bit = 0; bit < 8 && !is_data; bit++) {
            struct cm_error err = { 0 };
            size_t at = 0;
            seg.data[i] ^= (uint8_t) (1u << bit);
            cr_expect_eq(walk(&seg, &at, &err), CM_E_INPUT, "octet %zu, bit %u", i, bit);
            cr_expect_leq(at, i, "octet %zu was passed over", i);
            seg.data[i] ^= (uint8_t) (1u << bit);
        }
    }
}

Test(tarread, refuses_other_ends)
{
    struct cm_error err = { 0 };
    size_t at = 0;

    for (size_t cut = 1; cut < CM_TAR_END; cut++) {
        struct segment *s = &seg;
        s->len -= cut;
        cr_expect_eq(walk(s, &at, &err), CM_E_INPUT, "%zu octets short", cut);
        s->len += cut;
    }
    for (size_t more = 1; more <= 2 * 4096; more += 511) {
        seg.len += more;
        cr_expect_eq(walk(&seg, &at, &err), CM_E_INPUT, "%zu octets more", more);
        seg.len -= more;
    }
    seg.len -= CM_TAR_END;
    cr_expect_eq(walk(&seg, &at, &err), CM_E_END, "without end blocks the walker just runs out");
}

/* What tar knows and a segment must not have: other types, owners, names. The checksum is made right again.
 */
Test(tarread, refuses_what_other_archives_have)
{
    static const struct {
        size_t at;
        const char *octets;
        size_t len;
    } change[] = {
        { 156, "5", 1 },   { 156, "2", 1 },         { 156, "x", 1 },         { 156, "g", 1 },
        { 156, "\0", 1 },  { 157, "target", 6 },    { 265, "root", 4 },      { 297, "root", 4 },
        { 345, "dir", 3 }, { 108, "0000001\0", 8 }, { 108, "     0\0 ", 8 }, { 100, "644\0\0\0\0", 8 },
        { 0, "a b", 3 },   { 0, "\0", 1 },          { 0, "\xc3\xa4", 2 },    { 90, "x", 1 },
        { 500, "x", 1 },   { 124, "-", 1 },         { 136, "8", 1 },
    };

    for (size_t i = 0; i < CM_COUNT(change); i++) {
        struct cm_tarread t = { 0 };
        struct cm_error err = { 0 };
        uint32_t sum = 0;
        make_segment(&seg);
        memcpy(seg.data + change[i].at, change[i].octets, change[i].len);
        memset(seg.data + 148, ' ', 8);
        for (size_t k = 0; k < 512; k++)
            sum += seg.data[k];
        (void) snprintf((char *) seg.data + 148, 8, "%06o", sum);
        seg.data[155] = ' ';
        cr_expect_eq(cm_tarread_header(seg.data, 0, &t, &err), CM_E_INPUT, "change %zu", i);
        cr_expect_not_null(strstr(err.what, "offset 0"), "%s", err.what);
    }
}
