#include "io/fleet_impl.h"

#include "io/jsonread.h"

#include <jansson.h>

/* run.json, strictly: what is read here must be there and of its type. */
struct reader {
    const char *name; /* of the file, for messages */
    struct cm_error *err;
};

static cm_err get_object(const struct reader *r, const json_t *in, const char *key, const json_t **out)
{
    *out = json_object_get(in, key);
    if (!json_is_object(*out))
        CM_FAIL(r->err, CM_E_INPUT, "%s: %s: not an object", r->name, key);
    return CM_OK;
}

/* May be null when `nullable`: then "". */
static cm_err get_text(const struct reader *r, const json_t *in, const char *key, bool nullable, char *out,
                       size_t cap)
{
    const json_t *value = json_object_get(in, key);

    out[0] = '\0';
    if (nullable && json_is_null(value))
        return CM_OK;
    if (!json_is_string(value))
        CM_FAIL(r->err, CM_E_INPUT, "%s: %s: not a string", r->name, key);
    if (json_string_length(value) >= cap)
        CM_FAIL(r->err, CM_E_INPUT, "%s: %s: longer than %zu octets", r->name, key, cap - 1);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return CM_OK;
}

static cm_err get_number(const struct reader *r, const json_t *in, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(in, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        CM_FAIL(r->err, CM_E_INPUT, "%s: %s: not a whole number", r->name, key);
    *out = (uint64_t) json_integer_value(value);
    return CM_OK;
}

/* One of two words: *second tells which. */
static cm_err get_choice(const struct reader *r, const json_t *in, const char *key, const char *a,
                         const char *b, bool *second)
{
    char text[32];

    CM_TRY(get_text(r, in, key, false, text, sizeof text));
    *second = strcmp(text, b) == 0;
    if (!*second && strcmp(text, a) != 0)
        CM_FAIL(r->err, CM_E_INPUT, "%s: %s: \"%s\" is neither %s nor %s", r->name, key, text, a, b);
    return CM_OK;
}

static cm_err read_label(const struct reader *r, const json_t *request, size_t i, struct cm_fleet_label *out)
{
    const char *const key = cm_fleet_label_name(i);

    out->known = json_object_get(request, key) != NULL;
    out->null = json_is_null(json_object_get(request, key));
    return out->known ? get_text(r, request, key, true, out->text, sizeof out->text) : CM_OK;
}

static cm_err read_request(const struct reader *r, const json_t *request, struct cm_fleet_run *out)
{
    char keys[32];

    CM_TRY(get_number(r, request, "devices", &out->requested));
    CM_TRY(get_choice(r, request, "source", "count", "list", &out->list));
    out->start = 1;
    if (!out->list)
        CM_TRY(get_number(r, request, "start", &out->start));
    CM_TRY(get_text(r, request, "profile", false, out->profile, sizeof out->profile));
    CM_TRY(get_choice(r, request, "layout", "tar", "tree", &out->tree));
    CM_TRY(get_choice(r, request, "encoding", "pem", "der", &out->der));
    CM_TRY(get_text(r, request, "keys_dir", true, out->keys_dir, sizeof out->keys_dir));
    CM_TRY(get_text(r, request, "keys", true, keys, sizeof keys));
    out->keys = keys[0] != '\0';
    for (size_t i = 0; i < CM_FLEET_LABELS; i++)
        CM_TRY(read_label(r, request, i, &out->label[i]));
    out->may_outlive_ca = json_is_true(json_object_get(request, "may_outlive_ca"));
    if (out->requested > INT64_MAX || out->start > INT64_MAX - out->requested)
        CM_FAIL(r->err, CM_E_INPUT, "%s: devices: the sequence numbers would run over", r->name);
    return CM_OK;
}

static cm_err read_outcome(const struct reader *r, const json_t *root, struct cm_fleet_run *out)
{
    const json_t *outcome = json_object_get(root, "outcome");
    char state[32];

    out->state = CM_FLEET_OPEN;
    if (json_is_null(outcome))
        return CM_OK;
    CM_TRY(get_object(r, root, "outcome", &outcome));
    CM_TRY(get_text(r, outcome, "state", false, state, sizeof state));
    for (out->state = CM_FLEET_COMPLETE; out->state <= CM_FLEET_FAILED; out->state++)
        if (strcmp(state, cm_fleet_state_name(out->state)) == 0)
            break;
    if (out->state > CM_FLEET_FAILED)
        CM_FAIL(r->err, CM_E_INPUT, "%s: outcome.state: \"%s\" is none of complete, stopped, failed", r->name,
                state);
    CM_TRY(get_number(r, outcome, "devices", &out->devices));
    if (json_object_get(outcome, "superseded") != NULL)
        CM_TRY(get_number(r, outcome, "superseded", &out->superseded));
    return get_number(r, outcome, "manifest_bytes", &out->manifest_bytes);
}

static cm_err read_run(const struct reader *r, const json_t *root, struct cm_fleet_run *out)
{
    const json_t *request = NULL, *ca = NULL;
    uint64_t version = 0;
    char format[32], created[32];

    if (!json_is_object(root) || get_text(r, root, "format", false, format, sizeof format) != CM_OK ||
        strcmp(format, "certmill-fleet") != 0)
        CM_FAIL(r->err, CM_E_INPUT, "%s: not the description of a certmill fleet", r->name);
    CM_TRY(get_number(r, root, "version", &version));
    if (version != 1)
        CM_FAIL(r->err, CM_E_INPUT, "%s: format version %llu; this certmill reads version 1: use a newer one",
                r->name, (unsigned long long) version);
    CM_TRY(get_text(r, root, "run_id", false, out->run_id, sizeof out->run_id));
    CM_TRY(get_text(r, root, "created_at", false, created, sizeof created));
    if (cm_when_parse(created, &out->created_at, NULL) != CM_OK)
        CM_FAIL(r->err, CM_E_INPUT, "%s: created_at: not a time", r->name);
    CM_TRY(get_object(r, root, "request", &request));
    CM_TRY(read_request(r, request, out));
    CM_TRY(get_object(r, root, "ca", &ca));
    CM_TRY(get_text(r, ca, "certificate_id", false, out->ca_certificate_id, sizeof out->ca_certificate_id));
    return read_outcome(r, root, out);
}

cm_err cm_fleet_parse_run(const char *text, size_t len, const char *name, struct cm_fleet_run *out,
                          struct cm_error *err)
{
    const struct reader r = { .name = name, .err = err };
    struct cm_fleet_run run = { 0 };
    json_error_t why;
    json_t *root = NULL;

    CM_TRY(cm_json_read(cm_span(text, len), &root, &why, err));
    if (root == NULL)
        CM_FAIL(err, CM_E_INPUT, "%s: not JSON at line %d: %s", name, why.line, why.text);
    const cm_err rc = read_run(&r, root, &run);
    json_decref(root);
    if (rc == CM_OK)
        *out = run;
    return rc;
}

const char *cm_fleet_label_name(size_t i)
{
    static const char *const name[CM_FLEET_LABELS] = { "lot", "sku", "order" };

    return name[i];
}

const char *cm_fleet_state_name(enum cm_fleet_state state)
{
    static const char *const name[] = { "unfinished", "complete", "stopped", "failed" };

    return name[state];
}
