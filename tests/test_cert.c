/* Goal: what one device gets is whole and consistent: bundle, key and row say the same, in every layout,
 * encoding and key format; serials are as promised; and no batch needs more memory than its plan. Method:
 * batches are minted and taken apart by libcrypto and jansson. That the certificate itself is right is
 * test_tbs's. */
#include "engine/keyenc.h"
#include "engine/xxh.h"
#include "engine/serials.h"
#include "tests/t_ident.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>

static struct t_plant plant;
static struct cm_minter *minter;

static struct cm_batch *mint(const struct t_plant_conf *conf, uint64_t seq)
{
    struct cm_error err = { 0 };

    t_plant_open(&plant, conf);
    cr_assert_eq(cm_minter_open(&plant.mint, &minter, &err), CM_OK, "%s", err.what);
    return t_plant_batch(&plant, minter, seq, " ü");
}

static void done(struct cm_batch *b)
{
    cm_pool_release(plant.pool, b);
    cm_minter_close(minter);
    t_plant_close(&plant);
}

static void hex_of(const void *data, size_t len, char *out)
{
    struct cm_writer w = cm_writer(out, 2 * len);

    cm_put_hex(&w, data, len);
    out[2 * len] = '\0';
}

static void expect_hash(const json_t *row, const char *key, const EVP_MD *md, const void *data, size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char hex[2 * EVP_MAX_MD_SIZE + 1];

    cr_assert_eq(EVP_Digest(data, len, digest, &n, md, NULL), 1);
    hex_of(digest, n, hex);
    cr_expect_str_eq(json_string_value(json_object_get(row, key)), hex, "%s", key);
}

/* The stored thing's own digests. */
static void expect_blob(const json_t *row, const char *key, const uint8_t *data, size_t len)
{
    const json_t *blob = json_object_get(row, key);
    uint8_t xxh[16];
    char hex[33];

    expect_hash(blob, "sha256", EVP_sha256(), data, len);
    cm_xxh128(data, len, xxh);
    hex_of(xxh, 16, hex);
    cr_expect_str_eq(json_string_value(json_object_get(blob, "xxh3")), hex);
    cr_expect_eq((size_t) json_integer_value(json_object_get(blob, "length")), len);
}

static X509 *read_chain(const struct cm_batch *b, const struct cm_rec *rec, bool pem)
{
    const uint8_t *data = b->chain + rec->chain_off;
    const struct cm_span ca = pem ? cm_ca_chain_pem(plant.ca) : cm_ca_chain_der(plant.ca);
    const unsigned char *at = data;
    X509 *leaf = NULL;

    cr_assert_gt(rec->chain_len, ca.len);
    cr_expect(cm_span_eq(ca, cm_span(data + rec->chain_len - ca.len, ca.len)),
              "the CA's chain ends the bundle");
    if (!pem) {
        leaf = d2i_X509(NULL, &at, (long) rec->chain_len);
        cr_expect_eq((size_t) (at - data), rec->chain_len - ca.len);
        return leaf;
    }
    CM_AUTO(BIO) in = BIO_new_mem_buf(data, (int) rec->chain_len);
    leaf = PEM_read_bio_X509(in, NULL, NULL, NULL);
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());
    char *text = NULL;
    cr_assert(leaf != NULL && PEM_write_bio_X509(out, leaf) == 1);
    const long len = BIO_get_mem_data(out, &text);
    cr_expect(cm_span_eq(cm_span(text, (size_t) len), cm_span(data, rec->chain_len - ca.len)));
    return leaf;
}

static EVP_PKEY *read_key(const struct cm_batch *b, const struct cm_rec *rec, bool pem)
{
    const unsigned char *at = b->keys + rec->key_off;
    CM_AUTO(BIO) in = BIO_new_mem_buf(at, (int) rec->key_len);

    return pem ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL)
               : d2i_AutoPrivateKey(NULL, &at, (long) rec->key_len);
}

