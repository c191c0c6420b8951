#include "rehearsal/trust.h"

#include "engine/ossl.h"
#include "io/file.h"

#include <openssl/pem.h>
#include <unistd.h>

enum { SAME_NAME_MAX = 100 }; /* files of one subject's hash */

struct writing {
    const char *dir;
    int dirfd;
    struct cm_error err;
};

static cm_err encode(const struct cm_reg_ca *ca, BIO *bio, unsigned long *hash, struct cm_error *err)
{
    const uint8_t *in = ca->der;
    CM_AUTO(X509) x = d2i_X509(NULL, &in, (long) ca->der_len);
    int ok = 0;

    if (x == NULL || X509_add1_trust_object(x, OBJ_nid2obj(NID_client_auth)) != 1 ||
        PEM_write_bio_X509_AUX(bio, x) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the CA %s", ca->id);
    *hash = X509_NAME_hash_ex(X509_get_subject_name(x), NULL, NULL, &ok);
    if (ok != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't digest the name of the CA %s", ca->id);
    return CM_OK;
}

/* HASH.0, HASH.1 …: the first that is free, and none when one of them is this CA's. A file that is linked to
 * the CA's id tells which is whose. */
static cm_err write_ca(void *arg, const struct cm_reg_ca *ca)
{
    struct writing *w = arg;
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    unsigned long hash = 0;
    char mark[CM_REG_ID + 4], name[32], *text = NULL;

    (void) snprintf(mark, sizeof mark, "%s.pem", ca->id);
    if (faccessat(w->dirfd, mark, F_OK, 0) == 0)
        return CM_OK;
    if (bio == NULL)
        CM_FAIL(&w->err, CM_E_NOMEM, "out of memory for a CA");
    CM_TRY(encode(ca, bio, &hash, &w->err));
    const long len = BIO_get_mem_data(bio, &text);
    CM_TRY(cm_file_replace(w->dirfd, w->dir, mark, cm_span(text, (size_t) len), 0600, &w->err));
    for (unsigned i = 0; i < SAME_NAME_MAX; i++) {
        (void) snprintf(name, sizeof name, "%08lx.%u", hash, i);
        if (linkat(w->dirfd, mark, w->dirfd, name, 0) == 0)
            return CM_OK;
    }
    CM_FAIL(&w->err, CM_E_IO, "can't link the CA %s in %s", ca->id, w->dir);
}

cm_err cm_trust_write(struct cm_registry *r, const char *dir, struct cm_svc_error *no)
{
    struct writing w = { .dir = dir, .dirfd = -1 };

    CM_TRY(cm_dir_open(dir, &w.dirfd, &no->base));
    const cm_err rc = cm_reg_ca_each(r, NULL, write_ca, &w, no);
    if (rc != CM_OK && w.err.code != CM_OK)
        no->base = w.err;
    cm_fd_close(&w.dirfd);
    return rc;
}
