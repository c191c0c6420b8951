#include "io/registrations.h"

#include "engine/hash.h"
#include "engine/pemread.h"
#include "io/jsonread.h"
#include "io/jsontext.h"

#include <errno.h>

enum { DER_MAX = 64 << 10, DEPTH = 6, MESSAGE = 500 };

struct reading {
    struct cm_db *d;
    struct cm_hasher hasher;
    const char *path;
    char *line; /* CM_REGISTRATION_LINE + 1 octets */
    uint8_t *der;
    uint64_t number; /* of the line */
};

/* What a line says. Texts of the JSON's. */
struct mark {
    bool good;
    char certificate_id[65]; /* "": not said */
    const char *device_id;   /* NULL: not said */
    const char *resource;    /* ARN of the thing; NULL */
    const char *message;     /* of a failure; NULL */
};

/* The first string under this key, however deep it lies. */
static const char *find_text(const json_t *in, const char *key, int depth)
{
    const char *name = NULL, *found = json_string_value(json_object_get(in, key));
    json_t *value = NULL;

    if (found != NULL || depth == 0)
        return found;
    json_object_foreach(cm_json_each(in), name, value)
    {
        found = find_text(value, key, depth - 1);
        if (found != NULL)
            return found;
    }
    return NULL;
}

static const char *find_any(const json_t *in, const char *const *keys)
{
    const char *found = NULL;

    for (; found == NULL && *keys != NULL; keys++)
        found = find_text(in, *keys, DEPTH);
    return found;
}

static void id_of_pem(struct reading *r, const char *pem, char out[65])
{
    struct cm_span text = cm_span_str(pem);
    struct cm_writer w = cm_writer(out, 64);
    uint8_t digest[32];
    size_t len = 0;

    if (cm_pemread_next(&text, "CERTIFICATE", r->der, DER_MAX, &len, NULL) == CM_OK &&
        cm_sha256(&r->hasher, r->der, len, digest, NULL) == CM_OK)
        cm_put_hex(&w, digest, sizeof digest);
    out[w.len] = '\0';
}

static void id_of_text(const char *text, char out[65])
{
    const char *const slash = strrchr(text, '/');
    const char *const id = slash != NULL ? slash + 1 : text;

    if (strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64)
        (void) snprintf(out, 65, "%s", id);
}

/* By the certificate, where the line has it: a thing may be called otherwise than the device. */
static void read_mark(struct reading *r, const json_t *root, struct mark *m)
{
    static const char *const certificates[] = { "certificate", "certificateArn", "certificateId",
                                                "CertificateId", NULL };
    static const char *const pems[] = { "CertificatePem", "certificatePem", NULL };
    static const char *const names[] = { "ThingName", "thingName", NULL };
    static const char *const messages[] = { "errorMessage", "message", "error", "reason", "errorCode", NULL };

    *m = (struct mark) { .good = json_is_object(json_object_get(root, "response")) };
    const char *const pem = find_any(root, pems), *const certificate = find_any(root, certificates);
    if (pem != NULL)
        id_of_pem(r, pem, m->certificate_id);
    if (m->certificate_id[0] == '\0' && certificate != NULL)
        id_of_text(certificate, m->certificate_id);
    m->resource = find_text(root, "thing", DEPTH);
    const char *const slash = m->resource != NULL ? strrchr(m->resource, '/') : NULL;
    m->device_id = slash != NULL ? slash + 1 : find_any(root, names);
    m->message = m->good ? NULL : find_any(root, messages);
}

/* The certificate id in the database; false: it has no such device. */
static cm_err look_up(struct reading *r, struct mark *m, bool *found, struct cm_error *err)
{
    const bool by_certificate = m->certificate_id[0] != '\0';
    const char *const text[] = { by_certificate ? m->certificate_id : m->device_id };
    struct cm_db_answer answer = { 0 };
    char sql[200];

    *found = false;
    if (text[0] == NULL)
        return CM_OK;
    (void) snprintf(sql, sizeof sql, "SELECT certificate_id FROM %sdevice WHERE %s LIMIT 2",
                    cm_db_words(r->d)->schema,
                    by_certificate ? "certificate_id = $1" : "device_id = $1 AND superseded_by IS NULL");
    CM_TRY(cm_db_query(r->d, sql, text, 1, &answer, err));
    *found = answer.rows == 1;
    if (*found)
        (void) snprintf(m->certificate_id, sizeof m->certificate_id, "%s", answer.cell[0]);
    cm_db_answer_done(&answer);
    return CM_OK;
}