static void expect_row(const struct cm_batch *b, uint32_t i, X509 *leaf)
{
    const struct cm_rec *rec = &b->rec[i];
    static char text[8192];
    struct cm_writer w = cm_writer(text, sizeof text - 1);
    uint8_t serial[CM_SERIAL_LEN], *der = NULL, *spki = NULL;
    char hex[64], id[40];
    CM_AUTO(BIGNUM) number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);

    cm_row_place(b, rec, plant.mint.layout, &w);
    text[w.len] = '\0';
    json_t *row = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(row, "%s", text);
    const int der_len = i2d_X509(leaf, &der), spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);
    expect_hash(row, "certificate_id", EVP_sha256(), der, (size_t) der_len);
    expect_hash(row, "thumbprint_sha1", EVP_sha1(), der, (size_t) der_len);
    expect_hash(row, "spki_sha256", EVP_sha256(), spki, (size_t) spki_len);
    hex_of(rec->certificate_id, 20, hex);
    cr_expect(strncmp(json_string_value(json_object_get(row, "certificate_id")), hex, 40) == 0);
    expect_blob(row, "chain", b->chain + rec->chain_off, rec->chain_len);
    expect_blob(row, "key", b->keys + rec->key_off, rec->key_len);
    cr_assert_eq(BN_bn2binpad(number, serial, CM_SERIAL_LEN), CM_SERIAL_LEN);
    hex_of(serial, CM_SERIAL_LEN, hex);
    cr_expect_str_eq(json_string_value(json_object_get(row, "serial")), hex);
    cr_expect(memcmp(serial, b->prefix, 8) == 0 && memcmp(serial + 8, b->random + 12 * (size_t) i, 12) == 0);
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(leaf);
    hex_of(ski->data, 20, hex);
    cr_expect_str_eq(json_string_value(json_object_get(row, "ski")), hex);
    (void) snprintf(id, sizeof id, "SN%08llu ü", (unsigned long long) rec->seq);
    cr_expect_str_eq(json_string_value(json_object_get(row, "device_id")), id);
    (void) snprintf(hex, sizeof hex, "CN=%s", id);
    cr_expect_str_eq(json_string_value(json_object_get(row, "subject")), hex);
    json_decref(row);
    OPENSSL_free(der);
    OPENSSL_free(spki);
}

static void expect_device(const struct cm_batch *b, uint32_t i, bool pem)
{
    CM_AUTO(X509) leaf = read_chain(b, &b->rec[i], pem);
    CM_AUTO(EVP_PKEY) key = read_key(b, &b->rec[i], pem);

    cr_assert(leaf != NULL && key != NULL);
    cr_expect_eq(X509_check_private_key(leaf, key), 1);
    cr_expect_eq(X509_verify(leaf, X509_get0_pubkey(cm_ca_x509(plant.ca))), 1);
    const X509_ALGOR *outer = NULL;
    X509_get0_signature(NULL, &outer, leaf);
    cr_expect_eq(X509_ALGOR_cmp(outer, X509_get0_tbs_sigalg(leaf)), 0);
    expect_row(b, i, leaf);
}

/* Where the entry at `at` begins if it is the last of its image: padding may stand before it. */
static size_t behind_padding(const uint8_t *image, size_t at, bool last)
{
    if (!last || strcmp((const char *) image + at, "pax_global_header") != 0)
        return at;
    return at + 512 + strtoul((const char *) image + at + 124, NULL, 8);
}

/* Entries of the tar layout stand behind headers with their name, and the last one may be behind padding, so
 * that the image ends on 4096; the tree has nothing around. */
static void expect_layout(const struct cm_batch *b)
{
    size_t chain_at = 0, key_at = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        const struct cm_rec *r = &b->rec[i];
        char name[64];
        if (plant.mint.layout == CM_LAYOUT_TAR) {
            chain_at = behind_padding(b->chain, chain_at, i + 1 == b->count);
            key_at = behind_padding(b->keys, key_at, i + 1 == b->count);
            (void) snprintf(name, sizeof name, "SN%08llu%%20%%C3%%BC.crt", (unsigned long long) r->seq);
            cr_expect_str_eq((const char *) b->chain + chain_at, name);
            memcpy(strrchr(name, '.'), ".key", 5);
            cr_expect_str_eq((const char *) b->keys + key_at, name);
            chain_at += 512;
            key_at += 512;
        }
        cr_assert(r->chain_off == chain_at && r->key_off == key_at);
        chain_at += r->chain_len;
        key_at += r->key_len;
        if (plant.mint.layout == CM_LAYOUT_TAR) {
            chain_at = (chain_at + 511) / 512 * 512;
            key_at = (key_at + 511) / 512 * 512;
        }
    }
    if (plant.mint.layout == CM_LAYOUT_TAR)
        cr_expect(b->chain_len % 4096 == 0 && b->keys_len % 4096 == 0 && b->chain_len > 0);
    cr_expect(b->chain_len == chain_at && b->keys_len == key_at);
}

