#include "io/db_schema.h"

/* Columns of `device`: first those that indexes look at, since a row is decoded from its beginning and the
 * indexes are made by going over all rows; then what the manifest's row says; the certificate; what stations
 * do with it. Indexes that have no entry before a station claims are there from the start. "order" is a word
 * of SQL's. */

const struct cm_db_dialect cm_db_dialect_sqlite = {
    .steps = {
        "CREATE TABLE certmill_schema (version INTEGER NOT NULL, indexed INTEGER NOT NULL);"
        "INSERT INTO certmill_schema VALUES (1, 0);"
        "CREATE TABLE chain (chain_no INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, pem TEXT NOT NULL);"
        "CREATE TABLE run (run_no INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE,"
        " ca_certificate_id TEXT NOT NULL, chain_no INTEGER NOT NULL REFERENCES chain,"
        " created_at TEXT NOT NULL, engine TEXT NOT NULL, libcrypto TEXT NOT NULL,"
        " requested INTEGER NOT NULL, directory TEXT NOT NULL, keys_dir TEXT, request TEXT NOT NULL,"
        " manifest_bytes INTEGER NOT NULL, devices INTEGER NOT NULL);"
        "CREATE TABLE batch (run_no INTEGER NOT NULL REFERENCES run, first_byte INTEGER NOT NULL,"
        " end_byte INTEGER NOT NULL, devices INTEGER NOT NULL, loaded_at TEXT NOT NULL,"
        " PRIMARY KEY (run_no, first_byte)) WITHOUT ROWID;"
        "CREATE TABLE device (run_no INTEGER NOT NULL, seq INTEGER NOT NULL, device_id TEXT NOT NULL,"
        " certificate_id TEXT NOT NULL, ca_certificate_id TEXT NOT NULL, superseded_by TEXT,"
        " state TEXT NOT NULL DEFAULT 'unused' CHECK (state IN ('unused', 'claimed', 'used', 'scrapped')),"
        " lot TEXT, sku TEXT, order_name TEXT, run_id TEXT NOT NULL, profile TEXT NOT NULL,"
        " subject TEXT NOT NULL, serial TEXT NOT NULL, serial_dec TEXT NOT NULL, key_alg TEXT NOT NULL,"
        " sig_alg TEXT NOT NULL, spki_sha256 TEXT NOT NULL, ski TEXT, thumbprint_sha1 TEXT NOT NULL,"
        " not_before TEXT NOT NULL, not_after TEXT NOT NULL, chain_file TEXT NOT NULL, chain_offset INTEGER,"
        " chain_length INTEGER NOT NULL, chain_xxh3 TEXT NOT NULL, chain_sha256 TEXT NOT NULL,"
        " key_file TEXT, key_offset INTEGER, key_length INTEGER, key_xxh3 TEXT, key_sha256 TEXT,"
        " minted_at TEXT NOT NULL, attributes TEXT NOT NULL, certificate BLOB,"
        " station TEXT, request_id TEXT, claimed_at TEXT, lease_until TEXT, reported_at TEXT, note TEXT);"
        "CREATE UNIQUE INDEX device_request ON device (request_id) WHERE request_id IS NOT NULL;"
        "CREATE INDEX device_lease ON device (lease_until) WHERE state = 'claimed';"
        "CREATE TABLE registration (certificate_id TEXT NOT NULL, registry TEXT NOT NULL,"
        " state TEXT NOT NULL CHECK (state IN ('registered', 'failed')), resource TEXT, message TEXT,"
        " marked_at TEXT NOT NULL, PRIMARY KEY (certificate_id, registry)) WITHOUT ROWID;"
        "CREATE VIEW next_unused AS SELECT d.sku, d.lot, d.order_name, d.run_no, d.seq, d.device_id,"
        " d.certificate_id, d.serial, d.subject, d.not_after, r.directory, r.keys_dir, d.chain_file,"
        " d.chain_offset, d.chain_length, d.key_file, d.key_offset, d.key_length, d.attributes,"
        " d.certificate, c.pem AS chain_pem FROM device d JOIN run r ON r.run_no = d.run_no"
        " JOIN chain c ON c.chain_no = r.chain_no WHERE d.state = 'unused' AND d.superseded_by IS NULL"
        " ORDER BY d.sku, d.lot, d.order_name, d.run_no, d.seq;",
    },
    .indexes =
        "CREATE UNIQUE INDEX device_in_force ON device (run_no, seq) WHERE superseded_by IS NULL;"
        "CREATE UNIQUE INDEX device_certificate ON device (certificate_id);"
        "CREATE UNIQUE INDEX device_by_id ON device (device_id, ca_certificate_id)"
        " WHERE superseded_by IS NULL;"
        "CREATE INDEX device_unused ON device (sku, lot, order_name, run_no, seq)"
        " WHERE state = 'unused' AND superseded_by IS NULL;"
        "UPDATE certmill_schema SET indexed = 1",
};

