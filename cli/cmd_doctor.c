#include "cli/cmd.h"
#include "cli/cores.h"
#include "cli/mintplan.h"
#include "cli/msg.h"
#include "engine/cainit.h"
#include "engine/keymake.h"
#include "engine/secret.h"
#include "io/file.h"
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

struct opts {
    const char *out;
};

static const struct cm_arg args[] = {
    { "out", CM_ARG_STR, offsetof(struct opts, out), 0, 0, NULL, "DIR",
      "the directory that a run would write to; the current one" },
};

enum state { OK, NOTE, PROBLEM };

static const char *const state_names[] = { "ok", "note", "problem" };

/* What has been found so far; printed as it comes, or kept for --json. */
struct report {
    json_t *json; /* NULL: print */
    unsigned problems;
};

static void say(struct report *r, enum state state, const char *topic, const char *fmt, ...) CM_PRINTF(4, 5);
static void say(struct report *r, enum state state, const char *topic, const char *fmt, ...)
{
    char text[CM_ERROR_TEXT + 64];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->problems += state == PROBLEM;
    if (r->json != NULL)
        (void) json_array_append_new(
            r->json, json_pack("{s:s s:s s:s}", "topic", topic, "state", state_names[state], "text", text));
    else
        (void) printf("%-8s %-12s %s\n", state == OK ? "ok" : state_names[state], topic, text);
}

/* The first line of a file that begins with `key`, from behind the colon. */
static bool read_field(const char *path, const char *key, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    char line[512];
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        const char *at = line + strlen(key);
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        at += strspn(at, " \t:");
        (void) snprintf(out, cap, "%.*s", (int) strcspn(at, "\n"), at);
        found = true;
    }
    if (f != NULL)
        (void) fclose(f);
    return found;
}

static void look_processor(struct report *r)
{
    struct utsname u;
    char model[128] = "unknown processor";

    (void) read_field("/proc/cpuinfo", "model name", model, sizeof model);
    if (uname(&u) == 0)
        say(r, OK, "processor", "%s, %s, Linux %s", model, u.machine, u.release);
    else
        say(r, NOTE, "processor", "%s", model);
}

static void look_cores(struct report *r)
{
    static struct cm_cores cores;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);

    cm_cores_look(&cores);
    if (cores.quota > 0)
        say(r, cores.quota < 100 * cores.count ? NOTE : OK, "cores",
            "%zu usable of %ld; the cgroup's cpu.max allows the time of %lu.%02lu; mint takes %u workers",
            cores.count, online, cores.quota / 100, cores.quota % 100, cm_cores_workers(&cores));
    else
        say(r, OK, "cores", "%zu usable of %ld, no cgroup limit", cores.count, online);
}

struct amount {
    char text[32];
};

static struct amount show(rlim_t value, bool bytes)
{
    struct amount a;

    if (value == RLIM_INFINITY)
        (void) snprintf(a.text, sizeof a.text, "unlimited");
    else if (bytes && value >= 1024 * 1024)
        (void) snprintf(a.text, sizeof a.text, "%llu MiB", (unsigned long long) value >> 20);
    else if (bytes)
        (void) snprintf(a.text, sizeof a.text, "%llu KiB", (unsigned long long) value >> 10);
    else
        (void) snprintf(a.text, sizeof a.text, "%llu", (unsigned long long) value);
    return a;
}

/* What mint does by default with a large fleet, as far as its memory for keys. */
static cm_err try_mint(uint32_t *workers, struct cm_error *err)
{
    struct cm_mint_plan p = { 0 };
    struct cm_ca *ca = NULL;

    CM_TRY(cm_cainit_standin("P-256", NULL, cm_when_now(), &ca, err));
    const struct cm_mint_opts o = { .out = ".",
                                    .count = 1000000,
                                    .start = 1,
                                    .key = "P-256",
                                    .profile = "tls-client",
                                    .layout = CM_LAYOUT_TAR,
                                    .plaintext_keys = true,
                                    .explain = true,
                                    .standin = ca };
    const cm_err rc = cm_mint_plan_open(&o, NULL, &p, err);
    *workers = p.pipeline.workers;
    cm_mint_plan_close(&p);
    cm_ca_close(ca);
    return rc;
}

/* Keys are kept in locked memory. Some users may lock more than their limit: only trying tells. */
static void look_key_memory(struct report *r)
{
    static const char topic[] = "key memory";
    uint32_t workers = 0;
    struct cm_error err = { 0 };
    struct rlimit l = { .rlim_cur = RLIM_INFINITY };

    (void) getrlimit(RLIMIT_MEMLOCK, &l);
    const struct amount limit = show(l.rlim_cur, true);
    const uint32_t refused = cm_secret_refused();
    const cm_err rc = try_mint(&workers, &err);
    if (rc == CM_E_LIMIT)
        say(r, PROBLEM, topic, "RLIMIT_MEMLOCK %s; mint would be refused: %s", limit.text, err.what);
    else if (rc != CM_OK)
        say(r, NOTE, topic, "RLIMIT_MEMLOCK %s; can't tell whether that is enough: %s", limit.text, err.what);
    else if (cm_secret_refused() > refused)
        say(r, NOTE, topic,
            "RLIMIT_MEMLOCK %s; mint works, more slowly than it could: raise it (ulimit -l); certmill plan "
            "says how much",
            limit.text);
    else
        say(r, OK, topic, "RLIMIT_MEMLOCK %s, enough for mint by %u worker%s", limit.text, workers,
            workers == 1 ? "" : "s");
}

