#include "io/source_list.h"

#include "engine/digest.h"
#include "engine/ident.h"
#include "engine/xxh.h"
#include "io/extsort.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUF_LEN = 256 << 10 };

/* Reads lines; what it has read is hashed. */
struct reader {
    int fd;
    const char *path;
    struct cm_digest *digest;
    char *buf;
    size_t from, to; /* the octets of buf not yet given out */
    bool ended;
    uint64_t line; /* number of the line given out last */
};

struct list_source {
    struct cm_source base;
    struct reader r;
    uint64_t mac_base, next; /* next: index of the device to come */
    bool verified;           /* the second reading met the same octets */
    uint8_t sha256[32];
    char first[CM_ID_MAX];
    size_t first_len;
};

static cm_err fill(struct reader *r, struct cm_error *err)
{
    ssize_t n = 0;

    memmove(r->buf, r->buf + r->from, r->to - r->from);
    r->to -= r->from;
    r->from = 0;
    do
        n = read(r->fd, r->buf + r->to, BUF_LEN - r->to);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        CM_FAIL(err, CM_E_IO, "can't read %s", r->path);
    r->ended = n == 0;
    CM_TRY(cm_digest_update(r->digest, r->buf + r->to, (size_t) n, err));
    r->to += (size_t) n;
    return CM_OK;
}

/* The next line without its end; CM_E_END after the last. */
static cm_err raw_line(struct reader *r, struct cm_span *out, struct cm_error *err)
{
    const char *lf = memchr(r->buf + r->from, '\n', r->to - r->from);

    while (lf == NULL && !r->ended && r->to - r->from < BUF_LEN) {
        CM_TRY(fill(r, err));
        lf = memchr(r->buf + r->from, '\n', r->to - r->from);
    }
    if (lf == NULL && r->from == r->to)
        return CM_E_END;
    r->line++;
    if (lf == NULL && !r->ended)
        CM_FAIL(err, CM_E_INPUT, "%s, line %llu: longer than %d octets; this is not a list of ids", r->path,
                (unsigned long long) r->line, BUF_LEN);
    const char *const start = r->buf + r->from;
    size_t len = lf != NULL ? (size_t) (lf - start) : r->to - r->from;
    r->from += len + (lf != NULL);
    len -= len > 0 && start[len - 1] == '\r';
    *out = cm_span(start, len);
    return CM_OK;
}

/* The next id: not a blank line, and without the file's byte-order mark. */
static cm_err next_id(struct reader *r, struct cm_span *out, struct cm_error *err)
{
    do {
        CM_TRY(raw_line(r, out, err));
        if (r->line == 1 && out->len >= 2 &&
            (memcmp(out->data, "\xff\xfe", 2) == 0 || memcmp(out->data, "\xfe\xff", 2) == 0))
            CM_FAIL(err, CM_E_INPUT, "%s is UTF-16; save it as UTF-8", r->path);
        if (r->line == 1 && out->len >= 2 && memcmp(out->data, "\x1f\x8b", 2) == 0)
            CM_FAIL(err, CM_E_INPUT, "%s is compressed with gzip; unpack it first", r->path);
        if (r->line == 1 && out->len >= 3 && memcmp(out->data, "\xef\xbb\xbf", 3) == 0)
            *out = cm_span(out->data + 3, out->len - 3);
    } while (out->len == 0);
    return CM_OK;
}

/* A record for the search for duplicates: hash of the id, then the line's number,
 * so that equal ids stand together, the earlier first. */
struct dup_record {
    uint8_t hash[16];
    uint8_t line[8]; /* big-endian */
};

static cm_err note_id(struct cm_extsort *sort, struct cm_span id, bool fold, uint64_t line,
                      struct cm_error *err)
{
    struct dup_record rec;
    uint8_t folded[CM_ID_MAX];

