#ifndef CM_IO_FILE_H
#define CM_IO_FILE_H

#include "engine/bytes.h"
#include "engine/err.h"

#include <sys/types.h>

/* file.h - the plain system calls, each checked and with a message that names the
 * path. `dir` is the path of dirfd, for messages. Every open has O_CLOEXEC and
 * O_NOFOLLOW. Nothing here touches descriptors that a ring uses.
 */

/* How often a call that was interrupted is made again: signals come in ones, not for ever. */
enum { CM_EINTR_TRIES = 100 };

/* mkdirat + open, exactly this mode whatever the umask; an existing one is an error. */
CM_MUST_CHECK cm_err cm_dir_make(int dirfd, const char *dir, const char *name, mode_t mode, int *out,
                                 struct cm_error *err);
CM_MUST_CHECK cm_err cm_dir_open(const char *path, int *out, struct cm_error *err);
/* O_CREAT | O_EXCL | O_WRONLY and flags, exactly this mode. */
CM_MUST_CHECK cm_err cm_file_create(int dirfd, const char *dir, const char *name, int flags, mode_t mode,
                                    int *out, struct cm_error *err);
/* O_WRONLY, an existing regular file. */
CM_MUST_CHECK cm_err cm_file_open_write(int dirfd, const char *dir, const char *name, int *out,
                                        struct cm_error *err);
/* What a failed write up to `end` means: a limit on the size of files (RLIMIT_FSIZE)
 * that is no multiple of 4096 cuts direct I/O to an odd length, which comes back as
 * EINVAL; that is EFBIG then. All else is itself. */
int cm_write_errno(int os, uint64_t end);
/* Writes all of data at offset; a short write goes on, EINTR is tried again, not for ever. */
CM_MUST_CHECK cm_err cm_file_write(int fd, const char *path, const void *data, size_t len, uint64_t offset,
                                   struct cm_error *err);
CM_MUST_CHECK cm_err cm_file_sync(int fd, const char *path, struct cm_error *err); /* fdatasync */
CM_MUST_CHECK cm_err cm_dir_sync(int fd, const char *path, struct cm_error *err);  /* fsync */
CM_MUST_CHECK cm_err cm_file_truncate(int fd, const char *path, uint64_t len, struct cm_error *err);
/* Refuses to replace anything (renameat2 RENAME_NOREPLACE, or a check where the file system lacks it). */
CM_MUST_CHECK cm_err cm_rename_new(int dirfd, const char *dir, const char *from, const char *to,
                                   struct cm_error *err);
/* Writes name.part, syncs it, renames it over name, syncs dirfd. */
CM_MUST_CHECK cm_err cm_file_replace(int dirfd, const char *dir, const char *name, struct cm_span data,
                                     mode_t mode, struct cm_error *err);
/* Overwrites the octets from `from` up to `end` with zeros: not durable before a sync. */
CM_MUST_CHECK cm_err cm_file_wipe(int fd, const char *path, uint64_t from, uint64_t end,
                                  struct cm_error *err);
/* Each name in a directory but "." and ".."; it may go while it is at hand. shown: for messages. */
typedef cm_err cm_dir_on_name(void *arg, const char *name, struct cm_error *err);
CM_MUST_CHECK cm_err cm_dir_each(int dirfd, const char *name, const char *shown, cm_dir_on_name *take,
                                 void *arg, struct cm_error *err);
/* Removes directory `name` and the plain files in it, their octets overwritten
 * first, and that durably, when `wipe`. A directory that is not there is fine. */
CM_MUST_CHECK cm_err cm_dir_discard(int parent, const char *dir, const char *name, bool wipe,
                                    struct cm_error *err);
/* Switches the file to direct I/O where the file system takes it in units of 4096
 * octets (statx DIOALIGN); false: it goes through the page cache. */
bool cm_file_direct(int fd);
CM_MUST_CHECK cm_err cm_file_buffered(int fd, const char *path, struct cm_error *err); /* and back */
/* The kind of file system, where locks between machines or durability can't be relied on ("NFS", "tmpfs");
 * NULL: nothing is known against it. */
const char *cm_file_system_doubt(int fd);
void cm_fd_close(int *fd); /* -1 accepted, set to -1; for descriptors with nothing left to lose */

#endif
