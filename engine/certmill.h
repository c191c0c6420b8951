#ifndef CM_ENGINE_CERTMILL_H
#define CM_ENGINE_CERTMILL_H

/* certmill.h - libcertmill: the engine without files and databases.
 *
 *     #include <engine/certmill.h>
 *     cc program.c $(pkg-config --static --cflags --libs certmill)
 *
 * The way of a fleet: cm_ca_open and cm_ca_check the issuer, cm_profile_open what
 * the certificates say, a source of devices (cm_source), two sinks of your own
 * (cm_sink: bundles, manifest rows), and cm_pipeline_open, _start, _wait between
 * them. Each header says who owns what, which thread may call, and what fails how.
 *
 * Before version 1.0 the interface may change with any release.
 */
#include "engine/audit.h"
#include "engine/bytes.h"
#include "engine/ca.h"
#include "engine/cainit.h"
#include "engine/err.h"
#include "engine/keyalg.h"
#include "engine/pipeline.h"
#include "engine/profile.h"
#include "engine/secret.h"
#include "engine/sigalg.h"
#include "engine/when.h"

#endif