    for (size_t i = 0; i < id.len; i++)
        folded[i] =
            fold && id.data[i] >= 'A' && id.data[i] <= 'Z' ? (uint8_t) (id.data[i] | 0x20) : id.data[i];
    cm_xxh128(folded, id.len, rec.hash);
    for (int i = 0; i < 8; i++)
        rec.line[i] = (uint8_t) (line >> (56 - 8 * i));
    return cm_extsort_push(sort, &rec, err);
}

static uint64_t line_of(const struct dup_record *rec)
{
    uint64_t line = 0;

    for (int i = 0; i < 8; i++)
        line = line << 8 | rec->line[i];
    return line;
}

static cm_err find_duplicate(struct cm_extsort *sort, const struct cm_source_list_conf *conf,
                             struct cm_error *err)
{
    struct dup_record last = { 0 };
    const uint8_t *p = NULL;
    cm_err rc = CM_OK;

    for (bool first = true; (rc = cm_extsort_pop(sort, &p, err)) == CM_OK; first = false) {
        struct dup_record rec;
        memcpy(&rec, p, sizeof rec);
        if (!first && memcmp(rec.hash, last.hash, sizeof rec.hash) == 0)
            CM_FAIL(err, CM_E_INPUT, "%s: lines %llu and %llu hold the same device id%s", conf->path,
                    (unsigned long long) line_of(&last), (unsigned long long) line_of(&rec),
                    conf->fold_case ? " (upper and lower case make no difference in --layout tree)" : "");
        last = rec;
    }
    return rc == CM_E_END ? CM_OK : rc;
}

static cm_err check_one(struct list_source *s, const struct cm_source_list_conf *conf, struct cm_span id,
                        struct cm_error *err)
{
    const struct cm_values v = { .id = id,
                                 .seq = s->base.devices + 1,
                                 .mac = conf->mac_base + s->base.devices,
                                 .run_id = conf->run_id,
                                 .hasher = conf->hasher };
    struct cm_error why = { 0 };
    cm_err rc = cm_id_check(id, &why);

    if (rc == CM_OK && v.mac >= 1ull << 48)
        rc = cm_fail(&why, CM_E_USAGE, CM_HERE, "--mac-base passes ff:ff:ff:ff:ff:ff here");
    if (rc == CM_OK && conf->check != NULL)
        rc = conf->check(conf->check_arg, &v, &why);
    if (rc != CM_OK)
        CM_FAIL(err, rc, "%s, line %llu: %.400s", conf->path, (unsigned long long) s->r.line, why.what);
    return CM_OK;
}

static cm_err scan(struct list_source *s, const struct cm_source_list_conf *conf, struct cm_extsort *sort,
                   struct cm_error *err)
{
    struct cm_span id;
    cm_err rc = CM_OK;

    while ((rc = next_id(&s->r, &id, err)) == CM_OK) {
        CM_TRY(check_one(s, conf, id, err));
        CM_TRY(note_id(sort, id, conf->fold_case, s->r.line, err));
        if (s->base.devices++ == 0) {
            memcpy(s->first, id.data, id.len);
            s->first_len = id.len;
        }
    }
    if (rc != CM_E_END)
        return rc;
    if (s->base.devices == 0)
        CM_FAIL(err, CM_E_INPUT, "%s holds no device id", conf->path);
    CM_TRY(cm_digest_final(s->r.digest, s->sha256, err));
    return find_duplicate(sort, conf, err);
}

static cm_err open_file(struct reader *r, const char *path, struct cm_error *err)
{
    struct stat st;

    r->path = path;
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r->fd < 0)
        CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO, "can't open the device list %s%s", path,
                errno == ENOENT ? ": there is no such file" : "");
    if (fstat(r->fd, &st) != 0 || !S_ISREG(st.st_mode))
        CM_FAIL(err, CM_E_INPUT,
                "the device list %s is not a regular file; it is read twice, so a pipe won't do", path);
    r->buf = malloc(BUF_LEN);
    if (r->buf == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to read %s", path);
    return cm_digest_open(&r->digest, err);
}

