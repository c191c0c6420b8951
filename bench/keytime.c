#include "bench/keytime.h"

#include "bench/generator.h"
#include "bench/stats.h"
#include "bench/thread_clock.h"
#include "engine/keymake.h"
#include "engine/ossl.h"
#include "engine/secret.h"

#include <math.h>
#include <string.h>

const unsigned cm_keytime_percent[CM_KEYTIME_PERCENTILES] = { 50, 90, 95, 99 };

const char *cm_keytime_name(enum cm_keytime_maker maker)
{
    return maker == CM_KEYTIME_OWN ? "own" : "libcrypto";
}

double cm_keytime_bin_us(size_t i)
{
    return pow(10, (double) i / 10);
}

/* One of the two generators, and where its times go. */
struct meter {
    const struct cm_keyalg *key;
    EVP_PKEY_CTX *evp;         /* libcrypto's */
    struct cm_keymaker *maker; /* ours */
    struct cm_secret secret;
    double *us;
};

static cm_err make_own(struct meter *m, struct cm_error *err)
{
    struct cm_keypair *pair = (struct cm_keypair *) (void *) m->secret.base;
    const cm_err rc = cm_keymaker_make(m->maker, pair, err);

    cm_secret_wipe(pair, sizeof *pair);
    return rc;
}

/* Processor seconds of `keys` keys by our generator. */
static cm_err time_own(struct meter *m, uint32_t keys, double *took, struct cm_error *err)
{
    const double start = cm_thread_s();

    for (uint32_t i = 0; i < keys; i++)
        CM_TRY(make_own(m, err));
    *took = cm_thread_s() - start;
    return CM_OK;
}

static cm_err time_evp(struct meter *m, double *took, struct cm_error *err)
{
    EVP_PKEY *key = NULL;
    const double start = cm_thread_s();
    const int rc = EVP_PKEY_generate(m->evp, &key);

    *took = cm_thread_s() - start;
    EVP_PKEY_free(key);
    if (rc != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto's key generation failed", m->key->name);
    return CM_OK;
}

/* Opens the generator, and has it make what it makes only once: tables, a batch's memory. Afterwards
 * no key of a batch is left over. */
static cm_err warm_up(struct meter *m, enum cm_keytime_maker maker, uint32_t *batch, struct cm_error *err)
{
    double took = 0;

    *batch = 1;
    if (maker == CM_KEYTIME_LIBCRYPTO) {
        CM_TRY(cm_generator_open(m->key, &m->evp, err));
        return m->key->family == CM_KEYFAM_RSA ? CM_OK : time_evp(m, &took, err);
    }
    CM_TRY(cm_secret_init(&m->secret, sizeof(struct cm_keypair), err));
    CM_TRY(cm_keymaker_open(m->key, CM_KEYGEN_OWN, &m->maker, err));
    cm_keymaker_expect(m->maker, 1);
    CM_TRY(make_own(m, err));
    *batch = cm_keymaker_batch(m->maker);
    return CM_OK;
}

static cm_err take_samples(struct meter *m, const struct cm_keytime_conf *conf, struct cm_keytime *out,
                           struct cm_error *err)
{
    const double start = cm_clock_s();

    while (out->samples < conf->most &&
           (out->samples < conf->least || cm_clock_s() - start < conf->seconds)) {
        double took = 0;
        if (m->evp != NULL)
            CM_TRY(time_evp(m, &took, err));
        else
            CM_TRY(time_own(m, out->batch, &took, err));
        m->us[out->samples++] = 1e6 * took / out->batch;
        if (*conf->stop != 0) {
            *err = (struct cm_error) { .code = CM_E_CLOSED, .os = *conf->stop };
            return CM_E_CLOSED;
        }
    }
    return CM_OK;
}

static void sum_up(double *us, struct cm_keytime *out)
{
    const size_t n = out->samples;

    cm_sort(us, n);
    out->keys = n * out->batch;
    out->min_us = us[0];
    out->max_us = us[n - 1];
    for (size_t i = 0; i < CM_KEYTIME_PERCENTILES; i++)
        out->percentile_us[i] = cm_percentile_of(us, n, cm_keytime_percent[i]);
    for (size_t i = 0; i < n; i++) {
        const double bin = us[i] > 1 ? 10 * log10(us[i]) : 0;
        out->mean_us += us[i] / (double) n;
        out->bin[bin < CM_KEYTIME_BINS ? (size_t) bin : CM_KEYTIME_BINS - 1]++;
    }
}

cm_err cm_keytime_measure(const struct cm_keyalg *key, enum cm_keytime_maker maker,
                          const struct cm_keytime_conf *conf, struct cm_keytime *out, struct cm_error *err)
{
    struct meter m = { .key = key, .us = calloc(conf->most, sizeof *m.us) };
    cpu_set_t before;
    cm_err rc = CM_OK;

    CM_ASSERT(conf->least >= 1 && conf->least <= conf->most);
    *out = (struct cm_keytime) { .key = key, .maker = maker };
    if (m.us == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the times of %llu keys", (unsigned long long) conf->most);
    rc = warm_up(&m, maker, &out->batch, err);
    if (rc == CM_OK)
        rc = cm_thread_pin(conf->cpu, &before, err);
    if (rc == CM_OK)
        rc = cm_thread_unpin(&before, take_samples(&m, conf, out, err), err);
    if (rc == CM_OK)
        sum_up(m.us, out);
    EVP_PKEY_CTX_free(m.evp);
    cm_keymaker_close(m.maker);
    cm_secret_done(&m.secret);
    free(m.us);
    return rc;
}
