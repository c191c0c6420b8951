/* Targets: cm_journal_parse: any octets as a journal, and the same octets as the texts of records (a line
 * each) whose hashes are right: no mutation finds a hash. What is accepted is bounded by what was read. */
#include "engine/digest.h"
#include "io/journalread.h"
#include "tests/fuzz/fuzz.h"

enum { SECTOR = 512, HASH_HEX = 64, RECORDS_MAX = 64 };

static void parse(struct cm_span data)
{
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };

    if (cm_journal_parse(data, "fuzz", &s, &err) != CM_OK)
        return;
    CM_ASSERT(s.run != NULL && s.at.records > 0 && s.at.length <= data.len && s.file_bytes == data.len);
    CM_ASSERT(s.settled <= s.prefixes && s.at.commits == s.commits && s.at.attempts == s.attempts);
    for (size_t i = 0; i < s.used.count; i++)
        CM_ASSERT(s.used.at[i].last < s.prefixes &&
                  !cm_ranges_meets(&s.unused, s.used.at[i].first, s.used.at[i].last));
    cm_journal_state_done(&s);
}

/* One line as a sealed record at out; its length. */
static size_t seal(struct cm_digest *d, struct cm_span line, uint8_t chain[32], uint8_t *out)
{
    const size_t len = (HASH_HEX + 1 + line.len + 1 + SECTOR - 1) / SECTOR * SECTOR;
    struct cm_writer hex = cm_writer(out, HASH_HEX);

    memset(out, ' ', len);
    if (line.len > 0)
        memcpy(out + HASH_HEX + 1, line.data, line.len);
    out[len - 1] = '\n';
    CM_ASSERT(cm_digest_update(d, chain, 32, NULL) == CM_OK);
    CM_ASSERT(cm_digest_update(d, out + HASH_HEX, len - HASH_HEX, NULL) == CM_OK);
    CM_ASSERT(cm_digest_final(d, chain, NULL) == CM_OK);
    cm_put_hex(&hex, chain, 32);
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *const sealed = malloc(len + (size_t) RECORDS_MAX * (SECTOR + HASH_HEX));
    struct cm_digest *d = NULL;
    uint8_t chain[32] = { 0 };
    size_t at = 0, out = 0;

    parse(cm_span(data, len));
    CM_ASSERT(sealed != NULL && cm_digest_open(&d, NULL) == CM_OK);
    for (int i = 0; i < RECORDS_MAX && at < len; i++) {
        const uint8_t *const lf = memchr(data + at, '\n', len - at);
        const size_t line = lf != NULL ? (size_t) (lf - data) - at : len - at;
        out += seal(d, cm_span(data + at, line), chain, sealed + out);
        at += line + 1;
    }
    parse(cm_span(sealed, out));
    cm_digest_close(d);
    free(sealed);
    return 0;
}