static void list_close(struct cm_source *base)
{
    struct list_source *s = (struct list_source *) base;

    cm_digest_close(s->r.digest);
    cm_fd_close(&s->r.fd);
    free(s->r.buf);
    free(s);
}

/* At the end of the second reading: was it the same file all the time? */
static cm_err check_unchanged(struct list_source *s, struct cm_error *err)
{
    uint8_t now[32];

    CM_TRY(cm_digest_final(s->r.digest, now, err));
    if (memcmp(now, s->sha256, sizeof now) != 0 || s->next != s->base.devices)
        CM_FAIL(err, CM_E_INPUT, "the device list %s changed during the run", s->r.path);
    s->verified = true;
    return CM_E_END;
}

static cm_err list_next(struct cm_source *base, struct cm_batch *b, struct cm_error *err)
{
    struct list_source *s = (struct list_source *) base;
    struct cm_span id;
    cm_err rc = CM_OK;

    if (s->verified)
        return CM_E_END;
    while (b->count < b->cap && s->next < s->base.devices && (rc = next_id(&s->r, &id, err)) == CM_OK) {
        if (base->done != NULL && cm_ranges_meets(base->done, s->next + 1, s->next + 1)) {
            s->next++;
            continue;
        }
        /* The check was made on the first reading; a file that changed since might not fit. */
        if (!cm_batch_add(b, id, s->next + 1, s->mac_base + s->next) || cm_id_check(id, NULL) != CM_OK)
            CM_FAIL(err, CM_E_INPUT, "the device list %s changed during the run", s->r.path);
        s->next++;
    }
    if (rc != CM_OK && rc != CM_E_END)
        return rc;
    if (b->count > 0 && s->next < s->base.devices && rc == CM_OK)
        return CM_OK;
    /* The last device was given out: read on to the end, which must be there. */
    while (rc == CM_OK && (rc = next_id(&s->r, &id, err)) == CM_OK)
        s->next++;
    if (rc != CM_E_END)
        return rc;
    rc = check_unchanged(s, err);
    return rc == CM_E_END && b->count > 0 ? CM_OK : rc;
}

static const struct cm_source_ops list_ops = { .name = "list", .next = list_next, .close = list_close };

static cm_err first_reading(struct list_source *s, const struct cm_source_list_conf *conf,
                            struct cm_error *err)
{
    struct cm_extsort *sort = NULL;
    cm_err rc = CM_OK;

    CM_TRY(open_file(&s->r, conf->path, err));
    CM_TRY(cm_extsort_open(conf->spill_dir, sizeof(struct dup_record), CM_EXTSORT_MEMORY, &sort, err));
    rc = scan(s, conf, sort, err);
    cm_extsort_close(sort);
    CM_TRY(rc);
    s->r.from = s->r.to = 0;
    s->r.line = 0;
    s->r.ended = false;
    if (lseek(s->r.fd, 0, SEEK_SET) != 0)
        CM_FAIL(err, CM_E_IO, "can't read %s again", conf->path);
    return CM_OK;
}

cm_err cm_source_list_open(const struct cm_source_list_conf *conf, struct cm_source **out,
                           struct cm_error *err)
{
    struct list_source *s = calloc(1, sizeof *s);
    cm_err rc = CM_OK;

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the device source");
    s->base.ops = &list_ops;
    s->mac_base = conf->mac_base;
    s->r.fd = -1;
    rc = first_reading(s, conf, err);
    if (rc != CM_OK) {
        list_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}

void cm_source_list_sha256(const struct cm_source *base, uint8_t out[32])
{
    memcpy(out, ((const struct list_source *) base)->sha256, 32);
}

size_t cm_source_list_first(const struct cm_source *base, char *out)
{
    const struct list_source *s = (const struct list_source *) base;

    memcpy(out, s->first, s->first_len);
    return s->first_len;
}
