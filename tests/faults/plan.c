#include "tests/faults/plan.h"

#include "engine/bytes.h"
#include "tests/faults/record.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RULES = 32, MAX_TUNES = 16, MAX_WORDS = 5 };

struct rule {
    enum cm_fault fault;
    uint32_t kinds; /* bit per kind */
    char glob[128]; /* "": every path */
    uint64_t nth;
    bool forever;
    int value;
    uint64_t hits; /* guarded by lock */
};

struct tune {
    char name[32];
    uint64_t value;
};

static const char *const kind_names[CM_EV_COUNT] = {
    "openat", "mkdirat",   "fchmod",    "pread",    "pwrite", "fdatasync", "fsync",
    "syncfs", "ftruncate", "renameat2", "unlinkat", "close",  "result",    "point",
};

static struct {
    pthread_mutex_t lock;
    struct rule rule[MAX_RULES];
    size_t rules;
    struct tune tune[MAX_TUNES];
    size_t tunes;
    unsigned hold_percent;
    uint64_t random; /* guarded by lock */
    int trace_fd;
} plan = { .lock = PTHREAD_MUTEX_INITIALIZER, .trace_fd = -1 };

static void die(const char *what, const char *word)
{
    (void) fprintf(stderr, "CERTMILL_FAULTS: %s: %s\n", what, word);
    _exit(2);
}

static uint64_t number(const char *word, const char **end)
{
    char *stop = NULL;
    const uint64_t n = strtoull(word, &stop, 10);

    if (stop == word)
        die("a number is missing", word);
    *end = stop;
    return n;
}

static int errno_of(const char *name)
{
    for (int e = 1; e < 200; e++) {
        const char *known = strerrorname_np(e);
        if (known != NULL && strcmp(known, name) == 0)
            return e;
    }
    die("no such errno", name);
    return 0;
}

static int amount_of(const char *name)
{
    static const char *const amounts[] = { "0", "1", "half", "less" };

    for (int i = 0; i < 4; i++)
        if (strcmp(amounts[i], name) == 0)
            return i;
    die("short is by 0, 1, half or less", name);
    return 0;
}

static uint32_t kinds_of(const char *name)
{
    if (strcmp(name, "any") == 0)
        return ~(1u << CM_EV_RESULT | 1u << CM_EV_POINT);
    if (strcmp(name, "sync") == 0)
        return 1u << CM_EV_FDATASYNC | 1u << CM_EV_FSYNC | 1u << CM_EV_SYNCFS;
    for (int i = 0; i < CM_EV_COUNT; i++)
        if (strcmp(kind_names[i], name) == 0)
            return 1u << i;
    die("no such kind of call", name);
    return 0;
}

/* ACTION KIND[@GLOB] N[+] [VALUE] */
static volatile sig_atomic_t released;

static void release(int number)
{
    (void) number;
    released = 1;
}

static void read_rule(enum cm_fault fault, char **word, int words)
{
    struct rule *r = &plan.rule[plan.rules++];
    const char *end = NULL;

    if (plan.rules > MAX_RULES || words < 3)
        die("too many rules, or one without its number", word[0]);
    char *at = strchr(word[1], '@');
    if (at != NULL) {
        *at++ = '\0';
        (void) snprintf(r->glob, sizeof r->glob, "%s", at);
    }
    r->fault = fault;
    r->kinds = kinds_of(word[1]);
    r->nth = number(word[2], &end);
    r->forever = *end == '+';
    if (fault == CM_FAULT_FAIL || fault == CM_FAULT_LOSE)
        r->value = errno_of(words > 3 ? word[3] : "");
    if (fault == CM_FAULT_SHORT)
        r->value = amount_of(words > 3 ? word[3] : "");
    if (fault == CM_FAULT_STALL) {
        r->value = (int) number(words > 3 ? word[3] : "", &end);
        (void) signal(SIGCONT, release);
    }
}

static void read_tune(char **word, int words)
{
    struct tune *t = &plan.tune[plan.tunes++];
    const char *end = NULL;

    if (plan.tunes > MAX_TUNES || words != 3)
        die("tune NAME VALUE, at most 16 of them", word[0]);
    (void) snprintf(t->name, sizeof t->name, "%s", word[1]);
    t->value = number(word[2], &end);
}

