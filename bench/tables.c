#include "bench/tables.h"

#include "engine/err.h"

#include <jansson.h>
#include <string.h>

#define KEY                                                                                                  \
    {                                                                                                        \
        "key", NULL, CM_CELL_TEXT, "key", "", "The algorithm of the devices' keys."                          \
    }
#define CA                                                                                                   \
    {                                                                                                        \
        "ca", NULL, CM_CELL_TEXT, "CA key", "", "The algorithm of the CA's key, which signs."                \
    }
#define RATE                                                                                                 \
    {                                                                                                        \
        "rate", NULL, CM_CELL_NUMBER, "certmill", "cert/cpu-s",                                              \
            "Certificates per processor-second: devices over user + system time of the whole process, from " \
            "exec to exit; median of the rounds."                                                            \
    }
#define FLOOR                                                                                                \
    {                                                                                                        \
        "floor", NULL, CM_CELL_NUMBER, "floor", "cert/cpu-s",                                                \
            "The floor of the same rounds, half of it measured before their runs and half after; median."    \
    }
#define RATIO                                                                                                \
    {                                                                                                        \
        "ratio", NULL, CM_CELL_RATIO, "ratio", "to floor",                                                   \
            "Each run's rate over the floor of its own round; median. 1: as fast as the floor."              \
    }
#define RATIOS                                                                                               \
    {                                                                                                        \
        "ratio_min", "ratio_max", CM_CELL_RATIOS, "rounds", "[least-most]",                                  \
            "The least and the most of the "                                                                 \
            "rounds' ratios."                                                                                \
    }
#define LOW                                                                                                  \
    {                                                                                                        \
        "ratio_low", NULL, CM_CELL_RATIO, "low end", "to floor",                                             \
            "All rounds' devices over all their processor time, over the high end of the floor's 95 % "      \
            "interval: what RSA is to be judged by. -: the floor has no interval."                           \
    }
#define SYSTEM                                                                                               \
    {                                                                                                        \
        "system_percent", NULL, CM_CELL_NUMBER, "system", "% cpu",                                           \
            "The kernel's share of the processor time: writing and syncing, for the most part."              \
    }
#define WALL                                                                                                 \
    {                                                                                                        \
        "wall", NULL, CM_CELL_NUMBER, "wall", "cert/s",                                                      \
            "Certificates per second by the clock, start-up and last sync included; median."                 \
    }
#define DEVICES                                                                                              \
    {                                                                                                        \
        "devices", NULL, CM_CELL_COUNT, "devices", "a run", "How many devices each run made."                \
    }

static const struct cm_column floor_columns[] = {
    KEY,
    CA,
    { "generate_us", NULL, CM_CELL_NUMBER, "generate", "us", "Mean time of EVP_PKEY_generate." },
    { "sign_us", NULL, CM_CELL_NUMBER, "sign", "us", "Mean time of EVP_PKEY_sign with the CA's key." },
    { "rate", NULL, CM_CELL_NUMBER, "floor", "cert/cpu-s", "1 / (mean generate + mean sign)." },
    { "rate_low", "rate_high", CM_CELL_RANGE, "95 %", "cert/cpu-s",
      "Where the floor lies with 95 % certainty, by the scatter of single keys; RSA from 30 keys on, of the "
      "others so "
      "many are made that it is not worth a figure." },
    { "rate_median", NULL, CM_CELL_NUMBER, "median", "cert/cpu-s", "Median of the halves of the rounds." },
    { "rate_min", "rate_max", CM_CELL_RANGE, "chunks", "[least-most]",
      "The least and the most of these halves." },
    { "keys", NULL, CM_CELL_COUNT, "keys", "made", "How many keys the mean is over." },
};

static const struct cm_column mode_columns[] = { KEY,    CA,  RATE,   FLOOR, RATIO,
                                                 RATIOS, LOW, SYSTEM, WALL,  DEVICES };

