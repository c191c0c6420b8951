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
 * Pages: of 8192 octets in a new file, which hold five devices with little left over;
 * with SQLite's usual 4096, which hold two, a load takes a fifth more time.
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
