#include "cli/audit_impl.h"
#include "engine/deep.h"
#include "io/file.h"

#include <errno.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

enum { SORT_MEMORY = 8 << 20, TICK_MS = 250, USUAL_ROW = 4096 };

void cm_audit_find(struct cm_audit *a, const char *device_id, uint64_t row, const char *file, uint64_t offset,
                   const char *fmt, ...)
{
    char what[2 * CM_ERROR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    cm_findings_add(a->conf->findings,
                    &(struct cm_finding) {
                        .device_id = device_id, .what = what, .file = file, .offset = offset, .row = row });
}

/* One row into at; *len without its LF. Most rows fit in the first read. */
static cm_err read_line(const struct cm_audit *a, uint64_t offset, uint8_t *at, size_t *len,
                        struct cm_error *err)
{
    const uint8_t *lf = NULL;
    size_t got = 0;

    for (size_t ask = USUAL_ROW; lf == NULL && ask <= CM_ROW_MAX;
         ask = ask < CM_ROW_MAX ? CM_ROW_MAX : ask + 1) {
        CM_TRY(cm_fleet_manifest_read(a->fleet, at, ask, offset, &got, err));
        lf = memchr(at, '\n', got);
    }
    *len = lf != NULL ? (size_t) (lf - at) : got;
    return CM_OK;
}

/* Small chunks where each row takes long, so that all threads have work to the end. */
static size_t chunk_lines(const struct cm_audit *a)
{
    return a->conf->deep ? CM_AUDIT_LINES_DEEP : CM_AUDIT_LINES;
}

/* The rows of a sample, each read on its own. */
static cm_err cut_sample(struct cm_audit_lane *lane, struct cm_error *err)
{
    struct cm_audit *const a = lane->audit;
    size_t used = 0, len = 0;

    lane->lines = 0;
    while (lane->lines < chunk_lines(a) && CM_AUDIT_TEXT - used >= CM_ROW_MAX) {
        (void) pthread_mutex_lock(&a->cut_lock);
        const size_t i = a->next_sample < a->sample_count ? a->next_sample++ : SIZE_MAX;
        (void) pthread_mutex_unlock(&a->cut_lock);
        if (i == SIZE_MAX)
            break;
        uint8_t *const at = lane->text + used;
        CM_TRY(read_line(a, a->sample[i], at, &len, err));
        lane->line[lane->lines++] = (struct cm_audit_line) { cm_span(at, len), a->sample[i] };
        used += len;
    }
    return lane->lines > 0 ? CM_OK : CM_E_END;
}

/* A stretch of the manifest without a whole line in it, at offset. */
static void judge_no_line(struct cm_audit *a, uint64_t offset, size_t got)
{
    if (got == CM_AUDIT_TEXT)
        cm_audit_find(a, NULL, offset, "manifest.ndjson", offset, "a line longer than a row can be");
    else if (a->run->state != CM_FLEET_OPEN)
        cm_audit_find(a, NULL, offset, "manifest.ndjson", offset,
                      "the last row is cut off: it has no line feed");
}

/* Cuts the next rows off the manifest. Called by each worker when it needs some, so
 * that no thread only cuts; reading ahead is the kernel's. Holds the lock. */
static cm_err cut_next(struct cm_audit_lane *lane, struct cm_error *err)
{
    struct cm_audit *const a = lane->audit;
    size_t got = 0, used = 0;

    lane->lines = 0;
    CM_TRY(cm_fleet_manifest_read(a->fleet, lane->text, CM_AUDIT_TEXT, a->next_offset, &got, err));
    if (got == 0)
        return CM_E_END;
    while (lane->lines < chunk_lines(a)) {
        const uint8_t *const at = lane->text + used, *const lf = memchr(at, '\n', got - used);
        if (lf == NULL)
            break;
        lane->line[lane->lines++] =
            (struct cm_audit_line) { cm_span(at, (size_t) (lf - at)), a->next_offset + used };
        used = (size_t) (lf - lane->text) + 1;
    }
    if (lane->lines == 0) {
        judge_no_line(a, a->next_offset, got);
        used = got;
    }
    a->next_offset += used;
    atomic_fetch_add(&a->octets, used);
    return CM_OK;
}

static cm_err cut(struct cm_audit_lane *lane, struct cm_error *err)
{
    if (lane->audit->sample != NULL)
        return cut_sample(lane, err);
    (void) pthread_mutex_lock(&lane->audit->cut_lock);
    const cm_err rc = cut_next(lane, err);
    (void) pthread_mutex_unlock(&lane->audit->cut_lock);
    return rc;
}

cm_err cm_audit_note(struct cm_audit_lane *lane, struct cm_error *err)
{
    struct cm_audit *const a = lane->audit;
    cm_err rc = CM_OK;

    (void) pthread_mutex_lock(&a->sort_lock);
    for (size_t i = 0; rc == CM_OK && i < lane->ids_count; i++)
        rc = cm_extsort_push(a->ids, lane->ids[i], err);
    for (size_t i = 0; rc == CM_OK && i < lane->places_count; i++)
        rc = cm_extsort_push(a->places, lane->places[i], err);
    (void) pthread_mutex_unlock(&a->sort_lock);
    lane->ids_count = lane->places_count = 0;
    return rc;
}

static void lane_close(struct cm_audit_lane *lane)
{
    if (lane == NULL)
        return;
    cm_auditor_close(lane->auditor);
    cm_secret_done(&lane->keys);
    cm_fd_close(&lane->file[0].fd);
    cm_fd_close(&lane->file[1].fd);
    free(lane->window);
    free(lane->text);
    free(lane);
}

static cm_err lane_open(struct cm_audit *a, struct cm_audit_lane **out, struct cm_error *err)
{
    struct cm_audit_lane *lane = calloc(1, sizeof *lane);
    cm_err rc = CM_OK;

    if (lane == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a worker");
    lane->audit = a;
    lane->file[0].fd = lane->file[1].fd = -1;
    lane->text = malloc(CM_AUDIT_TEXT);
    lane->window = malloc(CM_AUDIT_WINDOW);
    if (lane->text == NULL || lane->window == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for a worker");
    if (rc == CM_OK)
        rc = cm_secret_init(&lane->keys, CM_AUDIT_KEYS, err);
    if (rc == CM_E_LIMIT)
        rc = cm_secret_init(&lane->keys, CM_AUDIT_KEYS_LEAST, err);
    if (rc == CM_OK)
        rc = cm_auditor_open(cm_fleet_ca_pem(a->fleet), &lane->auditor, err);
    if (rc == CM_OK && a->conf->deep)
        rc = cm_auditor_deepen(lane->auditor, err);
    if (rc != CM_OK)
        lane_close(lane);
    else
        *out = lane;
    return rc;
}

/* Locked memory is scarce: a thread that gets none is done without, but for the first.
 * One at a time, so that there is a first. */
static cm_err lane_enter(struct cm_audit *a, struct cm_audit_lane **out, struct cm_error *err)
{
    (void) pthread_mutex_lock(&a->cut_lock);
    cm_err rc = lane_open(a, out, err);
    if (rc == CM_OK)
        a->lanes++;
    else if (rc == CM_E_LIMIT && a->lanes > 0)
        rc = CM_E_END;
    (void) pthread_mutex_unlock(&a->cut_lock);
    return rc;
}

static cm_err lane_run(struct cm_audit *a, struct cm_error *err)
{
    struct cm_audit_lane *lane = NULL;

    cm_err rc = lane_enter(a, &lane, err);
    while (rc == CM_OK && !atomic_load(&a->failed)) {
        rc = cut(lane, err);
        if (rc == CM_OK)
            rc = cm_audit_rows(lane, err);
    }
    lane_close(lane);
    return rc == CM_E_END ? CM_OK : rc;
}

static void *lane_main(void *arg)
{
    struct cm_audit *a = arg;
    struct cm_error err = { 0 };
    const cm_err rc = lane_run(a, &err);

    (void) pthread_mutex_lock(&a->end_lock);
    if (rc != CM_OK && !atomic_exchange(&a->failed, true))
        a->err = err;
    a->running--;
    (void) pthread_cond_signal(&a->end_cond);
    (void) pthread_mutex_unlock(&a->end_lock);
    return NULL;
}

/* Waits for the threads, looking up now and then for the progress line. */
static void wait_for_lanes(struct cm_audit *a)
{
    struct timespec until;

    (void) pthread_mutex_lock(&a->end_lock);
    while (a->running > 0) {
        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void) pthread_cond_timedwait(&a->end_cond, &a->end_lock, &until);
        cm_progress_update(a->conf->progress, atomic_load(&a->rows), atomic_load(&a->octets));
    }
    (void) pthread_mutex_unlock(&a->end_lock);
    cm_progress_clear(a->conf->progress);
}

static cm_err run_lanes(struct cm_audit *a, struct cm_error *err)
{
    const uint32_t n = a->conf->workers;
    pthread_t *thread = calloc(n, sizeof *thread);
    uint32_t started = 0;
    cm_err rc = CM_OK;

    if (thread == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %u workers", n);
    a->running = n;
    while (rc == CM_OK && started < n) {
        const int os = pthread_create(&thread[started], NULL, lane_main, a);
        if (os == 0) {
            started++;
            continue;
        }
        errno = os;
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't start worker %u of %u; use fewer --workers", started + 1,
                     n);
        atomic_store(&a->failed, true);
        (void) pthread_mutex_lock(&a->end_lock);
        a->running -= n - started;
        (void) pthread_mutex_unlock(&a->end_lock);
    }
    wait_for_lanes(a);
    for (uint32_t i = 0; i < started; i++)
        (void) pthread_join(thread[i], NULL);
    free(thread);
    if (rc == CM_OK && atomic_load(&a->failed)) {
        *err = a->err;
        rc = a->err.code;
    }
    return rc;
}

static void take_authority(void *arg, const char *what)
{
    cm_audit_find(arg, NULL, CM_FINDING_NO_ROW, "ca.pem", CM_FINDING_NO_OFFSET, "%s", what);
}

/* The CA's own chain: once, not with each device. */
static cm_err audit_authority(struct cm_audit *a, struct cm_error *err)
{
    struct cm_deep *deep = NULL;

    CM_TRY(cm_deep_open(cm_fleet_ca_pem(a->fleet), &deep, err));
    cm_deep_authority(deep, take_authority, a);
    cm_deep_close(deep);
    return CM_OK;
}

static cm_err audit_all(struct cm_audit *a, struct cm_error *err)
{
    CM_TRY(cm_extsort_open(a->conf->tmp_dir, CM_AUDIT_ID_RECORD, SORT_MEMORY, &a->ids, err));
    CM_TRY(cm_extsort_open(a->conf->tmp_dir, CM_AUDIT_PLACE_RECORD, SORT_MEMORY / 2, &a->places, err));
    CM_TRY(run_lanes(a, err));
    return cm_audit_set(a, err);
}

const char *cm_audit_tmp_dir(const char *fleet)
{
    const char *const named = getenv("TMPDIR");

    if (named != NULL && named[0] == '/' && access(named, W_OK | X_OK) == 0)
        return named;
    return access("/var/tmp", W_OK | X_OK) == 0 ? "/var/tmp" : fleet;
}

cm_err cm_audit_fleet(const struct cm_audit_conf *conf, struct cm_audit_result *out, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(conf->fleet);
    struct cm_audit a = { .conf = conf,
                          .fleet = conf->fleet,
                          .run = run,
                          .unclean = run->state == CM_FLEET_OPEN,
                          .cut_lock = PTHREAD_MUTEX_INITIALIZER,
                          .sort_lock = PTHREAD_MUTEX_INITIALIZER,
                          .end_lock = PTHREAD_MUTEX_INITIALIZER,
                          .end_cond = PTHREAD_COND_INITIALIZER };
    uint64_t *sample = NULL;
    cm_err rc = CM_OK;

    CM_ASSERT(conf->workers > 0);
    rc = cm_asked_open(conf->fleet, &a.asked, err);
    if (rc == CM_OK && conf->deep)
        rc = audit_authority(&a, err);
    if (rc == CM_OK && conf->sample > 0)
        rc = cm_audit_pick(&a, &sample, &a.sample_count, err);
    a.sample = sample;
    if (rc == CM_OK && sample == NULL)
        rc = audit_all(&a, err);
    else if (rc == CM_OK) {
        rc = run_lanes(&a, err);
        if (rc == CM_OK)
            rc = cm_audit_dirs(&a, err);
    }
    *out = (struct cm_audit_result) { .rows = atomic_load(&a.rows),
                                      .workers = a.lanes,
                                      .octets = atomic_load(&a.octets),
                                      .sampled = sample != NULL,
                                      .keys_encrypted = atomic_load(&a.keys_encrypted),
                                      .keys_absent = atomic_load(&a.keys_absent),
                                      .superseded = atomic_load(&a.superseded),
                                      .damaged = atomic_load(&a.damaged),
                                      .books = a.books };
    cm_asked_close(a.asked);
    cm_extsort_close(a.ids);
    cm_extsort_close(a.places);
    free(sample);
    return rc;
}
