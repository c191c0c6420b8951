#include "tests/t_plant.h"

#include "engine/cainit.h"
#include "engine/random.h"
#include "engine/serials.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void must(cm_err rc, const struct cm_error *err)
{
    if (rc != CM_OK)
        (void) fprintf(stderr, "the test can't go on: %s\n", err->what);
    CM_ASSERT(rc == CM_OK);
}

static uint8_t ca_cert[CM_CAINIT_CERT_MAX], ca_secret[CM_CAINIT_KEY_MAX];

/* A CA's certificate and key as PEM, until the next one. */
static void make_ca(const char *key, struct cm_span *cert, struct cm_span *secret)
{
    struct cm_writer c = cm_writer(ca_cert, sizeof ca_cert), k = cm_writer(ca_secret, sizeof ca_secret);
    const struct cm_cainit_conf make = {
        .key = key, .subject = "/O=Plant/CN=Plant CA", .pathlen = -1, .now = cm_when_now()
    };
    struct cm_error err = { 0 };

    must(cm_cainit(&make, &c, &k, &err), &err);
    *cert = cm_span(ca_cert, c.len);
    *secret = cm_span(ca_secret, k.len);
}

static void put_file(const char *path, struct cm_span text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CM_ASSERT(fd >= 0 && write(fd, text.data, text.len) == (ssize_t) text.len && close(fd) == 0);
}

void t_ca_files(const char *cert_path, const char *key_path)
{
    struct cm_span cert, secret;

    make_ca("P-256", &cert, &secret);
    put_file(cert_path, cert);
    put_file(key_path, secret);
}

static void open_ca(struct t_plant *p, const char *key)
{
    struct cm_ca_conf conf = { .cert_name = "cert", .key_name = "key" };
    struct cm_error err = { 0 };

    make_ca(key, &conf.cert_pem, &conf.key_pem);
    must(cm_ca_open(&conf, &p->ca, &err), &err);
    must(cm_ca_check(p->ca, cm_when_now(), &err), &err);
}

static void open_tmpl(struct t_plant *p, const struct t_plant_conf *conf, const struct cm_keyalg *key)
{
    static const char profile[] = "[profile]\nextensions = e\n[e]\nbasicConstraints = critical,CA:FALSE\n"
                                  "keyUsage = critical,digitalSignature\nsubjectKeyIdentifier = hash\n"
                                  "authorityKeyIdentifier = keyid\n";
    struct cm_error err = { 0 };

    must(cm_profile_open("plant", cm_span_str(conf->profile != NULL ? conf->profile : profile), conf->columns,
                         &p->profile, &err),
         &err);
    must(cm_name_parse(conf->subject != NULL ? conf->subject : "/CN={id}", conf->columns, &p->subject, &err),
         &err);
    const struct cm_certspec spec = { .ca = p->ca,
                                      .key = key,
                                      .profile = p->profile,
                                      .subject = &p->subject,
                                      .san = conf->san,
                                      .not_before = cm_ca_not_before(p->ca),
                                      .not_after = cm_ca_not_after(p->ca) };
    must(cm_tmpl_compile(&spec, &p->tmpl, &err), &err);
}

void t_plant_open(struct t_plant *p, const struct t_plant_conf *conf)
{
    const struct cm_keyalg *key = cm_keyalg_find(conf->key != NULL ? conf->key : "P-256");
    char run_id[37] = "";
    struct cm_error err = { 0 };

    *p = (struct t_plant) { .run_id = { 0 } };
    CM_ASSERT(key != NULL);
    must(cm_random_uuid(p->run_id, &err), &err);
    cm_uuid_text(p->run_id, run_id);
    must(cm_hasher_open(&p->hasher, &err), &err);
    open_ca(p, conf->ca_key != NULL ? conf->ca_key : "P-256");
    open_tmpl(p, conf, key);
    const struct cm_row_run run = { .run_id = run_id,
                                    .profile = "plant",
                                    .ca_certificate_id = cm_ca_certificate_id(p->ca),
                                    .key_alg = key->name,
                                    .sig_alg = cm_ca_sigalg(p->ca)->name,
                                    .not_before = cm_ca_not_before(p->ca),
                                    .not_after = cm_ca_not_after(p->ca),
                                    .layout = conf->layout,
                                    .columns = conf->columns };
    must(cm_row_texts_open(&run, &p->row, &err), &err);
    p->mint = (struct cm_mint_conf) { .ca = p->ca,
                                      .key = key,
                                      .tmpl = p->tmpl,
                                      .subject = &p->subject,
                                      .row = &p->row,
                                      .layout = conf->layout,
                                      .key_format = conf->key_format,
                                      .encoding = conf->encoding,
                                      .mtime = cm_when_now(),
                                      .run_id = p->run_id,
                                      .columns = conf->columns,
                                      .bounds = conf->bounds };
    must(cm_mint_plan(&p->mint, conf->devices != 0 ? conf->devices : 4, &p->plan, &err), &err);
    must(cm_pool_open(conf->batches != 0 ? conf->batches : 8, &p->plan, &p->pool, &err), &err);
}

