#ifndef CM_REHEARSAL_OP_VALIDITY_H
#define CM_REHEARSAL_OP_VALIDITY_H

#include <jansson.h>

/* op_validity.h - {"notBefore":…, "notAfter":…} of a registered certificate, in seconds; NULL: no memory. */
json_t *cm_op_validity(const char *pem);

#endif
