#include "cli/amount.h"
#include "engine/err.h"

#include <stdio.h>

void cm_put_bytes(struct cm_writer *w, uint64_t bytes)
{
    static const char *const unit[] = { " kB", " MB", " GB", " TB", " PB" };
    uint64_t tenths = bytes / 100;
    size_t u = 0;

    while (tenths >= 10000 && u + 1 < CM_COUNT(unit)) {
        tenths /= 1000;
        u++;
    }
    cm_put_dec(w, tenths / 10, 1);
    cm_put_byte(w, '.');
    cm_put_dec(w, tenths % 10, 1);
    cm_put_str(w, unit[u]);
}

static void put_two(struct cm_writer *w, uint64_t n, uint64_t of, const char *big, const char *small)
{
    cm_put_dec(w, n / of, 1);
    cm_put_str(w, big);
    if (n % of > 0) {
        cm_put_byte(w, ' ');
        cm_put_dec(w, n % of, 1);
        cm_put_str(w, small);
    }
}

void cm_put_time(struct cm_writer *w, double seconds)
{
    const uint64_t whole = seconds < 1e18 ? (uint64_t) (seconds + 0.5) : (uint64_t) 1e18;
    char text[32];

    if (seconds < 9.95) {
        (void) snprintf(text, sizeof text, "%.1f s", seconds);
        cm_put_str(w, text);
    } else if (whole < 60) {
        cm_put_dec(w, whole, 1);
        cm_put_str(w, " s");
    } else if (whole < 3600) {
        put_two(w, whole, 60, " min", " s");
    } else if ((whole + 30) / 60 < (uint64_t) 24 * 60) {
        put_two(w, (whole + 30) / 60, 60, " h", " min");
    } else {
        put_two(w, (whole + 1800) / 3600, 24, " d", " h");
    }
}

static const char *finish(struct cm_amount *a, const struct cm_writer *w)
{
    CM_ASSERT(cm_writer_ok(w));
    a->text[w->len] = '\0';
    return a->text;
}

const char *cm_amount_bytes(struct cm_amount *a, uint64_t bytes)
{
    struct cm_writer w = cm_writer(a->text, sizeof a->text - 1);

    cm_put_bytes(&w, bytes);
    return finish(a, &w);
}

const char *cm_amount_time(struct cm_amount *a, double seconds)
{
    struct cm_writer w = cm_writer(a->text, sizeof a->text - 1);

    cm_put_time(&w, seconds);
    return finish(a, &w);
}

const char *cm_amount_count(struct cm_amount *a, uint64_t n)
{
    struct cm_writer w = cm_writer(a->text, sizeof a->text - 1);
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long) n);

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            cm_put_byte(&w, ',');
        cm_put_byte(&w, (uint8_t) digits[i]);
    }
    return finish(a, &w);
}
