/* Goal: the PEM writer makes RFC 7468 text, the same as libcrypto's, for every length and every octet, and
 * says beforehand how long it will be. Method: EVP_EncodeBlock and PEM_write_bio side by side with ours. Of
 * the reader: full lines; the rest of it is in test_keyread.c. */
#include "engine/cpu.h"
#include "engine/pem.h"
#include "engine/pemline.h"
#include "engine/pemread.h"
#include "tests/t_authority.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

enum { TEXT_MAX = 16384 };

static size_t put(const char *label, const uint8_t *der, size_t len, char *out)
{
    struct cm_writer w = cm_writer(out, TEXT_MAX);

    cm_put_pem(&w, label, der, len);
    cr_assert(cm_writer_ok(&w));
    cr_expect_eq(w.len, cm_pem_len(label, len), "%zu octets", len);
    return w.len;
}

/* The base64 without line ends, as EVP_EncodeBlock writes it. */
static void expect_base64(const uint8_t *der, size_t len)
{
    char text[TEXT_MAX], flat[TEXT_MAX];
    unsigned char expected[TEXT_MAX];
    const char *const begin = "-----BEGIN X-----\n", *const end = "-----END X-----\n";
    const size_t n = put("X", der, len, text);
    size_t flat_len = 0, column = 0;

    cr_assert(strncmp(text, begin, strlen(begin)) == 0 &&
              strncmp(text + n - strlen(end), end, strlen(end)) == 0);
    for (const char *c = text + strlen(begin); c < text + n - strlen(end); c++) {
        if (*c != '\n') {
            flat[flat_len++] = *c;
            column++;
            continue;
        }
        cr_assert(column == 64 || (c + 1 == text + n - strlen(end) && column > 0 && column < 64),
                  "%zu octets: a line of %zu", len, column);
        column = 0;
    }
    cr_assert_eq(column, 0, "%zu octets: the last line has no end", len);
    cr_assert_eq(EVP_EncodeBlock(expected, der, (int) len), (int) flat_len, "%zu octets", len);
    cr_assert(memcmp(expected, flat, flat_len) == 0, "%zu octets", len);
    struct cm_writer line = cm_writer(text, sizeof text);
    cm_put_base64(&line, der, len);
    cr_assert(line.len == flat_len && memcmp(expected, text, flat_len) == 0, "%zu octets, in one line", len);
}

#ifdef __x86_64__
/* Every value in every place, among neighbours of ones and of zeros; nothing behind the 48 octets is read. */
Test(pem, a_line_by_vectors_is_the_plain_one)
{
    uint8_t *const in = malloc(CM_PEM_BYTES);
    uint8_t plain[CM_PEM_CHARS], wide[CM_PEM_CHARS];

    if (cm_cpu_level() < CM_CPU_FMA)
        cr_skip("this processor has no AVX2, or it is not to be used");
    for (unsigned fill = 0; fill < 256; fill += 255)
        for (size_t at = 0; at < CM_PEM_BYTES; at++)
            for (unsigned v = 0; v < 65536; v += at + 1 < CM_PEM_BYTES ? 1 : 256) {
                memset(in, (int) fill, CM_PEM_BYTES);
                in[at] = (uint8_t) (v >> 8);
                if (at + 1 < CM_PEM_BYTES)
                    in[at + 1] = (uint8_t) v;
                cm_pem_line_plain(in, plain);
                cm_pem_line_avx2(in, wide);
                cr_assert(memcmp(plain, wide, sizeof plain) == 0, "octets %zu: %04x among %02x", at, v, fill);
            }
    free(in);
}
#endif

Test(pem, every_length)
{
    uint8_t der[512];

    for (size_t i = 0; i < sizeof der; i++)
        der[i] = (uint8_t) (i * 91 + i / 7);
    for (size_t len = 0; len <= 200; len++)
        expect_base64(der, len);
    for (size_t len = 470; len <= sizeof der; len++)
        expect_base64(der, len);
}

