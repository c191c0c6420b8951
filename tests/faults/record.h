#ifndef CM_TESTS_FAULTS_RECORD_H
#define CM_TESTS_FAULTS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* record.h - the log of what a run does to its disk, for the crash-state explorer.
 *
 *  Order     an operation is logged when it has happened, before the call returns:
 *            whatever a thread does because of it comes later in the log.
 *  Syncs     have a begin and an end: what stands before the begin is covered, and
 *            it is durable from the end on.
 *  Threads   any.
 *  Secrets   the log holds all that was written, private keys too: mode 0600, for
 *            test fleets only.
 *
 * Nothing is done unless cm_record_open was called; what lies outside of root is left out. */
void cm_record_open(const char *path, const char *root);

void cm_record_create(int dirfd, const char *name, const char *path, bool directory);
void cm_record_write(int fd, const char *path, const void *data, size_t len, uint64_t offset);
void cm_record_truncate(int fd, const char *path, uint64_t len);
void cm_record_rename(int dirfd, const char *from, const char *to, const char *path);
void cm_record_unlink(int dirfd, const char *name, const char *path);
/* kind: "file", "dir", "fs". 0: nothing is being recorded. */
unsigned cm_record_sync_begin(const char *kind, int fd, const char *path);
void cm_record_sync_end(unsigned id);

#endif
