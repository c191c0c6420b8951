#include "engine/ca.h"
#include "engine/cainit.h"

#include <pthread.h>

/* Goal: one CA serves many threads, each with its own signer, without a race and without a wrong signature.
 * Method: sign and verify from several threads at once; ThreadSanitizer watches. */
enum { THREADS = 4, ROUNDS = 200 };

struct job {
    const struct cm_ca *ca;
    struct cm_error err;
    cm_err rc;
};

static cm_err work(struct job *j)
{
    struct cm_signer *s = NULL;
    cm_err rc = cm_signer_open(j->ca, &s, &j->err);

    for (uint32_t i = 0; rc == CM_OK && i < ROUNDS; i++) {
        uint8_t tbs[256] = { (uint8_t) i }, sig[1024];
        size_t len = sizeof sig;
        rc = cm_signer_sign(s, cm_span(tbs, sizeof tbs), sig, &len, &j->err);
        if (rc == CM_OK)
            rc = cm_signer_verify(s, cm_span(tbs, sizeof tbs), cm_span(sig, len), &j->err);
    }
    cm_signer_close(s);
    return rc;
}

static void *thread(void *arg)
{
    struct job *j = arg;

    j->rc = work(j);
    return NULL;
}

static cm_err run(const char *key, struct cm_error *err)
{
    static uint8_t cert[CM_CAINIT_CERT_MAX], secret[CM_CAINIT_KEY_MAX];
    struct cm_writer c = cm_writer(cert, sizeof cert), k = cm_writer(secret, sizeof secret);
    const struct cm_cainit_conf make = {
        .key = key, .subject = "/CN=Stress", .pathlen = -1, .now = cm_when_now()
    };
    struct job job[THREADS] = { 0 };
    pthread_t id[THREADS];
    struct cm_ca *ca = NULL;

    CM_TRY(cm_cainit(&make, &c, &k, err));
    const struct cm_ca_conf conf = { .cert_pem = cm_span(cert, c.len),
                                     .key_pem = cm_span(secret, k.len),
                                     .cert_name = "cert",
                                     .key_name = "key" };
    CM_TRY(cm_ca_open(&conf, &ca, err));
    for (size_t i = 0; i < THREADS; i++) {
        job[i].ca = ca;
        CM_ASSERT(pthread_create(&id[i], NULL, thread, &job[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        CM_ASSERT(pthread_join(id[i], NULL) == 0);
    cm_ca_close(ca);
    for (size_t i = 0; i < THREADS; i++)
        if (job[i].rc != CM_OK) {
            *err = job[i].err;
            return job[i].rc;
        }
    return CM_OK;
}

int main(void)
{
    static const char *const keys[] = { "P-256", "P-384", "RSA-2048", "Ed25519" };

    for (size_t i = 0; i < CM_COUNT(keys); i++) {
        struct cm_error err = { 0 };
        if (run(keys[i], &err) != CM_OK) {
            fprintf(stderr, "%s: %s\n", keys[i], err.what);
            return 1;
        }
    }
    return 0;
}
