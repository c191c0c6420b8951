#include "cli/cmd.h"
#include "cli/explain.h"
#include "cli/minting.h"

#include <sys/stat.h>

#define OPT(field) offsetof(struct cm_mint_opts, field)

static const char *const layouts[] = { "tar", "tree", "none", NULL };
static const char *const key_formats[] = { "pkcs8", "traditional", NULL };
static const char *const encodings[] = { "pem", "der", NULL };
static const char *const ios[] = { "auto", "uring", "posix", NULL };
static const char *const rsa_keygens[] = { "auto", "own", "libcrypto", NULL };
static const char *const ecs[] = { "auto", "batch", "libcrypto", NULL };
static const char *const list_formats[] = { "auto", "lines", "csv", "ndjson", NULL };
static const char *const syncs[] = { "commit", "none", NULL };

static const struct cm_arg args[] = {
    { "ca", CM_ARG_STR, OPT(ca), 0, 0, NULL, "FILE", "the CA's certificate, then the chain above it (PEM)" },
    { "ca-key", CM_ARG_STR, OPT(ca_key), 0, 0, NULL, "FILE", "the CA's private key (PEM)" },
    { "ca-passphrase-file", CM_ARG_STR, OPT(ca_passphrase_file), 0, 0, NULL, "FILE",
      "the CA key's passphrase; asked for on the terminal" },
    { "allow-insecure-ca-key", CM_ARG_FLAG, OPT(allow_insecure_ca_key), 0, 0, NULL, NULL,
      "accept a CA key file that others can read" },
    { "out", CM_ARG_STR, OPT(out), 0, 0, NULL, "DIR", "where the fleet goes: a new or empty directory" },
    { "keys-out", CM_ARG_STR, OPT(keys_out), 0, 0, NULL, "DIR", "where the keys go; DIR/keys of --out" },
    { "count", CM_ARG_U64, OPT(count), 1, INT64_MAX, NULL, "N", "how many devices" },
    { "start", CM_ARG_U64, OPT(start), 0, INT64_MAX, NULL, "N", "number of the first device; 1" },
    { "id-pattern", CM_ARG_STR, OPT(id_pattern), 0, 0, NULL, "PATTERN",
      "device ids of --count, with {seq} {seq:08} {seq:08x} {mac} {uuid}; SN{seq:08}" },
    { "devices", CM_ARG_STR, OPT(devices), 0, 0, NULL, "FILE",
      "a list instead of --count: ids one a line, CSV with a header row, or NDJSON" },
    { "devices-format", CM_ARG_CHOICE, OPT(devices_format), 0, 0, list_formats, NULL,
      "of the list; by its suffix, .csv, .ndjson or .jsonl, else lines" },
    { "id-column", CM_ARG_STR, OPT(id_column), 0, 0, NULL, "NAME",
      "the list's column with the device ids; id, device_id, serial or serial_number" },
    { "skip-bad", CM_ARG_STR, OPT(skip_bad), 0, 0, NULL, "FILE",
      "leave out rows that can't be used, and write them to FILE; such a list is refused" },
    { "mac-base", CM_ARG_STR, OPT(mac_base), 0, 0, NULL, "MAC",
      "{mac} of the first device; 00:00:00:00:00:00" },
    { "key", CM_ARG_STR, OPT(key), 0, 0, NULL, "ALG",
      "P-256, P-384, P-521, RSA-2048, RSA-3072, RSA-4096, Ed25519; P-256" },
    { "ec", CM_ARG_CHOICE, OPT(ec), 0, 0, ecs, NULL,
      "who computes EC keys: our batches, libcrypto one by one, or auto" },
    { "rsa-keygen", CM_ARG_CHOICE, OPT(rsa_keygen), 0, 0, rsa_keygens, NULL,
      "who makes RSA keys, certmill or OpenSSL; own, libcrypto with --fips" },
    { "fips", CM_ARG_FLAG, OPT(fips), 0, 0, NULL, NULL,
      "use OpenSSL's FIPS provider for everything, nothing of certmill's own" },
    { "profile", CM_ARG_STR, OPT(profile), 0, 0, NULL, "NAME|FILE", "what the certificates say; aws-iot" },
    { "subject", CM_ARG_STR, OPT(subject), 0, 0, NULL, "NAME", "'/O=Acme/CN={id}'; the profile's" },
    { "san", CM_ARG_STR, OPT(san), 0, 0, NULL, "SAN",
      "'DNS:{id}.example.com,URI:urn:x:{mac}'; the profile's" },
    { "signature", CM_ARG_STR, OPT(signature), 0, 0, NULL, "NAME",
      "ecdsa-with-SHA256, RSASSA-PSS-SHA256, …; what goes with the CA key" },
    { "days", CM_ARG_U32, OPT(days), 1, 3652059, NULL, "N", "validity from now; as long as the CA" },
    { "not-after", CM_ARG_STR, OPT(not_after), 0, 0, NULL, "TIME",
      "end of validity: 20351231235959Z, 2035-12-31 or, for never, 99991231235959Z" },
    { "allow-outlive-ca", CM_ARG_FLAG, OPT(allow_outlive_ca), 0, 0, NULL, NULL,
      "let certificates end after their CA" },
    { "lot", CM_ARG_STR, OPT(lot), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "sku", CM_ARG_STR, OPT(sku), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "order", CM_ARG_STR, OPT(order), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "layout", CM_ARG_CHOICE, OPT(layout), 0, 0, layouts, NULL,
      "tar segments, a tree of files, or nothing (to measure); tar" },
    { "key-format", CM_ARG_CHOICE, OPT(key_format), 0, 0, key_formats, NULL,
      "form of the private keys; pkcs8" },
    { "encoding", CM_ARG_CHOICE, OPT(encoding), 0, 0, encodings, NULL, "of bundles and keys; pem" },
    { "plaintext-keys", CM_ARG_FLAG, OPT(plaintext_keys), 0, 0, NULL, NULL,
      "write private keys unencrypted: must be said" },
    { "workers", CM_ARG_U32, OPT(workers), 1, 1024, NULL, "N", "threads that mint; one a core" },
    { "batch", CM_ARG_U32, OPT(batch), 1, 65536, NULL, "N", "devices a batch; by key algorithm" },
    { "io", CM_ARG_CHOICE, OPT(io), 0, 0, ios, NULL,
      "how segments are written; io_uring where it can be had" },
    { "sync", CM_ARG_CHOICE, OPT(sync), 0, 0, syncs, NULL,
      "none forces nothing to disk: a power cut may lose all; commit" },
    { "ledger", CM_ARG_STR, OPT(ledger), 0, 0, NULL, "URL",
      "sqlite:FILE or postgresql://…: reserve the ids there, refuse those that others hold; none" },
    CM_FEEDS_ARGS(OPT(feeds)),
    { "max-signatures", CM_ARG_U64, OPT(max_signatures), 1, INT64_MAX, NULL, "N",
      "how many certificates the CA may sign for this run, resumes included; no bound" },
    { "explain", CM_ARG_FLAG, OPT(explain), 0, 0, NULL, NULL, "say what would be done, and write nothing" },
};

