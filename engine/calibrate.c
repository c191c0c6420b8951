#include "engine/calibrate.h"

#include "engine/keymake.h"
#include "engine/secret.h"

#include <openssl/rand.h>
#include <time.h>

struct bench {
    struct cm_keymaker *maker;
    struct cm_signer *signer;
    struct cm_secret secret;
};

static double now_us(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static cm_err time_keys(struct bench *b, double budget_us, double *mean_us, struct cm_error *err)
{
    const double start = now_us();
    double n = 0;

    do {
        const cm_err rc = cm_keymaker_make(b->maker, (struct cm_keypair *) (void *) b->secret.base, err);
        cm_secret_wipe(b->secret.base, sizeof(struct cm_keypair));
        CM_TRY(rc);
        n++;
    } while (now_us() - start < budget_us);
    *mean_us = (now_us() - start) / n;
    return CM_OK;
}

static cm_err time_signatures(struct bench *b, double budget_us, double *mean_us, struct cm_error *err)
{
    uint8_t noise[512], sig[1024];
    const double start = now_us();
    double n = 0;

    if (RAND_bytes(noise, sizeof noise) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the random generator failed");
    noise[0] = 0; /* no DER begins like this: what is signed can't be taken for a certificate */
    do {
        size_t len = sizeof sig;
        CM_TRY(cm_signer_sign(b->signer, cm_span(noise, sizeof noise), sig, &len, err));
        n++;
    } while (now_us() - start < budget_us);
    *mean_us = (now_us() - start) / n;
    return CM_OK;
}

cm_err cm_calibrate(const struct cm_keyalg *key, enum cm_keygen how, const struct cm_ca *ca, uint32_t ms,
                    struct cm_calibration *out, struct cm_error *err)
{
    const double half_us = ms * 1000.0 / 2;
    struct bench b = { 0 };
    cm_err rc = cm_secret_init(&b.secret, sizeof(struct cm_keypair), err);

    if (rc == CM_OK)
        rc = cm_keymaker_open(key, how, &b.maker, err);
    if (rc == CM_OK)
        rc = cm_signer_open(ca, &b.signer, err);
    if (rc == CM_OK)
        rc = time_keys(&b, half_us, &out->key_us, err);
    if (rc == CM_OK)
        rc = time_signatures(&b, half_us, &out->sign_us, err);
    cm_signer_close(b.signer);
    cm_keymaker_close(b.maker);
    cm_secret_done(&b.secret);
    return rc;
}