/* Every octet in each of the three places of a group, in full lines and in the last. */
Test(pem, every_octet_in_every_place)
{
    uint8_t der[60];

    for (unsigned octet = 0; octet < 256; octet++)
        for (size_t place = 0; place < 3; place++)
            for (size_t len = 48; len <= 51; len++) {
                memset(der, 0, sizeof der);
                for (size_t i = place; i < sizeof der; i += 3)
                    der[i] = (uint8_t) octet;
                expect_base64(der, len);
                expect_base64(der, len - 47);
            }
    for (unsigned pair = 0; pair < 65536; pair++) {
        const uint8_t two[3] = { (uint8_t) (pair >> 8), (uint8_t) pair, (uint8_t) (pair ^ 0x5a) };
        expect_base64(two, 3);
    }
}

Test(pem, as_libcrypto_writes_it)
{
    uint8_t der[700];
    char text[TEXT_MAX];

    for (size_t i = 0; i < sizeof der; i++)
        der[i] = (uint8_t) (255 - i);
    for (size_t len = 1; len <= sizeof der; len += 13) {
        CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
        cr_assert_gt(PEM_write_bio(bio, "EC PRIVATE KEY", "", der, (long) len), 0);
        const size_t n = put("EC PRIVATE KEY", der, len, text);
        cr_assert(cm_span_eq(t_authority_span(bio), cm_span(text, n)), "%zu octets", len);
    }
}

/* Whatever the room, nothing is written behind it, and the loss is remembered. */
Test(pem, no_room)
{
    uint8_t der[100] = { 1 };
    const size_t whole = cm_pem_len("X", sizeof der);

    for (size_t cap = 0; cap <= whole; cap++) {
        uint8_t *exact = malloc(cap + 1); /* its end is where a sanitizer looks */
        struct cm_writer w = cm_writer(exact + 1, cap);
        cm_put_pem(&w, "X", der, sizeof der);
        cr_expect_eq(cm_writer_ok(&w), cap == whole, "%zu", cap);
        free(exact);
    }
}

/* Full lines go by vectors where the processor has them: every octet in every place, and random lines,
 * against EVP_DecodeBlock. */
Test(pem, every_octet_in_every_place_of_a_full_line_that_is_read)
{
    enum { LINE = 64, OCTETS = 48, RANDOM_LINES = 20000 };
    static const char begin[] = "-----BEGIN X-----\n", end[] = "\n-----END X-----\n";
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[sizeof begin + LINE + sizeof end], out[OCTETS], expected[OCTETS], random[LINE];
    uint8_t *const line = text + sizeof begin - 1;
    const size_t whole = sizeof begin - 1 + LINE + sizeof end - 1;
    size_t len = 0;

    memcpy(text, begin, sizeof begin - 1);
    memcpy(line + LINE, end, sizeof end - 1);
    for (size_t i = 0; i < RANDOM_LINES + LINE * 256; i++) {
        const bool valid_line = i < RANDOM_LINES;
        cr_assert_eq(RAND_bytes(random, sizeof random), 1);
        for (size_t k = 0; k < LINE; k++)
            line[k] = (uint8_t) alphabet[random[k] % 64];
        const size_t at = (i - RANDOM_LINES) / 256, octet = (i - RANDOM_LINES) % 256;
        if (!valid_line)
            line[at] = (uint8_t) octet;
        const bool good = valid_line || (octet != 0 && strchr(alphabet, (int) octet) != NULL);
        struct cm_span in = cm_span(text, whole);
        const cm_err rc = cm_pemread_next(&in, "X", out, sizeof out, &len, NULL);
        /* In the last places '=' is padding, and the rest of its group must fit. */
        if (octet == '=' && !valid_line && at >= LINE - 1)
            continue;
        cr_assert_eq(rc, good ? CM_OK : CM_E_INPUT, "place %zu, octet %02zx", at, octet);
        if (!good)
            continue;
        cr_assert_eq(EVP_DecodeBlock(expected, line, LINE), OCTETS);
        cr_assert(len == OCTETS && memcmp(out, expected, OCTETS) == 0, "line %zu", i);
    }
}