static void read_directive(char **word, int words)
{
    static const char *const actions[] = { "", "fail", "lose", "short", "kill", "killafter", "stall" };
    const char *end = NULL;

    for (int i = CM_FAULT_FAIL; i <= CM_FAULT_STALL; i++)
        if (strcmp(word[0], actions[i]) == 0) {
            read_rule((enum cm_fault) i, word, words);
            return;
        }
    if (strcmp(word[0], "tune") == 0)
        read_tune(word, words);
    else if (strcmp(word[0], "seed") == 0 && words == 2)
        plan.random = number(word[1], &end);
    else if (strcmp(word[0], "reorder") == 0 && words == 2)
        plan.hold_percent = (unsigned) number(word[1], &end);
    else if (strcmp(word[0], "record") == 0 && words == 3)
        cm_record_open(word[1], word[2]);
    else if (strcmp(word[0], "trace") == 0 && words == 2) {
        plan.trace_fd = open(word[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (plan.trace_fd < 0)
            die("can't open the trace", word[1]);
    } else
        die("not understood", word[0]);
}

void cm_plan_init(const char *text)
{
    char *copy = strdup(text != NULL ? text : ""), *lines = NULL;

    if (copy == NULL)
        die("no memory", "");
    for (char *line = strtok_r(copy, ";", &lines); line != NULL; line = strtok_r(NULL, ";", &lines)) {
        char *word[MAX_WORDS] = { NULL }, *rest = NULL;
        int words = 0;

        for (char *w = strtok_r(line, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
            if (words == MAX_WORDS)
                die("too many words", w);
            word[words++] = w;
        }
        if (words > 0)
            read_directive(word, words);
    }
    free(copy);
}

/* One write a line, so that the line is there after a SIGKILL, too. */
static void trace(enum cm_event_kind kind, const char *path, const struct rule *r)
{
    static const char *const happened[] = { "",       " !fail",      " !lose", " !short",
                                            " !kill", " !killafter", " !stall" };
    char line[1200];
    const int len =
        snprintf(line, sizeof line, "%s %s%s\n", kind_names[kind], path, r == NULL ? "" : happened[r->fault]);

    if (write(plan.trace_fd, line, (size_t) len) != len)
        die("can't write the trace", path);
}

/* So long, or until SIGCONT says that what was to be done meanwhile is done. */
static void stall(int ms)
{
    for (int i = 0; i < ms && released == 0; i++)
        (void) usleep(1000);
}

struct cm_verdict cm_plan_decide(enum cm_event_kind kind, const char *path)
{
    const struct rule *hit = NULL;

    (void) pthread_mutex_lock(&plan.lock);
    for (size_t i = 0; i < plan.rules; i++) {
        struct rule *r = &plan.rule[i];
        if ((r->kinds & 1u << kind) == 0 || (r->glob[0] != '\0' && fnmatch(r->glob, path, 0) != 0))
            continue;
        r->hits++;
        if (hit == NULL && (r->hits == r->nth || (r->forever && r->hits > r->nth)))
            hit = r;
    }
    if (plan.trace_fd >= 0)
        trace(kind, path, hit);
    (void) pthread_mutex_unlock(&plan.lock);
    if (hit == NULL)
        return (struct cm_verdict) { .fault = CM_FAULT_NONE };
    if (hit->fault == CM_FAULT_KILL)
        (void) kill(getpid(), SIGKILL);
    if (hit->fault == CM_FAULT_STALL)
        stall(hit->value);
    return (struct cm_verdict) { .fault = hit->fault, .value = hit->value };
}

void cm_plan_after(struct cm_verdict v)
{
    const int os = errno;

    if (v.fault == CM_FAULT_KILL_AFTER)
        (void) kill(getpid(), SIGKILL);
    errno = os;
}

uint64_t cm_short_of(int value, uint64_t len)
{
    const uint64_t amount[] = { 0, 1, len / 2, len - 1 };

    return amount[value] < len ? amount[value] : len - 1;
}

uint64_t cm_plan_tune(const char *name, uint64_t value)
{
    for (size_t i = 0; i < plan.tunes; i++)
        if (strcmp(plan.tune[i].name, name) == 0)
            return plan.tune[i].value;
    return value;
}

/* splitmix64 */
static uint64_t next_random(void)
{
    (void) pthread_mutex_lock(&plan.lock);
    uint64_t z = plan.random += 0x9e3779b97f4a7c15u;
    (void) pthread_mutex_unlock(&plan.lock);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

bool cm_plan_hold(void)
{
    return plan.hold_percent > 0 && next_random() % 100 < plan.hold_percent;
}

unsigned cm_plan_pick(unsigned n)
{
    return (unsigned) (next_random() % n);
}

bool cm_plan_loses(void)
{
    for (size_t i = 0; i < plan.rules; i++)
        if (plan.rule[i].fault == CM_FAULT_LOSE)
            return true;
    return false;
}
