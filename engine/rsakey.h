#ifndef CM_ENGINE_RSAKEY_H
#define CM_ENGINE_RSAKEY_H

#include "engine/keymake.h"
#include "engine/primetest.h"

/* rsakey.h - RSA keys of our own making: two primes of primegen.h, and what follows
 * from them. FIPS 186-5 A.1.1 with e = 65537: |p-q| > 2^(nlen/2-100), d = 1/e modulo
 * lcm(p-1, q-1), d > 2^(nlen/2). Pairs of primes that miss one of these are dropped.
 *
 *  Check      every key by arithmetic, by other operations than those that made it: n is
 *             divided by p; e times d, dP and dQ and q times qInv are reduced to 1. A
 *             wrong CRT value would still sign, and give the key away.
 *  Secrets    out lies in cm_secret memory. In between, numbers are libcrypto's "secure"
 *             BIGNUMs, constant-time where it has that, and cleared.
 *  Threads    a cm_rsakey is one thread's.
 */
struct cm_rsakey;

CM_MUST_CHECK cm_err cm_rsakey_open(const struct cm_keyalg *alg, enum cm_way way, struct cm_rsakey **out,
                                    struct cm_error *err);
CM_MUST_CHECK cm_err cm_rsakey_make(struct cm_rsakey *r, struct cm_keypair *out, struct cm_error *err);
void cm_rsakey_close(struct cm_rsakey *r); /* NULL accepted */

/* The key of two given primes; *fits is false when FIPS 186-5 A.1.1 does not want the pair. For tests, too.
 */
CM_MUST_CHECK cm_err cm_rsakey_of_primes(struct cm_rsakey *r, const cm_nat *p, const cm_nat *q,
                                         struct cm_keypair *out, bool *fits, struct cm_error *err);

#endif
