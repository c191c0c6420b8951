#ifndef CM_IO_EXPORT_H
#define CM_IO_EXPORT_H

#include "io/fleet.h"

/* export.h - a fleet's devices as the files that registries import (docs/exports.md).
 *
 * The rows in force are walked twice: first each is judged by the rules of the
 * importer, and nothing is written if it would refuse one; then they are written.
 *
 *  Output     each file under its name and ".part", and renamed when all are whole and
 *             durable, never over a file that is there. After a failure none is left.
 *  Memory     bounded, whatever the number of devices.
 *  Secrets    no private key is read.
 *  Threads    one.
 *  Errors     CM_E_USAGE: options that don't go together, a file that exists;
 *             CM_E_INPUT: devices that the importer would refuse, damage; CM_E_IO;
 *             CM_E_CLOSED: `stop` said so.
 *
 * TO ADD A FORMAT: io/export_x.c, a line in export_impl.h, a row in export.c.
 */
enum {
    CM_EXPORT_FILES_MAX = 9999,
    CM_EXPORT_NAMES = 16, /* thing groups, and attributes, at most */
};

struct cm_export_names {
    const char *const *item;
    size_t count;
};

/* What only some formats look at; NULL and 0 where nothing was said. */
struct cm_export_options {
    const char *account, *region, *partition; /* AWS: the first two together; partition "aws" unless said */
    const char *policy, *thing_type, *billing_group, *role;
    struct cm_export_names thing_groups;
    struct cm_export_names thing_attributes; /* columns of the list, or lot, sku, order */
    const char *mac_column;
    const char *device_type; /* ThingsBoard's device profile */
    const char *table;       /* SQL */
    bool azure_ca;           /* authentication by CA, not by thumbprint */
};

struct cm_export_conf {
    const struct cm_fleet *fleet;
    const char *format;
    const char *out;        /* path; NULL: stdout, for a format that is one file */
    uint64_t rows_per_file; /* 0: the format's own bound */
    const char *tmp_dir;    /* where names are sorted that must not occur twice */
    struct cm_export_options options;
    void *arg; /* of the three calls below */
    /* A device that the importer would refuse, and why. */
    void (*refused)(void *arg, const char *device_id, const char *why);
    void (*progress)(void *arg, uint64_t devices, uint64_t bytes);
    bool (*stop)(void *arg);
};

struct cm_export_result {
    uint64_t devices, superseded; /* written; rows left out because they are no longer in force */
    uint64_t refused;             /* when it fails for them */
    uint64_t files, bytes;
    char (*path)[4096]; /* malloced: their names, `files` of them */
};

const char *cm_export_format_name(size_t i); /* NULL behind the last */

/* *out is filled also when it fails: `refused`. */
CM_MUST_CHECK cm_err cm_export(const struct cm_export_conf *conf, struct cm_export_result *out,
                               struct cm_error *err);
void cm_export_result_done(struct cm_export_result *r); /* a zeroed one is accepted */

#endif
