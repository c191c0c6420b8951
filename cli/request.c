#include "cli/request.h"

#include "cli/cmd.h"
#include "io/jsontext.h"
#include "io/source_list.h"

#include <errno.h>
#include <limits.h>

static const char *const layouts[] = { "tar", "tree", "none" };
static const char *const key_formats[] = { "pkcs8", "traditional" };
static const char *const encodings[] = { "pem", "der" };

const char *cm_request_layout(int layout)
{
    return layouts[layout];
}

static void time_text(cm_when t, char out[24])
{
    struct cm_writer w = cm_writer(out, 23);

    cm_put_rfc3339(&w, t);
    out[w.len] = '\0';
}

static const char *id_pattern(const struct cm_mint_opts *o)
{
    return o->devices != NULL ? NULL : o->id_pattern != NULL ? o->id_pattern : "SN{seq:08}";
}

/* A resume may be given from another directory. */
static const char *absolute(const char *path, char out[PATH_MAX])
{
    return realpath(path, out) != NULL ? out : path;
}

/* Who made the RSA keys; NULL: there are none. */
static const char *rsa_keygen(const struct cm_mint_conf *m)
{
    if (m->key->family != CM_KEYFAM_RSA)
        return NULL;
    return m->keygen == CM_KEYGEN_OWN ? "own" : "libcrypto";
}

/* Who computed the EC keys; NULL: there are none. */
static const char *ec(const struct cm_mint_conf *m)
{
    if (m->key->family != CM_KEYFAM_EC)
        return NULL;
    return m->keygen == CM_KEYGEN_OWN ? "batch" : "libcrypto";
}

