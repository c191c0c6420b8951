#include "engine/cpu.h"
#include "engine/ecway.h"
#include "engine/ossl.h"
#include "engine/secret.h"

#include <openssl/objects.h>
#include <openssl/rand.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Known answers: RFC 6979 A.2.5, A.2.6 and A.2.7, the private key and its public point. */
static const struct known {
    const char *scalar, *x, *y;
} known[] = {
    { "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
      "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
      "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299" },
    { "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
      "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
      "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720" },
    { "FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA896EB32F1F47C70855836A6D16FCC1466F6D8"
      "FB"
      "EC67DB89EC0C08B0E996B83538",
      "1894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD371123D46E45DB6B5D5370A7F20FB633155D38F"
      "FA1"
      "6D2BD761DCAC474B9A2F5023A4",
      "493101C962CD4D2FDDF782285E64584139C2F91B47F87FF82354D6630F746A28A0DB25741B5B34A828008B22ACC23F924FAAFB"
      "D4D"
      "33F81EA66956DFEAA2BFDFCF5" },
};

#ifdef __x86_64__
#define VECTORS(way) (&(way))
#else
#define VECTORS(way) NULL
#endif

static const struct curve {
    const struct cm_eccurve *curve;
    const struct cm_ecfew *few;
    const struct cm_ecway *way[3]; /* the fastest first */
    bool plain_pays;               /* docs/speed.md: libcrypto has assembly for P-256 */
    const struct known *known;
} curves[] = {
    { &cm_p256,
      &cm_ec_few_p256,
      { VECTORS(cm_ec_ifma_p256), VECTORS(cm_ec_fma_p256), &cm_ec_plain_p256 },
      false,
      &known[0] },
    { &cm_p384,
      &cm_ec_few_p384,
      { VECTORS(cm_ec_ifma_p384), VECTORS(cm_ec_fma_p384), &cm_ec_plain_p384 },
      true,
      &known[1] },
    { &cm_p521,
      &cm_ec_few_p521,
      { VECTORS(cm_ec_ifma_p521), VECTORS(cm_ec_fma_p521), &cm_ec_plain_p521 },
      true,
      &known[2] },
};

/* A table in use. */
struct table {
    const struct cm_ecway *way;
    void *memory;
    uint32_t users;
    struct table *next;
};

static struct table *tables;
static pthread_mutex_t tables_lock = PTHREAD_MUTEX_INITIALIZER; /* guards them all */

static const struct curve *curve_of(const struct cm_keyalg *alg)
{
    for (size_t i = 0; alg->family == CM_KEYFAM_EC && i < CM_COUNT(curves); i++)
        if (strcmp(curves[i].curve->name, alg->name) == 0)
            return &curves[i];
    return NULL;
}

/* NULL: libcrypto's is as fast. */
static const struct cm_ecway *best_way(const struct cm_keyalg *alg)
{
    const struct curve *const c = curve_of(alg);

    for (size_t i = 0; c != NULL && i < CM_COUNT(c->way); i++) {
        const struct cm_ecway *const way = c->way[i];
        if (way != NULL && way->level <= cm_cpu_level() && (way->level > CM_CPU_PLAIN || c->plain_pays))
            return way;
    }
    return NULL;
}

bool cm_ecbatch_pays(const struct cm_keyalg *alg)
{
    return best_way(alg) != NULL;
}

const char *cm_ecbatch_name(const struct cm_keyalg *alg)
{
    const struct cm_ecway *const way = best_way(alg);

    return way != NULL ? way->name : "libcrypto";
}

/* --- octets and words ------------------------------------------------------------------ */

static void words_of(const uint8_t *octets, size_t len, cm_num *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < len; i++)
        (*out)[i / 8] |= (uint64_t) octets[len - 1 - i] << (i % 8 * 8);
}

static void octets_of(cm_num *words, size_t len, uint8_t *out)
{
    for (size_t i = 0; i < len; i++)
        out[len - 1 - i] = (uint8_t) ((*words)[i / 8] >> (i % 8 * 8));
}

/* --- tables ------------------------------------------------------------------------------ */

/* The batch's frames held what follows from scalars; below them nothing may stay. */
__attribute__((noinline)) static void burn_stack(void)
{
    uint8_t below[64 * 1024];

    cm_secret_wipe(below, sizeof below);
}

static void run(const struct cm_ecbatch *e, cm_num *scalar, uint32_t count, struct cm_ecpoint *out, bool *bad)
{
    e->way->multiply(e->table, e->work, scalar, count, out, bad);
    cm_secret_wipe(e->work, e->way->work(CM_EC_BATCH));
    burn_stack();
}

