#ifndef CM_CLI_ARGS_H
#define CM_CLI_ARGS_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* args.h - one table of options per subcommand drives parsing and --help.
 *
 * TO ADD AN OPTION: a row in the subcommand's table and a field in its options
 * struct. "--name value" and "--name=value" are both accepted; an option given
 * twice is refused (but for CM_ARG_STRS); an unknown one gets the nearest known
 * name; "--" ends the options. Numbers are plain decimal digits, in range, with
 * nothing before or after them.
 */
enum cm_arg_type {
    CM_ARG_FLAG,   /* bool */
    CM_ARG_STR,    /* const char * */
    CM_ARG_STRS,   /* struct cm_strs, repeatable */
    CM_ARG_U32,    /* uint32_t */
    CM_ARG_U64,    /* uint64_t */
    CM_ARG_CHOICE, /* int: index into choices */
};

struct cm_strs {
    const char **item;
    size_t count;
};

struct cm_arg {
    const char *name; /* without the dashes */
    enum cm_arg_type type;
    size_t offset;              /* of the field in the options struct */
    uint64_t min, max;          /* of the two number types; CM_ARG_STR: max 1 permits an empty value */
    const char *const *choices; /* NULL-terminated, of CM_ARG_CHOICE */
    const char *metavar;        /* "FILE", "N", …; NULL: the choices themselves, or nothing for a flag */
    const char *help;           /* one line: what it is, then behind the last "; " the default in words */
};

/* The row of an option that is text, in `field` of the struct `type`. */
#define CM_ARG_TEXT(type, name, field, metavar, help)                                                        \
    {                                                                                                        \
        name, CM_ARG_STR, offsetof(type, field), 0, 0, NULL, metavar, help                                   \
    }

/* What every subcommand takes besides its own table: --json, --quiet, --help. */
struct cm_common {
    bool json, quiet;
};

struct cm_cmd {
    const char *name;    /* "mint", "ca init" */
    const char *usage;   /* what follows the name in the synopsis */
    const char *summary; /* one line */
    const char *notes;   /* paragraphs below the options, or NULL */
    const struct cm_arg *args;
    size_t args_count;
    size_t opts_size;                    /* of the options struct */
    void (*defaults)(void *opts);        /* NULL: all zero */
    unsigned operands_min, operands_max; /* UINT_MAX: any number */
    bool elsewhere; /* cli/elsewhere.h does it: nothing but name and summary is filled in */
    /* Returns CM_OK, or the failure (main prints it and maps the class to the
     * exit code). CM_E_FOUND: exit 1. CM_E_CLOSED: stopped by the signal whose
     * number is in err->os: exit 128 + it. An empty err->what prints nothing. */
    cm_err (*run)(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err);
};

/* Fills opts (opts_size bytes, caller's) and the operands. CM_E_USAGE with a
 * message that names the option. *help is set when --help was asked for. What
 * lands in opts points into argv; the arrays are freed by cm_args_done. */
CM_MUST_CHECK cm_err cm_args_parse(const struct cm_cmd *cmd, int argc, char **argv, void *opts,
                                   struct cm_strs *operands, struct cm_common *common, bool *help,
                                   struct cm_error *err);
void cm_args_done(const struct cm_cmd *cmd, void *opts, struct cm_strs *operands);
/* The help text of one subcommand, to out (its errors stay in ferror(out)). */
void cm_args_help(const struct cm_cmd *cmd, FILE *out);
/* The nearest of `names` (NULL-terminated) to a mistyped one, or NULL. */
const char *cm_args_nearest(const char *typed, const char *const *names);

#endif