void t_plant_close(struct t_plant *p)
{
    cm_pool_close(p->pool);
    cm_row_texts_close(&p->row);
    cm_tmpl_free(p->tmpl);
    cm_profile_close(p->profile);
    cm_ca_close(p->ca);
    cm_hasher_close(&p->hasher);
}

struct cm_source *t_plant_source(const struct t_plant *p, uint64_t count)
{
    struct cm_pattern id;
    struct cm_source *source = NULL;
    struct cm_error err = { 0 };

    must(cm_pattern_parse("SN{seq:08}", false, NULL, &id, &err), &err);
    const struct cm_source_count_conf conf = { .id = &id, .start = 1, .count = count, .run_id = p->run_id };
    must(cm_source_count_open(&conf, &source, &err), &err);
    return source;
}

struct cm_batch *t_plant_batch(const struct t_plant *p, struct cm_minter *m, uint64_t seq, const char *suffix)
{
    struct cm_batch *b = NULL;
    struct cm_error err = { 0 };
    char id[96];

    CM_ASSERT(cm_pool_acquire(p->pool, &b) == CM_OK);
    for (uint32_t i = 0; i < b->cap; i++) {
        const int n = snprintf(id, sizeof id, "SN%08llu%s", (unsigned long long) seq + i, suffix);
        CM_ASSERT(n > 0 && cm_batch_add(b, cm_span(id, (size_t) n), seq + i, seq + i));
    }
    must(cm_serials_prefix(b->prefix, &err), &err);
    must(cm_mint_begin(m, b, &err), &err);
    for (uint32_t i = 0; i < b->count; i++)
        must(cm_mint_one(m, b, i, &err), &err);
    must(cm_mint_end(m, b, &err), &err);
    return b;
}

/* ---- places ---- */