static bool hex_number(const char *hex, cm_num *out)
{
    BIGNUM *n = NULL;
    const bool ok = BN_hex2bn(&n, hex) != 0 && BN_bn2lebinpad(n, (uint8_t *) out, sizeof *out) > 0;

    BN_free(n);
    return ok;
}

static cm_err self_test(struct cm_ecbatch *e, const struct known *k, struct cm_error *err)
{
    struct cm_ecpoint want = { 0 };

    if (!hex_number(k->scalar, &e->scalar[0]) || !hex_number(k->x, &want.x) || !hex_number(k->y, &want.y))
        CM_FAIL(err, CM_E_NOMEM, "no memory for a self-test");
    run(e, e->scalar, 1, e->out, e->bad);
    if (e->bad[0] || memcmp(&want, &e->out[0], sizeof want) != 0)
        CM_FAIL(
            err, CM_E_CRYPTO,
            "%s: the self-test of the arithmetic by %s failed on this processor; --ec libcrypto does without",
            e->alg->name, e->way->name);
    return CM_OK;
}

static cm_err make_table(const struct cm_ecway *way, const struct cm_ecfew *few, struct table **out,
                         struct cm_error *err)
{
    const size_t points = (size_t) cm_ec_windows(way->curve, way->width) << (way->width - 1);
    struct cm_ecpoint *const point = calloc(points, sizeof *point);
    struct table *const t = calloc(1, sizeof *t);

    if (t != NULL)
        *t = (struct table) { .way = way, .memory = aligned_alloc(64, (way->table + 63) / 64 * 64) };
    if (t == NULL || t->memory == NULL || point == NULL || !few->multiples(way->width, point)) {
        if (t != NULL)
            free(t->memory);
        free(t);
        free(point);
        CM_FAIL(err, CM_E_NOMEM, "%s: no memory for the table of multiples (%zu octets)", way->curve->name,
                way->table);
    }
    way->fill(point, t->memory);
    free(point);
    t->next = tables;
    tables = t;
    *out = t;
    return CM_OK;
}

/* The way's table, made by who needs it first; *fresh: just now. */
static cm_err use_table(struct cm_ecbatch *e, bool *fresh, struct cm_error *err)
{
    struct table *t = NULL;
    cm_err rc = CM_OK;

    (void) pthread_mutex_lock(&tables_lock);
    for (t = tables; t != NULL && t->way != e->way; t = t->next)
        ;
    *fresh = t == NULL;
    if (t == NULL)
        rc = make_table(e->way, e->few, &t, err);
    if (rc == CM_OK) {
        t->users++;
        e->table = t->memory;
    }
    (void) pthread_mutex_unlock(&tables_lock);
    return rc;
}

static void leave_table(const struct cm_ecbatch *e)
{
    (void) pthread_mutex_lock(&tables_lock);
    for (struct table **at = &tables; e->table != NULL && *at != NULL; at = &(*at)->next) {
        struct table *const t = *at;
        if (t->memory != e->table)
            continue;
        if (--t->users == 0) {
            *at = t->next;
            free(t->memory);
            free(t);
        }
        break;
    }
    (void) pthread_mutex_unlock(&tables_lock);
}

/* --- open and close ---------------------------------------------------------------------- */

