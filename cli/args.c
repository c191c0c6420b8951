#include "cli/args.h"
#include "engine/bytes.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ARGS_MAX = 96, NAME_MAX_LEN = 40, HELP_COLUMN = 32, CHOICES_MAX = 160 };

/* What every subcommand takes; the fields are those of struct cm_common. */
static const struct cm_arg common_args[] = {
    { "json", CM_ARG_FLAG, offsetof(struct cm_common, json), 0, 0, NULL, NULL,
      "print the result as JSON on standard output" },
    { "quiet", CM_ARG_FLAG, offsetof(struct cm_common, quiet), 0, 0, NULL, NULL,
      "no progress line and no notes, errors only" },
};

struct parse {
    const struct cm_cmd *cmd;
    char **argv;
    int argc, next; /* next: index of the argument to look at */
    void *opts;
    struct cm_common *common;
    struct cm_strs *operands;
    bool seen[ARGS_MAX]; /* by row: the command's own, then the common ones */
    bool help;
};

static cm_err strs_push(struct cm_strs *list, const char *item, struct cm_error *err)
{
    const char **grown = reallocarray(list->item, list->count + 1, sizeof *grown);

    if (grown == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the arguments");
    grown[list->count++] = item;
    list->item = grown;
    return CM_OK;
}

/* Optimal-string-alignment distance: insert, delete, replace, swap neighbours. */
static size_t distance(const char *a, const char *b)
{
    size_t row[3][NAME_MAX_LEN + 1];
    const size_t la = strlen(a), lb = strlen(b);

    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *cur = row[i % 3], *prev = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        cur[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = prev[j - 1] + (a[i - 1] != b[j - 1]);
            if (prev[j] + 1 < best)
                best = prev[j] + 1;
            if (cur[j - 1] + 1 < best)
                best = cur[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            cur[j] = best;
        }
    }
    return row[la % 3][lb];
}

const char *cm_args_nearest(const char *typed, const char *const *names)
{
    const size_t len = strlen(typed);
    const char *nearest = NULL;
    size_t least = len / 3 + 1 < 3 ? len / 3 + 2 : 4; /* one more than is forgiven */

    for (; *names != NULL; names++) {
        size_t d = distance(typed, *names);
        /* A beginning of a name is a likely slip too: --work for --workers. */
        if (len >= 3 && strncmp(typed, *names, len) == 0)
            d = 1;
        if (d < least) {
            least = d;
            nearest = *names;
        }
    }
    return nearest;
}

static cm_err unknown_option(const struct parse *p, const char *name, struct cm_error *err)
{
    const char *names[ARGS_MAX + 2];
    size_t n = 0;

    for (size_t i = 0; i < p->cmd->args_count; i++)
        names[n++] = p->cmd->args[i].name;
    for (size_t i = 0; i < CM_COUNT(common_args); i++)
        names[n++] = common_args[i].name;
    names[n] = NULL;

    const char *nearest = cm_args_nearest(name, names);
    if (nearest != NULL)
        CM_FAIL(err, CM_E_USAGE, "%s has no option --%.60s; did you mean --%s?", p->cmd->name, name, nearest);
    CM_FAIL(err, CM_E_USAGE, "%s has no option --%.60s; see: certmill help %s", p->cmd->name, name,
            p->cmd->name);
}

/* Decimal digits and nothing else; false also when it does not fit 64 bits. */
static bool parse_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t) (*text - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

static cm_err store_number(const struct cm_arg *arg, void *field, const char *text, struct cm_error *err)
{
    uint64_t value = 0;

    if (!parse_number(text, &value) || value < arg->min || value > arg->max)
        CM_FAIL(err, CM_E_USAGE, "--%s wants a whole number from %llu to %llu, not \"%.40s\"", arg->name,
                (unsigned long long) arg->min, (unsigned long long) arg->max, text);
    if (arg->type == CM_ARG_U32) {
        CM_ASSERT(arg->max <= UINT32_MAX);
        *(uint32_t *) field = (uint32_t) value;
    } else {
        *(uint64_t *) field = value;
    }
    return CM_OK;
}

/* "tar|tree|none", with this between them; buf has room for cap - 1 octets. */
static const char *join_choices(const struct cm_arg *arg, const char *between, char *buf, size_t cap)
{
    struct cm_writer w = cm_writer(buf, cap - 1);

    for (int i = 0; arg->choices[i] != NULL; i++) {
        if (i > 0)
            cm_put_str(&w, between);
        cm_put_str(&w, arg->choices[i]);
    }
    buf[w.len] = '\0';
    return buf;
}

/* What stands for the value in help and messages: a choice names its choices. */
static const char *metavar(const struct cm_arg *arg, char *buf, size_t cap)
{
    if (arg->metavar != NULL)
        return arg->metavar;
    if (arg->type == CM_ARG_CHOICE)
        return join_choices(arg, "|", buf, cap);
    return arg->type == CM_ARG_FLAG ? "" : "VALUE";
}

static cm_err store_choice(const struct cm_arg *arg, int *field, const char *text, struct cm_error *err)
{
    char list[CHOICES_MAX];

    for (int i = 0; arg->choices[i] != NULL; i++)
        if (strcmp(arg->choices[i], text) == 0) {
            *field = i;
            return CM_OK;
        }
    CM_FAIL(err, CM_E_USAGE, "--%s is one of %s, not \"%.40s\"", arg->name,
            join_choices(arg, ", ", list, sizeof list), text);
}

static cm_err store(const struct cm_arg *arg, void *base, const char *value, struct cm_error *err)
{
    void *field = (char *) base + arg->offset;

    switch (arg->type) {
    case CM_ARG_FLAG:
        *(bool *) field = true;
        return CM_OK;
    case CM_ARG_STR:
        *(const char **) field = value;
        return CM_OK;
    case CM_ARG_STRS:
        return strs_push(field, value, err);
    case CM_ARG_U32:
    case CM_ARG_U64:
        return store_number(arg, field, value, err);
    case CM_ARG_CHOICE:
        return store_choice(arg, field, value, err);
    }
    CM_FAIL(err, CM_E_USAGE, "--%s: a table row of no known type", arg->name);
}

/* The row for name[0..len): its number in `seen` goes to *row. */
static const struct cm_arg *find(const struct parse *p, const char *name, size_t len, size_t *row)
{
    const size_t own = p->cmd->args_count;

    for (size_t i = 0; i < own + CM_COUNT(common_args); i++) {
        const struct cm_arg *arg = i < own ? &p->cmd->args[i] : &common_args[i - own];
        if (strlen(arg->name) == len && strncmp(arg->name, name, len) == 0) {
            *row = i;
            return arg;
        }
    }
    return NULL;
}

static cm_err parse_option(struct parse *p, const char *text, struct cm_error *err)
{
    const size_t len = strcspn(text, "=");
    const char *value = text[len] == '=' ? text + len + 1 : NULL;
    char name[NAME_MAX_LEN + 1], choices[CHOICES_MAX];
    size_t row = 0;

    (void) snprintf(name, sizeof name, "%.*s", (int) (len < NAME_MAX_LEN ? len : NAME_MAX_LEN), text);
    if (strcmp(text, "help") == 0) {
        p->help = true;
        return CM_OK;
    }
    const struct cm_arg *arg = find(p, text, len, &row);
    if (arg == NULL)
        return unknown_option(p, name, err);
    if (p->seen[row] && arg->type != CM_ARG_STRS)
        CM_FAIL(err, CM_E_USAGE, "--%s was given twice; say it once", arg->name);
    p->seen[row] = true;

    if (arg->type == CM_ARG_FLAG) {
        if (value != NULL)
            CM_FAIL(err, CM_E_USAGE, "--%s takes no value", arg->name);
    } else if (value == NULL) {
        /* "--out --json" is a forgotten value far more often than a strange one. */
        if (p->next >= p->argc || strncmp(p->argv[p->next], "--", 2) == 0)
            CM_FAIL(err, CM_E_USAGE, "--%s needs a value: --%s %s%s", arg->name, arg->name,
                    metavar(arg, choices, sizeof choices),
                    p->next < p->argc ? " (a value that begins with -- is written --option=--value)" : "");
        value = p->argv[p->next++];
    }
    /* An empty value is an unset shell variable far more often than a wish. */
    if (value != NULL && *value == '\0' && !(arg->type == CM_ARG_STR && arg->max > 0))
        CM_FAIL(err, CM_E_USAGE, "--%s has an empty value; leave the option out or give it one", arg->name);
    return store(arg, row < p->cmd->args_count ? p->opts : p->common, value, err);
}

static cm_err parse_one(struct parse *p, bool *options_over, struct cm_error *err)
{
    const char *text = p->argv[p->next++];

    if (!*options_over && strcmp(text, "--") == 0) {
        *options_over = true;
        return CM_OK;
    }
    if (!*options_over && strcmp(text, "-h") == 0) {
        p->help = true;
        return CM_OK;
    }
    if (!*options_over && strncmp(text, "--", 2) == 0)
        return parse_option(p, text + 2, err);
    if (!*options_over && text[0] == '-' && text[1] != '\0')
        CM_FAIL(err, CM_E_USAGE, "no short option \"%.40s\"; options begin with two dashes: certmill help %s",
                text, p->cmd->name);
    return strs_push(p->operands, text, err);
}

static cm_err check_operands(const struct cm_cmd *cmd, const struct cm_strs *operands, struct cm_error *err)
{
    if (operands->count > cmd->operands_max)
        CM_FAIL(err, CM_E_USAGE, "%s: \"%.60s\" is one argument too many; the form is: certmill %s %s",
                cmd->name, operands->item[cmd->operands_max], cmd->name, cmd->usage);
    if (operands->count < cmd->operands_min)
        CM_FAIL(err, CM_E_USAGE, "%s: an argument is missing; the form is: certmill %s %s", cmd->name,
                cmd->name, cmd->usage);
    return CM_OK;
}

cm_err cm_args_parse(const struct cm_cmd *cmd, int argc, char **argv, void *opts, struct cm_strs *operands,
                     struct cm_common *common, bool *help, struct cm_error *err)
{
    struct parse p = {
        .cmd = cmd, .argv = argv, .argc = argc, .opts = opts, .common = common, .operands = operands
    };
    bool options_over = false;

    CM_ASSERT(cmd->args_count + CM_COUNT(common_args) <= ARGS_MAX);
    if (cmd->opts_size > 0)
        memset(opts, 0, cmd->opts_size);
    *operands = (struct cm_strs) { 0 };
    *common = (struct cm_common) { 0 };
    *help = false;
    if (cmd->defaults != NULL)
        cmd->defaults(opts);

    while (p.next < argc && !p.help)
        CM_TRY(parse_one(&p, &options_over, err));
    *help = p.help;
    return p.help ? CM_OK : check_operands(cmd, operands, err);
}

void cm_args_done(const struct cm_cmd *cmd, void *opts, struct cm_strs *operands)
{
    for (size_t i = 0; i < cmd->args_count; i++)
        if (cmd->args[i].type == CM_ARG_STRS) {
            struct cm_strs *list = (struct cm_strs *) (void *) ((char *) opts + cmd->args[i].offset);
            free(list->item);
            *list = (struct cm_strs) { 0 };
        }
    free(operands->item);
    *operands = (struct cm_strs) { 0 };
}

/* "what it is; default" as "what it is (default: default)". */
static void help_text(const char *help, FILE *out)
{
    const char *last = NULL;

    for (const char *at = help; (at = strstr(at, "; ")) != NULL; at++)
        last = at;
    if (last == NULL)
        (void) fprintf(out, "%s\n", help);
    else
        (void) fprintf(out, "%.*s (default: %s)\n", (int) (last - help), help, last + 2);
}

static void help_row(const struct cm_arg *arg, FILE *out)
{
    char left[NAME_MAX_LEN + CHOICES_MAX + 8], choices[CHOICES_MAX];
    const int len = snprintf(left, sizeof left, "  --%s%s%s", arg->name, arg->type != CM_ARG_FLAG ? " " : "",
                             metavar(arg, choices, sizeof choices));

    if (len >= HELP_COLUMN) /* a long left side gets a line of its own */
        (void) fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    else
        (void) fprintf(out, "%-*s", HELP_COLUMN, left);
    help_text(arg->help, out);
}

void cm_args_help(const struct cm_cmd *cmd, FILE *out)
{
    (void) fprintf(out, "certmill %s - %s\n\nUsage: certmill %s %s\n\nOptions:\n", cmd->name, cmd->summary,
                   cmd->name, cmd->usage);
    for (size_t i = 0; i < cmd->args_count; i++)
        help_row(&cmd->args[i], out);
    for (size_t i = 0; i < CM_COUNT(common_args); i++)
        help_row(&common_args[i], out);
    (void) fprintf(out, "%-*s%s\n", HELP_COLUMN, "  --help", "this text");
    if (cmd->notes != NULL)
        (void) fprintf(out, "\n%s\n", cmd->notes);
}
