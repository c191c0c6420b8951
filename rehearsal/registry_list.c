#include "rehearsal/registry_impl.h"

/* TO ADD A LIST: a value of enum cm_reg_list and a row. The columns are seq, name, status, more, created_ms,
 * version; ?2 is what the list is of. */
static const char *const lists[CM_REG_LIST_COUNT] = {
    [CM_REG_LIST_CAS] =
        "SELECT seq, id, iif(active, 'ACTIVE', 'INACTIVE'), NULL, created_ms, 0 FROM ca WHERE ?2 IS NULL",
    [CM_REG_LIST_CERTS] = "SELECT seq, id, status, iif(sni_only, 'SNI_ONLY', 'DEFAULT'), created_ms, 0"
                          " FROM certificate WHERE ?2 IS NULL",
    [CM_REG_LIST_CERTS_BY_CA] = "SELECT seq, id, status, iif(sni_only, 'SNI_ONLY', 'DEFAULT'), created_ms, 0"
                                " FROM certificate WHERE ca_id = ?2",
    [CM_REG_LIST_POLICIES] = "SELECT seq, name, NULL, NULL, created_ms, 0 FROM policy WHERE ?2 IS NULL",
    [CM_REG_LIST_POLICIES_OF] = "SELECT seq, policy, NULL, NULL, 0, 0 FROM attachment WHERE target = ?2",
    [CM_REG_LIST_TARGETS] = "SELECT seq, target, NULL, NULL, 0, 0 FROM attachment WHERE policy = ?2",
    [CM_REG_LIST_THINGS] = "SELECT seq, name, attributes, type, 0, version FROM thing WHERE ?2 IS NULL",
    [CM_REG_LIST_PRINCIPALS] =
        "SELECT seq, principal, NULL, NULL, 0, 0 FROM thing_principal WHERE thing = ?2",
    [CM_REG_LIST_THINGS_OF] = "SELECT seq, thing, NULL, NULL, 0, 0 FROM thing_principal WHERE principal = ?2",
    [CM_REG_LIST_TYPES] = "SELECT seq, name, properties, iif(deprecated, 'deprecated', NULL), created_ms, 0"
                          " FROM named WHERE kind = 'thingtype' AND ?2 IS NULL",
    [CM_REG_LIST_GROUPS] = "SELECT seq, name, properties, parent, created_ms, 0 FROM named WHERE kind = "
                           "'thinggroup' AND ?2 IS NULL",
    [CM_REG_LIST_BILLINGS] = "SELECT seq, name, properties, NULL, created_ms, 0 FROM named WHERE kind = "
                             "'billinggroup' AND ?2 IS NULL",
    [CM_REG_LIST_GROUPS_OF] = "SELECT seq, grp, NULL, NULL, 0, 0 FROM member WHERE thing = ?2",
    [CM_REG_LIST_GROUP_THINGS] = "SELECT seq, thing, NULL, NULL, 0, 0 FROM member WHERE grp = ?2",
    [CM_REG_LIST_BILLING_THINGS] = "SELECT seq, name, NULL, NULL, 0, 0 FROM thing WHERE billing = ?2",
    [CM_REG_LIST_TASKS] = "SELECT seq, id, state, NULL, created_ms, 0 FROM task WHERE ?2 IN ('', state)",
};

static cm_err walk(struct cm_registry *r, sqlite3_stmt *stmt, unsigned rows, cm_reg_on_item *on_item,
                   void *arg, int64_t *next, struct cm_svc_error *no)
{
    int64_t last = 0;

    for (unsigned i = 0;; i++) {
        bool got = false;

        CM_TRY(cm_reg_step(r, stmt, &got, no));
        if (!got || i == rows) { /* one row more was asked for, to see whether there is one */
            *next = got ? last : 0;
            return CM_OK;
        }
        last = sqlite3_column_int64(stmt, 0);
        const struct cm_reg_item item = { .name = (const char *) sqlite3_column_text(stmt, 1),
                                          .status = (const char *) sqlite3_column_text(stmt, 2),
                                          .more = (const char *) sqlite3_column_text(stmt, 3),
                                          .created_ms = sqlite3_column_int64(stmt, 4),
                                          .version = sqlite3_column_int64(stmt, 5) };
        CM_TRY(on_item(arg, &item));
    }
}

cm_err cm_reg_list(struct cm_registry *r, enum cm_reg_list list, const struct cm_reg_page *page,
                   cm_reg_on_item *on_item, void *arg, int64_t *next, struct cm_svc_error *no)
{
    const int64_t after = page->descending && page->after == 0 ? INT64_MAX : page->after;
    sqlite3_stmt *stmt = NULL;
    char sql[512];

    CM_ASSERT(page->rows >= 1 && page->rows <= CM_REG_PAGE_MAX);
    const int n = snprintf(sql, sizeof sql, "%s AND seq %s ?1 ORDER BY seq%s LIMIT ?3", lists[list],
                           page->descending ? "<" : ">", page->descending ? " DESC" : "");
    CM_ASSERT(n > 0 && (size_t) n < sizeof sql);
    CM_TRY(cm_reg_query(r, &stmt, no, sql, "iti", after, page->of, (int64_t) page->rows + 1));
    const cm_err rc = walk(r, stmt, page->rows, on_item, arg, next, no);
    (void) sqlite3_finalize(stmt);
    return rc;
}
