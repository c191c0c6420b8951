/* Goal: when memory or randomness runs out while an RSA key is made, that ends in a clean error or in a sound
 * key, and the next key is sound again; a draw that is out of range is drawn anew; each prime has a window of
 * its own, and lies anywhere in it. Method: libcrypto's allocator, calloc and the private DRBG are ours: the
 * n-th call fails, for n over the whole run or a sample of it, both ways of testing primes; the DRBG hands
 * out what must be refused first. */
#include "tests/t_plant.h"

#include "engine/ossl.h"
#include "engine/primegen.h"
#include "engine/rsakey.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

static unsigned passed, failed;

/* ---- calls that fail ---- */

enum call { LIBCRYPTO, CALLOC, DRBG };

static bool armed;
static enum call victim;
static unsigned long count, fail_at;
/* The DRBG's first answers, each repeated to the length that was asked for. */
static const uint8_t *script;
static size_t script_len, script_at;
/* What it gave out in numbers of 1024 bits: starts and bases. */
enum { DRAWS_MAX = 256 };
static uint64_t drawn[DRAWS_MAX][16];
static size_t draws;

static bool must_fail(enum call call)
{
    return armed && call == victim && count++ == fail_at;
}

static void *torture_malloc(size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return must_fail(LIBCRYPTO) ? NULL : malloc(len);
}

static void *torture_realloc(void *p, size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return must_fail(LIBCRYPTO) ? NULL : realloc(p, len);
}

static void torture_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;
    free(p);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return must_fail(CALLOC) ? NULL : __real_calloc(n, size);
}

int __real_RAND_priv_bytes_ex(OSSL_LIB_CTX *ctx, unsigned char *buf, size_t num, unsigned int strength);
int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *ctx, unsigned char *buf, size_t num, unsigned int strength);
int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *ctx, unsigned char *buf, size_t num, unsigned int strength)
{
    if (must_fail(DRBG))
        return 0;
    if (script_at < script_len) {
        memset(buf, script[script_at++], num);
        return 1;
    }
    const int rc = __real_RAND_priv_bytes_ex(ctx, buf, num, strength);
    if (num == sizeof drawn[0] && draws < DRAWS_MAX)
        memcpy(drawn[draws++], buf, num);
    return rc;
}

/* ---- keys ---- */

static void note(bool ok, const char *way, unsigned long n, const char *what)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        (void) printf("FAILED: %s, call %lu: %s\n", way, n, what);
}

static bool is_clean(cm_err rc, const struct cm_error *err)
{
    return rc == CM_OK ||
           ((rc == CM_E_CRYPTO || rc == CM_E_NOMEM) && err->code == rc && err->what[0] != '\0');
}

/* p * q = n, and a number goes there and back through d. */
static bool is_sound(const struct cm_keypair *k)
{
    const int len = (int) k->len;
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) n = BN_bin2bn(k->n, len, NULL);
    CM_AUTO(BIGNUM) d = BN_bin2bn(k->d, len, NULL);
    CM_AUTO(BIGNUM) p = BN_bin2bn(k->p, len / 2, NULL);
    CM_AUTO(BIGNUM) q = BN_bin2bn(k->q, len / 2, NULL);
    CM_AUTO(BIGNUM) t = BN_new();
    CM_AUTO(BIGNUM) e = BN_new();

    CM_ASSERT(BN_mul(t, p, q, ctx) == 1 && BN_set_word(e, CM_RSA_E) == 1);
    if (BN_cmp(t, n) != 0 || BN_num_bits(n) != (int) k->alg->bits)
        return false;
    CM_ASSERT(BN_set_word(p, 42) == 1 && BN_mod_exp(t, p, d, n, ctx) == 1 &&
              BN_mod_exp(q, t, e, n, ctx) == 1);
    return BN_cmp(p, q) == 0;
}

static struct cm_rsakey *open_way(enum cm_way way)
{
    struct cm_rsakey *r = NULL;

    CM_ASSERT(cm_rsakey_open(cm_keyalg_find("RSA-2048"), way, &r, NULL) == CM_OK);
    return r;
}

/* A fresh generator each time: the numbers of one that has made a key have grown already. */
static void torture_make(const char *name, enum cm_way way, enum call call, unsigned rounds, uint64_t *random)
{
    static struct cm_keypair k;
    unsigned long all = 1;
    unsigned told = 0;

    for (unsigned i = 0; i <= rounds; i++) {
        struct cm_rsakey *r = open_way(way);
        struct cm_error err = { 0 };
        victim = call;
        fail_at = i == 0 ? ~0ul : t_random(random, all);
        count = 0;
        armed = true;
        const cm_err rc = cm_rsakey_make(r, &k, &err);
        armed = false;
        all = i == 0 ? count : all;
        told += rc != CM_OK;
        note(is_clean(rc, &err) && (rc != CM_OK || is_sound(&k)), name, fail_at, "a wrong key or error");
        note(rc == CM_OK || i > 0, name, 0, "without a failure");
        note(call != DRBG || rc == CM_E_CRYPTO || count <= fail_at, name, fail_at,
             "a key without randomness");
        note(cm_rsakey_make(r, &k, &err) == CM_OK && is_sound(&k), name, fail_at, "the key after it");
        cm_rsakey_close(r);
    }
    (void) printf("%s: %lu calls, %u of %u failures told\n", name, all, told, rounds);
}

