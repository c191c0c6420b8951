/* Goal: what was asked of a run comes back from its journal, whole: whatever the options were, a resume has
 * the same ones; what an option can't be is refused with its name, before it lands in a field that is too
 * small for it; what has changed since is told. Method: command lines through the record and back; for each
 * row of mint's table a value of every type and at every bound; records that differ in one place; JSON
 * without memory. */
#include "cli/cmd.h"
#include "cli/request.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a request ------------------------------------------------------------ */

struct rig {
    struct t_place place;
    char ca[128], ca_key[128], list[128], csv[128], bad[128], profile[128], mine[128], keys[128], ledger[140],
        db[140], line[600];
    struct cm_mint_opts o;
    struct cm_strs operands;
    struct cm_mint_plan plan;
};

static const char profile_text[] = "[profile]\nextensions = e\n[e]\nbasicConstraints = critical,CA:FALSE\n"
                                   "keyUsage = critical,digitalSignature\nsubjectKeyIdentifier = hash\n"
                                   "authorityKeyIdentifier = keyid";

static void put_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    cr_assert(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

static void open_rig(struct rig *g)
{
    *g = (struct rig) { .operands = { 0 } };
    t_place_open(&g->place);
    (void) snprintf(g->ca, sizeof g->ca, "%s/ca.pem", g->place.base);
    (void) snprintf(g->ca_key, sizeof g->ca_key, "%s/ca.key", g->place.base);
    (void) snprintf(g->list, sizeof g->list, "%s/ids", g->place.base);
    (void) snprintf(g->csv, sizeof g->csv, "%s/devices", g->place.base);
    (void) snprintf(g->bad, sizeof g->bad, "%s/bad", g->place.base);
    (void) snprintf(g->profile, sizeof g->profile, "%s/mine.cnf", g->place.base);
    (void) snprintf(g->mine, sizeof g->mine, "%s/./mine.cnf", g->place.base);
    (void) snprintf(g->keys, sizeof g->keys, "%s/keys", g->place.base);
    (void) snprintf(g->ledger, sizeof g->ledger, "sqlite:%s/ledger.db", g->place.base);
    (void) snprintf(g->db, sizeof g->db, "sqlite:%s/devices.db", g->place.base);
    t_ca_files(g->ca, g->ca_key);
    put_text(g->list, "one\ntwo\nthree\n");
    put_text(g->csv, "Serial,mac,site\nS1,02:00:00:00:00:01,\"a, b\"\nS2,,x\nS3,02:00:00:00:00:03,x\n");
    put_text(g->profile, profile_text);
    cr_assert_eq(mkdir(g->keys, 0700), 0);
}

static void close_rig(struct rig *g)
{
    cm_mint_plan_close(&g->plan);
    cm_args_done(&cm_cmd_mint, &g->o, &g->operands);
    t_place_close(&g->place);
}

/* A command line, at single spaces; @list and its like are the rig's files. */
static void ask(struct rig *g, const char *line)
{
    const struct {
        const char *mark;
        char *path;
    } files[] = { { "@list", g->list }, { "@csv", g->csv },       { "@bad", g->bad }, { "@mine", g->mine },
                  { "@keys", g->keys }, { "@ledger", g->ledger }, { "@db", g->db } };
    char *argv[64] = { (char[]) { "--ca" },  g->ca,        (char[]) { "--ca-key" },        g->ca_key,
                       (char[]) { "--out" }, g->place.out, (char[]) { "--plaintext-keys" } };
    struct cm_common common = { 0 };
    struct cm_error err = { 0 };
    bool help = false;
    char *save = NULL;
    int argc = 7;

    open_rig(g);
    (void) snprintf(g->line, sizeof g->line, "%s", line);
    for (char *word = strtok_r(g->line, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        argv[argc] = word;
        for (size_t f = 0; f < CM_COUNT(files); f++)
            if (strcmp(word, files[f].mark) == 0)
                argv[argc] = files[f].path;
        argc++;
    }
    cr_assert_eq(cm_args_parse(&cm_cmd_mint, argc, argv, &g->o, &g->operands, &common, &help, &err), CM_OK,
                 "%s", err.what);
    cr_assert_eq(cm_mint_plan_open(&g->o, NULL, &g->plan, &err), CM_OK, "%s", err.what);
}

/* The record as a resume reads it: from its text. */
static json_t *reread(const struct cm_mint_plan *p)
{
    json_t *record = cm_request_run_record(p);
    char *text = json_dumps(record, JSON_COMPACT);
    json_t *again = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;

    cr_assert_not_null(again);
    free(text);
    json_decref(record);
    return again;
}

/* --- and back ------------------------------------------------------------- */

static const char *text_at(const struct cm_mint_opts *o, const struct cm_arg *arg)
{
    return *(const char *const *) (const void *) ((const char *) o + arg->offset);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return b[0] == '/' && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino;
}

static void expect_same(const struct cm_mint_opts *was, const struct cm_mint_opts *is,
                        const struct cm_arg *arg)
{
    static const size_t size[] = { [CM_ARG_FLAG] = sizeof(bool),
                                   [CM_ARG_U32] = sizeof(uint32_t),
                                   [CM_ARG_U64] = sizeof(uint64_t),
                                   [CM_ARG_CHOICE] = sizeof(int) };

    if (arg->type == CM_ARG_STRS) {
        const struct cm_strs *a = (const void *) ((const char *) was + arg->offset);
        const struct cm_strs *b = (const void *) ((const char *) is + arg->offset);
        cr_assert_eq(a->count, b->count, "--%s", arg->name);
        for (size_t i = 0; i < a->count; i++)
            cr_expect_str_eq(a->item[i], b->item[i]);
        return;
    }
    if (arg->type != CM_ARG_STR) {
        cr_assert(size[arg->type] > 0);
        cr_expect_arr_eq((const char *) was + arg->offset, (const char *) is + arg->offset, size[arg->type],
                         "--%s", arg->name);
        return;
    }
    const char *const a = text_at(was, arg), *const b = text_at(is, arg);
    cr_expect_eq(a == NULL, b == NULL, "--%s", arg->name);
    cr_expect(a == NULL || b == NULL || strcmp(a, b) == 0 || same_file(a, b), "--%s: %s, then %s", arg->name,
              a, b);
}

static const char *const requests[] = {
    "--count 5",
    "--count 5 --start 0",
    "--count 7 --start 100000000000 --id-pattern X{seq} --mac-base 02:00:00:00:00:09 --key P-384 --profile "
    "@mine "
    "--subject /O=\xc3\xa4/CN={id} --san DNS:{id}.example.com --not-after 20300101000000Z --lot L\"1 --sku S "
    "--order O --layout tree --key-format traditional --encoding der --workers 1024 --batch 65536 --io posix "
    "--max-signatures 7 --to @db",
    "--count 3 --to @db --to @ledger --db-wait 86400",
    "--devices @list --keys-out @keys --days 1 --sync none --ledger @ledger --io uring --allow-outlive-ca "
    "--allow-insecure-ca-key --signature ecdsa-with-SHA256 --max-signatures 9223372036854775807",
    "--devices @csv --devices-format csv --id-column Serial --skip-bad @bad --subject /CN={Serial}/OU={mac} "
    "--san "
    "URI:urn:{mac}",
};

static void there_and_back(const char *line)
{
    struct rig g;
    struct cm_mint_opts o = { 0 };
    struct cm_mint_identity id = { 0 };
    struct cm_mint_plan again = { 0 };
    struct cm_error err = { 0 };

    ask(&g, line);
    json_t *record = reread(&g.plan);
    cr_assert_eq(cm_request_options(record, &o, &err), CM_OK, "%s", err.what);
    if (g.o.devices != NULL && g.o.devices_format == CM_LIST_AUTO)
        g.o.devices_format = CM_LIST_LINES; /* what it was read as */
    for (size_t i = 0; i < cm_cmd_mint.args_count; i++)
        if (strcmp(cm_cmd_mint.args[i].name, "out") != 0)
            expect_same(&g.o, &o, &cm_cmd_mint.args[i]);
    cr_expect_null(o.out, "where the fleet lies, its directory knows");
    cr_assert_eq(cm_request_identity(record, &id, &err), CM_OK, "%s", err.what);
    cr_expect_arr_eq(id.run_id, g.plan.run_id, sizeof id.run_id);
    cr_expect_eq(id.created_at, g.plan.now);
    cm_ledger_close(g.plan.ledger); /* it would wait for itself */
    g.plan.ledger = NULL;
    o.out = g.place.out;
    cr_assert_eq(cm_mint_plan_open(&o, &id, &again, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_request_compare(record, &again, &err), CM_OK, "%s", err.what);
    cm_mint_plan_close(&again);
    free((void *) o.feeds.to.item);
    json_decref(record);
    close_rig(&g);
}

Test(request, there_and_back, .timeout = 60)
{
    for (size_t i = 0; i < CM_COUNT(requests); i++)
        there_and_back(requests[i]);
}

/* run.json and the journal tell the same request; a path that is gone stays as it was given. */
Test(request, what_run_json_tells)
{
    struct rig g;

    ask(&g, "--devices @list --keys-out @keys");
    cr_assert_eq(rmdir(g.keys), 0);
    json_t *run = cm_request_run_json(&g.plan), *record = reread(&g.plan);
    cr_assert_not_null(run);
    cr_expect(json_equal(json_object_get(run, "request"), json_object_get(record, "request")));
    cr_expect(json_equal(json_object_get(run, "ca"), json_object_get(record, "ca")));
    cr_expect(json_is_null(json_object_get(run, "outcome")));
    const json_t *request = json_object_get(run, "request");
    cr_expect_str_eq(json_string_value(json_object_get(request, "keys_dir")), g.keys);
    cr_expect_eq(json_string_length(json_object_get(request, "list_sha256")), 64u);
    cr_expect(json_is_null(json_object_get(request, "id_pattern")));
    for (int layout = 0; layout < 3; layout++)
        cr_expect_eq(strlen(cm_request_layout(layout)), layout == 0 ? 3u : 4u);
    json_decref(run);
    json_decref(record);
    close_rig(&g);
}

/* --- what an option can't be ---------------------------------------------- */

/* A record with this option alone; takes the reference. */
static cm_err options_with(const char *name, json_t *value, struct cm_mint_opts *o, struct cm_error *err)
{
    json_t *record = json_pack("{s:{s:o}}", "options", name, value);

    cr_assert_not_null(record);
    const cm_err rc = cm_request_options(record, o, err);
    if (rc != CM_OK) {
        char said[64];
        (void) snprintf(said, sizeof said, "--%.40s ", name);
        cr_expect_eq(rc, CM_E_INPUT, "%s", err->what);
        cr_expect_not_null(strstr(err->what, said), "%s: %s", said, err->what);
    }
    json_decref(record); /* with the text that the option is */
    return rc;
}

static uint64_t number_at(const struct cm_mint_opts *o, const struct cm_arg *arg)
{
    const void *const at = (const char *) o + arg->offset;

    return arg->type == CM_ARG_U32 ? *(const uint32_t *) at : *(const uint64_t *) at;
}

/* Every bound of every number: what the command line takes, what nobody asked for, and nothing else. */
Test(request, numbers_in_their_bounds)
{
    unsigned refused = 0;

    for (size_t i = 0; i < cm_cmd_mint.args_count; i++) {
        const struct cm_arg *arg = &cm_cmd_mint.args[i];
        if (arg->type != CM_ARG_U32 && arg->type != CM_ARG_U64)
            continue;
        struct cm_mint_opts unasked = { 0 };
        cm_cmd_mint.defaults(&unasked);
        const json_int_t min = (json_int_t) arg->min, max = (json_int_t) arg->max;
        const json_int_t tries[] = {
            INT64_MIN,        -1,         0,          1,        min, max, max < INT64_MAX ? max + 1 : -2,
            min + 4294967296, 4294967295, 4294967296, INT64_MAX
        };
        for (size_t t = 0; t < CM_COUNT(tries); t++) {
            struct cm_mint_opts o = { 0 };
            struct cm_error err = { 0 };
            const bool fits = tries[t] >= min && tries[t] <= max;
            const bool good = fits || (tries[t] >= 0 && (uint64_t) tries[t] == number_at(&unasked, arg));
            const cm_err rc = options_with(arg->name, json_integer(tries[t]), &o, &err);
            cr_expect_eq(rc == CM_OK, good, "--%s %lld: %s", arg->name, (long long) tries[t], err.what);
            cr_expect(rc != CM_OK || number_at(&o, arg) == (uint64_t) tries[t], "--%s %lld came back as %llu",
                      arg->name, (long long) tries[t], (unsigned long long) number_at(&o, arg));
            refused += rc != CM_OK;
        }
    }
    cr_expect_gt(refused, 20u);
}

/* Every option with a value of every type. */
Test(request, values_of_every_type)
{
    for (size_t i = 0; i < cm_cmd_mint.args_count; i++) {
        const struct cm_arg *arg = &cm_cmd_mint.args[i];
        const bool kept = strcmp(arg->name, "out") != 0 && strcmp(arg->name, "explain") != 0;
        const bool text = arg->type == CM_ARG_STR;
        const bool needed = strcmp(arg->name, "key") == 0 || strcmp(arg->name, "profile") == 0;
        const struct {
            json_t *value;
            bool good;
        } tries[] = {
            { json_true(), arg->type == CM_ARG_FLAG },
            { json_false(), arg->type == CM_ARG_FLAG },
            { json_null(), text && !needed },
            { json_string("7"), text },
            { json_string(arg->type == CM_ARG_CHOICE ? arg->choices[1] : "nonsense"),
              text || arg->type == CM_ARG_CHOICE },
            { json_integer(7), arg->type == CM_ARG_U32 || arg->type == CM_ARG_U64 },
            { json_real(7), false },
            { json_array(), arg->type == CM_ARG_STRS },
            { json_pack("[s, s]", "a", "b"), arg->type == CM_ARG_STRS },
            { json_pack("[s, i]", "a", 7), false },
        };
        for (size_t t = 0; t < CM_COUNT(tries); t++) {
            struct cm_mint_opts o = { 0 };
            struct cm_error err = { 0 };
            cr_expect_eq(options_with(arg->name, tries[t].value, &o, &err) == CM_OK, kept && tries[t].good,
                         "--%s, try %zu: %s", arg->name, t, err.what);
            free((void *) o.feeds.to.item);
        }
    }
}

static void expect_options(const char *json, cm_err want, const char *says)
{
    json_t *record = json_loads(json, 0, NULL);
    struct cm_mint_opts o = { 0 };
    struct cm_error err = { 0 };

    cr_assert_not_null(record, "%s", json);
    cr_expect_eq(cm_request_options(record, &o, &err), want, "%s: %s", json, err.what);
    cr_expect_not_null(strstr(err.what, says), "%s: %s", json, err.what);
    json_decref(record);
}

Test(request, options_that_are_no_options)
{
    expect_options("{}", CM_E_INPUT, "has no options");
    expect_options("{\"options\":null}", CM_E_INPUT, "has no options");
    expect_options("{\"options\":[\"count\",5]}", CM_E_INPUT, "has no options");
    expect_options("{\"options\":{}}", CM_OK, "");
    expect_options("{\"options\":{\"colour\":1}}", CM_E_INPUT,
                   "option --colour that this certmill does not know");
    expect_options("{\"options\":{\"out\":\"elsewhere\"}}", CM_E_INPUT, "--out");
    expect_options("{\"options\":{\"workers\":1025}}", CM_E_INPUT, "--workers 1025, which");
    expect_options("{\"options\":{\"layout\":\"tape\"}}", CM_E_INPUT, "--layout \"tape\"");
    expect_options("{\"options\":{\"layout\":\"\"}}", CM_E_INPUT, "--layout \"\"");
}

Test(request, identity)
{
    static const struct {
        const char *json;
        bool good;
    } cases[] = {
        { "{'run_id':'0b5ee8ea-5c5b-4b37-8b1f-1d2f0d7d9a11','created_at':'2026-01-02T03:04:05Z'}", true },
        { "{'run_id':'0b5ee8ea-5c5b-4b37-8b1f-1d2f0d7d9a11','created_at':'yesterday'}", false },
        { "{'run_id':'0b5ee8ea-5c5b-4b37-8b1f-1d2f0d7d9a11','created_at':5}", false },
        { "{'run_id':'0b5ee8ea-5c5b-4b37-8b1f-1d2f0d7d9a11'}", false },
        { "{'run_id':'0b5ee8ea-5c5b-4b37-8b1f','created_at':'2026-01-02T03:04:05Z'}", false },
        { "{'run_id':7,'created_at':'2026-01-02T03:04:05Z'}", false },
        { "{'created_at':'2026-01-02T03:04:05Z'}", false },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        struct cm_mint_identity id = { 0 };
        struct cm_error err = { 0 };
        char json[200];
        (void) snprintf(json, sizeof json, "%s", cases[i].json);
        for (char *c = json; *c != '\0'; c++)
            *c = *c == '\'' ? '"' : *c;
        json_t *record = json_loads(json, 0, NULL);
        cr_assert_not_null(record);
        cr_expect_eq(cm_request_identity(record, &id, &err), cases[i].good ? CM_OK : CM_E_INPUT, "%zu", i);
        cr_expect(cases[i].good || strstr(err.what, "run_id or created_at") != NULL, "%zu: %s", i, err.what);
        json_decref(record);
    }
}

/* --- what has changed ------------------------------------------------------ */

/* The record with one value replaced (NULL: without it), against the plan. */
static void expect_change(const struct rig *g, const char *part, const char *key, json_t *value, cm_err want,
                          const char *says)
{
    json_t *record = reread(&g->plan);
    json_t *in = part != NULL ? json_object_get(record, part) : record;
    struct cm_error err = { 0 };

    cr_assert_eq(value != NULL ? json_object_set_new(in, key, value) : json_object_del(in, key), 0);
    cr_expect_eq(cm_request_compare(record, &g->plan, &err), want, "%s: %s", key, err.what);
    cr_expect_not_null(strstr(err.what, says), "%s: %s", key, err.what);
    json_decref(record);
}

Test(request, changes_are_told)
{
    struct rig g;
    char lines[sizeof profile_text + 200];

    ask(&g, "--count 5 --profile @mine --lot L1");
    expect_change(&g, "request", "devices", json_integer(6), CM_E_USAGE, "; devices: was 6, is 5;");
    expect_change(&g, "request", "lot", json_null(), CM_E_USAGE, "; lot: was null, is \"L1\";");
    expect_change(&g, "request", "colour", json_string("red"), CM_E_USAGE,
                  "; colour: was \"red\", is nothing;");
    expect_change(&g, "ca", "subject", json_string("/CN=x"), CM_E_USAGE,
                  "; the CA's subject: was \"/CN=x\", is \"");
    memset(lines, 'x', 100);
    lines[100] = '\0';
    expect_change(&g, "request", "lot", json_string(lines), CM_E_USAGE, "xxx, is \"L1\";");
    expect_change(&g, "request", lines, json_string("far too much"), CM_E_USAGE,
                  "put back what it began with");
    expect_change(&g, NULL, "request", NULL, CM_E_INPUT, "does not say what was asked");
    expect_change(&g, NULL, "ca", json_integer(1), CM_E_INPUT, "does not say what was asked");
    expect_change(&g, NULL, "profile_text", NULL, CM_E_INPUT, "does not say what was asked");
    expect_change(&g, NULL, "profile_text", json_string(""), CM_E_USAGE,
                  "; the profile's line 1: was \"\", is \"[profile]\";");
    (void) snprintf(lines, sizeof lines, "%s\nx = y\n", profile_text);
    expect_change(&g, NULL, "profile_text", json_string(lines), CM_E_USAGE,
                  "; the profile's line 8: was \"x = y\", is \"\";");
    (void) snprintf(lines, sizeof lines, "%.*s\n", (int) sizeof profile_text - 31, profile_text);
    expect_change(&g, NULL, "profile_text", json_string(lines), CM_E_USAGE, "; the profile's line 7: was");
    (void) snprintf(lines, sizeof lines, "[profile]\nextensions = f\n%120d", 1);
    expect_change(&g, NULL, "profile_text", json_string(lines), CM_E_USAGE,
                  "; the profile's line 2: was \"extensions = f\", is \"extensions = e\";");
    (void) snprintf(lines, sizeof lines, "[profile]\n%120d", 1);
    expect_change(&g, NULL, "profile_text", json_string(lines), CM_E_USAGE, "line 2: was \"        ");
    close_rig(&g);
    static char long_line[2000];
    ask(&g, "--count 5 --profile @mine");
    cm_mint_plan_close(&g.plan);
    (void) snprintf(long_line, sizeof long_line, "#%120d\n%s", 1, profile_text);
    put_text(g.profile, long_line);
    struct cm_error err = { 0 };
    cr_assert_eq(cm_mint_plan_open(&g.o, NULL, &g.plan, &err), CM_OK, "%s", err.what);
    expect_change(&g, NULL, "profile_text", json_string("[profile]\n"), CM_E_USAGE,
                  "line 1: was \"[profile]\", is \"#  ");
    close_rig(&g);
}

/* --- no memory ------------------------------------------------------------- */

static long allocations_left;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* How often it failed before it got through: nothing half made comes out, nothing leaks (a sanitizer tells).
 */
static long starve_json(json_t *(*make)(const struct cm_mint_plan *p), const struct cm_mint_plan *p,
                        const json_t *whole)
{
    long n = 0;

    for (json_t *made = NULL; made == NULL; n++) {
        allocations_left = n;
        made = make(p);
        allocations_left = LONG_MAX;
        cr_assert(made == NULL || json_equal(made, whole), "allocation %ld: something is missing", n);
        json_decref(made);
    }
    return n;
}

static long starve_compare(const json_t *record, const struct cm_mint_plan *p, cm_err want)
{
    cm_err rc = CM_E_NOMEM;
    long n = 0;

    for (; rc == CM_E_NOMEM; n++) {
        struct cm_error err = { 0 };
        allocations_left = n;
        rc = cm_request_compare(record, p, &err);
        allocations_left = LONG_MAX;
        cr_assert(rc == want || rc == CM_E_NOMEM, "allocation %ld: %d, %s", n, (int) rc, err.what);
    }
    return n;
}

Test(request, no_memory)
{
    struct rig g;

    ask(&g, "--count 5 --lot L1");
    json_t *run = cm_request_run_json(&g.plan), *record = cm_request_run_record(&g.plan);
    json_t *other = cm_request_run_record(&g.plan);
    cr_assert(run != NULL && record != NULL && other != NULL);
    cr_assert_eq(json_object_set_new(json_object_get(other, "request"), "lot", json_string("L2")), 0);
    allocations_left = LONG_MAX;
    json_set_alloc_funcs(failing_malloc, free);
    const long failed[] = { starve_json(cm_request_run_json, &g.plan, run),
                            starve_json(cm_request_run_record, &g.plan, record),
                            starve_compare(record, &g.plan, CM_OK),
                            starve_compare(other, &g.plan, CM_E_USAGE) };
    json_set_alloc_funcs(malloc, free);
    printf("%ld, %ld, %ld and %ld allocations failed\n", failed[0], failed[1], failed[2], failed[3]);
    for (size_t i = 0; i < CM_COUNT(failed); i++)
        cr_expect_gt(failed[i], 20);
    json_decref(run);
    json_decref(record);
    json_decref(other);
    close_rig(&g);
}