/* The beginning of it, of whole characters. */
static void put_cut(char to[MESSAGE + 1], const char *text)
{
    size_t len = strnlen(text, MESSAGE);

    while (len > 0 && ((uint8_t) text[len] & 0xc0) == 0x80)
        len--;
    memcpy(to, text, len);
    to[len] = '\0';
}

static cm_err put_mark(struct reading *r, const struct mark *m, struct cm_error *err)
{
    const struct cm_db_words *const words = cm_db_words(r->d);
    char sql[640], message[MESSAGE + 1] = "";
    const char *text[] = { m->certificate_id, m->good ? "registered" : "failed", m->resource, NULL };

    if (!m->good) { /* one that can't be read is kept as it stands */
        put_cut(message, m->message != NULL ? m->message : r->line);
        text[3] = message;
    }
    (void) snprintf(
        sql, sizeof sql,
        "INSERT INTO %sregistration AS r (certificate_id, registry, state, resource, message, marked_at)"
        " VALUES ($1, 'aws-iot', $2, $3, $4, %s) ON CONFLICT (certificate_id, registry) DO UPDATE SET"
        " state = excluded.state, resource = excluded.resource, message = excluded.message,"
        " marked_at = excluded.marked_at WHERE r.state <> 'registered' RETURNING 1",
        words->schema, words->now);
    return cm_db_query(r->d, sql, text, CM_COUNT(text), NULL, err);
}

static cm_err take_line(struct reading *r, size_t len, struct cm_registrations *out, struct cm_error *err)
{
    json_error_t why;
    json_t *root = NULL;
    struct mark m;
    bool found = false;

    CM_TRY(cm_json_read(cm_span(r->line, len), &root, &why, err));
    if (!json_is_object(root)) {
        json_decref(root);
        CM_FAIL(err, CM_E_INPUT,
                "%s, line %llu: no JSON object; name a result file of a bulk registration task", r->path,
                (unsigned long long) r->number);
    }
    read_mark(r, root, &m);
    cm_err rc = look_up(r, &m, &found, err);
    if (rc == CM_OK && found)
        rc = put_mark(r, &m, err);
    json_decref(root);
    CM_TRY(rc);
    if (!found && out->unknown++ == 0)
        out->first_unknown = r->number;
    out->registered += found && m.good;
    out->failed += found && !m.good;
    return CM_OK;
}

static cm_err read_lines(struct reading *r, FILE *in, struct cm_registrations *out, struct cm_error *err)
{
    while (fgets(r->line, CM_REGISTRATION_LINE + 1, in) != NULL) {
        size_t len = strlen(r->line);
        r->number++;
        if (len == CM_REGISTRATION_LINE)
            CM_FAIL(err, CM_E_INPUT,
                    "%s, line %llu: longer than %d octets; name a result file of a bulk registration task",
                    r->path, (unsigned long long) r->number, CM_REGISTRATION_LINE);
        while (len > 0 && (r->line[len - 1] == '\n' || r->line[len - 1] == '\r'))
            r->line[--len] = '\0';
        if (len > 0)
            CM_TRY(take_line(r, len, out, err));
    }
    if (ferror(in))
        CM_FAIL(err, CM_E_IO, "can't read %s", r->path);
    return CM_OK;
}

static cm_err read_file(struct reading *r, struct cm_registrations *out, struct cm_error *err)
{
    struct cm_registrations sums = *out;
    FILE *in = fopen(r->path, "re");

    if (in == NULL)
        CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO, "can't open %s", r->path);
    cm_err rc = cm_db_transact(r->d, err);
    if (rc == CM_OK)
        rc = read_lines(r, in, &sums, err);
    (void) fclose(in);
    if (rc == CM_OK)
        rc = cm_db_settle(r->d, err);
    if (rc == CM_OK)
        *out = sums;
    else
        cm_db_rollback(r->d);
    return rc;
}

cm_err cm_registrations_read(struct cm_db *d, const char *path, struct cm_registrations *out,
                             struct cm_error *err)
{
    struct reading r = {
        .d = d, .path = path, .line = malloc(CM_REGISTRATION_LINE + 1), .der = malloc(DER_MAX)
    };
    cm_err rc = CM_OK;

    if (r.line == NULL || r.der == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for reading %s", path);
    if (rc == CM_OK)
        rc = cm_hasher_open(&r.hasher, err);
    if (rc == CM_OK)
        rc = read_file(&r, out, err);
    cm_hasher_close(&r.hasher);
    free(r.line);
    free(r.der);
    return rc;
}
