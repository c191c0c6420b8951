#ifndef CM_ENGINE_XXH_H
#define CM_ENGINE_XXH_H

#include <stddef.h>
#include <stdint.h>

/* xxh.h - XXH3, which finds accidents and proves nothing against an attacker.
 * The only file that knows xxhash.h is xxh.c. */

/* XXH3-128 in canonical (big-endian) order: what `xxh128sum` prints as hex. */
void cm_xxh128(const void *data, size_t len, uint8_t out[16]);
/* The same, piece by piece: open, any number of updates, final, which closes it. */
struct cm_xxh;
struct cm_xxh *cm_xxh_open(void); /* NULL: no memory */
void cm_xxh_update(struct cm_xxh *x, const void *data, size_t len);
void cm_xxh_final(struct cm_xxh *x, uint8_t out[16]);
uint64_t cm_xxh64(const void *data, size_t len); /* XXH3-64 */

#endif
