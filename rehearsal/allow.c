#include "rehearsal/allow.h"

#include "io/fleet_walk.h"

enum { ID_BYTES = 32 };

struct cm_allow {
    uint8_t (*id)[ID_BYTES]; /* sorted */
    size_t count, cap;
};

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
        void *id = reallocarray(a->id, cap, ID_BYTES);
        if (id == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the allow-list");
        a->id = id;
        a->cap = cap;
    }
    if (!parse_id(row->certificate_id, a->id[a->count]))
        CM_FAIL(err, CM_E_INPUT, "the row of device %.96s has no certificateId", row->device_id);
    a->count++;
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
        qsort(a->id, a->count, ID_BYTES, compare);
    return CM_OK;
}

cm_err cm_allow_open(const struct cm_fleet *fleet, struct cm_allow **out, struct cm_error *err)
{
    struct cm_fleet_walk *walk = NULL;
    struct cm_allow *a = calloc(1, sizeof *a);

    if (a == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the allow-list");
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
        free(a->id);
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
    const uint8_t *at = bsearch(id, a->id, a->count, ID_BYTES, compare);
    if (at != NULL && number != NULL)
        *number = (size_t) (at - a->id[0]) / ID_BYTES;
    return at != NULL;
}
