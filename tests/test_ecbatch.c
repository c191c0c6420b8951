#include "engine/ecway.h"

#include <criterion/criterion.h>
#include <fenv.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>

/* Goal: points are libcrypto's for every scalar, whichever arithmetic computes them; and a batch with a
 * fault in it is never handed out. Method: boundary scalars and random ones by all ways; faults planted in a
 * way. CM_EC_CASES: random scalars for P-256, and a tenth of it for the others. */

#define CURVES 3
#define WAYS 3

#ifdef __x86_64__
#define BY(plain, fma, ifma)                                                                                 \
    {                                                                                                        \
        plain, fma, ifma                                                                                     \
    }
#else
#define BY(plain, fma, ifma)                                                                                 \
    {                                                                                                        \
        plain                                                                                                \
    }
#endif

static const struct {
    const char *name;
    int nid;
    const struct cm_ecway *way[WAYS];
    const struct cm_ecfew *few;
} curves[CURVES] = {
    { "P-256", NID_X9_62_prime256v1, BY(&cm_ec_plain_p256, &cm_ec_fma_p256, &cm_ec_ifma_p256),
      &cm_ec_few_p256 },
    { "P-384", NID_secp384r1, BY(&cm_ec_plain_p384, &cm_ec_fma_p384, &cm_ec_ifma_p384), &cm_ec_few_p384 },
    { "P-521", NID_secp521r1, BY(&cm_ec_plain_p521, &cm_ec_fma_p521, &cm_ec_ifma_p521), &cm_ec_few_p521 },
};

struct oracle {
    EC_GROUP *group;
    EC_POINT *point;
    BIGNUM *k, *x, *y;
    BN_CTX *ctx;
};

static struct oracle open_oracle(int nid)
{
    struct oracle o = { .group = EC_GROUP_new_by_curve_name(nid),
                        .k = BN_new(),
                        .x = BN_new(),
                        .y = BN_new(),
                        .ctx = BN_CTX_new() };

    o.point = EC_POINT_new(o.group);
    return o;
}

static void close_oracle(struct oracle *o)
{
    EC_POINT_free(o->point);
    EC_GROUP_free(o->group);
    BN_free(o->k);
    BN_free(o->x);
    BN_free(o->y);
    BN_CTX_free(o->ctx);
}

static struct cm_ecpoint expected(struct oracle *o, cm_num *k)
{
    struct cm_ecpoint p = { 0 };

    BN_lebin2bn((const uint8_t *) k, sizeof *k, o->k);
    cr_assert(EC_POINT_mul(o->group, o->point, o->k, NULL, NULL, o->ctx));
    cr_assert(EC_POINT_get_affine_coordinates(o->group, o->point, o->x, o->y, o->ctx));
    BN_bn2lebinpad(o->x, (uint8_t *) &p.x, sizeof p.x);
    BN_bn2lebinpad(o->y, (uint8_t *) &p.y, sizeof p.y);
    return p;
}

/* The number i of the boundary scalars, or a random one: 1, 2 ..., n - 1, n - 2 ..., powers of two and their
 * neighbours, every digit of a window in every window at once. */
static void scalar(struct oracle *o, uint32_t i, cm_num *out)
{
    const BIGNUM *const n = EC_GROUP_get0_order(o->group);
    const uint32_t bits = (uint32_t) BN_num_bits(n);

    BN_set_word(o->k, 0);
    if (i < 130) {
        BN_set_word(o->k, i + 1);
    } else if (i < 260) {
        BN_copy(o->k, n);
        BN_sub_word(o->k, i - 129);
    } else if (i < 260 + 3 * bits) {
        BN_set_bit(o->k, (int) ((i - 260) / 3));
        if ((i - 260) % 3 == 0)
            BN_sub_word(o->k, 1);
        if ((i - 260) % 3 == 1)
            BN_add_word(o->k, 1);
    } else if (i < 260 + 3 * bits + 192) {
        const int width = i < 260 + 3 * bits + 64 ? 6 : 7;
        const BN_ULONG digit = (i - 260 - 3 * bits) % (1u << width);
        for (uint32_t at = 0; at < bits + (uint32_t) width; at += (uint32_t) width) {
            BN_lshift(o->k, o->k, width);
            BN_add_word(o->k, digit);
        }
        BN_lshift1(o->k, o->k);
        BN_add_word(o->k, 1);
    } else {
        BN_rand_range(o->k, n);
    }
    BN_nnmod(o->k, o->k, n, o->ctx);
    if (BN_is_zero(o->k))
        BN_one(o->k);
    BN_bn2lebinpad(o->k, (uint8_t *) out, sizeof *out);
}

static uint32_t cases(int curve)
{
    const char *const given = getenv("CM_EC_CASES");
    const uint32_t all = given != NULL ? (uint32_t) strtoul(given, NULL, 10) : 2000;

    return curve == 0 ? all : all / 10;
}