/* No foreign key from device: it would be checked once per row. A certificate is of random octets, which
 * compressing only costs. */
const struct cm_db_dialect cm_db_dialect_pg = {
    .steps = {
        "CREATE TABLE certmill.certmill_schema (version integer NOT NULL, indexed boolean NOT NULL);"
        "INSERT INTO certmill.certmill_schema VALUES (1, false);"
        "CREATE TABLE certmill.chain (chain_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " sha256 text NOT NULL UNIQUE, pem text NOT NULL);"
        "CREATE TABLE certmill.run (run_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " run_id uuid NOT NULL UNIQUE, ca_certificate_id text COLLATE \"C\" NOT NULL,"
        " chain_no integer NOT NULL REFERENCES certmill.chain, created_at timestamptz NOT NULL,"
        " engine text NOT NULL, libcrypto text NOT NULL, requested bigint NOT NULL,"
        " directory text NOT NULL, keys_dir text, request jsonb NOT NULL,"
        " manifest_bytes bigint NOT NULL, devices bigint NOT NULL);"
        "CREATE TABLE certmill.batch (run_no integer NOT NULL REFERENCES certmill.run,"
        " first_byte bigint NOT NULL, end_byte bigint NOT NULL, devices bigint NOT NULL,"
        " loaded_at timestamptz NOT NULL, PRIMARY KEY (run_no, first_byte));"
        "CREATE TABLE certmill.device (run_no integer NOT NULL, seq bigint NOT NULL,"
        " device_id text COLLATE \"C\" NOT NULL, certificate_id text COLLATE \"C\" NOT NULL,"
        " ca_certificate_id text COLLATE \"C\" NOT NULL, superseded_by text,"
        " state text NOT NULL DEFAULT 'unused' CHECK (state IN ('unused', 'claimed', 'used', 'scrapped')),"
        " lot text COLLATE \"C\", sku text COLLATE \"C\", order_name text COLLATE \"C\","
        " run_id uuid NOT NULL, profile text NOT NULL, subject text NOT NULL,"
        " serial text NOT NULL, serial_dec text NOT NULL, key_alg text NOT NULL, sig_alg text NOT NULL,"
        " spki_sha256 text NOT NULL, ski text, thumbprint_sha1 text NOT NULL,"
        " not_before timestamptz NOT NULL, not_after timestamptz NOT NULL, chain_file text NOT NULL,"
        " chain_offset bigint, chain_length integer NOT NULL, chain_xxh3 text NOT NULL,"
        " chain_sha256 text NOT NULL, key_file text, key_offset bigint, key_length integer, key_xxh3 text,"
        " key_sha256 text, minted_at timestamptz NOT NULL, attributes jsonb NOT NULL, certificate bytea,"
        " station text, request_id text COLLATE \"C\", claimed_at timestamptz, lease_until timestamptz,"
        " reported_at timestamptz, note text);"
        "CREATE UNIQUE INDEX device_request ON certmill.device (request_id) WHERE request_id IS NOT NULL;"
        "CREATE INDEX device_lease ON certmill.device (lease_until) WHERE state = 'claimed';"
        "CREATE TABLE certmill.registration (certificate_id text COLLATE \"C\" NOT NULL,"
        " registry text NOT NULL, state text NOT NULL CHECK (state IN ('registered', 'failed')),"
        " resource text, message text, marked_at timestamptz NOT NULL,"
        " PRIMARY KEY (certificate_id, registry));"
        "ALTER TABLE certmill.device ALTER COLUMN certificate SET STORAGE EXTERNAL;"
        "CREATE VIEW certmill.next_unused AS SELECT d.sku, d.lot, d.order_name, d.run_no, d.seq, d.device_id,"
        " d.certificate_id, d.serial, d.subject, d.not_after, r.directory, r.keys_dir, d.chain_file,"
        " d.chain_offset, d.chain_length, d.key_file, d.key_offset, d.key_length, d.attributes,"
        " d.certificate, c.pem AS chain_pem FROM certmill.device d JOIN certmill.run r ON r.run_no = d.run_no"
        " JOIN certmill.chain c ON c.chain_no = r.chain_no"
        " WHERE d.state = 'unused' AND d.superseded_by IS NULL"
        " ORDER BY d.sku, d.lot, d.order_name, d.run_no, d.seq",
    },
    .indexes =
        "CREATE UNIQUE INDEX device_in_force ON certmill.device (run_no, seq) WHERE superseded_by IS NULL;"
        "CREATE UNIQUE INDEX device_certificate ON certmill.device (certificate_id);"
        "CREATE UNIQUE INDEX device_by_id ON certmill.device (device_id, ca_certificate_id)"
        " WHERE superseded_by IS NULL;"
        "CREATE INDEX device_unused ON certmill.device (sku, lot, order_name, run_no, seq)"
        " WHERE state = 'unused' AND superseded_by IS NULL;"
        "UPDATE certmill.certmill_schema SET indexed = true",
};

