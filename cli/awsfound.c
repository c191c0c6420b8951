#include "cli/awsfound.h"

#include "cli/term.h"

#include <jansson.h>

struct one {
    char device_id[100], file[200], what[CM_AWS_WHY];
};

/* One verdict of one rule. */
struct kind {
    const struct cm_aws_rule *rule;
    uint64_t count;
    size_t kept;
    struct one *item; /* CM_AWSFOUND_KEPT of them, from the first on */
};

struct cm_awsfound {
    bool silent;
    uint64_t refused, warned;
    struct kind *refusal, *warning; /* a row for each rule */
    const char *device_id, *file;   /* of the certificate at hand */
};

cm_err cm_awsfound_open(bool silent, struct cm_awsfound **out, struct cm_error *err)
{
    struct cm_awsfound *f = calloc(1, sizeof *f);

    if (f != NULL) {
        f->silent = silent;
        f->refusal = calloc(cm_aws_rules_count(), sizeof *f->refusal);
        f->warning = calloc(cm_aws_rules_count(), sizeof *f->warning);
    }
    if (f == NULL || f->refusal == NULL || f->warning == NULL) {
        cm_awsfound_close(f);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for findings");
    }
    for (size_t i = 0; i < cm_aws_rules_count(); i++)
        f->refusal[i].rule = f->warning[i].rule = cm_aws_rule_at(i);
    *out = f;
    return CM_OK;
}

void cm_awsfound_close(struct cm_awsfound *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < cm_aws_rules_count(); i++) {
        if (f->refusal != NULL)
            free(f->refusal[i].item);
        if (f->warning != NULL)
            free(f->warning[i].item);
    }
    free(f->refusal);
    free(f->warning);
    free(f);
}

static void keep(void *arg, const struct cm_aws_rule *rule, enum cm_aws_verdict verdict, const char *why)
{
    struct cm_awsfound *const f = arg;
    struct kind *kind = verdict == CM_AWS_REFUSED ? f->refusal : f->warning;

    while (kind->rule != rule)
        kind++;
    kind->count++;
    if (kind->item == NULL)
        kind->item = calloc(CM_AWSFOUND_KEPT, sizeof *kind->item);
    if (kind->item == NULL || kind->kept == CM_AWSFOUND_KEPT)
        return;
    struct one *const one = &kind->item[kind->kept++];
    (void) snprintf(one->device_id, sizeof one->device_id, "%s", f->device_id != NULL ? f->device_id : "");
    (void) snprintf(one->file, sizeof one->file, "%s", f->file);
    (void) snprintf(one->what, sizeof one->what, "%s", why);
}

void cm_awsfound_judge(struct cm_awsfound *f, const struct cm_aws_cert *c, cm_when now, const char *device_id,
                       const char *file)
{
    f->device_id = device_id;
    f->file = file;
    const enum cm_aws_verdict verdict = cm_aws_judge(c, now, keep, f);
    f->refused += verdict == CM_AWS_REFUSED;
    f->warned += verdict == CM_AWS_WARNED;
}

uint64_t cm_awsfound_refused(const struct cm_awsfound *f)
{
    return f->refused;
}

uint64_t cm_awsfound_warned(const struct cm_awsfound *f)
{
    return f->warned;
}

static void print_kind(const struct kind *kind, const char *verdict)
{
    for (size_t i = 0; i < kind->kept && i < CM_AWSFOUND_SHOWN; i++) {
        const struct one *const one = &kind->item[i];
        cm_term_put(stderr, one->device_id[0] != '\0' ? one->device_id : one->file);
        (void) fprintf(stderr, ": %s (%s): ", verdict, kind->rule->name);
        cm_term_put(stderr, one->what);
        (void) fputc('\n', stderr);
    }
    if (kind->count > CM_AWSFOUND_SHOWN)
        (void) fprintf(stderr, "... %llu more: %s (%s)\n",
                       (unsigned long long) (kind->count - CM_AWSFOUND_SHOWN), verdict, kind->rule->name);
}

void cm_awsfound_print(const struct cm_awsfound *f)
{
    if (f->silent)
        return;
    for (size_t i = 0; i < cm_aws_rules_count(); i++)
        print_kind(&f->refusal[i], "would be refused");
    for (size_t i = 0; i < cm_aws_rules_count(); i++)
        print_kind(&f->warning[i], "warning");
}

/* NULL: out of memory, or a path that is not UTF-8, which is then left out. */
static json_t *one_json(const struct one *one)
{
    const char *const id = one->device_id[0] != '\0' ? one->device_id : NULL;
    json_t *made = json_pack("{s:s? s:s s:s}", "device_id", id, "file", one->file, "what", one->what);

    return made != NULL ? made : json_pack("{s:s? s:n s:s}", "device_id", id, "file", "what", one->what);
}

static bool add_kind(json_t *list, const struct kind *kind, const char *verdict)
{
    json_t *cases = json_array();

    if (kind->count == 0) {
        json_decref(cases);
        return true;
    }
    for (size_t i = 0; cases != NULL && i < kind->kept; i++)
        if (json_array_append_new(cases, one_json(&kind->item[i])) != 0) {
            json_decref(cases);
            cases = NULL;
        }
    return json_array_append_new(list,
                                 json_pack("{s:s s:s s:I s:o}", "rule", kind->rule->name, "verdict", verdict,
                                           "count", (json_int_t) kind->count, "cases", cases)) == 0;
}

json_t *cm_awsfound_json(const struct cm_awsfound *f)
{
    json_t *list = json_array();
    bool whole = list != NULL;

    for (size_t i = 0; whole && i < cm_aws_rules_count(); i++)
        whole = add_kind(list, &f->refusal[i], "refused") && add_kind(list, &f->warning[i], "warned");
    if (whole)
        return list;
    json_decref(list);
    return NULL;
}
