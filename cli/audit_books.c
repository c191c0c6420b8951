#include "cli/audit_impl.h"
#include "io/file.h"
#include "io/journalread.h"
#include "io/jsonread.h"
#include "io/readat.h"

#include <fcntl.h>
#include <sys/stat.h>

typedef unsigned long long ull;

/* burned.ndjson, and whether every serial prefix that was reserved and every
 * signature that was made is accounted for. A line at a time; two numbers an attempt. */
static const char burned_name[] = "burned.ndjson";
enum { LINE_MAX_LEN = 4096 };

struct books {
    struct cm_audit *a;
    const struct cm_journal_state *j;
    struct cm_ranges burned; /* numbers of prefixes */
    uint64_t *lost;          /* by attempt from 1: certificates that were signed and thrown away */
    uint64_t at;             /* offset of the line */
};

static void find(const struct books *b, const char *what)
{
    cm_audit_find(b->a, NULL, CM_FINDING_NO_ROW, burned_name, b->at, "%s", what);
}

static bool get_number(const json_t *line, const char *key, uint64_t most, uint64_t *out)
{
    const json_t *const value = json_object_get(line, key);

    *out = json_is_integer(value) ? (uint64_t) json_integer_value(value) : 0;
    return json_is_integer(value) && json_integer_value(value) >= 0 && *out <= most;
}

static bool is_text(const json_t *line, const char *key, const char *want)
{
    const char *const text = json_string_value(json_object_get(line, key));

    return text != NULL && strcmp(text, want) == 0;
}

/* NULL, or what is wrong with it. */
static const char *judge_line(const struct books *b, const json_t *line, uint64_t *number, uint64_t *attempt,
                              uint64_t *made)
{
    const struct cm_journal_state *j = b->j;
    const bool killed = json_is_null(json_object_get(line, "signed"));
    char prefix[2 * CM_SERIAL_PREFIX + 1] = "";
    struct cm_writer w = cm_writer(prefix, sizeof prefix - 1);
    uint64_t at_most = 0;
    cm_when t;

    if (!json_is_object(line) || json_object_size(line) != 8)
        return "a line that is no JSON object with the eight keys of the format";
    if (!is_text(line, "run_id", b->a->run->run_id))
        return "run_id: not that of run.json";
    if (!get_number(line, "attempt", j->attempts, attempt) || *attempt == 0)
        return "attempt: none of the journal's";
    if (j->prefixes == 0 || !get_number(line, "number", j->prefixes - 1, number))
        return "number: a prefix that was never reserved";
    cm_put_hex(&w, j->prefix[*number].octets, CM_SERIAL_PREFIX);
    if (!is_text(line, "prefix", prefix))
        return "prefix: not the one that was reserved with this number";
    if (!get_number(line, "at_most", UINT32_MAX, &at_most) || at_most != j->prefix[*number].at_most)
        return "at_most: not what was reserved";
    if (!is_text(line, "reason", killed ? "killed" : "failed"))
        return "reason: it must be killed where signed is null, else failed";
    if (!killed && !get_number(line, "signed", at_most, made))
        return "signed: not a number up to at_most";
    if (json_string_value(json_object_get(line, "burned_at")) == NULL ||
        cm_when_parse(json_string_value(json_object_get(line, "burned_at")), &t, NULL) != CM_OK)
        return "burned_at: not a time";
    if (cm_ranges_meets(&b->burned, *number, *number))
        return "the same prefix as in a line before";
    if (cm_ranges_meets(&j->used, *number, *number) || cm_ranges_meets(&j->unused, *number, *number))
        return "a prefix that the journal says is committed or unused";
    return NULL;
}