static const struct cm_column scale_columns[] = {
    KEY,
    CA,
    { "workers", NULL, CM_CELL_COUNT, "workers", "", "Threads that mint." },
    { "processors", NULL, CM_CELL_COUNT, "processors", "",
      "The process was confined to so many, as taskset does." },
    WALL,
    { "wall_min", "wall_max", CM_CELL_RANGE, "rounds", "[least-most]",
      "The least and the most of the rounds." },
    { "speedup", NULL, CM_CELL_RATIO, "speed-up", "times",
      "Rate by the clock over that of one worker on one processor in the same round; median." },
    { "speedup_min", "speedup_max", CM_CELL_RATIOS, "rounds", "[least-most]",
      "The least and the most of the rounds' speed-ups." },
    RATIO,
    DEVICES,
};

static const struct cm_column ladder_columns[] = {
    { "label", NULL, CM_CELL_TEXT, "storage", "", "What becomes of the bundles." },
    KEY,
    CA,
    { "cpu_us", NULL, CM_CELL_NUMBER, "cost", "us of cpu",
      "Processor time of a device, user + system of certmill's process; median. What a server of databases "
      "takes is told below." },
    { "cpu_us_min", "cpu_us_max", CM_CELL_RANGE, "rounds", "[least-most]",
      "The least and the most of the rounds." },
    { "step_us", NULL, CM_CELL_NUMBER, "step", "us of cpu",
      "How much more that is than the rung it stands on, in the same round; median. Below zero: less." },
    { "step_us_min", "step_us_max", CM_CELL_RANGE, "rounds", "[least-most]",
      "The least and the most of the rounds' steps: a step that spans zero is none." },
    { "over", NULL, CM_CELL_TEXT, "over", "", "The rung that it stands on." },
    WALL,
    { "wall_min", "wall_max", CM_CELL_RANGE, "rounds", "[least-most]",
      "The least and the most of the rounds." },
    SYSTEM,
    DEVICES,
};

static const struct cm_column load_columns[] = {
    { "label", NULL, CM_CELL_TEXT, "database", "", "The rung whose fleet is loaded." },
    KEY,
    CA,
    { "cpu_us", NULL, CM_CELL_NUMBER, "cost", "us of cpu",
      "Processor time of a row over all processes, certmill's and the server's; median." },
    { "cpu_us_min", "cpu_us_max", CM_CELL_RANGE, "rounds", "[least-most]",
      "The least and the most of the rounds." },
    { "own_us", NULL, CM_CELL_NUMBER, "certmill", "us of cpu",
      "Of that, the process of certmill load; median." },
    { "server_us", NULL, CM_CELL_NUMBER, "server", "us of cpu",
      "Of that, all processes of the server, until a checkpoint behind the load; median. -: SQLite has no "
      "server, or it can't be seen from here; the heading says why." },
    { "wall", NULL, CM_CELL_NUMBER, "wall", "rows/s", "By the clock; median." },
    { "devices", NULL, CM_CELL_COUNT, "rows", "a run", "How many rows each run loaded." },
};

static const struct cm_column keytime_columns[] = {
    KEY,
    { "what", NULL, CM_CELL_TEXT, "generator", "",
      "libcrypto: EVP_PKEY_generate alone. own: certmill's, which also hands the key out as numbers." },
    { "min_us", NULL, CM_CELL_NUMBER, "least", "us", "The fastest sample." },
    { "p50_us", NULL, CM_CELL_NUMBER, "p50", "us", "Half of the samples took no longer." },
    { "p90_us", NULL, CM_CELL_NUMBER, "p90", "us", "90 of 100 took no longer; from 10 samples on." },
    { "p95_us", NULL, CM_CELL_NUMBER, "p95", "us", "95 of 100 took no longer; from 20 samples on." },
    { "p99_us", NULL, CM_CELL_NUMBER, "p99", "us", "99 of 100 took no longer; from 100 samples on." },
    { "max_us", NULL, CM_CELL_NUMBER, "most", "us", "The slowest sample." },
    { "mean_us", NULL, CM_CELL_NUMBER, "mean", "us", "The mean of the samples." },
    { "samples", NULL, CM_CELL_COUNT, "samples", "", "How many times were taken." },
    { "batch", NULL, CM_CELL_COUNT, "batch", "keys",
      "Keys in a sample: those that are made many at a time share its time equally." },
};

