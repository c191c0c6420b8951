#ifndef CM_IO_BUNDLE_H
#define CM_IO_BUNDLE_H

#include "engine/bytes.h"

/* bundle.h - takes a stored bundle apart (docs/formats.md, "Bundles"): the device's
 * certificate, then those of the CAs above it, PEM or DER. Pure; no state. */

/* Octets that cm_bundle_leaf writes at most for a bundle of this length. */
size_t cm_bundle_leaf_max(size_t bundle_len);
/* The first certificate, as PEM, to w. False: the bundle does not begin with one. */
bool cm_bundle_leaf(struct cm_span bundle, bool der, struct cm_writer *w);

#endif