static cm_err take_line(struct books *b, struct cm_span text, struct cm_error *err)
{
    uint64_t number = 0, attempt = 0, made = 0;
    json_t *line = NULL;

    CM_TRY(cm_json_read(text, &line, NULL, err));
    const char *const wrong = judge_line(b, line, &number, &attempt, &made);
    struct cm_audit_books *sum = &b->a->books;
    cm_err rc = CM_OK;

    if (wrong != NULL) {
        find(b, wrong);
    } else {
        rc = cm_ranges_add(&b->burned, number, number, err);
        b->lost[attempt] += made;
        sum->burned_prefixes++;
        sum->burned_at_most +=
            json_is_null(json_object_get(line, "signed")) ? b->j->prefix[number].at_most : made;
    }
    json_decref(line);
    return rc;
}

static cm_err read_lines(struct books *b, int fd, struct cm_error *err)
{
    const uint64_t end = b->j->at.burned_bytes;
    uint8_t text[LINE_MAX_LEN];
    size_t got = 0;

    while (b->at < end) {
        const size_t ask = end - b->at < sizeof text ? (size_t) (end - b->at) : sizeof text;
        CM_TRY(cm_read_at(fd, burned_name, text, ask, b->at, &got, err));
        const uint8_t *const lf = memchr(text, '\n', got);
        if (lf == NULL) {
            find(b, got < ask ? "the file is shorter than the journal says"
                              : "a line that does not end where the journal says");
            return CM_OK;
        }
        CM_TRY(take_line(b, cm_span(text, (size_t) (lf - text)), err));
        b->at += (uint64_t) (lf - text) + 1;
    }
    return CM_OK;
}

static cm_err read_burned(struct books *b, struct cm_error *err)
{
    struct stat st;
    int fd = openat(cm_fleet_fd(b->a->fleet), burned_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    cm_err rc = CM_OK;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (b->j->at.burned_bytes > 0)
            find(b, "it is missing, or can't be read, though prefixes were burned");
        cm_fd_close(&fd);
        return CM_OK;
    }
    rc = read_lines(b, fd, err);
    cm_fd_close(&fd);
    b->at = b->j->at.burned_bytes;
    if (b->j->ended[0] != '\0' && (uint64_t) st.st_size > b->at)
        find(b, "octets behind what the journal says");
    return rc;
}

/* Of those that an attempt has settled. */
static void check_prefixes(const struct books *b)
{
    const struct cm_journal_state *j = b->j;

    for (uint64_t n = 0; n < j->settled; n++)
        if (!cm_ranges_meets(&j->used, n, n) && !cm_ranges_meets(&j->unused, n, n) &&
            !cm_ranges_meets(&b->burned, n, n))
            cm_audit_find(
                b->a, NULL, CM_FINDING_NO_ROW, burned_name, CM_FINDING_NO_OFFSET,
                "serial prefix number %llu was reserved; it is neither committed, unused nor burned",
                (ull) n);
}

static void check_signatures(const struct books *b)
{
    const struct cm_journal_state *j = b->j;

    for (size_t i = 0; i < j->attempts; i++) {
        const struct cm_journal_attempt_state *t = &j->attempt[i];
        if (t->ended && t->signatures != t->devices + b->lost[i + 1])
            cm_audit_find(b->a, NULL, CM_FINDING_NO_ROW, "journal", CM_FINDING_NO_OFFSET,
                          "attempt %zu made %llu signatures; %llu devices are committed and %llu burned",
                          i + 1, (ull) t->signatures, (ull) t->devices, (ull) b->lost[i + 1]);
    }
    /* What an attempt that has not been settled holds may be signed, too. */
    for (uint64_t n = j->settled; n < j->prefixes; n++)
        if (!cm_ranges_meets(&j->used, n, n))
            b->a->books.open_at_most += j->prefix[n].at_most;
}

cm_err cm_audit_books(struct cm_audit *a, struct cm_error *err)
{
    struct books b = { .a = a, .j = cm_fleet_journal(a->fleet) };
    cm_err rc = CM_OK;

    b.lost = calloc(b.j->attempts + 1, sizeof *b.lost);
    if (b.lost == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %zu attempts", b.j->attempts);
    rc = read_burned(&b, err);
    if (rc == CM_OK) {
        check_prefixes(&b);
        check_signatures(&b);
    }
    cm_ranges_close(&b.burned);
    free(b.lost);
    return rc;
}
