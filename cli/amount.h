#ifndef CM_CLI_AMOUNT_H
#define CM_CLI_AMOUNT_H

#include "engine/bytes.h"

/* amount.h - numbers as a person reads them. Text is appended to a writer. */

/* Decimal units, one digit after the point: "34.2 MB". */
void cm_put_bytes(struct cm_writer *w, uint64_t bytes);

/* Two units at most: "0.4 s", "52 s", "12 min 30 s", "3 h 10 min", "11 d 14 h". */
void cm_put_time(struct cm_writer *w, double seconds);

/* The same as strings, kept in *a. */
struct cm_amount {
    char text[40];
};
const char *cm_amount_bytes(struct cm_amount *a, uint64_t bytes);
const char *cm_amount_time(struct cm_amount *a, double seconds);
const char *cm_amount_count(struct cm_amount *a, uint64_t n); /* "1,000,000" */

#endif
