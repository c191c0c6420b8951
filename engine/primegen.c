#include "engine/primegen.h"

#include "engine/secret.h"

#include <openssl/rand.h>
#include <string.h>

enum { DRAWS = 64 };

/* sqrt(2) * 2^63, rounded up: a number whose top word is not smaller is large enough. Of
 * those that are large enough 2^-62 have a smaller one, and are left out. */
static const uint64_t sqrt2_top = UINT64_C(0xb504f333f9de6485);

/* What a search knows; lies in cm_secret memory. */
struct search {
    cm_nat start, candidate[CM_LANES_MAX];
    struct cm_sieved sieved;
    uint32_t draw[DRAWS]; /* random numbers that wait to be used */
    uint32_t draws;
};

struct cm_primegen {
    uint32_t bits, words;
    struct cm_sieve *sieve;
    struct cm_primetest *test;
    struct cm_secret secret;
    struct search *search;
};

uint32_t cm_primegen_rounds(uint32_t bits)
{
    return bits == 1024 ? 5 : 4;
}

/* From where on a deeper sieve would cost more than it saves (measured: docs/speed.md). */
static uint32_t sieve_limit(const struct cm_primegen *g)
{
    return g->bits == 1024 && cm_primetest_lanes(g->test) == CM_LANES_MAX ? 1 << 17 : 1 << 18;
}

cm_err cm_primegen_open(uint32_t bits, enum cm_way way, struct cm_primegen **out, struct cm_error *err)
{
    struct cm_primegen *g = calloc(1, sizeof *g);
    cm_err rc = CM_OK;

    if (g == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a prime generator");
    g->bits = bits;
    g->words = bits / 64;
    rc = cm_secret_init(&g->secret, sizeof *g->search, err);
    if (rc == CM_OK)
        rc = cm_primetest_open(bits, way, &g->test, err);
    if (rc == CM_OK)
        rc = cm_sieve_open(g->words, 2 * bits, sieve_limit(g), &g->sieve, err);
    if (rc != CM_OK) {
        cm_primegen_close(g);
        return rc;
    }
    g->search = (struct search *) (void *) g->secret.base;
    *out = g;
    return CM_OK;
}

void cm_primegen_close(struct cm_primegen *g)
{
    if (g == NULL)
        return;
    cm_sieve_close(g->sieve);
    cm_primetest_close(g->test);
    cm_secret_done(&g->secret);
    free(g);
}

static cm_err draw(const struct cm_primegen *g, void *out, size_t len, struct cm_error *err)
{
    if (RAND_priv_bytes_ex(NULL, out, len, 0) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "RSA-%u: the random generator failed", 2 * g->bits);
    return CM_OK;
}

/* Uniform among the odd numbers of the interval, so that the window ends below 2^bits: a start from
 * which it would not is as improbable as a guessed key, and is drawn anew. */
static cm_err draw_start(const struct cm_primegen *g, cm_nat *start, struct cm_error *err)
{
    uint64_t *const top = &(*start)[g->words - 1];

    memset(*start, 0, sizeof *start);
    do {
        CM_TRY(draw(g, *start, g->bits / 8, err));
        *top |= UINT64_C(1) << 63;
    } while (*top < sqrt2_top || *top == UINT64_MAX);
    (*start)[0] |= 1;
    return CM_OK;
}

/* Uniform in [0, below): 32-bit numbers from the part that `below` divides. */
static cm_err draw_below(const struct cm_primegen *g, uint32_t below, uint32_t *out, struct cm_error *err)
{
    struct search *s = g->search;
    const uint32_t whole = UINT32_MAX - UINT32_MAX % below;

    do {
        if (s->draws == 0) {
            CM_TRY(draw(g, s->draw, sizeof s->draw, err));
            s->draws = DRAWS;
        }
        *out = s->draw[--s->draws];
    } while (*out >= whole);
    *out %= below;
    return CM_OK;
}

/* One of those that are left of the window, each with the same probability. */
static cm_err take(const struct cm_primegen *g, cm_nat *candidate, struct cm_error *err)
{
    struct cm_sieved *s = &g->search->sieved;
    uint32_t i = 0;

    CM_TRY(draw_below(g, s->count, &i, err));
    uint64_t add = 2 * (uint64_t) s->left[i];
    s->left[i] = s->left[--s->count];
    memcpy(*candidate, g->search->start, sizeof *candidate);
    for (uint32_t k = 0; k < g->words; k++) /* no carry out of the top: see draw_start */
        add = __builtin_add_overflow((*candidate)[k], add, &(*candidate)[k]);
    return CM_OK;
}

/* The next few candidates through the filter, what passes through the rounds. */
static cm_err try_some(const struct cm_primegen *g, const cm_nat **found, struct cm_error *err)
{
    struct search *s = g->search;
    const uint32_t lanes = cm_primetest_lanes(g->test);
    uint32_t n = 0, passed = 0;

    for (; n < lanes && s->sieved.count > 0; n++)
        CM_TRY(take(g, &s->candidate[n], err));
    CM_TRY(cm_primetest_filter(g->test, (const cm_nat *) s->candidate, n, &passed, err));
    for (uint32_t i = 0; i < n && *found == NULL; i++) {
        bool prime = false;
        if ((passed >> i & 1) == 0)
            continue;
        CM_TRY(cm_primetest_rounds(g->test, (const cm_nat *) &s->candidate[i], cm_primegen_rounds(g->bits),
                                   &prime, err));
        if (prime)
            *found = (const cm_nat *) &s->candidate[i];
    }
    return CM_OK;
}

static cm_err search(const struct cm_primegen *g, const cm_nat **found, struct cm_error *err)
{
    while (*found == NULL) {
        CM_TRY(draw_start(g, &g->search->start, err));
        cm_sieve_window(g->sieve, g->search->start, &g->search->sieved);
        while (*found == NULL && g->search->sieved.count > 0)
            CM_TRY(try_some(g, found, err));
    }
    return CM_OK;
}

cm_err cm_primegen_next(struct cm_primegen *g, cm_nat *prime, struct cm_error *err)
{
    const cm_nat *found = NULL;
    const cm_err rc = search(g, &found, err);

    if (rc == CM_OK)
        memcpy(*prime, *found, sizeof *prime);
    cm_secret_wipe(g->search, sizeof *g->search);
    cm_primetest_wipe(g->test);
    return rc;
}
