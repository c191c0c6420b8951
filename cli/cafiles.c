#include "cli/cafiles.h"

#include "cli/input.h"
#include "cli/passphrase.h"

#include <limits.h>

cm_err cm_cafiles_open(const struct cm_cafiles *f, cm_when now, struct cm_ca **out, struct cm_error *err)
{
    char whose[PATH_MAX + 32], cert_what[64], key_what[64], *cert = NULL;
    size_t cert_len = 0, key_len = 0;
    struct cm_secret key = { 0 };
    struct cm_ca *ca = NULL;
    cm_err rc = CM_OK;

    (void) snprintf(whose, sizeof whose, "%s key %s", f->what, f->key);
    (void) snprintf(cert_what, sizeof cert_what, "%s certificate", f->what);
    (void) snprintf(key_what, sizeof key_what, "%s key", f->what);
    struct cm_passphrase ask = { f->passphrase_file, f->passphrase_option, whose };
    rc = cm_input_read(f->cert, cert_what, &cert, &cert_len, err);
    if (rc == CM_OK)
        rc = cm_input_read_secret(f->key, key_what, f->allow_insecure, &key, &key_len, err);
    if (rc == CM_OK) {
        const struct cm_ca_conf conf = { .cert_pem = cm_span(cert, cert_len),
                                         .key_pem = cm_span(key.base, key_len),
                                         .cert_name = f->cert,
                                         .key_name = f->key,
                                         .signature = f->signature,
                                         .passphrase = cm_passphrase_get,
                                         .passphrase_arg = &ask };
        rc = cm_ca_open(&conf, &ca, err);
    }
    free(cert);
    cm_secret_done(&key);
    if (rc == CM_OK)
        rc = cm_ca_check(ca, now, err);
    if (rc != CM_OK) {
        cm_ca_close(ca);
        return rc;
    }
    *out = ca;
    return CM_OK;
}
