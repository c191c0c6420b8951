/* Goal: digests and UUIDs are those of the standards, and a context gives the same again and again. Method:
 * known answers, and libcrypto's one-shot digest beside ours. */
#include "engine/hash.h"
#include "engine/random.h"
#include "engine/ossl.h"

#include <criterion/criterion.h>

static struct cm_hasher h;

static void setup(void)
{
    cr_assert_eq(cm_hasher_open(&h, NULL), CM_OK);
}

static void teardown(void)
{
    cm_hasher_close(&h);
}

/* RFC 4122's namespaces; the first answer is RFC 9562's own (A.4), the others are Python's uuid.uuid5. */
static const struct {
    const char *name, *uuid;
} known[] = {
    { "www.example.com", "2ed6657d-e927-568b-95e1-2665a8aea6a2" },
    { "python.org", "886313e1-3b8a-5372-9b90-0c9aee199e5d" },
};

Test(hash, uuid5, .init = setup, .fini = teardown)
{
    static const uint8_t dns[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                     0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };

    for (size_t i = 0; i < CM_COUNT(known); i++) {
        char text[37] = "";
        cr_assert_eq(cm_uuid5(&h, dns, cm_span_str(known[i].name), text, NULL), CM_OK);
        cr_expect_str_eq(text, known[i].uuid);
    }
}

Test(hash, uuid_text)
{
    uint8_t uuid[16];
    char text[37] = "";

    for (int i = 0; i < 16; i++)
        uuid[i] = (uint8_t) (i * 17);
    cm_uuid_text(uuid, text);
    cr_expect_str_eq(text, "00112233-4455-6677-8899-aabbccddeeff");
}

Test(hash, digests_of_every_length, .init = setup, .fini = teardown)
{
    uint8_t data[300], ours[32], theirs[EVP_MAX_MD_SIZE];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t) (i * 3);
    for (int again = 0; again < 2; again++)
        for (size_t len = 0; len <= sizeof data; len++) {
            cr_assert_eq(cm_sha256(&h, data, len, ours, NULL), CM_OK);
            cr_assert_eq(EVP_Digest(data, len, theirs, NULL, EVP_sha256(), NULL), 1);
            cr_assert_arr_eq(ours, theirs, 32);
            cr_assert_eq(cm_sha1(&h, data, len, ours, NULL), CM_OK);
            cr_assert_eq(EVP_Digest(data, len, theirs, NULL, EVP_sha1(), NULL), 1);
            cr_assert_arr_eq(ours, theirs, 20);
        }
}

Test(hash, close_accepts_a_zeroed_one)
{
    struct cm_hasher zeroed = { 0 };

    cm_hasher_close(&zeroed);
    cr_assert_eq(cm_hasher_open(&zeroed, NULL), CM_OK);
    cm_hasher_close(&zeroed);
    cm_hasher_close(&zeroed);
}

Test(hash, random_uuids_are_of_version_4_and_differ)
{
    enum { N = 200 };
    uint8_t uuid[N][16], ones[16] = { 0 }, zeros[16] = { 0 };

    for (int i = 0; i < N; i++) {
        cr_assert_eq(cm_random_uuid(uuid[i], NULL), CM_OK);
        cr_expect_eq(uuid[i][6] >> 4, 4);
        cr_expect_eq(uuid[i][8] >> 6, 2);
        for (int k = 0; k < i; k++)
            cr_assert(memcmp(uuid[i], uuid[k], 16) != 0);
        for (int b = 0; b < 16; b++) {
            ones[b] |= uuid[i][b];
            zeros[b] |= (uint8_t) ~uuid[i][b];
        }
    }
    for (int b = 0; b < 16; b++) {
        cr_expect_eq(ones[b], b == 6 ? 0x4f : b == 8 ? 0xbf : 0xff, "octet %d", b);
        cr_expect_eq(zeros[b], b == 6 ? 0xbf : b == 8 ? 0x7f : 0xff, "octet %d", b);
    }
}
