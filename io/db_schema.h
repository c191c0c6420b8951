#ifndef CM_IO_DB_SCHEMA_H
#define CM_IO_DB_SCHEMA_H

#include "io/db.h"

/* db_schema.h - the tables of the database, in each dialect, and the columns of `device`
 * that a load fills. Version CM_DB_VERSION is made from version N by the steps N, N + 1, …
 */
struct cm_db_dialect {
    const char *steps[CM_DB_VERSION];
    const char *indexes; /* made after the first load */
};

extern const struct cm_db_dialect cm_db_dialect_sqlite, cm_db_dialect_pg;

/* Tables and views of it, parenthesised for IN, and how many they are; certmill_schema is not among them. */
#define CM_DB_NAMES "('chain', 'run', 'batch', 'device', 'registration', 'next_unused')"
enum { CM_DB_NAMES_COUNT = 6 };

/* What a value is: the manifest's text as it stands, or an integer. */
enum cm_db_type {
    CM_DB_TEXT, /* data NULL: null */
    CM_DB_UUID,
    CM_DB_TIME, /* RFC 3339 */
    CM_DB_JSON,
    CM_DB_BLOB,
    CM_DB_INT8, /* negative: null */
    CM_DB_INT4,
};

struct cm_db_column {
    const char *name;
    enum cm_db_type type;
    size_t offset; /* of a struct cm_span or an int64_t in struct cm_db_row */
};

enum { CM_DB_COLUMNS = 32 };
extern const struct cm_db_column cm_db_columns[CM_DB_COLUMNS];
/* "run_no, run_id, seq, …": the run's number, then those columns. */
void cm_db_put_columns(struct cm_writer *w);

/* The columns of certmill_schema that certmill asks for, parenthesised for IN, and how many they are. */
#define CM_DB_SCHEMA_COLUMNS "('version', 'indexed')"
enum { CM_DB_SCHEMA_COLUMNS_COUNT = 2 };
/* found: how many of them the table has that there is. CM_E_INPUT: it is not certmill's. */
cm_err cm_db_check_schema_columns(const char *name, int64_t found, struct cm_error *err);
/* The version that certmill_schema tells, 0 where it has none: CM_E_INPUT when it is damaged, or this program
 * too old for it. */
cm_err cm_db_check_version(const char *name, int64_t version, struct cm_error *err);
/* found: how many of CM_DB_NAMES there are. CM_E_INPUT: somebody else's, or some are gone. */
cm_err cm_db_check_tables(const char *name, int64_t version, int64_t found, struct cm_error *err);

#endif
