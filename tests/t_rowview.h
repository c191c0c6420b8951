#ifndef CM_TESTS_T_ROWVIEW_H
#define CM_TESTS_T_ROWVIEW_H

#include "io/rowview.h"

/* t_rowview.h - the quick reader of rows held against the strict one.
 *
 * NULL: the quick one refuses the text, or both read the same from it. Else what is wrong. *quick tells
 * whether the quick one took it. */
const char *t_rowview_fault(struct cm_rowview_reader *r, struct cm_span text, bool *quick);

#endif
