#include "cli/progress.h"

#include "cli/amount.h"
#include "engine/bytes.h"
#include "engine/err.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

static uint64_t now_ns(void)
{
    struct timespec t = { 0 };

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * SECOND_NS + (uint64_t) t.tv_nsec;
}

void cm_progress_init(struct cm_progress *p, bool quiet, const char *verb, uint64_t total)
{
    const uint64_t now = now_ns();

    *p = (struct cm_progress) { .shown = !quiet && isatty(STDERR_FILENO) == 1,
                                .verb = verb,
                                .total = total,
                                .start_ns = now,
                                .last_ns = now };
}

/* "0:07", "12:30", "3:02:10". */
static void put_duration(struct cm_writer *w, uint64_t seconds)
{
    if (seconds >= 3600) {
        cm_put_dec(w, seconds / 3600, 1);
        cm_put_byte(w, ':');
    }
    cm_put_dec(w, seconds / 60 % 60, seconds >= 3600 ? 2 : 1);
    cm_put_byte(w, ':');
    cm_put_dec(w, seconds % 60, 2);
}

static uint64_t per_second(uint64_t count, uint64_t ns)
{
    return ns > 0 ? (uint64_t) ((double) count * (double) SECOND_NS / (double) ns) : 0;
}

static void put_line(struct cm_writer *w, const struct cm_progress *p, uint64_t now, uint64_t done,
                     uint64_t bytes)
{
    const uint64_t average = per_second(done, now - p->start_ns);

    cm_put_str(w, p->verb);
    cm_put_byte(w, ' ');
    cm_put_dec(w, done, 1);
    if (p->total > 0) {
        cm_put_lit(w, " of ");
        cm_put_dec(w, p->total, 1);
        cm_put_lit(w, " (");
        cm_put_dec(w, (uint64_t) (100.0 * (double) done / (double) p->total), 1);
        cm_put_lit(w, " %)");
    }
    cm_put_lit(w, "  ");
    cm_put_dec(w, per_second(done - p->last_done, now - p->last_ns), 1);
    cm_put_lit(w, "/s now, ");
    cm_put_dec(w, average, 1);
    cm_put_lit(w, "/s mean, ");
    cm_put_bytes(w, bytes);
    if (p->total > done && average > 0) {
        cm_put_lit(w, ", ");
        put_duration(w, (p->total - done) / average);
        cm_put_lit(w, " left");
    }
}

/* A line wider than the terminal would wrap, and "\r" then leaves its first part. */
static size_t columns(void)
{
    struct winsize size = { 0 };

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

void cm_progress_update(struct cm_progress *p, uint64_t done, uint64_t bytes)
{
    char text[240];
    struct cm_writer w = cm_writer(text, sizeof text);
    uint64_t now = 0;

    if (!p->shown)
        return;
    now = now_ns();
    if (now - p->last_ns < SECOND_NS)
        return;
    put_line(&w, p, now, done, bytes);
    const size_t room = columns() - 1;
    (void) fprintf(stderr, "\r%.*s\033[K", (int) (w.len < room ? w.len : room), text);
    (void) fflush(stderr);
    p->dirty = true;
    p->last_ns = now;
    p->last_done = done;
}

void cm_progress_clear(struct cm_progress *p)
{
    if (p->dirty)
        (void) fputs("\r\033[K", stderr);
    p->dirty = false;
}
