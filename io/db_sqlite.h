#ifndef CM_IO_DB_SQLITE_H
#define CM_IO_DB_SQLITE_H

#include "io/db_impl.h"
#include "io/sqlitekit.h"

/* db_sqlite.h - the database in one file.
 *
 * Journal: a rollback journal, because the file may lie where machines share it, and a
 * load writes each new page once (a write-ahead log: twice). Its commit is the removal
 * of the journal, so that it is durable only when the directory is synced, too:
 * synchronous=EXTRA.
 * Pages: of 16384 octets in a new file: indexes are made by reading all of them, and
 * with SQLite's usual 4096 a load takes a tenth more time.
 * Locks: BEGIN IMMEDIATE takes the one writer's lock at once: loads take turns.
 */
struct sqlite_db {
    struct cm_db base;
    struct cm_sqlite sql;
    sqlite3_stmt *insert, *supersede, *taken;
};

static inline struct sqlite_db *cm_db_sqlite_of(struct cm_db *d)
{
    return (struct sqlite_db *) d;
}

#endif
