#include "bench/floor.h"

#include "bench/generator.h"
#include "bench/thread_clock.h"
#include "engine/ossl.h"
#include "engine/sigalg.h"

#include <openssl/rand.h>

/* BLOCK keys are made between two looks at the clock, which is a system call, and
 * then freed outside the time. */
enum { BLOCK = 64, MESSAGE = 512, SIGNATURE_MAX = 1024 };

struct cm_floor {
    const struct cm_keyalg *key;
    const struct cm_sigalg *sigalg;
    EVP_PKEY_CTX *generate, *sign;
    EVP_PKEY *ca;
    EVP_MD_CTX *whole; /* Ed25519 */
    size_t message_len;
    uint8_t message[MESSAGE];
    int cpu;
};

static cm_err open_sign(struct cm_floor *f, const struct cm_keyalg *ca, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY_CTX) generate = NULL;

    CM_TRY(cm_generator_open(ca, &generate, err));
    if (EVP_PKEY_generate(generate, &f->ca) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "floor: a CA key of %s can't be made", ca->name);
    CM_TRY(cm_sigalg_for_key(f->ca, NULL, &f->sigalg, err));
    if (RAND_bytes(f->message, sizeof f->message) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "floor: the random generator failed");
    f->message_len = sizeof f->message;
    if (f->sigalg->digest == NULL) {
        f->whole = EVP_MD_CTX_new();
        if (f->whole == NULL)
            CM_FAIL(err, CM_E_NOMEM, "no memory for the floor's signatures");
        return CM_OK;
    }
    CM_AUTO(EVP_MD) md = EVP_MD_fetch(NULL, f->sigalg->digest, NULL);
    f->sign = EVP_PKEY_CTX_new_from_pkey(NULL, f->ca, NULL);
    if (md == NULL || f->sign == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "floor: can't prepare %s", f->sigalg->name);
    f->message_len = (size_t) EVP_MD_get_size(md);
    return cm_sigalg_setup(f->sigalg, f->sign, err);
}

cm_err cm_floor_open(const struct cm_keyalg *key, const struct cm_keyalg *ca, int cpu, struct cm_floor **out,
                     struct cm_error *err)
{
    struct cm_floor *f = calloc(1, sizeof *f);
    cm_err rc = CM_OK;

    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to measure the floor");
    f->key = key;
    f->cpu = cpu;
    rc = cm_generator_open(key, &f->generate, err);
    if (rc == CM_OK)
        rc = open_sign(f, ca, err);
    if (rc != CM_OK) {
        cm_floor_close(f);
        return rc;
    }
    *out = f;
    return CM_OK;
}

static cm_err time_keys(struct cm_floor *f, unsigned n, struct cm_floor_sample *s, struct cm_error *err)
{
    EVP_PKEY *made[BLOCK] = { NULL };
    bool ok = true;
    const double start = cm_thread_s();

    for (unsigned i = 0; i < n && ok; i++)
        ok = EVP_PKEY_generate(f->generate, &made[i]) == 1;
    const double took = cm_thread_s() - start;
    s->key_s += took;
    if (n == 1) /* else the time of each is not known */
        s->key_squares += took * took;
    s->keys += n;
    for (unsigned i = 0; i < n; i++)
        EVP_PKEY_free(made[i]);
    if (!ok)
        CM_FAIL(err, CM_E_CRYPTO, "floor of %s: key generation failed", f->key->name);
    return CM_OK;
}

static bool sign_one(struct cm_floor *f)
{
    uint8_t sig[SIGNATURE_MAX];
    size_t len = sizeof sig;

    if (f->whole != NULL)
        return EVP_DigestSignInit_ex(f->whole, NULL, NULL, NULL, NULL, f->ca, NULL) == 1 &&
               EVP_DigestSign(f->whole, sig, &len, f->message, f->message_len) == 1;
    return EVP_PKEY_sign(f->sign, sig, &len, f->message, f->message_len) == 1;
}

static cm_err time_signatures(struct cm_floor *f, unsigned n, struct cm_floor_sample *s, struct cm_error *err)
{
    bool ok = true;
    const double start = cm_thread_s();

    for (unsigned i = 0; i < n && ok; i++)
        ok = sign_one(f);
    s->sign_s += cm_thread_s() - start;
    s->signs += n;
    if (!ok)
        CM_FAIL(err, CM_E_CRYPTO, "floor: signing with %s failed", f->sigalg->name);
    return CM_OK;
}

static cm_err measure(struct cm_floor *f, double seconds, uint64_t keys, volatile sig_atomic_t *stop,
                      struct cm_floor_sample *s, struct cm_error *err)
{
    const double start = cm_clock_s();

    do {
        /* An RSA key is long enough to be looked at alone, and to be interrupted after. */
        CM_TRY(time_keys(f, f->key->family == CM_KEYFAM_RSA ? 1 : BLOCK, s, err));
        CM_TRY(time_signatures(f, BLOCK, s, err));
        if (*stop != 0) {
            *err = (struct cm_error) { .code = CM_E_CLOSED, .os = *stop };
            return CM_E_CLOSED;
        }
    } while (cm_clock_s() - start < seconds || s->keys < keys);
    return CM_OK;
}

cm_err cm_floor_measure(struct cm_floor *f, double seconds, uint64_t keys, volatile sig_atomic_t *stop,
                        struct cm_floor_sample *out, struct cm_error *err)
{
    struct cm_floor_sample s = { 0 };
    cpu_set_t before;

    CM_TRY(cm_thread_pin(f->cpu, &before, err));
    cm_err rc = cm_thread_unpin(&before, measure(f, seconds, keys, stop, &s, err), err);
    if (rc == CM_OK)
        *out = s;
    return rc;
}

const char *cm_floor_signature(const struct cm_floor *f)
{
    return f->sigalg->name;
}

void cm_floor_close(struct cm_floor *f)
{
    if (f == NULL)
        return;
    EVP_PKEY_CTX_free(f->generate);
    EVP_PKEY_CTX_free(f->sign);
    EVP_MD_CTX_free(f->whole);
    EVP_PKEY_free(f->ca);
    free(f);
}

double cm_floor_rate(const struct cm_floor_sample *s)
{
    if (s->keys == 0 || s->signs == 0)
        return 0;
    return 1 / (s->key_s / (double) s->keys + s->sign_s / (double) s->signs);
}

struct cm_interval cm_floor_interval(const struct cm_floor_sample *s)
{
    const double rate = cm_floor_rate(s);
    struct cm_interval i = { rate, rate, rate };

    if (rate <= 0 || s->key_squares <= 0)
        return i;
    const double sign = s->sign_s / (double) s->signs;
    const struct cm_interval key = cm_interval_of(s->key_s, s->key_squares, s->keys);
    i.low = 1 / (key.high + sign);
    i.high = 1 / (key.low + sign);
    return i;
}

void cm_floor_add(struct cm_floor_sample *sum, const struct cm_floor_sample *s)
{
    sum->keys += s->keys;
    sum->signs += s->signs;
    sum->key_s += s->key_s;
    sum->sign_s += s->sign_s;
    sum->key_squares += s->key_squares;
}
