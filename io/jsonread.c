#include "io/jsonread.h"

#include "engine/certmill.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

/* An allocation that fails while jansson reads never returns to it: it is left by
 * longjmp, and what it had allocated until then is freed from a list. jansson takes no
 * lock and changes nothing of the process while it reads, so that there is nothing else
 * to undo. */
struct reading {
    void **block; /* what jansson holds */
    size_t blocks, room;
    jmp_buf out;
};

static _Thread_local struct reading *now; /* NULL: this thread does not read */

static pthread_mutex_t exchange = PTHREAD_MUTEX_INITIALIZER;
static json_malloc_t base_malloc;
static json_free_t base_free;

enum { FIRST_ROOM = 64 };

static bool remember(struct reading *r, void *p)
{
    if (r->blocks == r->room) {
        const size_t room = r->room > 0 ? 2 * r->room : FIRST_ROOM;
        void **const block = reallocarray(r->block, room, sizeof *block);
        if (block == NULL)
            return false;
        r->block = block;
        r->room = room;
    }
    r->block[r->blocks++] = p;
    return true;
}

static void *guarded_malloc(size_t n)
{
    struct reading *const r = now;
    void *const p = base_malloc(n);

    if (r == NULL || (p != NULL && remember(r, p)))
        return p;
    base_free(p);
    longjmp(r->out, 1);
}

/* Most of what it frees while it reads is what it allocated last. */
static void guarded_free(void *p)
{
    struct reading *const r = now;

    for (size_t i = r != NULL && p != NULL ? r->blocks : 0; i > 0; i--)
        if (r->block[i - 1] == p) {
            r->block[i - 1] = r->block[--r->blocks];
            break;
        }
    base_free(p);
}

/* Others' functions, if there are, stay in use below ours. */
static void put_guard(void)
{
    json_malloc_t has_malloc;
    json_free_t has_free;

    CM_ASSERT(pthread_mutex_lock(&exchange) == 0);
    json_get_alloc_funcs(&has_malloc, &has_free);
    if (has_malloc != guarded_malloc) {
        base_malloc = has_malloc;
        base_free = has_free;
        json_set_alloc_funcs(guarded_malloc, guarded_free);
    }
    CM_ASSERT(pthread_mutex_unlock(&exchange) == 0);
}

/* false: memory ran out. Nothing of this frame changes between setjmp and longjmp. */
static bool read_guarded(struct reading *r, struct cm_span text, json_t **out, json_error_t *why)
{
    if (setjmp(r->out) != 0)
        return false;
    *out = json_loadb((const char *) text.data, text.len, JSON_REJECT_DUPLICATES, why);
    return true;
}

cm_err cm_json_read(struct cm_span text, json_t **out, json_error_t *why, struct cm_error *err)
{
    struct reading r = { 0 };

    put_guard();
    now = &r;
    const bool read = read_guarded(&r, text, out, why);
    now = NULL;
    while (!read && r.blocks > 0)
        base_free(r.block[--r.blocks]);
    free(r.block);
    if (!read)
        *out = NULL;
    return read ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for %zu octets of JSON", text.len);
}