static void look_limits(struct report *r)
{
    /* `least`: below it the remark is worth reading. */
    static const struct {
        __rlimit_resource_t which; /* glibc's enumeration */
        const char *topic, *name;
        bool bytes;
        rlim_t least;
        const char *remark;
    } limits[] = {
        { RLIMIT_NOFILE, "files", "RLIMIT_NOFILE", false, 64, "few: raise it (ulimit -n)" },
        { RLIMIT_FSIZE, "file size", "RLIMIT_FSIZE", true, 512 * 1024 * 1024,
          "segments are 256 MiB: raise it (ulimit -f)" },
        { RLIMIT_CORE, "core dumps", "RLIMIT_CORE", true, 0, "" },
    };

    for (size_t i = 0; i < CM_COUNT(limits); i++) {
        struct rlimit l;
        if (getrlimit(limits[i].which, &l) != 0)
            continue;
        const bool low = l.rlim_cur < limits[i].least;
        const bool core = limits[i].which == RLIMIT_CORE;
        say(r, low ? NOTE : OK, limits[i].topic, "%s %s%s%s", limits[i].name,
            show(l.rlim_cur, limits[i].bytes).text, low ? "; " : "",
            low    ? limits[i].remark
            : core ? " (switched off while certmill runs)"
                   : "");
    }
}

static void look_crypto(struct report *r)
{
    unsigned working = 0;

    say(r, OK, "libcrypto", "%s", cm_sigalg_libcrypto());
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        struct cm_error err = { 0 };
        char topic[32];
        (void) snprintf(topic, sizeof topic, "%s", alg->name);
        if (cm_cainit_probe(alg, &err) == CM_OK) {
            say(r, OK, topic, "keys can be made; arithmetic by %s", cm_keymaker_arithmetic(alg));
            working++;
        } else {
            say(r, NOTE, topic, "%s", err.what);
        }
    }
    if (working == 0)
        say(r, PROBLEM, "libcrypto", "no key algorithm works; look at openssl.cnf and OPENSSL_CONF");
}

static void look_ring(struct report *r)
{
    struct cm_error err = { 0 };

    if (cm_ring_probe(&err) == CM_OK)
        say(r, OK, "io_uring", "available");
    else
        say(r, NOTE, "io_uring", "%s (certmill writes with plain system calls then)", err.what);
}

static const char *fs_name(long type)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        { 0xef53, "ext4" },        { 0x58465342, "XFS" }, { 0x9123683e, "Btrfs" }, { 0x01021994, "tmpfs" },
        { 0x794c7630, "overlay" }, { 0x6969, "NFS" },     { 0xff534d42, "CIFS" },  { 0xfe534d42, "SMB" },
        { 0x65735546, "FUSE" },    { 0x2fc12fc1, "ZFS" }, { 0xf2f52010, "F2FS" },  { 0x858458f6, "ramfs" },
    };

    for (size_t i = 0; i < CM_COUNT(known); i++)
        if (known[i].magic == ((unsigned long) type & 0xffffffffu))
            return known[i].name;
    return "a file system that certmill doesn't know by name";
}

/* Memory and network file systems keep no promise about what survives a crash. */
static bool is_doubtful(const char *name)
{
    static const char *const names[] = { "tmpfs", "ramfs", "NFS", "CIFS", "SMB", "FUSE" };

    for (size_t i = 0; i < CM_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void look_output(struct report *r, const char *dir)
{
    struct statfs fs;
    /* A file without a name: nothing is left behind. */
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const int os = errno;
    const char *direct = "can't tell whether it takes O_DIRECT";

    if (statfs(dir, &fs) != 0) {
        say(r, PROBLEM, "output", "%s: %s", dir, strerror(errno));
        cm_fd_close(&fd);
        return;
    }
    if (fd < 0 && os != EOPNOTSUPP && os != EISDIR) {
        say(r, PROBLEM, "output", "%s: no file can be made there: %s", dir, strerror(os));
        return;
    }
    if (fd >= 0)
        direct = cm_file_direct(fd) ? "takes O_DIRECT" : "doesn't take O_DIRECT (the page cache is used)";
    cm_fd_close(&fd);
    const char *name = fs_name((long) fs.f_type);
    const unsigned long long mib = (unsigned long long) fs.f_bavail * (unsigned long long) fs.f_bsize >> 20;
    say(r, is_doubtful(name) ? NOTE : OK, "output", "%s: %s, %llu MiB free, %s%s", dir, name, mib, direct,
        is_doubtful(name) ? "; what is written there may not survive a crash" : "");
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *o = opts;
    struct report r = { .json = common->json ? json_array() : NULL };

    (void) operands;
    if (common->json && r.json == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the report");
    say(&r, OK, "certmill", "%s", CM_VERSION);
    look_processor(&r);
    look_cores(&r);
    look_key_memory(&r);
    look_limits(&r);
    look_crypto(&r);
    look_ring(&r);
    look_output(&r, o->out != NULL ? o->out : ".");
    if (common->json)
        CM_TRY(cm_msg_json(json_pack("{s:b s:o}", "ok", r.problems == 0, "findings", r.json), err));
    if (r.problems > 0)
        CM_FAIL(err, CM_E_FOUND, "%u problem%s found; mint will not work here until mended", r.problems,
                r.problems == 1 ? " was" : "s were");
    return CM_OK;
}

const struct cm_cmd cm_cmd_doctor = {
    .name = "doctor",
    .usage = "[--out DIR] [--json]",
    .summary = "look at this machine: cores, limits, libcrypto, io_uring, file system",
    .notes = "A note is worth reading; a problem keeps mint from working here (exit 1).",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .run = run,
};
