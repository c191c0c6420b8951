#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* certmill-starved: certmill-faulty whose memory runs out on request. The environment
 * variable CERTMILL_STARVE says when:
 *
 *   N       the Nth allocation fails, counted from 0 over the program's own, libcrypto's
 *           and jansson's, all threads; libcrypto's start, which does not survive that, is over by then
 *   N+      that and all after it
 *   count   none; their number is told on stderr at the end
 *
 * The program's own come here by the linker's --wrap.
 */
void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);

static atomic_ulong allocations;
static unsigned long fail_at = ~0ul;
static bool from_there_on;

static bool must_fail(void)
{
    const unsigned long n = atomic_fetch_add(&allocations, 1);

    return n == fail_at || (from_there_on && n > fail_at);
}

void *__wrap_malloc(size_t len)
{
    return must_fail() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
    return must_fail() ? NULL : __real_calloc(n, len);
}

void *__wrap_realloc(void *p, size_t len)
{
    return must_fail() ? NULL : __real_realloc(p, len);
}

static void *crypto_malloc(size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return __wrap_malloc(len);
}

static void *crypto_realloc(void *p, size_t len, const char *file, int line)
{
    (void) file;
    (void) line;
    return __wrap_realloc(p, len);
}

static void crypto_free(void *p, const char *file, int line)
{
    (void) file;
    (void) line;
    free(p);
}

static void tell(void)
{
    (void) fprintf(stderr, "allocations: %lu\n", atomic_load(&allocations));
}

__attribute__((constructor)) static void begin(void)
{
    const char *const when = getenv("CERTMILL_STARVE");
    char *end = NULL;

    if (when == NULL)
        return;
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1)
        abort(); /* libcrypto was used before */
    json_set_alloc_funcs(__wrap_malloc, free);
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    EVP_PKEY_free(EVP_EC_gen("P-256"));
    atomic_store(&allocations, 0);
    if (when[0] < '0' || when[0] > '9') {
        (void) atexit(tell);
        return;
    }
    from_there_on = strtoul(when, &end, 10) != ~0ul && *end == '+';
    fail_at = strtoul(when, NULL, 10);
}