Test(cert, every_layout_encoding_and_form, .timeout = 200)
{
    static const char *const algs[] = { "P-256", "P-521", "RSA-2048", "Ed25519" };

    for (size_t a = 0; a < CM_COUNT(algs); a++)
        for (unsigned way = 0; way < 8; way++) {
            const struct t_plant_conf conf = { .key = algs[a],
                                               .ca_key = way % 2 == 0 ? "P-256" : "Ed25519",
                                               .layout = (way & 1) != 0 ? CM_LAYOUT_TREE : CM_LAYOUT_TAR,
                                               .encoding = (way & 2) != 0 ? CM_ENCODE_DER : CM_ENCODE_PEM,
                                               .key_format =
                                                   (way & 4) != 0 ? CM_KEYS_TRADITIONAL : CM_KEYS_PKCS8,
                                               .devices = 2 };
            if ((way & 4) != 0 && strcmp(algs[a], "Ed25519") == 0)
                continue;
            if (strcmp(algs[a], "RSA-2048") == 0 && way % 3 != 0)
                continue; /* slow */
            struct cm_batch *b = mint(&conf, 41);
            cr_assert_eq(b->count, 2);
            expect_layout(b);
            for (uint32_t i = 0; i < b->count; i++)
                expect_device(b, i, conf.encoding == CM_ENCODE_PEM);
            const char *label = conf.key_format == CM_KEYS_TRADITIONAL
                                    ? cm_keyenc_traditional_label(plant.mint.key)
                                    : "PRIVATE KEY";
            if (conf.encoding == CM_ENCODE_PEM)
                cr_expect_eq(memcmp(b->keys + b->rec[0].key_off + 11, label, strlen(label)), 0, "%s", label);
            done(b);
        }
}

Test(cert, serials_are_positive_of_20_octets_and_differ, .timeout = 60)
{
    const struct t_plant_conf conf = { .devices = 50 };
    struct cm_batch *b = mint(&conf, 1);
    bool first[256] = { false };

    for (uint32_t i = 0; i < b->count; i++)
        for (uint32_t k = 0; k < i; k++)
            cr_assert(memcmp(b->random + 12 * (size_t) i, b->random + 12 * (size_t) k, 12) != 0);
    for (int i = 0; i < 4000; i++) {
        uint8_t before[CM_SERIAL_PREFIX];
        memcpy(before, b->prefix, sizeof before);
        cr_assert_eq(cm_serials_prefix(b->prefix, NULL), CM_OK);
        cr_assert(memcmp(before, b->prefix, sizeof before) != 0);
        first[b->prefix[0]] = true;
    }
    for (int v = 0; v < 256; v++)
        cr_expect_eq(first[v], v >= 1 && v <= 0x7f, "%02x as the first octet", (unsigned) v);
    done(b);
}

/* ---- the plan ---- */

static const struct {
    const char *what, *id, *subject, *san;
} greedy[] = {
    { "quotes everywhere", "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"",
      "/O={id}{id}/OU={id}{id}/CN={id}{id}/OU={id}", "otherName:1.2.3;UTF8:{id}{id}{id}{id}" },
    { "the longest id",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "/UID={id}{uuid}{seq:020}/1.3.6.1.4.1.37244.2.1={id}{id}",
      "URI:urn:{id}{id}{id}{mac}{uuid},DNS:{seq:020}" },
    { "an empty subject", "x", "/", "critical,URI:urn:{id}" },
    { "backslashes in constants", ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,",
      "/O=\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\/OU=<<<<<<<<<<<<<<>>>>>>>>>>>>>>>/CN={id}{id}",
      NULL },
};