static void torture_open(const char *way, enum cm_way which, enum call call)
{
    bool ended = false;

    for (unsigned long n = 0; n < 10000 && !ended; n++) {
        struct cm_rsakey *r = NULL;
        struct cm_error err = { 0 };
        victim = call;
        count = 0;
        fail_at = n;
        armed = true;
        const cm_err rc = cm_rsakey_open(cm_keyalg_find("RSA-2048"), which, &r, &err);
        armed = false;
        note(is_clean(rc, &err) && (rc == CM_OK) == (r != NULL), way, n, "opening");
        ended = count <= n;
        note(!ended || rc == CM_OK, way, n, "opening without a failure");
        cm_rsakey_close(r);
    }
    note(ended, way, 0, "opening never ends");
}

/* Below sqrt(2) * 2^1023 with or without the top bit, and at the end of the range: drawn anew. 0xff ends in a
 * window that would leave the interval; 0xb4 is just below sqrt(2) * 2^7. */
static void torture_starts(struct cm_rsakey *r)
{
    static const uint8_t starts[] = { 0x00, 0x34, 0x80, 0xb4, 0xff };
    static struct cm_keypair k;

    script = starts;
    script_len = sizeof starts;
    script_at = 0;
    note(cm_rsakey_make(r, &k, NULL) == CM_OK && is_sound(&k), "starts", 0, "out of range");
    note(script_at == sizeof starts, "starts", script_at, "were used");
    note(k.p[0] >= 0xb5 && k.q[0] >= 0xb5, "starts", 0, "a prime that is too small");
}

/* Bases 0, 1 (as near as one octet repeated gets: none), w - 1 and above are drawn anew; w = 0xc0…01 or so.
 */
static void torture_bases(void)
{
    static const uint8_t bases[] = { 0x00, 0xff, 0xf8, 0xf1 };
    struct cm_primetest *t = NULL;
    static cm_nat w;
    bool yes = true;

    CM_ASSERT(cm_primetest_open(1024, CM_WAY_BEST, &t, NULL) == CM_OK);
    memset(w, 0xf0, 128);
    w[0] |= 1;
    script = bases;
    script_len = sizeof bases;
    script_at = 0;
    note(cm_primetest_rounds(t, (const cm_nat *) &w, 1, &yes, NULL) == CM_OK && !yes, "bases", 0,
         "a composite");
    note(script_at == sizeof bases, "bases", script_at, "were used");
    cm_primetest_close(t);
}

/* Where in the window of a start that was drawn for it the prime lies; -1: in none. */
static long place_of(const cm_nat *prime)
{
    for (size_t i = 0; i < draws; i++) {
        const uint64_t start = drawn[i][0] | 1, distance = (*prime)[0] - start;
        if (distance < 4096 && memcmp(&(*prime)[2], &drawn[i][2], 13 * sizeof start) == 0)
            return (long) (distance / 2);
    }
    return -1;
}

/* Each prime lies in the window of a start of its own, anywhere in it: on the average in the middle, where a
 * search from the beginning would find it at a sixth. 5 standard deviations of the mean are 150 of 2048. */
static void windows(void)
{
    enum { PRIMES = 400 };
    struct cm_primegen *g = NULL;
    static cm_nat prime;
    double sum = 0;

    CM_ASSERT(cm_primegen_open(1024, CM_WAY_BEST, &g, NULL) == CM_OK);
    for (unsigned long i = 0; i < PRIMES; i++) {
        draws = 0;
        CM_ASSERT(cm_primegen_next(g, &prime, NULL) == CM_OK);
        const long place = place_of((const cm_nat *) &prime);
        note(place >= 0, "windows", i, "a prime outside of the windows drawn for it");
        sum += (double) place;
    }
    cm_primegen_close(g);
    (void) printf("windows: primes at %.0f of 2048 on the average\n", sum / PRIMES);
    note(sum / PRIMES > 1024 - 150 && sum / PRIMES < 1024 + 150, "windows", 0, "the order is not random");
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    enum { SHARE = 4 }; /* ten times slower */
#else
    enum { SHARE = 1 };
#endif
    uint64_t random = 0;

    if (CRYPTO_set_mem_functions(torture_malloc, torture_realloc, torture_free) != 1) {
        (void) printf("libcrypto was used before main\n");
        return 1;
    }
    random = t_seed();
    for (int way = CM_WAY_IFMA; way < CM_WAYS; way++) {
        const enum cm_way which = (enum cm_way) way;
        const char *const name = cm_primetest_name(which);
        if (!cm_primetest_runs(which))
            continue;
        struct cm_rsakey *r = open_way(which);
        static struct cm_keypair first; /* libcrypto sets its DRBG up */
        note(cm_rsakey_make(r, &first, NULL) == CM_OK, name, 0, "the first key");
        torture_starts(r);
        cm_rsakey_close(r);
        torture_make(name, which, LIBCRYPTO, 32 / SHARE, &random);
        torture_make(name, which, DRBG, 20 / SHARE, &random);
        torture_open(name, which, LIBCRYPTO);
        torture_open(name, which, CALLOC);
    }
    torture_bases();
    windows();
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