static cm_err open_libcrypto(struct cm_ecbatch *e, struct cm_error *err)
{
    e->group = EC_GROUP_new_by_curve_name_ex(NULL, NULL, EC_curve_nist2nid(e->alg->group));
    e->bn = BN_CTX_secure_new();
    e->number = BN_secure_new();
    e->x = BN_new();
    e->y = BN_new();
    e->point = e->group != NULL ? EC_POINT_new(e->group) : NULL;
    if (e->point == NULL || e->bn == NULL || e->number == NULL || e->x == NULL || e->y == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto does not offer it", e->alg->name);
    BN_set_flags(e->number, BN_FLG_CONSTTIME);
    return CM_OK;
}

cm_err cm_ecbatch_open_way(const struct cm_keyalg *alg, const struct cm_ecway *way, struct cm_ecbatch **out,
                           struct cm_error *err)
{
    const size_t head = (sizeof **out + 63) / 64 * 64;
    const struct curve *const c = curve_of(alg);
    struct cm_secret secret = { 0 };
    bool fresh = false;

    CM_ASSERT(c != NULL);
    CM_TRY(cm_secret_init(&secret, head + way->work(CM_EC_BATCH), err));
    struct cm_ecbatch *const e = (struct cm_ecbatch *) (void *) secret.base;
    e->alg = alg;
    e->way = way;
    e->few = c->few;
    e->secret = secret;
    e->work = secret.base + head;
    e->len = ((size_t) way->curve->bits + 7) / 8;
    cm_err rc = open_libcrypto(e, err);
    if (rc == CM_OK)
        rc = use_table(e, &fresh, err);
    if (rc == CM_OK && fresh)
        rc = self_test(e, c->known, err);
    if (rc != CM_OK) {
        cm_ecbatch_close(e);
        return rc;
    }
    *out = e;
    return CM_OK;
}

cm_err cm_ecbatch_open(const struct cm_keyalg *alg, struct cm_ecbatch **out, struct cm_error *err)
{
    return cm_ecbatch_open_way(alg, best_way(alg), out, err);
}

void cm_ecbatch_close(struct cm_ecbatch *e)
{
    if (e == NULL)
        return;
    leave_table(e);
    EC_POINT_free(e->point);
    EC_GROUP_free(e->group);
    BN_clear_free(e->number);
    BN_free(e->x);
    BN_free(e->y);
    BN_CTX_free(e->bn);
    struct cm_secret secret = e->secret;
    cm_secret_done(&secret);
}

/* --- a batch ------------------------------------------------------------------------------ */

/* In [1, n-1]? Says nothing of a scalar that is kept. */
static bool in_range(const struct cm_eccurve *c, cm_num *k)
{
    uint64_t any = 0, borrow = 0;

    for (int i = 0; i < c->n->words; i++) {
        const cm_wide t = (cm_wide) (*k)[i] - c->n->m[i] - borrow;
        borrow = (uint64_t) (t >> 64) & 1;
        any |= (*k)[i];
    }
    return borrow == 1 && any != 0;
}

static cm_err draw(struct cm_ecbatch *e, uint32_t from, uint32_t count, struct cm_error *err)
{
    const int spare = (int) (8 * e->len) - e->way->curve->bits;

    if (RAND_priv_bytes(e->drawn, (int) (count * e->len)) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: the random generator failed", e->alg->name);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *const octets = e->drawn + i * e->len;
        octets[0] &= (uint8_t) (0xff >> spare);
        words_of(octets, e->len, &e->scalar[from + i]);
    }
    return CM_OK;
}

static cm_err draw_scalars(struct cm_ecbatch *e, uint32_t count, struct cm_error *err)
{
    CM_TRY(draw(e, 0, count, err));
    for (uint32_t i = 0; i < count; i++)
        while (!in_range(e->way->curve, &e->scalar[i]))
            CM_TRY(draw(e, i, 1, err));
    return CM_OK;
}

static cm_err by_libcrypto(struct cm_ecbatch *e, cm_num *scalar, struct cm_ecpoint *out, struct cm_error *err)
{
    const int size = sizeof *scalar;

    const bool ok = BN_lebin2bn((const uint8_t *) scalar, size, e->number) != NULL &&
                    EC_POINT_mul(e->group, e->point, e->number, NULL, NULL, e->bn) == 1 &&
                    EC_POINT_get_affine_coordinates(e->group, e->point, e->x, e->y, e->bn) == 1 &&
                    BN_bn2lebinpad(e->x, (uint8_t *) &out->x, size) == size &&
                    BN_bn2lebinpad(e->y, (uint8_t *) &out->y, size) == size;
    BN_clear(e->number);
    if (!ok)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't compute the public key", e->alg->name);
    return CM_OK;
}

static void encode(struct cm_ecbatch *e, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct cm_ecpair *const p = &e->pair[i];
        p->pub[0] = 4; /* SEC 1 2.3.3: uncompressed */
        octets_of(&e->out[i].x, e->len, p->pub + 1);
        octets_of(&e->out[i].y, e->len, p->pub + 1 + e->len);
        octets_of(&e->scalar[i], e->len, p->priv);
    }
}

/* The weight modulo n. Public. */
static void weight_number(const struct cm_modulus *n, const uint8_t *digit, cm_num *out)
{
    const cm_num zero = { 0 };
    int64_t w = 0;

    for (int j = CM_EC_PLACES; j-- > 0;)
        w = w * (1 << CM_EC_DIGIT_BITS) + 2 * digit[j] - 31;
    memset(out, 0, sizeof *out);
    (*out)[0] = (uint64_t) (w < 0 ? -w : w);
    if (w < 0)
        cm_mod_sub(n, zero, *out, *out);
}