#define AT(field) offsetof(struct cm_db_row, row.field)
const struct cm_db_column cm_db_columns[CM_DB_COLUMNS] = {
    { "run_id", CM_DB_UUID, AT(run_id) },
    { "seq", CM_DB_INT8, AT(seq) },
    { "device_id", CM_DB_TEXT, AT(device_id) },
    { "lot", CM_DB_TEXT, AT(lot) },
    { "sku", CM_DB_TEXT, AT(sku) },
    { "order_name", CM_DB_TEXT, AT(order) },
    { "profile", CM_DB_TEXT, AT(profile) },
    { "subject", CM_DB_TEXT, AT(subject) },
    { "certificate_id", CM_DB_TEXT, AT(certificate_id) },
    { "ca_certificate_id", CM_DB_TEXT, AT(ca_certificate_id) },
    { "serial", CM_DB_TEXT, AT(serial) },
    { "serial_dec", CM_DB_TEXT, AT(serial_dec) },
    { "key_alg", CM_DB_TEXT, AT(key_alg) },
    { "sig_alg", CM_DB_TEXT, AT(sig_alg) },
    { "spki_sha256", CM_DB_TEXT, AT(spki_sha256) },
    { "ski", CM_DB_TEXT, AT(ski) },
    { "thumbprint_sha1", CM_DB_TEXT, AT(thumbprint_sha1) },
    { "not_before", CM_DB_TIME, AT(not_before) },
    { "not_after", CM_DB_TIME, AT(not_after) },
    { "chain_file", CM_DB_TEXT, AT(chain_file) },
    { "chain_offset", CM_DB_INT8, AT(chain_offset) },
    { "chain_length", CM_DB_INT4, AT(chain_length) },
    { "chain_xxh3", CM_DB_TEXT, AT(chain_xxh3) },
    { "chain_sha256", CM_DB_TEXT, AT(chain_sha256) },
    { "key_file", CM_DB_TEXT, AT(key_file) },
    { "key_offset", CM_DB_INT8, AT(key_offset) },
    { "key_length", CM_DB_INT4, AT(key_length) },
    { "key_xxh3", CM_DB_TEXT, AT(key_xxh3) },
    { "key_sha256", CM_DB_TEXT, AT(key_sha256) },
    { "minted_at", CM_DB_TIME, AT(minted_at) },
    { "attributes", CM_DB_JSON, AT(attributes) },
    { "certificate", CM_DB_BLOB, offsetof(struct cm_db_row, certificate) },
};
#undef AT

void cm_db_put_columns(struct cm_writer *w)
{
    cm_put_lit(w, "run_no");
    for (size_t i = 0; i < CM_DB_COLUMNS; i++) {
        cm_put_lit(w, ", ");
        cm_put_str(w, cm_db_columns[i].name);
    }
}

static cm_err not_ours(const char *name, const char *what, struct cm_error *err)
{
    CM_FAIL(
        err, CM_E_INPUT,
        "the database %s has a table certmill_schema with %s: it is not certmill's, or damaged: restore it "
        "from a backup, or name another database",
        name, what);
}

cm_err cm_db_check_schema_columns(const char *name, int64_t found, struct cm_error *err)
{
    return found == CM_DB_SCHEMA_COLUMNS_COUNT ? CM_OK : not_ours(name, "other columns", err);
}

cm_err cm_db_check_version(const char *name, int64_t version, struct cm_error *err)
{
    if (version < 1)
        return not_ours(name, "no row with a version", err);
    if (version > CM_DB_VERSION)
        CM_FAIL(
            err, CM_E_INPUT,
            "the database %s has schema version %lld, and this certmill knows them up to %d: use the newer "
            "certmill that made it",
            name, (long long) version, CM_DB_VERSION);
    return CM_OK;
}

cm_err cm_db_check_tables(const char *name, int64_t version, int64_t found, struct cm_error *err)
{
    if (version == 0 && found > 0)
        CM_FAIL(err, CM_E_INPUT,
                "the database %s has a table that certmill did not make, called like one of its own (one of "
                "" CM_DB_NAMES "): name another database, or rename the table",
                name);
    if (version > 0 && found != CM_DB_NAMES_COUNT)
        CM_FAIL(
            err, CM_E_INPUT,
            "the database %s has certmill's schema, but %lld of its %d tables are gone: restore it from a "
            "backup",
            name, (long long) (CM_DB_NAMES_COUNT - found), CM_DB_NAMES_COUNT);
    return CM_OK;
}