static const struct cm_column bytes_columns[] = {
    KEY,
    CA,
    { "what", NULL, CM_CELL_TEXT, "layout", "", "tar: segments. tree: two files a device." },
    { "chain_bytes", NULL, CM_CELL_NUMBER, "chain", "bytes", "Octets in chains/, over the devices." },
    { "key_bytes", NULL, CM_CELL_NUMBER, "key", "bytes", "Octets in keys/." },
    { "row_bytes", NULL, CM_CELL_NUMBER, "row", "bytes", "Octets of the manifest." },
    { "other_bytes", NULL, CM_CELL_NUMBER, "other", "bytes",
      "The index, the journal and what does not grow with the fleet: less, the larger the fleet is." },
    { "total_bytes", NULL, CM_CELL_NUMBER, "total", "bytes", "All of these." },
    { "disk_bytes", NULL, CM_CELL_NUMBER, "on disk", "bytes",
      "The blocks that the file system gave them, directories included." },
    { "devices", NULL, CM_CELL_COUNT, "devices", "", "The fleet that was measured." },
};

static const struct cm_column rss_columns[] = {
    KEY,
    CA,
    { "devices", NULL, CM_CELL_COUNT, "devices", "", "The size of the fleet." },
    { "rss_kib", NULL, CM_CELL_COUNT, "peak", "KiB",
      "The most memory the process had, by the kernel's count." },
    { "wall_s", NULL, CM_CELL_NUMBER, "wall", "s", "From start to end by the clock." },
};

static const struct cm_column verify_columns[] = {
    KEY,
    CA,
    { "cpu_us", NULL, CM_CELL_NUMBER, "certmill", "us of cpu", "Processor time of a device; median." },
    { "verify_us", NULL, CM_CELL_NUMBER, "verify", "us", "Mean time of EVP_PKEY_verify." },
    { "mul_us", NULL, CM_CELL_NUMBER, "mul", "us", "Mean time of EC_POINT_mul." },
    { "floor_us", NULL, CM_CELL_NUMBER, "floor", "us of cpu", "Both together; median of the rounds." },
    { "times", NULL, CM_CELL_RATIO, "times", "floor", "How many times its floor a device costs; median." },
    { "times_min", "times_max", CM_CELL_RATIOS, "rounds", "[least-most]",
      "The least and the most of the rounds." },
    { "wall", NULL, CM_CELL_NUMBER, "wall", "devices/s", "By the clock; median." },
    { "rss_kib", NULL, CM_CELL_COUNT, "peak", "KiB", "The most memory the process had." },
    { "devices", NULL, CM_CELL_COUNT, "devices", "", "The size of the fleet." },
};

#define COLUMNS(list) list, CM_COUNT(list)

