#ifndef CM_TESTS_T_REGISTRY_H
#define CM_TESTS_T_REGISTRY_H

#include "engine/ossl.h"
#include "rehearsal/registry.h"
#include "tests/t_authority.h"

/* t_registry.h - a registry in a directory of its own, and certificates for it. Everything fails by
 * cr_assert. */

extern struct cm_registry *t_registry;
extern struct cm_svc_error t_no;

void t_registry_setup(void);
void t_registry_teardown(void);
const char *t_registry_path(void);

/* The call, which has to end well; one that has to be refused so. */
#define T_DONE(call) cr_assert_eq((call), CM_OK, "%s", t_no.base.what)
#define T_REFUSED(call, want)                                                                                \
    do {                                                                                                     \
        t_no = (struct cm_svc_error) { 0 };                                                                  \
        cr_expect_eq((call), CM_E_INPUT, "%s", t_no.base.what);                                              \
        cr_expect_eq(t_no.kind, (want), "%s instead of %s: %s", cm_svc_name(t_no.kind), cm_svc_name(want),   \
                     t_no.base.what);                                                                        \
    } while (0)

/* PEM of a certificate, in static storage: eight of them in turn. */
const char *t_registry_pem(X509 *x509);
/* A device certificate below ca, or, with a CN of the registration code, what verifies the CA. */
X509 *t_registry_leaf(const struct t_authority *ca, const char *cn);
/* Registers ca: SNI_ONLY, active, auto-registering. */
void t_registry_add_ca(const struct t_authority *ca, char id[CM_REG_ID]);

#endif