void t_place_open(struct t_place *t)
{
    const char *tmp = getenv("TMPDIR");
    struct cm_error err = { 0 };

    *t = (struct t_place) { .base = "" };
    (void) snprintf(t->base, sizeof t->base, "%.40s/certmill-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CM_ASSERT(mkdtemp(t->base) != NULL);
    (void) snprintf(t->out, sizeof t->out, "%s/run", t->base);
    must(cm_rundir_open(t->out, NULL, &t->dir, &err), &err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

void t_place_close(struct t_place *t)
{
    cm_rundir_close(&t->dir);
    (void) nftw(t->base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct cm_sink_conf t_place_sinks(const struct t_place *t, const struct t_plant *p, enum cm_io_kind io)
{
    return (struct cm_sink_conf) { .fleet_fd = t->dir.fd,
                                   .fleet_path = t->dir.path,
                                   .chains_fd = t->dir.chains_fd,
                                   .keys_fd = t->dir.keys_fd,
                                   .keys_path = t->dir.keys_path,
                                   .layout = p->mint.layout,
                                   .io = io,
                                   .durable = true,
                                   .batches = cm_pool_batches(p->pool),
                                   .chain_slab = cm_pool_chain_slab(p->pool),
                                   .key_slab = cm_pool_key_slab(p->pool),
                                   .segment_bytes = CM_SEGMENT_BYTES,
                                   .rows_max = 1 << 20 };
}

/* ---- reading ---- */

static bool ends_in(const char *name, const char *suffix)
{
    const size_t n = strlen(name), s = strlen(suffix);

    return n >= s && strcmp(name + n - s, suffix) == 0;
}

static long count_unfinished(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *e = NULL;
    long n = 0;

    while (dir != NULL && (e = readdir(dir)) != NULL)
        n += ends_in(e->d_name, ".part");
    if (dir != NULL)
        (void) closedir(dir);
    return n;
}

/* Does the thing lie where the row says? NULL, or what is wrong. */
static const char *look_at(const char *out, const char *id, json_t *blob, const char *suffix)
{
    static uint8_t data[1 << 16];
    const char *file = NULL, *sha = NULL;
    json_int_t offset = 0, length = 0;
    char path[512], name[200], hex[65], header[101] = "";
    uint8_t md[EVP_MAX_MD_SIZE];
    struct cm_writer w = cm_writer(hex, 64);
    const bool tar = json_unpack(blob, "{s:s,s:I,s:I,s:s}", "segment", &file, "offset", &offset, "length",
                                 &length, "sha256", &sha) == 0;
    const bool tree =
        !tar && json_unpack(blob, "{s:s,s:I,s:s}", "path", &file, "length", &length, "sha256", &sha) == 0;

    if ((!tar && !tree) || length <= 0 || length > (json_int_t) sizeof data)
        return "it has no place";
    (void) snprintf(path, sizeof path, "%s/%s", out, file);
    (void) snprintf(name, sizeof name, "%s%s", id, suffix);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? pread(fd, data, (size_t) length, offset) : -1;
    const ssize_t head = tar && fd >= 0 ? pread(fd, header, 100, offset - 512) : 0;
    if (fd >= 0)
        (void) close(fd);
    if (got != length)
        return "its file is missing or short";
    if ((tar && (head != 100 || strcmp(header, name) != 0)) || (tree && !ends_in(file, name)))
        return "another device's stands there";
    CM_ASSERT(EVP_Digest(data, (size_t) length, md, NULL, EVP_sha256(), NULL) == 1);
    cm_put_hex(&w, md, 32);
    hex[64] = '\0';
    return strcmp(hex, sha) == 0 ? NULL : "other octets stand there";
}

static const char *look_at_row(const char *out, const char *line)
{
    json_error_t error;
    json_t *row = json_loads(line, 0, &error);
    const char *id = NULL, *fault = NULL;
    json_t *chain = NULL, *key = NULL;

    if (row == NULL)
        return "it is not JSON";
    if (json_unpack(row, "{s:s,s:o,s:o}", "device_id", &id, "chain", &chain, "key", &key) != 0)
        fault = "keys are missing";
    else
        fault = look_at(out, id, chain, ".crt");
    if (fault == NULL)
        fault = look_at(out, id, key, ".key");
    json_decref(row);
    return fault;
}

struct t_reading t_read_run(const char *out)
{
    struct t_reading r = { .rows = 0 };
    char path[256], *line = NULL;
    size_t cap = 0;

    (void) snprintf(path, sizeof path, "%s/manifest.ndjson", out);
    FILE *file = fopen(path, "r");
    ssize_t len = 0;
    while (file != NULL && (len = getline(&line, &cap, file)) > 0) {
        const char *fault = line[len - 1] == '\n' ? look_at_row(out, line) : "the last row is cut off";
        r.lines++;
        r.rows += r.rows >= 0;
        if (fault != NULL && r.rows > 0) {
            (void) snprintf(r.why, sizeof r.why, "row %ld: %s: %.300s", r.rows, fault, line);
            r.rows = -1;
        }
    }
    free(line);
    if (file != NULL)
        (void) fclose(file);
    (void) snprintf(path, sizeof path, "%s/chains", out);
    r.unfinished = count_unfinished(out) + count_unfinished(path);
    (void) snprintf(path, sizeof path, "%s/keys", out);
    r.unfinished += count_unfinished(path);
    return r;
}

/* ---- chance ---- */

uint64_t t_seed(void)
{
    const char *given = getenv("CM_SEED");
    struct timespec t;

    (void) clock_gettime(CLOCK_REALTIME, &t);
    const uint64_t seed =
        given != NULL ? strtoull(given, NULL, 10) : (uint64_t) t.tv_sec ^ (uint64_t) t.tv_nsec << 20;
    (void) fprintf(stderr, "seed: CM_SEED=%llu\n", (unsigned long long) seed);
    return seed | 1;
}

uint64_t t_random(uint64_t *state, uint64_t bound)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 2685821657736338717ull) % bound;
}
