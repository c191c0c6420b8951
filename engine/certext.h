#ifndef CM_ENGINE_CERTEXT_H
#define CM_ENGINE_CERTEXT_H

#include "engine/certread.h"

/* certext.h - the extensions of a certificate; a part of certread. */

/* exts: what the SEQUENCE OF Extension holds. Fills the extension fields of *c.
 *  Strict   at least one; none twice; standard ones read to the end, those under
 *           id-ce and id-pe that aren't read here at least strict DER; the content
 *           of all others is their inventor's.
 *  Limits   64 extensions. */
CM_MUST_CHECK cm_err cm_certext(struct cm_span exts, struct cm_certread *c, struct cm_error *err);

#endif
