#ifndef CM_ENGINE_TMPL_EXT_H
#define CM_ENGINE_TMPL_EXT_H

#include "engine/tmpl_cert.h"

/* tmpl_ext.h - a profile's extension section becomes [3] of the template.
 *
 * The subject key identifier is a slot, the authority key identifier the CA's
 * own; everything else is encoded once by libcrypto with marks where the
 * placeholders stood, then taken apart: each TLV on the way to a mark becomes an
 * open and a close, the mark a field, the rest literals.
 */
CM_MUST_CHECK cm_err cm_tmpl_extensions(const struct cm_certspec *spec, struct cm_tmpl *t,
                                        struct cm_error *err);

#endif