const struct cm_table cm_tables[] = {
    { "floor", "FLOOR of one core: EVP_PKEY_generate + EVP_PKEY_sign, nothing else",
      "Contexts reused, nothing encoded, freed or written; one thread on one processor, in its processor "
      "time.",
      NULL, NULL, COLUMNS(floor_columns) },
    { "engine", "ENGINE, --layout none: nothing is written",
      "Whole processes of certmill mint, a run in each round, on all processors.", NULL, NULL,
      COLUMNS(mode_columns) },
    { "tar", "TAR, on disk and durable", "As before, chains and keys in tar segments, synced.", NULL, NULL,
      COLUMNS(mode_columns) },
    { "tree", "TREE, two files a device, on disk and durable",
      "As before, a file for each chain and each key.", NULL, NULL, COLUMNS(mode_columns) },
    { "scale", "SCALING over processors, tar on disk: as many workers as processors",
      "Runs of the tar layout, their process confined to so many processors.", "scale", NULL,
      COLUMNS(scale_columns) },
    { "ladder", "LADDER of storage: what each way to keep the fleet adds",
      "Every rung runs once in each round, on all processors, in an order that turns.", "ladder", NULL,
      COLUMNS(ladder_columns) },
    { "load", "LADDER, databases: what loading a row costs over all processes, indexes included",
      "In each round certmill load brings the rung's fleet into a new database. Few rows carry more of what "
      "does not grow with them: start-up, tables and indexes.",
      NULL, NULL, COLUMNS(load_columns) },
    { "keytime", "TIME OF A KEY: percentiles, by libcrypto's generator and by certmill's own",
      "One thread on one processor, in its processor time; nearest rank.", "keytime", NULL,
      COLUMNS(keytime_columns) },
    { "bytes", "BYTES of a device, on disk", "The sizes of the files of a fleet, over its devices.", NULL,
      NULL, COLUMNS(bytes_columns) },
    { "rss", "MEMORY, tar on disk", "Two sizes: it must not grow with the fleet.", NULL,
      "RSA only; add --key P-256", COLUMNS(rss_columns) },
    { "verify", "VERIFY, every signature and every key pair of a tar fleet",
      "Whole processes of certmill verify; the floor of a device is EVP_PKEY_verify + EC_POINT_mul.", NULL,
      "it takes EC device keys and a CA key that is not Ed25519", COLUMNS(verify_columns) },
};
const size_t cm_tables_count = CM_COUNT(cm_tables);

/* --- cells ----------------------------------------------------------------- */

bool cm_cell_left(enum cm_cell cell)
{
    return cell == CM_CELL_TEXT || cell == CM_CELL_RANGE || cell == CM_CELL_RATIOS;
}

/* 21050 as 21,050. */
static void with_commas(const char *digits, char *out, size_t cap)
{
    const size_t len = strlen(digits);
    size_t n = 0;

    for (size_t i = 0; i < len && n + 2 < cap; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-')
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = '\0';
}

/* 21,050 from a hundred on, three digits below: 0.312, 7.85, 64.2. */
static void put_number(double v, enum cm_cell cell, char *out, size_t cap)
{
    const double size = v < 0 ? -v : v;
    char plain[32];

    if (cell == CM_CELL_RATIO || cell == CM_CELL_RATIOS)
        (void) snprintf(out, cap, "%.3f", v);
    else if (cell != CM_CELL_COUNT && size < 99.95)
        (void) snprintf(out, cap, "%.*f", size < 0.9995 ? 3 : size < 9.995 ? 2 : 1, v);
    else {
        (void) snprintf(plain, sizeof plain, "%.0f", size < 1e15 ? v : 1e15);
        with_commas(plain, out, cap);
    }
}

void cm_cell_text(const json_t *result, const struct cm_column *c, char out[CM_CELL_MAX])
{
    const json_t *v = json_object_get(result, c->name), *high = NULL;
    char a[28], b[28];

    (void) snprintf(out, CM_CELL_MAX, "-");
    if (json_is_string(v))
        (void) snprintf(out, CM_CELL_MAX, "%s", json_string_value(v));
    if (!json_is_number(v))
        return;
    put_number(json_number_value(v), c->cell, a, sizeof a);
    if (c->high == NULL) {
        (void) snprintf(out, CM_CELL_MAX, "%s", a);
        return;
    }
    high = json_object_get(result, c->high);
    put_number(json_number_value(high), c->cell, b, sizeof b);
    if (json_number_value(high) > json_number_value(v)) /* else one value, and no range */
        (void) snprintf(out, CM_CELL_MAX, "[%s-%s]", a, b);
}
