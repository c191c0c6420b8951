#include "engine/when.h"

#include <time.h>

/* Days since 1970-01-01 and back: the civil-calendar algorithms over 400-year
 * eras of 146097 days (Howard Hinnant, "chrono-compatible low-level date
 * algorithms", 2013). The year begins in March so that leap days come last. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

struct civil {
    unsigned year, month, day, hour, minute, second;
};

static struct civil civil_from_when(cm_when t)
{
    const int64_t days = (t >= 0 ? t : t - 86399) / 86400;
    const unsigned secs = (unsigned) (t - days * 86400);
    const int64_t z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t day_of_era = z - era * 146097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t mp = (5 * day_of_year + 2) / 153;
    const unsigned month = (unsigned) (mp < 10 ? mp + 3 : mp - 9);

    return (struct civil) { .year = (unsigned) (year_of_era + era * 400 + (month <= 2)),
                            .month = month,
                            .day = (unsigned) (day_of_year - (153 * mp + 2) / 5 + 1),
                            .hour = secs / 3600,
                            .minute = secs / 60 % 60,
                            .second = secs % 60 };
}

cm_when cm_when_now(void)
{
    return (cm_when) time(NULL);
}

cm_err cm_when_make(int year, int month, int day, int hour, int minute, int second, cm_when *out,
                    struct cm_error *err)
{
    static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (year < 1 || year > 9999 || month < 1 || month > 12)
        CM_FAIL(err, CM_E_USAGE, "no such year or month: %04d-%02d", year, month);
    const int leap = month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    if (day < 1 || day > month_days[month - 1] + leap)
        CM_FAIL(err, CM_E_USAGE, "no such day: %04d-%02d-%02d", year, month, day);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        CM_FAIL(err, CM_E_USAGE, "no such time of day: %02d:%02d:%02d", hour, minute, second);
    *out = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return CM_OK;
}

struct timespec cm_when_deadline(int ms)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (ms % 1000) * 1000000l;
    if (t.tv_nsec >= 1000000000l) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000l;
    }
    return t;
}

/* Reads `n` digits at text into *out; false when there is anything else. */
static bool digits(const char *text, size_t n, int *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *out = *out * 10 + (text[i] - '0');
    }
    return true;
}

/* Which field a letter of a shape stands for; -1: it stands for itself. */
static int field_of(char letter)
{
    switch (letter) {
    case 'Y':
        return 0;
    case 'M':
        return 1;
    case 'D':
        return 2;
    case 'h':
        return 3;
    case 'm':
        return 4;
    case 's':
        return 5;
    default:
        return -1;
    }
}

/* Matches text against a shape where each letter group stands for digits of that field and every other
 * character for itself. Readers of rows come here three times a row: no calls of libc. */
static bool match_shape(const char *text, const char *shape, int field[6])
{
    while (*shape != '\0') {
        const int which = field_of(*shape);
        size_t n = 1;
        if (which < 0) {
            if (*text++ != *shape++)
                return false;
            continue;
        }
        while (shape[n] == *shape)
            n++;
        if (!digits(text, n, &field[which]))
            return false;
        text += n;
        shape += n;
    }
    return *text == '\0';
}

cm_err cm_when_parse(const char *text, cm_when *out, struct cm_error *err)
{
    static const char *const shape[] = { "YYYYMMDDhhmmssZ", "YYYY-MM-DDThh:mm:ssZ", "YYYY-MM-DD" };

    for (size_t i = 0; i < CM_COUNT(shape); i++) {
        int f[6] = { 0 };
        if (match_shape(text, shape[i], f))
            return cm_when_make(f[0], f[1], f[2], f[3], f[4], f[5], out, err);
    }
    CM_FAIL(err, CM_E_USAGE,
            "not a time: \"%.40s\"; write 20301231235959Z, 2030-12-31T23:59:59Z or 2030-12-31", text);
}

void cm_put_rfc3339(struct cm_writer *w, cm_when t)
{
    const struct civil c = civil_from_when(t);

    cm_put_dec(w, c.year, 4);
    cm_put_byte(w, '-');
    cm_put_dec(w, c.month, 2);
    cm_put_byte(w, '-');
    cm_put_dec(w, c.day, 2);
    cm_put_byte(w, 'T');
    cm_put_dec(w, c.hour, 2);
    cm_put_byte(w, ':');
    cm_put_dec(w, c.minute, 2);
    cm_put_byte(w, ':');
    cm_put_dec(w, c.second, 2);
    cm_put_byte(w, 'Z');
}

void cm_put_der_time(struct cm_writer *w, cm_when t)
{
    const struct civil c = civil_from_when(t);
    const bool utc = c.year >= 1950 && c.year < 2050;

    cm_put_byte(w, utc ? 0x17 : 0x18);
    cm_put_byte(w, utc ? 13 : 15);
    cm_put_dec(w, utc ? c.year % 100 : c.year, utc ? 2 : 4);
    cm_put_dec(w, c.month, 2);
    cm_put_dec(w, c.day, 2);
    cm_put_dec(w, c.hour, 2);
    cm_put_dec(w, c.minute, 2);
    cm_put_dec(w, c.second, 2);
    cm_put_byte(w, 'Z');
}