static bool runs_here(const struct cm_ecway *way)
{
    return way != NULL && way->level <= cm_cpu_level();
}

static void *aligned(size_t octets)
{
    void *const p = aligned_alloc(64, (octets + 63) / 64 * 64);

    cr_assert_not_null(p);
    return p;
}

static void *table_of(int curve, const struct cm_ecway *way)
{
    const size_t points = (size_t) cm_ec_windows(way->curve, way->width) << (way->width - 1);
    struct cm_ecpoint *const point = calloc(points, sizeof *point);
    void *const table = aligned(way->table);

    cr_assert(curves[curve].few->multiples(way->width, point));
    way->fill(point, table);
    free(point);
    return table;
}

static void compare_way(int curve, const struct cm_ecway *way)
{
    const uint32_t all = 260 + 3 * (uint32_t) way->curve->bits + 192 + cases(curve);
    static cm_num k[CM_EC_BATCH];
    static struct cm_ecpoint out[CM_EC_BATCH];
    bool bad[CM_EC_BATCH];
    struct oracle o = open_oracle(curves[curve].nid);
    void *const table = table_of(curve, way), *const work = aligned(way->work(CM_EC_BATCH));

    for (uint32_t from = 0, count = 1; from < all; from += count, count = count % CM_EC_BATCH + 1) {
        for (uint32_t i = 0; i < count; i++)
            scalar(&o, from + i, &k[i]);
        way->multiply(table, work, k, count, out, bad);
        for (uint32_t i = 0; i < count; i++) {
            const struct cm_ecpoint want = expected(&o, &k[i]);
            cr_assert_not(bad[i]);
            cr_assert_arr_eq(&out[i], &want, sizeof want, "%s by %s, scalar %u", curves[curve].name,
                             way->name, from + i);
        }
    }
    free(table);
    free(work);
    close_oracle(&o);
}

Test(ecbatch, points_are_libcryptos, .timeout = 200)
{
    for (int i = 0; i < CURVES; i++)
        for (int w = 0; w < WAYS; w++)
            if (runs_here(curves[i].way[w]))
                compare_way(i, curves[i].way[w]);
}

/* However the caller rounds: upwards here, and so it rounds afterwards. */
Test(ecbatch, rounding_is_the_callers, .timeout = 100)
{
    const int before = fegetround();
    volatile double one = 1, tiny = 0x1p-60;

    cr_assert_eq(fesetround(FE_UPWARD), 0);
    for (int w = 0; w < WAYS; w++)
        if (runs_here(curves[0].way[w])) {
            compare_way(0, curves[0].way[w]);
            cr_assert_gt(one + tiny, 1.0, "%s: the caller's rounding is gone", curves[0].way[w]->name);
        }
    cr_assert_eq(fesetround(before), 0);
}

/* --- whole batches -------------------------------------------------------------------- */

static bool is_pair(struct oracle *o, const struct cm_keypair *p)
{
    uint8_t pub[1 + 2 * CM_EC_MAX];

    BN_bin2bn(p->priv, (int) p->len, o->k);
    cr_assert(EC_POINT_mul(o->group, o->point, o->k, NULL, NULL, o->ctx));
    const size_t len =
        EC_POINT_point2oct(o->group, o->point, POINT_CONVERSION_UNCOMPRESSED, pub, sizeof pub, o->ctx);
    return len == p->pub_len && memcmp(pub, p->pub, len) == 0 && !BN_is_zero(o->k) &&
           BN_cmp(o->k, EC_GROUP_get0_order(o->group)) < 0;
}

/* Takes the whole batch; each a pair of its own. */
static void take_all(struct cm_ecbatch *e, struct oracle *o, uint32_t count)
{
    static struct cm_keypair pair[CM_EC_BATCH];

    for (uint32_t i = 0; i < count; i++) {
        cm_ecbatch_take(e, i, &pair[i]);
        cr_assert(is_pair(o, &pair[i]), "pair %u of %u", i, count);
        for (uint32_t j = 0; j < i; j++)
            cr_assert_arr_neq(pair[j].priv, pair[i].priv, pair[i].len, "pairs %u and %u", i, j);
    }
}

Test(ecbatch, pairs, .timeout = 120)
{
    static const uint32_t counts[] = { 1, 2, 7, 8, 9, CM_EC_BATCH };

    for (int c = 0; c < CURVES; c++) {
        for (int w = 0; w < WAYS; w++) {
            struct oracle o = open_oracle(curves[c].nid);
            struct cm_ecbatch *e = NULL;
            if (!runs_here(curves[c].way[w]))
                continue;
            cr_assert_eq(cm_ecbatch_open_way(cm_keyalg_find(curves[c].name), curves[c].way[w], &e, NULL),
                         CM_OK);
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                cr_assert_eq(cm_ecbatch_make(e, counts[i], NULL), CM_OK);
                take_all(e, &o, counts[i]);
            }
            cr_assert_eq(cm_ecbatch_failed(e), 0);
            cm_ecbatch_close(e);
            close_oracle(&o);
        }
    }
}

