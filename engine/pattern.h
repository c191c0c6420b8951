#ifndef CM_ENGINE_PATTERN_H
#define CM_ENGINE_PATTERN_H

#include "engine/bytes.h"
#include "engine/columns.h"
#include "engine/err.h"
#include "engine/hash.h"

/* pattern.h - text with placeholders: "SN{seq:08}", "urn:dev:mac:{mac}".
 *
 *     {id}                  the device id
 *     {seq} {seq:08}        the sequence number in decimal, {seq:08x} in hex
 *     {mac}                 02:00:00:00:00:01, counted up from --mac-base
 *     {uuid}                version 5 UUID of the decimal {seq} in the run's id
 *     {NAME}                what the device list has in that column (columns.h)
 *
 * A list's column "mac" is what {mac} stands for. {id}, {seq} and {uuid} are what they
 * are: where a list has a column of that name that is something else, the placeholder is
 * refused as unclear.
 *
 * A pattern is plain data and owns its text; it may be copied. A brace that
 * opens no placeholder is an error, so that a typing slip is found before the
 * first key is made.
 */
enum cm_piece_kind { CM_PIECE_TEXT, CM_PIECE_ID, CM_PIECE_SEQ, CM_PIECE_MAC, CM_PIECE_UUID, CM_PIECE_COLUMN };

enum {
    CM_PATTERN_TEXT = 256, /* octets of a pattern */
    CM_PATTERN_PIECES = 16,
    CM_PATTERN_OUT = 512, /* octets that a pattern may expand to */
};

struct cm_piece {
    enum cm_piece_kind kind;
    bool hex;          /* SEQ */
    uint8_t width;     /* SEQ: least number of digits */
    uint16_t column;   /* COLUMN: its index */
    uint16_t off, len; /* TEXT, and the name of a COLUMN: in cm_pattern.text */
};

struct cm_pattern {
    char text[CM_PATTERN_TEXT];
    struct cm_piece piece[CM_PATTERN_PIECES];
    size_t count;
};

/* What the placeholders of one device stand for. */
struct cm_values {
    struct cm_span id;
    uint64_t seq;
    uint64_t mac;                 /* 48 bits */
    const uint8_t *run_id;        /* 16 octets */
    struct cm_hasher *hasher;     /* of the calling thread, for {uuid} */
    const struct cm_span *column; /* by index, where there are any */
};

/* allow_id: false for --id-pattern, which can't name itself. columns: NULL where there are
 * none. CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_pattern_parse(const char *text, bool allow_id, const struct cm_columns *columns,
                                      struct cm_pattern *out, struct cm_error *err);
/* Reads one placeholder, text[0] == '{': its length, 0 when it is none. */
size_t cm_piece_parse(const char *text, const struct cm_columns *columns, struct cm_piece *out);
/* Why it is none, into buf: what there is instead. */
const char *cm_piece_fault(const char *text, const struct cm_columns *columns, char *buf, size_t cap);
void cm_piece_put(const struct cm_piece *p, const char *text, const struct cm_values *v, struct cm_writer *w);
void cm_pattern_put(const struct cm_pattern *p, const struct cm_values *v, struct cm_writer *w);
bool cm_pattern_uses(const struct cm_pattern *p, enum cm_piece_kind kind);

#endif
