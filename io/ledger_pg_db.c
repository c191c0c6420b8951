#include "io/ledger_pg.h"

/* No foreign key from ledger_device: it would be checked once per row. */
static const char *const steps[CM_LEDGER_VERSION] = {
    "CREATE TABLE certmill.ledger_version (version integer NOT NULL);"
    "INSERT INTO certmill.ledger_version VALUES (1);"
    "CREATE TABLE certmill.ledger_ca (ca_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " ca_certificate_id text NOT NULL UNIQUE);"
    "CREATE TABLE certmill.ledger_run (run_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " ca_no bigint NOT NULL REFERENCES certmill.ledger_ca, run_id uuid NOT NULL, order_name text,"
    " host text NOT NULL, reserved_at timestamptz NOT NULL, reservations bigint NOT NULL,"
    " UNIQUE (ca_no, run_id));"
    "CREATE TABLE certmill.ledger_device (ca_no bigint NOT NULL, device_id text COLLATE \"C\" NOT NULL,"
    " run_no bigint NOT NULL, PRIMARY KEY (ca_no, device_id))",
};

static cm_err find_version(void *arg, int64_t *version, struct cm_error *err)
{
    struct pg_ledger *s = arg;
    bool there = false;

    CM_TRY(cm_pg_has_table(&s->pg, "ledger_version", &there, err));
    *version = 0;
    if (there)
        CM_TRY(cm_pg_int(&s->pg, "SELECT version FROM certmill.ledger_version", NULL, 0, -1, version,
                         "read it", err));
    return cm_ledger_check_version(&s->base, *version, err);
}

void cm_ledger_pg_close(struct cm_ledger *l)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);

    cm_pg_close(&s->pg);
    free(s);
}

cm_err cm_ledger_pg_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err)
{
    struct pg_ledger *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the ledger");
    s->base.ops = &cm_ledger_pg_ops;
    s->base.wait_ms = s->pg.wait_ms = wait_ms;
    s->pg.noun = "ledger";
    s->w = cm_writer(s->buf, sizeof s->buf);
    const struct cm_migration tables = { steps, CM_LEDGER_VERSION, find_version, s };
    cm_err rc = cm_pg_open(&s->pg, url, err);
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", s->pg.name);
    if (rc == CM_OK)
        rc = cm_pg_migrate(&s->pg, &tables, &s->base.is_new, err);
    if (rc != CM_OK) {
        cm_ledger_pg_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}
