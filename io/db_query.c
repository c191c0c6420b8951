#include "io/db_query.h"

#include "io/db_impl.h"

#include <unistd.h>

static cm_err must_exist(const char *url, const char *option, struct cm_error *err)
{
    char public[CM_DB_URL_MAX];
    enum cm_db_kind kind = CM_DB_SQLITE;

    CM_TRY(cm_db_url_kind(url, option, &kind, err));
    CM_TRY(cm_db_url_public(url, option, public, sizeof public, err));
    if (kind == CM_DB_SQLITE && access(strchr(public, ':') + 1, F_OK) != 0)
        CM_FAIL(err, CM_E_INPUT, "there is no database %.200s: certmill load DIR --to URL makes one", url);
    return CM_OK;
}

static cm_err must_be_used(struct cm_db *d, struct cm_error *err)
{
    const char *const schema = cm_db_words(d)->schema;
    struct cm_db_answer answer = { 0 };
    char sql[160];

    (void) snprintf(sql, sizeof sql,
                    "SELECT CAST(indexed AS integer), (SELECT count(*) FROM %srun) FROM %scertmill_schema",
                    schema, schema);
    CM_TRY(cm_db_query(d, sql, NULL, 0, &answer, err));
    const bool indexed = answer.rows > 0 && strcmp(answer.cell[0], "0") != 0;
    const bool runs = answer.rows > 0 && strcmp(answer.cell[1], "0") != 0;
    cm_db_answer_done(&answer);
    if (!runs)
        CM_FAIL(err, CM_E_INPUT, "the database %.160s has no devices: certmill load DIR --to URL brings them",
                d->name);
    return indexed ? CM_OK : cm_db_index(d, err);
}

cm_err cm_db_open_used(const char *url, const char *option, const struct cm_db_wait *wait, struct cm_db **out,
                       struct cm_error *err)
{
    struct cm_db *d = NULL;
    bool away = false;

    CM_TRY(must_exist(url, option, err));
    CM_TRY(cm_db_open(url, option, wait, &d, &away, err));
    const cm_err rc = must_be_used(d, err);
    if (rc != CM_OK)
        cm_db_close(d);
    else
        *out = d;
    return rc;
}

const struct cm_db_words *cm_db_words(const struct cm_db *d)
{
    return d->ops->words;
}

cm_err cm_db_transact(struct cm_db *d, struct cm_error *err)
{
    CM_ASSERT(!d->loading);
    d->loading = true; /* so that rollback and close undo it */
    return d->ops->transact(d, err);
}

cm_err cm_db_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                   struct cm_db_answer *out, struct cm_error *err)
{
    struct cm_db_answer answer = { 0 };

    const cm_err rc = d->ops->query(d, sql, text, texts, &answer, err);
    if (rc == CM_OK && out != NULL)
        *out = answer;
    else
        cm_db_answer_done(&answer);
    return rc;
}

cm_err cm_db_alone(struct cm_db *d, const char *name, struct cm_error *err)
{
    return d->ops->alone != NULL ? d->ops->alone(d, name, err) : CM_OK;
}

cm_err cm_db_settle(struct cm_db *d, struct cm_error *err)
{
    CM_ASSERT(d->loading);
    CM_TRY(d->ops->settle(d, err));
    d->loading = false;
    return CM_OK;
}

void cm_db_answer_done(struct cm_db_answer *a)
{
    for (size_t i = 0; a->cell != NULL && i < a->rows * a->columns; i++)
        free(a->cell[i]);
    free(a->cell);
    *a = (struct cm_db_answer) { 0 };
}
