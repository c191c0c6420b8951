#include "rehearsal/allow.h"

#include "engine/batch.h"
#include "io/fleet_walk.h"
#include "io/journalread.h"

enum { ID_BYTES = 32 };

struct entry {
    uint8_t id[ID_BYTES];
    uint64_t at; /* its row in the manifest */
};

struct cm_allow {
    const struct cm_fleet *fleet;
    struct entry *item; /* sorted by id */
    size_t count, cap;
};

const char *cm_standing_name(enum cm_standing standing)
{
    static const char *const names[CM_STANDING_COUNT] = { "in force", "superseded", "burned", "unknown" };

    return names[standing];
}

static bool parse_id(const char *text, uint8_t out[ID_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != 2 * ID_BYTES)
        return false;
    for (size_t i = 0; i < 2 * ID_BYTES; i++) {
        const char *at = strchr(digits, text[i]);
        if (at == NULL)
            return false;
        out[i / 2] = (uint8_t) (out[i / 2] << 4 | (at - digits));
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ID_BYTES);
}

static cm_err append(struct cm_allow *a, const struct cm_row *row, struct cm_error *err)
{
    if (a->count == a->cap) {
        const size_t cap = a->cap == 0 ? 1024 : 2 * a->cap;
        void *item = reallocarray(a->item, cap, sizeof *a->item);
        if (item == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the allow-list");
        a->item = item;
        a->cap = cap;
    }
    if (!parse_id(row->certificate_id, a->item[a->count].id))
        CM_FAIL(err, CM_E_INPUT, "the row of device %.96s has no certificateId", row->device_id);
    a->item[a->count++].at = row->at;
    return CM_OK;
}

static cm_err fill(struct cm_allow *a, struct cm_fleet_walk *walk, struct cm_error *err)
{
    const struct cm_row *row = NULL;
    cm_err rc = CM_OK;

    while ((rc = cm_fleet_walk_next(walk, &row, err)) == CM_OK)
        CM_TRY(append(a, row, err));
    if (rc != CM_E_END)
        return rc;
    if (a->count > 0)
        qsort(a->item, a->count, sizeof *a->item, compare);
    return CM_OK;
}

cm_err cm_allow_open(const struct cm_fleet *fleet, struct cm_allow **out, struct cm_error *err)
{
    struct cm_fleet_walk *walk = NULL;
    struct cm_allow *a = calloc(1, sizeof *a);

    if (a == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the allow-list");
    a->fleet = fleet;
    cm_err rc = cm_fleet_walk_open(fleet, &walk, err);
    if (rc == CM_OK)
        rc = fill(a, walk, err);
    cm_fleet_walk_close(walk);
    if (rc != CM_OK)
        cm_allow_close(a);
    else
        *out = a;
    return rc;
}

void cm_allow_close(struct cm_allow *a)
{
    if (a != NULL)
        free(a->item);
    free(a);
}

size_t cm_allow_count(const struct cm_allow *a)
{
    return a->count;
}

bool cm_allow_find(const struct cm_allow *a, const char *certificate_id, size_t *number)
{
    uint8_t id[ID_BYTES];

    if (a->count == 0 || !parse_id(certificate_id, id))
        return false;
    const struct entry *at = bsearch(id, a->item, a->count, sizeof *a->item, compare);
    if (at != NULL && number != NULL)
        *number = (size_t) (at - a->item);
    return at != NULL;
}

cm_err cm_allow_device(const struct cm_allow *a, size_t number, char device_id[CM_ROW_NAME_MAX + 1],
                       struct cm_error *err)
{
    struct cm_row row = { 0 };

    CM_ASSERT(number < a->count);
    CM_TRY(cm_fleet_row_at(a->fleet, a->item[number].at, &row, NULL, err));
    (void) snprintf(device_id, CM_ROW_NAME_MAX + 1, "%s", row.device_id);
    cm_rowread_done(&row);
    return CM_OK;
}

/* Every prefix that a commit does not have, and under which something was or may have been signed. */
static bool burned(const struct cm_journal_state *j, struct cm_span serial)
{
    for (size_t i = 0; i < j->prefixes && serial.len == CM_SERIAL_LEN; i++)
        if (memcmp(j->prefix[i].octets, serial.data, CM_SERIAL_PREFIX) == 0)
            return !cm_ranges_meets(&j->used, i, i) && !cm_ranges_meets(&j->unused, i, i);
    return false;
}

cm_err cm_allow_explain(const struct cm_allow *a, const char *certificate_id, struct cm_span serial,
                        enum cm_standing *out, char device_id[CM_ROW_NAME_MAX + 1], struct cm_error *err)
{
    struct cm_row row = { 0 };
    const cm_err rc = cm_fleet_row_find(a->fleet, certificate_id, false, &row, NULL, err);

    if (rc != CM_OK && rc != CM_E_END)
        return rc;
    device_id[0] = '\0';
    if (rc == CM_OK)
        (void) snprintf(device_id, CM_ROW_NAME_MAX + 1, "%s", row.device_id);
    cm_rowread_done(&row);
    *out = rc == CM_OK                                  ? CM_STANDING_SUPERSEDED
           : burned(cm_fleet_journal(a->fleet), serial) ? CM_STANDING_BURNED
                                                        : CM_STANDING_UNKNOWN;
    return CM_OK;
}
