#ifndef CM_CLI_AUDIT_DEVICE_H
#define CM_CLI_AUDIT_DEVICE_H

#include "engine/name.h"
#include "io/rowread.h"

#include <jansson.h>

/* audit_device.h - what a request makes of one device: its attributes, its subject, its
 * subject alternative names. The values of columns are those of the row's attributes.
 *
 *  Threads  constant once it is read.
 *  Limits   not made again: texts with {uuid}; alternative names other than DNS:, URI:
 *           and email:, and those that only the profile's sections name.
 */
enum { CM_AUDIT_SANS = 16, CM_AUDIT_SAN_MAX = 8192 };

typedef void cm_audit_device_report(void *arg, const char *what);

struct cm_audit_device {
    struct cm_columns columns; /* of the list; its names are the request's */
    const char *column[CM_COLUMNS_MAX];
    bool has_columns; /* the request tells whether there are any */
    bool has_subject, has_san;
    struct cm_name subject;
    struct cm_audit_san {
        uint8_t tag; /* of the GeneralName */
        struct cm_pattern text;
    } san[CM_AUDIT_SANS];
    size_t sans;
    uint64_t start, mac_base;
};

/* request: as in the journal; borrowed, and it stays. What it doesn't tell is not checked. */
void cm_audit_device_read(const json_t *request, struct cm_audit_device *out);
void cm_audit_device_check(const struct cm_audit_device *d, const struct cm_row *row,
                           cm_audit_device_report *report, void *arg);
/* The content of the GeneralNames, into buf (CM_AUDIT_SAN_MAX): nothing where they aren't told. */
struct cm_span cm_audit_device_san(const struct cm_audit_device *d, const struct cm_row *row, uint8_t *buf);

#endif
