#ifndef CM_TESTS_T_LIST_H
#define CM_TESTS_T_LIST_H

#include "io/source_list.h"

/* t_list.h - a device list in a file of the test's own. Everything fails by cr_assert:
 * main thread only. */
extern char t_list_path[64];
extern struct cm_hasher t_list_hasher;

void t_list_setup(void);    /* for .init: the path, the hasher */
void t_list_teardown(void); /* for .fini */
/* Replaces what the file holds; the inode stays. */
void t_list_write(const void *data, size_t len);
/* Opened and checked; *out: NULL where it can't be used. */
cm_err t_list_open(enum cm_list_format format, const struct cm_source_list_conf *conf, struct cm_source **out,
                   struct cm_error *err);

/* A text and its length, which may hold zero octets. */
#define T_LIT(text) text, sizeof(text) - 1

#endif