/* Reads the pairs back from their octets; e->sum becomes the sum of weight * scalar. */
static cm_err add_scalars(struct cm_ecbatch *e, uint32_t count, struct cm_error *err)
{
    const struct cm_modulus *const n = e->way->curve->n;
    cm_num t, w;

    if (RAND_bytes((uint8_t *) e->weight, (int) (count * sizeof *e->weight)) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: the random generator failed", e->alg->name);
    memset(e->sum, 0, sizeof e->sum);
    for (uint32_t i = 0; i < count; i++) {
        const struct cm_ecpair *const p = &e->pair[i];
        for (int j = 0; j < CM_EC_PLACES; j++)
            e->weight[i][j] &= (1 << CM_EC_DIGIT_BITS) - 1;
        words_of(p->pub + 1, e->len, &e->out[i].x);
        words_of(p->pub + 1 + e->len, e->len, &e->out[i].y);
        words_of(p->priv, e->len, &e->scalar[i]);
        weight_number(n, e->weight[i], &w);
        cm_mod_mul(n, w, e->scalar[i], t);
        cm_mod_add(n, e->sum, t, e->sum);
    }
    cm_mod_mul(n, e->sum, n->rr, e->sum);
    cm_secret_wipe(t, sizeof t);
    return CM_OK;
}

static cm_err check(struct cm_ecbatch *e, uint32_t count, bool *sound, struct cm_error *err)
{
    struct cm_ecjac place[CM_EC_PLACES];
    struct cm_ecpoint left, right;

    CM_TRY(add_scalars(e, count, err));
    *sound = in_range(e->way->curve, &e->sum) && e->way->weigh(e->work, e->out, e->weight, count, place) &&
             e->few->combine(place, &left);
    if (!*sound)
        return CM_OK;
    CM_TRY(by_libcrypto(e, &e->sum, &right, err));
    *sound = memcmp(&left, &right, sizeof left) == 0;
    return CM_OK;
}

static void forget(struct cm_ecbatch *e)
{
    e->made = 0;
    cm_secret_wipe(e->pair, sizeof e->pair);
    cm_secret_wipe(e->drawn, sizeof e->drawn);
    cm_secret_wipe(e->scalar, sizeof e->scalar);
    cm_secret_wipe(e->sum, sizeof e->sum);
}

/* Makes and checks a batch, by the way or by libcrypto alone. */
static cm_err attempt(struct cm_ecbatch *e, uint32_t count, bool libcrypto, bool *sound, struct cm_error *err)
{
    CM_TRY(draw_scalars(e, count, err));
    if (libcrypto)
        memset(e->bad, 1, count * sizeof *e->bad);
    else
        run(e, e->scalar, count, e->out, e->bad);
    for (uint32_t i = 0; i < count; i++)
        if (e->bad[i])
            CM_TRY(by_libcrypto(e, &e->scalar[i], &e->out[i], err));
    encode(e, count);
    return check(e, count, sound, err);
}

cm_err cm_ecbatch_make(struct cm_ecbatch *e, uint32_t count, struct cm_error *err)
{
    bool sound = false;
    cm_err rc = CM_OK;

    CM_ASSERT(count > 0 && count <= CM_EC_BATCH);
    forget(e);
    for (int i = 0; rc == CM_OK && !sound && i < 2; i++) {
        e->failed += i > 0;
        rc = attempt(e, count, i > 0, &sound, err);
        cm_secret_wipe(e->drawn, sizeof e->drawn);
        cm_secret_wipe(e->scalar, sizeof e->scalar);
        cm_secret_wipe(e->sum, sizeof e->sum);
    }
    if (rc == CM_OK && sound) {
        e->made = count;
        return CM_OK;
    }
    forget(e);
    if (rc != CM_OK)
        return rc;
    CM_FAIL(err, CM_E_CRYPTO,
            "%s: public keys that do not belong to their private keys, twice: this machine computes wrongly, "
            "nothing that it makes can be trusted",
            e->alg->name);
}

uint32_t cm_ecbatch_max(const struct cm_ecbatch *e)
{
    (void) e;
    return CM_EC_BATCH;
}

void cm_ecbatch_take(struct cm_ecbatch *e, uint32_t i, struct cm_keypair *out)
{
    struct cm_ecpair *const p = &e->pair[i];

    CM_ASSERT(i < e->made && p->pub[0] == 4);
    out->alg = e->alg;
    out->len = e->len;
    out->pub_len = 1 + 2 * e->len;
    memcpy(out->pub, p->pub, sizeof p->pub);
    memcpy(out->priv, p->priv, sizeof p->priv);
    cm_secret_wipe(p, sizeof *p);
}

uint64_t cm_ecbatch_failed(const struct cm_ecbatch *e)
{
    return e->failed;
}