/* --- faults ---------------------------------------------------------------------------- */

enum fault { NONE, SWAPPED, MINUS, OTHER_ROW, OFF_CURVE, SCALAR_BIT, LAST_ONE, NEVER_SOUND, FAULTS };

static enum fault fault;

static void faulty_multiply(const void *table, void *work, cm_num *k, uint32_t count, struct cm_ecpoint *out,
                            bool *bad)
{
    const uint32_t at = (uint32_t) rand() % (count - 1);
    static cm_num copy[CM_EC_BATCH];
    const struct cm_ecpoint old = { 0 };
    struct cm_ecpoint t = old;

    memcpy(copy, k, count * sizeof *k);
    if (fault == SCALAR_BIT)
        copy[at][rand() % 3] ^= UINT64_C(1) << (rand() % 64);
    cm_ec_plain_p256.multiply(table, work, copy, count, out, bad);
    t = out[at];
    if (fault == SWAPPED) {
        out[at] = out[at + 1];
        out[at + 1] = t;
    } else if (fault == MINUS) {
        cm_mod_sub(&cm_p256_p, old.y, t.y, out[at].y);
    } else if (fault == OTHER_ROW) { /* one entry of a table taken for its neighbour */
        copy[at][1] ^= 1 << 7;
        cm_ec_plain_p256.multiply(table, work, copy + at, 1, &out[at], &bad[at]);
    } else if (fault == OFF_CURVE) {
        out[at].x[rand() % 4] ^= 1;
    } else if (fault == LAST_ONE) {
        cm_mod_sub(&cm_p256_p, old.y, out[count - 1].y, out[count - 1].y);
    }
}

static bool faulty_weigh(void *work, const struct cm_ecpoint *point, cm_ecweight *weight, uint32_t count,
                         struct cm_ecjac *out)
{
    return fault != NEVER_SOUND && cm_ec_plain_p256.weigh(work, point, weight, count, out);
}

static struct cm_ecway faulty_way(void)
{
    struct cm_ecway way = cm_ec_plain_p256;

    way.multiply = faulty_multiply;
    way.weigh = faulty_weigh;
    return way;
}

/* CM_EC_FAULTS: how many of each kind. */
Test(ecbatch, faults_are_caught, .timeout = 200)
{
    const char *const given = getenv("CM_EC_FAULTS");
    const uint32_t rounds = given != NULL ? (uint32_t) strtoul(given, NULL, 10) : 10;
    const struct cm_ecway way = faulty_way();
    struct oracle o = open_oracle(NID_X9_62_prime256v1);
    struct cm_ecbatch *e = NULL;

    /* the self-test takes one scalar only, where no fault of these can be */
    fault = NONE;
    cr_assert_eq(cm_ecbatch_open_way(cm_keyalg_find("P-256"), &cm_ec_plain_p256, &e, NULL), CM_OK);
    e->way = &way;
    for (uint32_t i = 0; i < rounds; i++)
        for (int f = SWAPPED; f < NEVER_SOUND; f++) {
            const uint64_t before = cm_ecbatch_failed(e);
            fault = (enum fault) f;
            cr_assert_eq(cm_ecbatch_make(e, 20, NULL), CM_OK);
            cr_assert_eq(cm_ecbatch_failed(e), before + 1, "fault %d of round %u went through", f, i);
            take_all(e, &o, 20);
        }
    cm_ecbatch_close(e);
    close_oracle(&o);
}

Test(ecbatch, the_second_failure_is_the_last, .timeout = 60)
{
    const struct cm_ecway way = faulty_way();
    struct cm_error err = { 0 };
    struct cm_ecbatch *e = NULL;

    fault = NONE;
    cr_assert_eq(cm_ecbatch_open_way(cm_keyalg_find("P-256"), &cm_ec_plain_p256, &e, NULL), CM_OK);
    e->way = &way;
    fault = NEVER_SOUND;
    cr_assert_eq(cm_ecbatch_make(e, 20, &err), CM_E_CRYPTO);
    cr_assert_not_null(strstr(err.what, "P-256"));
    cm_ecbatch_close(e);
}

static void wrong_multiply(const void *table, void *work, cm_num *k, uint32_t count, struct cm_ecpoint *out,
                           bool *bad)
{
    cm_ec_plain_p256.multiply(table, work, k, count, out, bad);
    out[0].x[0] ^= 1;
}

Test(ecbatch, self_test_fails, .timeout = 60)
{
    struct cm_ecway way = cm_ec_plain_p256;
    struct cm_error err = { 0 };
    struct cm_ecbatch *e = NULL;

    way.multiply = wrong_multiply;
    cr_assert_eq(cm_ecbatch_open_way(cm_keyalg_find("P-256"), &way, &e, &err), CM_E_CRYPTO);
    cr_assert_not_null(strstr(err.what, "--ec libcrypto"), "%s", err.what);
}
