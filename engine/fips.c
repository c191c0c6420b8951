#include "engine/fips.h"

#include "engine/ossl.h"

#include <openssl/core_names.h>
#include <openssl/provider.h>

cm_err cm_fips_enable(char *what, size_t cap, struct cm_error *err)
{
    /* try_load keeps libcrypto usable for the message when there is none. "base" reads key files. */
    OSSL_PROVIDER *const fips = OSSL_PROVIDER_try_load(NULL, "fips", 1);
    const char *name = NULL, *version = NULL;
    OSSL_PARAM ask[] = { OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_NAME, (char **) (uintptr_t) &name, 0),
                         OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_VERSION,
                                                       (char **) (uintptr_t) &version, 0),
                         OSSL_PARAM_construct_end() };

    if (fips == NULL || OSSL_PROVIDER_load(NULL, "base") == NULL ||
        EVP_default_properties_enable_fips(NULL, 1) != 1 || OSSL_PROVIDER_get_params(fips, ask) != 1)
        CM_FAIL(err, CM_E_LIMIT,
                "--fips: libcrypto has no FIPS provider here, or it does not start; install it with "
                "`openssl fipsinstall` (man fips_module), or leave --fips out");
    (void) snprintf(what, cap, "%s %s", name != NULL ? name : "a FIPS provider",
                    version != NULL ? version : "");
    return CM_OK;
}
