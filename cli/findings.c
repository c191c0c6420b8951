#include "cli/findings.h"
#include "cli/term.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cm_findings {
    pthread_mutex_t lock;
    uint64_t count;
    size_t kept;
    bool sorted;
    cm_findings_on_add *on_add; /* NULL: nobody watches */
    void *on_add_arg;
    struct cm_finding item[CM_FINDINGS_MAX]; /* their strings are malloced */
};

cm_err cm_findings_new(struct cm_findings **out, struct cm_error *err)
{
    struct cm_findings *f = calloc(1, sizeof *f);

    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for findings");
    (void) pthread_mutex_init(&f->lock, NULL);
    *out = f;
    return CM_OK;
}

/* The struct says const because everybody else only reads. */
static void drop(const char *text)
{
    union {
        const char *in;
        void *out;
    } u = { .in = text };

    free(u.out);
}

static void drop_strings(struct cm_finding *item)
{
    drop(item->device_id);
    drop(item->what);
    drop(item->file);
}

void cm_findings_free(struct cm_findings *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->kept; i++)
        drop_strings(&f->item[i]);
    (void) pthread_mutex_destroy(&f->lock);
    free(f);
}

static bool keep(struct cm_finding *to, const struct cm_finding *from)
{
    *to = *from;
    to->device_id = from->device_id != NULL ? strdup(from->device_id) : NULL;
    to->what = strdup(from->what);
    to->file = from->file != NULL ? strdup(from->file) : NULL;
    if (to->what != NULL && (to->device_id == NULL) == (from->device_id == NULL) &&
        (to->file == NULL) == (from->file == NULL))
        return true;
    drop_strings(to);
    return false;
}

void cm_findings_add(struct cm_findings *f, const struct cm_finding *finding)
{
    (void) pthread_mutex_lock(&f->lock);
    f->count++;
    if (f->kept < CM_FINDINGS_MAX && keep(&f->item[f->kept], finding))
        f->kept++;
    f->sorted = false;
    if (f->on_add != NULL)
        f->on_add(f->on_add_arg, finding);
    (void) pthread_mutex_unlock(&f->lock);
}

void cm_findings_watch(struct cm_findings *f, cm_findings_on_add *on_add, void *arg)
{
    f->on_add = on_add;
    f->on_add_arg = arg;
}

uint64_t cm_findings_count(const struct cm_findings *f)
{
    return f->count;
}

static int compare_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? (a != NULL) - (b != NULL) : strcmp(a, b);
}

static int compare(const void *pa, const void *pb)
{
    const struct cm_finding *a = pa, *b = pb;
    int order = (a->row > b->row) - (a->row < b->row);

    if (order == 0)
        order = compare_text(a->file, b->file);
    if (order == 0)
        order = (a->offset > b->offset) - (a->offset < b->offset);
    return order != 0 ? order : compare_text(a->what, b->what);
}

/* Threads find in no order; people and tests want one. */
static void sort(struct cm_findings *f)
{
    if (!f->sorted)
        qsort(f->item, f->kept, sizeof f->item[0], compare);
    f->sorted = true;
}

static void print_one(const struct cm_finding *item)
{
    const char *const subject = item->device_id != NULL ? item->device_id : item->file;

    if (subject != NULL) {
        cm_term_put(stderr, subject);
        (void) fputs(": ", stderr);
    }
    cm_term_put(stderr, item->what);
    if (item->device_id != NULL && item->file != NULL) {
        (void) fputs(" (", stderr);
        cm_term_put(stderr, item->file);
        if (item->offset != CM_FINDING_NO_OFFSET)
            (void) fprintf(stderr, " at offset %llu", (unsigned long long) item->offset);
        (void) fputc(')', stderr);
    } else if (item->offset != CM_FINDING_NO_OFFSET) {
        (void) fprintf(stderr, " (at offset %llu)", (unsigned long long) item->offset);
    }
    (void) fputc('\n', stderr);
}

void cm_findings_print(struct cm_findings *f)
{
    const size_t shown = f->kept < CM_FINDINGS_SHOWN ? f->kept : CM_FINDINGS_SHOWN;

    sort(f);
    (void) fflush(stdout);
    for (size_t i = 0; i < shown; i++)
        print_one(&f->item[i]);
    if (f->count > shown)
        (void) fprintf(stderr, "... and %llu more; --json lists them\n",
                       (unsigned long long) (f->count - shown));
}

struct json_t *cm_findings_json(struct cm_findings *f)
{
    json_t *list = json_array();

    sort(f);
    for (size_t i = 0; list != NULL && i < f->kept; i++) {
        const struct cm_finding *item = &f->item[i];
        json_t *offset =
            item->offset != CM_FINDING_NO_OFFSET ? json_integer((json_int_t) item->offset) : json_null();
        json_t *one = json_pack("{s:s? s:s s:s? s:o}", "device_id", item->device_id, "what", item->what,
                                "file", item->file, "offset", offset);
        /* A text that is not UTF-8, from a damaged name: said without it rather than not at all. */
        if (one == NULL)
            one = json_pack("{s:n s:s s:n s:n}", "device_id", "what", "a finding whose text is not UTF-8",
                            "file", "offset");
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}