/* Their names; null: there are none. */
static json_t *columns_json(const struct cm_columns *columns)
{
    json_t *const all = columns != NULL ? json_array() : json_null();

    for (size_t i = 0; columns != NULL && i < columns->count; i++)
        if (json_array_append_new(all, json_string(columns->name[i])) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

static json_t *request_json(const struct cm_mint_plan *p)
{
    const struct cm_mint_opts *o = p->o;
    char before[24], after[24], hash[65] = "", mac[24] = "", keys[PATH_MAX];
    struct cm_writer h = cm_writer(hash, 64);
    uint8_t digest[32];

    time_text(p->not_before, before);
    time_text(p->not_after, after);
    if (o->devices != NULL) {
        cm_source_list_sha256(p->source, digest);
        cm_put_hex(&h, digest, sizeof digest);
    }
    (void) snprintf(mac, sizeof mac, "%012llx", (unsigned long long) p->mac_base);
    return json_pack(
        "{s:I s:s s:I s:s? s:s? s:s? s:s? s:o s:I s:s? s:s s:s s:s s:s? s:s s:s s:s s:s? s:s? "
        "s:s? s:s s:s s:s s:s? s:s? s:s s:b s:s? s:s? s:b}",
        "devices", (json_int_t) p->source->devices, "source", p->source->ops->name, "start",
        (json_int_t) (o->devices != NULL ? 1 : o->start), "id_pattern", id_pattern(o), "list_sha256",
        hash[0] != '\0' ? hash : NULL, "list_format",
        p->list != NULL ? cm_listread_format_name(p->list) : NULL, "id_column",
        p->columns != NULL ? p->columns->name[p->columns->id] : NULL, "columns", columns_json(p->columns),
        "refused_rows", (json_int_t) (p->list != NULL ? cm_source_list_refused(p->source) : 0), "mac_base",
        o->mac_base != NULL ? mac : NULL, "key", p->pipeline.mint.key->name, "profile", p->profile->name,
        "subject", p->subject_text, "san", p->san_text, "signature", cm_ca_sigalg(p->ca)->name, "not_before",
        before, "not_after", after, "lot", o->lot, "sku", o->sku, "order", o->order, "layout",
        layouts[o->layout], "key_format", key_formats[o->key_format], "encoding", encodings[o->encoding],
        "ledger", p->ledger_public[0] != '\0' ? p->ledger_public : NULL, "keys_dir",
        o->keys_out != NULL ? absolute(o->keys_out, keys) : NULL, "keys", "plaintext", "may_outlive_ca",
        (int) o->allow_outlive_ca, "rsa_keygen", rsa_keygen(&p->pipeline.mint), "ec", ec(&p->pipeline.mint),
        "fips", (int) o->fips);
}

static json_t *ca_json(const struct cm_mint_plan *p)
{
    return json_pack("{s:s s:s}", "certificate_id", cm_ca_certificate_id(p->ca), "subject",
                     cm_ca_subject_text(p->ca));
}

json_t *cm_request_run_json(const struct cm_mint_plan *p)
{
    char created[24];

    time_text(p->now, created);
    return json_pack("{s:s s:i s:s s:s s:s s:s s:o s:o s:n}", "format", "certmill-fleet", "version", 1,
                     "run_id", p->run_id_text, "engine", "certmill " CM_VERSION, "libcrypto", p->libcrypto,
                     "created_at", created, "request", request_json(p), "ca", ca_json(p), "outcome");
}

/* At most 80 octets of it. */
static void put_value(struct cm_writer *w, const json_t *value)
{
    size_t len = 0;
    char *text = NULL;

    if (value == NULL) {
        cm_put_lit(w, "nothing");
        return;
    }
    text = cm_json_text(value, JSON_ENCODE_ANY, &len);
    cm_put(w, text != NULL ? text : "?", text == NULL ? 1 : len < 80 ? len : 80);
    free(text);
}

/* --- options ------------------------------------------------------------- */

/* What a run has that is taken up again. */
static bool is_kept(const struct cm_arg *arg)
{
    return strcmp(arg->name, "out") != 0 && strcmp(arg->name, "explain") != 0;
}

static bool is_path(const char *name, const char *value)
{
    static const char *const paths[] = { "ca",      "ca-key",   "ca-passphrase-file",
                                         "devices", "keys-out", "skip-bad" };

    for (size_t i = 0; i < CM_COUNT(paths); i++)
        if (strcmp(name, paths[i]) == 0)
            return true;
    return strcmp(name, "profile") == 0 && cm_profiles_find(value) == NULL;
}

static json_t *text_json(const char *name, const char *value)
{
    char buf[PATH_MAX];

    return json_string(is_path(name, value) ? absolute(value, buf) : value);
}

/* URLs without passwords. */
static json_t *feeds_json(const struct cm_mint_plan *p)
{
    json_t *all = json_array();

    for (size_t i = 0; all != NULL && i < cm_feeds_count(p->feeds); i++)
        if (json_array_append_new(all, json_string(cm_feeds_public(p->feeds, i))) != 0) {
            json_decref(all);
            all = NULL;
        }
    return all;
}

/* What a list was read as, whatever it is called when it is read again. */
static int choice_of(const struct cm_arg *arg, const struct cm_mint_plan *p)
{
    if (p->list != NULL && strcmp(arg->name, "devices-format") == 0)
        return (int) cm_listread_format(p->list);
    return *(const int *) (const void *) ((const char *) p->o + arg->offset);
}

static json_t *option_json(const struct cm_arg *arg, const struct cm_mint_plan *p)
{
    const char *const at = (const char *) p->o + arg->offset;

    switch (arg->type) {
    case CM_ARG_FLAG:
        return json_boolean(*(const bool *) at);
    case CM_ARG_U32:
        return json_integer((json_int_t) * (const uint32_t *) (const void *) at);
    case CM_ARG_U64:
        return json_integer((json_int_t) * (const uint64_t *) (const void *) at);
    case CM_ARG_CHOICE:
        return json_string(arg->choices[choice_of(arg, p)]);
    case CM_ARG_STR: {
        const char *text = *(const char *const *) (const void *) at;
        if (text != NULL && strcmp(arg->name, "ledger") == 0)
            text = p->ledger_public; /* without the password */
        return text != NULL ? text_json(arg->name, text) : json_null();
    }
    case CM_ARG_STRS:
        break;
    }
    return feeds_json(p); /* --to is the one option of this type */
}

static json_t *options_json(const struct cm_mint_plan *p)
{
    json_t *all = json_object();

    for (size_t i = 0; i < cm_cmd_mint.args_count && all != NULL; i++) {
        const struct cm_arg *arg = &cm_cmd_mint.args[i];
        if (is_kept(arg) && json_object_set_new(all, arg->name, option_json(arg, p)) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

/* What the command line would take, or what stands there when nobody asked. */
static bool restore_number(const struct cm_arg *arg, const json_t *value, uint64_t *out)
{
    const json_int_t n = json_integer_value(value);

    if (!json_is_integer(value) || n < 0)
        return false;
    if ((uint64_t) n != *out && ((uint64_t) n < arg->min || (uint64_t) n > arg->max))
        return false;
    *out = (uint64_t) n;
    return true;
}

/* null stands for none, where there may be none. */
static bool restore_text(const json_t *value, const char **out)
{
    const char *const text = json_string_value(value);

    if (text == NULL && (!json_is_null(value) || *out != NULL))
        return false;
    *out = text;
    return true;
}

static bool restore_choice(const struct cm_arg *arg, const json_t *value, int *out)
{
    const char *const text = json_string_value(value);

    for (int i = 0; text != NULL && arg->choices[i] != NULL; i++)
        if (strcmp(arg->choices[i], text) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* An array of texts; the list is malloced. */
static bool restore_texts(const json_t *value, struct cm_strs *out)
{
    const size_t count = json_array_size(value);

    for (size_t i = 0; i < count; i++)
        if (!json_is_string(json_array_get(value, i)))
            return false;
    if (!json_is_array(value) || count > CM_FEEDS_MAX)
        return false;
    out->item = count > 0 ? reallocarray(out->item, count, sizeof *out->item) : out->item;
    for (size_t i = 0; i < count && out->item != NULL; i++)
        out->item[i] = json_string_value(json_array_get(value, i));
    out->count = out->item != NULL ? count : 0;
    return out->count == count;
}

static bool restore(const struct cm_arg *arg, const json_t *value, void *opts)
{
    void *const at = (char *) opts + arg->offset;

    if (arg->type == CM_ARG_U64)
        return restore_number(arg, value, at);
    if (arg->type == CM_ARG_U32) {
        uint64_t n = *(const uint32_t *) at;
        const bool good = restore_number(arg, value, &n); /* its max is below 2^32 */
        *(uint32_t *) at = (uint32_t) n;
        return good;
    }
    if (arg->type == CM_ARG_STR)
        return restore_text(value, at);
    if (arg->type == CM_ARG_CHOICE)
        return restore_choice(arg, value, at);
    if (arg->type == CM_ARG_STRS)
        return restore_texts(value, at);
    *(bool *) at = json_is_true(value);
    return json_is_boolean(value);
}

/* The row of an option that is kept; NULL: there is none. */
static const struct cm_arg *kept_option(const char *name)
{
    for (size_t i = 0; i < cm_cmd_mint.args_count; i++)
        if (strcmp(cm_cmd_mint.args[i].name, name) == 0)
            return is_kept(&cm_cmd_mint.args[i]) ? &cm_cmd_mint.args[i] : NULL;
    return NULL;
}

cm_err cm_request_options(const json_t *record, struct cm_mint_opts *o, struct cm_error *err)
{
    const json_t *options = json_object_get(record, "options");
    const char *name = NULL;
    json_t *value = NULL;

    if (!json_is_object(options))
        CM_FAIL(err, CM_E_INPUT, "the journal's first record has no options; take it from a backup");
    cm_cmd_mint.defaults(o);
    json_object_foreach((json_t *) (uintptr_t) options, name, value)
    {
        const struct cm_arg *const arg = kept_option(name);
        char text[81];
        struct cm_writer w = cm_writer(text, sizeof text);
        if (arg == NULL)
            CM_FAIL(err, CM_E_INPUT, "the journal has an option --%.40s that this certmill does not know",
                    name);
        put_value(&w, value);
        if (!restore(arg, value, o))
            CM_FAIL(err, CM_E_INPUT,
                    "the journal has --%s %.*s, which this certmill does not take; resume with the version "
                    "that began the run",
                    name, (int) w.len, text);
    }
    return CM_OK;
}

/* --- the journal's first record ------------------------------------------ */

json_t *cm_request_run_record(const struct cm_mint_plan *p)
{
    char created[24];

    time_text(p->now, created);
    return json_pack("{s:i s:s s:s s:s s:s s:o s:o s:s s:o}", "version", 1, "run_id", p->run_id_text,
                     "created_at", created, "engine", "certmill " CM_VERSION, "libcrypto", p->libcrypto,
                     "request", request_json(p), "ca", ca_json(p), "profile_text", p->profile_text.text,
                     "options", options_json(p));
}

cm_err cm_request_identity(const json_t *record, struct cm_mint_identity *out, struct cm_error *err)
{
    const char *run_id = json_string_value(json_object_get(record, "run_id"));
    const char *created = json_string_value(json_object_get(record, "created_at"));

    if (run_id == NULL || !cm_uuid_parse(run_id, out->run_id) || created == NULL ||
        cm_when_parse(created, &out->created_at, NULL) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "the journal's first record has no usable run_id or created_at");
    return CM_OK;
}

/* --- differences ---------------------------------------------------------- */

/* Whether it is another device list tells its digest, which says nothing to a person. */
#define LIST_DIGEST "list_sha256"

/* "; LABEL key: was X, is Y" for each key that differs. */
static void put_differences(struct cm_writer *w, const char *label, const json_t *was, const json_t *is)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach((json_t *) (uintptr_t) was, key, value)
    {
        const json_t *now = json_object_get(is, key);
        if (json_equal(value, now) || strcmp(key, LIST_DIGEST) == 0)
            continue;
        cm_put_lit(w, "; ");
        cm_put_str(w, label);
        cm_put_str(w, key);
        cm_put_lit(w, ": was ");
        put_value(w, value);
        cm_put_lit(w, ", is ");
        put_value(w, now);
    }
}

static const char *line_end(const char *line)
{
    const char *end = strchr(line, '\n');

    return end != NULL ? end : line + strlen(line);
}

/* The first line of the profile that differs. */
static void put_line(struct cm_writer *w, const char *was, const char *is)
{
    char text[240];
    int line = 1;

    while (*was != '\0' && line_end(was) - was == line_end(is) - is &&
           memcmp(was, is, (size_t) (line_end(was) - was)) == 0) {
        was = line_end(was) + (*line_end(was) == '\n');
        is = line_end(is) + (*line_end(is) == '\n');
        line++;
    }
    (void) snprintf(text, sizeof text, "; the profile's line %d: was \"%.*s\", is \"%.*s\"", line,
                    (int) (line_end(was) - was > 80 ? 80 : line_end(was) - was), was,
                    (int) (line_end(is) - is > 80 ? 80 : line_end(is) - is), is);
    cm_put_str(w, text);
}

static bool is_other_list(const json_t *was, const json_t *is)
{
    const json_t *const digest = json_object_get(was, LIST_DIGEST);

    return json_is_string(digest) && !json_equal(digest, json_object_get(is, LIST_DIGEST));
}

/* Which list, and how many devices it has lost or won: where that is none, its rows changed. */
static void put_list(struct cm_writer *w, const struct cm_mint_plan *p, const json_t *was, const json_t *is)
{
    const bool same = json_equal(json_object_get(was, "devices"), json_object_get(is, "devices")) &&
                      json_equal(json_object_get(was, "columns"), json_object_get(is, "columns"));
    char text[240];

    (void) snprintf(text, sizeof text, "; the device list %.160s is not what it was%s",
                    p->o->devices != NULL ? p->o->devices : "",
                    same ? ": as many devices, and other values or another order" : "");
    cm_put_str(w, text);
}

cm_err cm_request_compare(const json_t *record, const struct cm_mint_plan *p, struct cm_error *err)
{
    char text[CM_ERROR_TEXT - 120] = "";
    struct cm_writer w = cm_writer(text, sizeof text - 1);
    const json_t *const was = json_object_get(record, "request"), *const ca_was =
                                                                      json_object_get(record, "ca");
    const char *const profile_was = json_string_value(json_object_get(record, "profile_text"));

    if (!json_is_object(was) || !json_is_object(ca_was) || profile_was == NULL)
        CM_FAIL(err, CM_E_INPUT,
                "the journal's first record does not say what was asked (request, ca, profile_text); take it "
                "from a backup");
    json_t *const request = request_json(p), *const ca = ca_json(p);
    const bool whole = request != NULL && ca != NULL;
    const bool other_list = is_other_list(was, request);
    if (other_list)
        put_list(&w, p, was, request);
    put_differences(&w, "the CA's ", ca_was, ca);
    put_differences(&w, "", was, request);
    if (strcmp(profile_was, p->profile_text.text) != 0)
        put_line(&w, profile_was, p->profile_text.text);
    json_decref(request);
    json_decref(ca);
    if (!whole)
        CM_FAIL(err, CM_E_NOMEM, "no memory to compare the request");
    if (w.len > 0)
        CM_FAIL(err, CM_E_USAGE, "the run was asked for differently%s; put back what it began with%s", text,
                other_list ? ", or name it with --devices FILE" : "");
    return CM_OK;
}
