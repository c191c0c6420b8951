#ifndef CM_IO_EXPORT_IMPL_H
#define CM_IO_EXPORT_IMPL_H

#include "io/export.h"

/* export_impl.h - what the formats of export share. */
enum {
    CM_EXPORT_TEXT = 8 << 20, /* octets that one row becomes, at most */
    CM_EXPORT_WHY = 160,      /* of a refusal */
    CM_EXPORT_KEY = 512,      /* of a name that must not occur twice */
    CM_EXPORT_COLUMNS = 256,  /* attributes with different names in a fleet */
};

/* Attributes of the subject that AWS hands to a template; a bit each. */
enum cm_subject_type {
    CM_SUBJECT_C,
    CM_SUBJECT_O,
    CM_SUBJECT_OU,
    CM_SUBJECT_DNQ,
    CM_SUBJECT_ST,
    CM_SUBJECT_CN,
    CM_SUBJECT_TYPES,
};

struct cm_subject {
    unsigned types;         /* bits of those that are there */
    char cn[CM_EXPORT_KEY]; /* the first CN of the text; "" without one */
};

struct cm_export {
    const struct cm_export_conf *conf;
    const struct cm_export_options *options;
    const struct cm_fleet *fleet;
    struct cm_span ca_pem;           /* the issuing CA's certificate */
    char *ca_pem_text;               /* malloced */
    size_t chain_len;                /* octets of a bundle behind the device's certificate */
    struct cm_writer leaf;           /* of the row at hand, PEM */
    struct cm_writer text;           /* what is written next */
    struct cm_writer cell;           /* empty: a copy of it takes one value before that is quoted */
    uint64_t in_file;                /* rows before this one in its file */
    size_t open_len;                 /* the format's own: octets of the statement at hand */
    unsigned subject_types;          /* which all subjects have */
    char *column[CM_EXPORT_COLUMNS]; /* names of attributes, in order of their first appearance; malloced */
    size_t columns;
    uint64_t devices; /* in force */
};

/* Calls that are NULL have nothing to do. Those that write append to x->text; one that
 * doesn't fit is noticed by the caller. */
struct cm_export_format {
    const char *name;
    uint64_t rows_max;  /* in one file; 0: any number */
    bool columns;       /* needs the names of all attributes beforehand */
    bool unique_folded; /* names are compared without regard to case */
    /* Options: is all there, does it go together? */
    cm_err (*options)(const struct cm_export *x, struct cm_error *err);
    /* Would the importer take this row? If not: false, and why. */
    bool (*judge)(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY]);
    /* The name that must not occur twice in the fleet, where that is not the device id; never NULL. */
    const char *(*unique)(const struct cm_export *x, const struct cm_row *row, char key[CM_EXPORT_KEY]);
    /* When all rows are judged. */
    cm_err (*judged)(struct cm_export *x, struct cm_error *err);
    void (*begin)(struct cm_export *x);                                                 /* of each file */
    cm_err (*row)(struct cm_export *x, const struct cm_row *row, struct cm_error *err); /* NULL: no rows */
    void (*end)(struct cm_export *x);
    /* A file beside: named as the output, with this in place of its suffix. */
    const char *beside_suffix;
    cm_err (*beside)(struct cm_export *x, struct cm_error *err);
    bool (*beside_wanted)(const struct cm_export *x); /* NULL: always */
};

extern const struct cm_export_format cm_export_aws_bulk, cm_export_aws_jitp, cm_export_thingpress,
    cm_export_azure_iothub, cm_export_azure_dps, cm_export_thingsboard, cm_export_espressif,
    cm_export_rainmaker, cm_export_allow_list, cm_export_csv, cm_export_json, cm_export_sql;

/* ---- export_text.c ---- */

void cm_put_json_string(struct cm_writer *w, const char *text); /* with its quotes; NULL: null */
void cm_put_json_span(struct cm_writer *w, struct cm_span text);
void cm_put_csv(struct cm_writer *w, struct cm_span text); /* RFC 4180: quoted where that is needed */
void cm_put_sql(struct cm_writer *w, struct cm_span text); /* a literal of standard SQL */
/* `"key":"value"`, a comma before it unless it is the first in its object. */
void cm_put_member(struct cm_writer *w, const char *key, const char *value);

/* What a device list's column, or lot, sku, order, says of the row; NULL: nothing. */
const char *cm_export_value(const struct cm_row *row, const char *column);
/* Octets of the device's certificate as PEM, by the length of its bundle; 0: that is shorter than the chain.
 */
size_t cm_export_leaf_len(const struct cm_export *x, const struct cm_row *row);
/* "arn:aws:iot:REGION:ACCOUNT:cert/ID"; only with an account. kind: "cert", "cacert". */
void cm_put_arn(const struct cm_export *x, struct cm_writer *w, const char *kind, const char *id);
/* All of text of these characters (and letters and digits), and `min` to `max` of them? */
bool cm_export_fits(const char *text, const char *others, size_t min, size_t max);
/* An RFC 4514 text as it stands in a row. */
void cm_subject_read(const char *subject, struct cm_subject *out);
/* Judges the CN as the thing's name, for importers that take it from there. */
bool cm_export_judge_cn(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY]);
const char *cm_export_cn(const struct cm_export *x, const struct cm_row *row, char key[CM_EXPORT_KEY]);
/* ThingName of AWS IoT. */
bool cm_export_judge_thing(const char *name, const char *what, char why[CM_EXPORT_WHY]);

/* ---- export_table.c: the flat columns of csv and sql ---- */

size_t cm_table_count(const struct cm_export *x);
const char *cm_table_name(size_t i);
bool cm_table_number(size_t i); /* an integer, not a text */
/* The value of a column, a view that lives until the next; false: null. */
bool cm_table_value(struct cm_export *x, size_t i, const struct cm_row *row, struct cm_span *out);

/* ---- export_out.c: the output's files ---- */

struct cm_export_out;
/* files: how many of rows; beside_suffix: NULL or that of one more. Refuses what exists. */
CM_MUST_CHECK cm_err cm_export_out_open(const char *path, uint64_t files, const char *beside_suffix,
                                        struct cm_export_out **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_export_out_next(struct cm_export_out *o, struct cm_error *err); /* begins a file */
CM_MUST_CHECK cm_err cm_export_out_put(struct cm_export_out *o, struct cm_span text, struct cm_error *err);
uint64_t cm_export_out_bytes(const struct cm_export_out *o);
/* All files get their names, durably. */
CM_MUST_CHECK cm_err cm_export_out_publish(struct cm_export_out *o, struct cm_export_result *result,
                                           struct cm_error *err);
void cm_export_out_close(struct cm_export_out *o); /* what was not published is removed; NULL accepted */

#endif
