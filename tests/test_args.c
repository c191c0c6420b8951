#include "cli/args.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

struct opts {
    const char *out, *subject;
    struct cm_strs to;
    uint32_t workers;
    uint64_t count;
    int layout;
    bool plaintext;
};

static const char *const layouts[] = { "tar", "tree", "none", NULL };

static const struct cm_arg args[] = {
    { "out", CM_ARG_STR, offsetof(struct opts, out), 0, 0, NULL, "DIR", "where" },
    { "subject", CM_ARG_STR, offsetof(struct opts, subject), 0, 1, NULL, "NAME", "may be empty" },
    { "to", CM_ARG_STRS, offsetof(struct opts, to), 0, 0, NULL, "URL", "repeatable" },
    { "workers", CM_ARG_U32, offsetof(struct opts, workers), 1, 1024, NULL, "N", "threads" },
    { "count", CM_ARG_U64, offsetof(struct opts, count), 1, UINT64_MAX, NULL, "N", "devices" },
    { "layout", CM_ARG_CHOICE, offsetof(struct opts, layout), 0, 0, layouts, NULL, "tar, tree or none" },
    { "plaintext-keys", CM_ARG_FLAG, offsetof(struct opts, plaintext), 0, 0, NULL, NULL, "say it" },
};

static void defaults(void *opts)
{
    ((struct opts *) opts)->workers = 7;
}

static const struct cm_cmd cmd = {
    .name = "mint",
    .usage = "ID…",
    .summary = "makes",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .operands_min = 0,
    .operands_max = 2,
};

struct result {
    struct opts o;
    struct cm_strs operands;
    struct cm_common common;
    struct cm_error err;
    bool help;
    cm_err rc;
};

/* Splits line at blanks; "''" is the empty word. */
static struct result parse(char *line)
{
    struct result r = { .rc = CM_OK };
    char *argv[32], *rest = line, *word = NULL;
    int argc = 0;

    while ((word = strsep(&rest, " ")) != NULL)
        if (*word != '\0')
            argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    r.rc = cm_args_parse(&cmd, argc, argv, &r.o, &r.operands, &r.common, &r.help, &r.err);
    return r;
}

static void done(struct result *r)
{
    cm_args_done(&cmd, &r->o, &r->operands);
    cm_args_done(&cmd, &r->o, &r->operands); /* twice is harmless */
}

Test(args, both_spellings_and_every_type)
{
    char line[] =
        "a --out d --workers=12 --count 18446744073709551615 --layout tree --plaintext-keys --to x --to=y "
        "--json -- --quiet";
    struct result r = parse(line);

    cr_assert_eq(r.rc, CM_OK, "%s", r.err.what);
    cr_expect_str_eq(r.o.out, "d");
    cr_expect_eq(r.o.workers, 12);
    cr_expect_eq(r.o.count, UINT64_MAX);
    cr_expect_eq(r.o.layout, 1);
    cr_expect(r.o.plaintext && r.common.json && !r.common.quiet && !r.help);
    cr_assert_eq(r.o.to.count, 2);
    cr_expect_str_eq(r.o.to.item[1], "y");
    cr_assert_eq(r.operands.count, 2);
    cr_expect_str_eq(r.operands.item[1], "--quiet");
    done(&r);
}

Test(args, defaults_stand_and_values_may_hold_an_equals_sign)
{
    char fine[] = "--subject=/CN={id} --out=a=b";
    char none[] = "";
    struct result r = parse(none);

    cr_assert_eq(r.rc, CM_OK);
    cr_expect_eq(r.o.workers, 7);
    done(&r);
    r = parse(fine);
    cr_assert_eq(r.rc, CM_OK, "%s", r.err.what);
    cr_expect_str_eq(r.o.subject, "/CN={id}");
    cr_expect_str_eq(r.o.out, "a=b");
    done(&r);
}

Test(args, help_ends_the_parsing)
{
    char line[] = "--help --nonsense";
    char brief[] = "-h";
    struct result r = parse(line);

    cr_expect(r.rc == CM_OK && r.help);
    done(&r);
    r = parse(brief);
    cr_expect(r.rc == CM_OK && r.help);
    done(&r);
}

/* Goal: every slip is refused with words that name the option. */
Test(args, slips)
{
    static const struct {
        const char *line, *words;
    } cases[] = {
        { "--worker 3", "did you mean --workers?" },
        { "--wrokers 3", "did you mean --workers?" },
        { "--plaintext", "did you mean --plaintext-keys?" },
        { "--xyzzyx 3", "no option --xyzzyx; see" },
        { "--workers 0", "--workers wants a whole number from 1 to 1024" },
        { "--workers 1025", "1025" },
        { "--workers -1", "-1" },
        { "--workers +1", "+1" },
        { "--workers 1e3", "1e3" },
        { "--workers 0x10", "0x10" },
        { "--workers 3.0", "3.0" },
        { "--count 18446744073709551616", "18446744073709551616" },
        { "--count 99999999999999999999999", "99999999999999999999999" },
        { "--workers", "--workers needs a value" },
        { "--layout", "--layout needs a value: --layout tar|tree|none" },
        { "--out --json", "--out needs a value" },
        { "--out ''", "--out has an empty value" },
        { "--out=", "--out has an empty value" },
        { "--out a --out b", "--out was given twice" },
        { "--json --json", "--json was given twice" },
        { "--plaintext-keys=yes", "takes no value" },
        { "--layout zip", "tar, tree, none" },
        { "--layout Tar", "tar, tree, none" },
        { "-o x", "no short option" },
        { "a b c", "\"c\" is one argument too many" },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        char line[128];
        (void) snprintf(line, sizeof line, "%s", cases[i].line);
        struct result r = parse(line);
        cr_expect_eq(r.rc, CM_E_USAGE, "%s", cases[i].line);
        cr_expect_not_null(strstr(r.err.what, cases[i].words), "%s: %s", cases[i].line, r.err.what);
        done(&r);
    }
}

Test(args, an_empty_value_where_it_is_permitted)
{
    char line[] = "--subject ''";
    struct result r = parse(line);

    cr_assert_eq(r.rc, CM_OK, "%s", r.err.what);
    cr_expect_str_eq(r.o.subject, "");
    done(&r);
}

Test(args, nearest)
{
    static const char *const names[] = { "mint", "verify", "show", "ca init", NULL };

    cr_expect_str_eq(cm_args_nearest("mnit", names), "mint");
    cr_expect_str_eq(cm_args_nearest("verfy", names), "verify");
    cr_expect_str_eq(cm_args_nearest("ca ini", names), "ca init");
    cr_expect_null(cm_args_nearest("frobnicate", names));
    cr_expect_null(cm_args_nearest("", names));
    char wide[200];
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    cr_expect_null(cm_args_nearest(wide, names));
}

Test(args, help_names_every_option)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    cm_args_help(&cmd, out);
    cr_assert_eq(fclose(out), 0);
    for (size_t i = 0; i < CM_COUNT(args); i++) {
        char option[64];
        (void) snprintf(option, sizeof option, "  --%s", args[i].name);
        cr_expect_not_null(strstr(text, option), "%s", option);
    }
    cr_expect_not_null(strstr(text, "--quiet"));
    cr_expect_not_null(strstr(text, "--layout tar|tree|none "));
    free(text);
}