static void defaults(void *opts)
{
    struct cm_mint_opts *o = opts;

    o->start = 1;
    o->key = "P-256";
    o->profile = "aws-iot";
    o->feeds.db_wait = CM_FEEDS_WAIT_S;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct cm_mint_opts o = *(const struct cm_mint_opts *) opts;
    struct cm_minting m = { .common = common };

    (void) operands;
    /* Modes are passed exactly; this mask leaves 0644, 0600, 0755 and 0700 alone. */
    (void) umask(022);
    o.feeds.quiet = common->quiet;
    cm_err rc = cm_mint_plan_open(&o, NULL, &m.plan, err);
    if (rc == CM_OK)
        rc = o.explain ? cm_explain(&m.plan, common, err) : cm_minting_begin(&m, err);
    cm_minting_close(&m);
    return rc;
}

const struct cm_cmd cm_cmd_mint = {
    .name = "mint",
    .usage = "--ca FILE --ca-key FILE --out DIR (--count N | --devices FILE) --plaintext-keys [OPTIONS]",
    .summary = "mint a fleet: keys, certificates, bundles, manifest",
    .notes = "Placeholders: {id}, {seq}, {seq:08} (zero-padded), {seq:08x} (hex), {mac} (counted from\n"
             "--mac-base), {uuid} (version 5, of the run and the number), and {NAME} for each column of a\n"
             "list, also in the profile; every column goes into the manifest's attributes. SIGINT and "
             "SIGTERM end the run after\n"
             "the devices in hand and leave a fleet that `certmill verify` accepts as far as it went;\n"
             "`certmill resume DIR` mints the rest.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct cm_mint_opts),
    .defaults = defaults,
    .operands_max = 0,
    .run = run,
};