/* Full batches of the greediest devices fit: cm_mint_one fails with CM_E_NOSPACE otherwise. */
Test(cert, no_batch_needs_more_than_its_plan, .timeout = 200)
{
    for (size_t g = 0; g < CM_COUNT(greedy); g++)
        for (unsigned way = 0; way < 4; way++) {
            const struct t_plant_conf conf = { .subject = greedy[g].subject,
                                               .san = greedy[g].san,
                                               .key = way == 3 ? "Ed25519" : "P-521",
                                               .ca_key = way % 2 == 0 ? "P-521" : "RSA-2048",
                                               .layout = way < 2 ? CM_LAYOUT_TAR : CM_LAYOUT_TREE,
                                               .encoding = way % 2 == 0 ? CM_ENCODE_PEM : CM_ENCODE_DER,
                                               .devices = 20,
                                               .batches = 1 };
            struct cm_batch *b = NULL;
            struct cm_error err = { 0 };
            t_plant_open(&plant, &conf);
            cr_assert_eq(cm_minter_open(&plant.mint, &minter, &err), CM_OK, "%s", err.what);
            cr_assert_eq(cm_pool_acquire(plant.pool, &b), CM_OK);
            while (cm_batch_add(b, cm_span_str(greedy[g].id), UINT64_MAX - b->count, (1ull << 48) - 1))
                continue;
            cr_expect_eq(b->count, 20, "%s: the ids don't fit", greedy[g].what);
            cr_assert_eq(cm_serials_prefix(b->prefix, &err), CM_OK);
            cr_assert_eq(cm_mint_begin(minter, b, &err), CM_OK);
            for (uint32_t i = 0; i < b->count; i++)
                cr_assert_eq(cm_mint_one(minter, b, i, &err), CM_OK, "%s: %s", greedy[g].what, err.what);
            cr_assert_eq(cm_mint_end(minter, b, &err), CM_OK, "%s: %s", greedy[g].what, err.what);
            cr_expect(b->chain_len <= b->plan.chain && b->keys_len <= b->plan.keys &&
                      b->rows_len <= b->plan.rows);
            done(b);
        }
}

static const char *const column_names[] = { "serial", "long", "unused" };
static const struct cm_columns columns = { column_names, CM_COUNT(column_names), 0 };

/* What the template and the row make of the largest values of a list. */
static struct cm_column_bounds bounds_of(const struct cm_span *value)
{
    struct cm_column_bounds b = { .packed = (uint32_t) cm_columns_packed_len(value, columns.count),
                                  .json = (uint32_t) cm_row_attributes_len(&columns, value),
                                  .subject = CM_NAME_TEXT };

    for (size_t i = 0; i < columns.count; i++)
        b.value[i] = (uint32_t) value[i].len;
    return b;
}

/* Values as large as a row may have, each octet of them escaped, in full batches. */
Test(cert, values_of_columns_fit_the_plan, .timeout = 100)
{
    static char quotes[8000];
    const struct cm_span value[] = { cm_span_str("SN-1"), cm_span(quotes, 128),
                                     cm_span(quotes, sizeof quotes) };

    memset(quotes, '"', sizeof quotes);
    const struct cm_column_bounds bounds = bounds_of(value);
    cr_assert_leq(bounds.json, CM_ATTRIBUTES_MAX + 512);
    for (unsigned way = 0; way < 2; way++) {
        const struct t_plant_conf conf = { .subject = "/O={long}/OU={long}{long}/CN={serial}",
                                           .san = "otherName:1.2.3;UTF8:{long}{long}",
                                           .columns = &columns,
                                           .bounds = &bounds,
                                           .layout = way == 0 ? CM_LAYOUT_TAR : CM_LAYOUT_TREE,
                                           .encoding = way == 0 ? CM_ENCODE_PEM : CM_ENCODE_DER,
                                           .devices = 20,
                                           .batches = 1 };
        struct cm_batch *b = NULL;
        struct cm_error err = { 0 };
        t_plant_open(&plant, &conf);
        cr_assert_eq(cm_minter_open(&plant.mint, &minter, &err), CM_OK, "%s", err.what);
        cr_assert_eq(cm_pool_acquire(plant.pool, &b), CM_OK);
        for (uint64_t seq = 1; cm_batch_add(b, value[0], seq, 0); seq++)
            cr_assert(cm_batch_add_values(b, value, columns.count), "device %u", b->count);
        cr_expect_eq(b->count, 20);
        cr_expect_not(cm_batch_add_values(b, value, columns.count) &&
                          cm_batch_add_values(b, value, columns.count),
                      "no more than was planned");
        cr_assert_eq(cm_serials_prefix(b->prefix, &err), CM_OK);
        cr_assert_eq(cm_mint_begin(minter, b, &err), CM_OK);
        for (uint32_t i = 0; i < b->count; i++)
            cr_assert_eq(cm_mint_one(minter, b, i, &err), CM_OK, "%s", err.what);
        cr_assert_eq(cm_mint_end(minter, b, &err), CM_OK, "%s", err.what);
        done(b);
    }
}

Test(cert, a_batch_that_is_too_large_is_refused)
{
    const struct t_plant_conf conf = { .devices = 1 };
    struct cm_batch *b = mint(&conf, 1);
    struct cm_batch_plan plan;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_mint_plan(&plant.mint, 65536, &plan, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_mint_plan(&plant.mint, 4000000, &plan, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "say less with --batch"), "%s", err.what);
    done(b);
}
