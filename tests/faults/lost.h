#ifndef CM_TESTS_FAULTS_LOST_H
#define CM_TESTS_FAULTS_LOST_H

#include <stddef.h>
#include <stdint.h>

/* lost.h - what a failed fsync means: the kernel has thrown the dirty pages away and
 * will not say so again. Written ranges are noted until a sync covers them; a sync
 * that is to be lost overwrites them with zeros. */
void cm_lost_note(int fd, const char *path, size_t len, uint64_t offset);
void cm_lost_synced(int fd, int whole_fs); /* the ranges of fd, or all, are safe */
void cm_lost_zero(int fd, int whole_fs);

#endif
