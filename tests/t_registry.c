#include "tests/t_registry.h"

#include "rehearsal/enroll.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cm_registry *t_registry;
struct cm_svc_error t_no;

static char dir[40], path[64];

const char *t_registry_path(void)
{
    return path;
}

void t_registry_setup(void)
{
    struct cm_error err = { 0 };

    (void) snprintf(dir, sizeof dir, "/tmp/t_registry.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/registry", dir);
    cr_assert_eq(cm_registry_open(path, NULL, &t_registry, &err), CM_OK, "%s", err.what);
    t_no = (struct cm_svc_error) { 0 };
}

void t_registry_teardown(void)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char name[80];

    cm_registry_close(t_registry);
    for (size_t i = 0; i < CM_COUNT(ends); i++) {
        (void) snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void) unlink(name);
    }
    (void) rmdir(dir);
}

const char *t_registry_pem(X509 *x509)
{
    static char text[8][8192];
    static unsigned turn;
    char *const out = text[turn++ % 8];
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());

    cr_assert_eq(PEM_write_bio_X509(bio, x509), 1);
    const int n = BIO_read(bio, out, 8191);
    cr_assert_gt(n, 0);
    out[n] = '\0';
    return out;
}

X509 *t_registry_leaf(const struct t_authority *ca, const char *cn)
{
    static long serial = 4711;
    X509 *const x = X509_new();

    cr_assert_eq(X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_ASC,
                                            (const unsigned char *) cn, -1, -1, 0),
                 1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(x), serial++), 1);
    cr_assert_eq(X509_set_issuer_name(x, X509_get_subject_name(ca->x509)), 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    cr_assert_eq(X509_set_pubkey(x, ca->key), 1);
    cr_assert_gt(X509_sign(x, ca->key, EVP_sha256()), 0);
    return x;
}

void t_registry_add_ca(const struct t_authority *ca, char id[CM_REG_ID])
{
    const struct cm_enroll_ca request = {
        .pem = t_registry_pem(ca->x509), .sni_only = true, .active = true, .auto_registration = true
    };

    T_DONE(cm_enroll_ca(t_registry, &request, id, &t_no));
}
