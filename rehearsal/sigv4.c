#include "rehearsal/sigv4.h"

#include "engine/ossl.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define SCOPE_END "aws4_request"

enum { QUERY_PAIRS = 64, DIGEST = 32, DATE = 8, STAMP = 16, SCOPE_MAX = 256, PATH_MAX_PARTS = 64 };

/* What the Authorization header says: views into it. */
struct authorization {
    struct cm_span access_key, date, region, service, end;
    struct cm_span signed_headers, signature;
};

#define INCOMPLETE(no, ...) CM_REFUSE(no, CM_SVC_INCOMPLETE_SIGNATURE, __VA_ARGS__)
#define BAD(no, ...) CM_REFUSE(no, CM_SVC_BAD_SIGNATURE, __VA_ARGS__)

static const char *find_header(const struct cm_sigv4_request *r, const char *name)
{
    for (size_t i = 0; i < r->headers; i++)
        if (strcasecmp(r->header[i].name, name) == 0)
            return r->header[i].value;
    return NULL;
}

/* Takes what stands before `end` off the front; the whole rest when there is none. */
static struct cm_span take_to(struct cm_span *in, char end)
{
    const uint8_t *const at = in->len > 0 ? memchr(in->data, end, in->len) : NULL;
    const size_t len = at != NULL ? (size_t) (at - in->data) : in->len;
    const struct cm_span out = cm_span(in->data, len);
    const size_t used = at != NULL ? len + 1 : len;

    *in = cm_span(in->data + used, in->len - used);
    return out;
}

static bool is_text(struct cm_span s, const char *text)
{
    return cm_span_eq(s, cm_span_str(text));
}

static void read_credential(struct cm_span in, struct authorization *a)
{
    a->access_key = take_to(&in, '/');
    a->date = take_to(&in, '/');
    a->region = take_to(&in, '/');
    a->service = take_to(&in, '/');
    a->end = in;
}

static cm_err parse(const char *header, struct authorization *a, struct cm_svc_error *no)
{
    struct cm_span in = cm_span_str(header);
    struct cm_span *seen[3] = { NULL };
    size_t parts = 0;
    const struct cm_span algorithm = take_to(&in, ' ');

    if (!is_text(algorithm, ALGORITHM))
        INCOMPLETE(no, "Unsupported AWS 'algorithm' in the Authorization header; " ALGORITHM " is the one");
    while (in.len > 0 && parts < CM_COUNT(seen)) {
        struct cm_span value = take_to(&in, ',');
        while (value.len > 0 && value.data[0] == ' ')
            value = cm_span(value.data + 1, value.len - 1);
        const struct cm_span name = take_to(&value, '=');
        if (is_text(name, "Credential"))
            read_credential(value, a);
        else if (is_text(name, "SignedHeaders"))
            a->signed_headers = value;
        else if (is_text(name, "Signature"))
            a->signature = value;
        else
            INCOMPLETE(
                no,
                "The Authorization header has a part that is none of Credential, SignedHeaders, Signature");
        parts++;
    }
    if (in.len > 0 || a->access_key.len == 0 || a->signed_headers.len == 0 || a->signature.len == 0)
        INCOMPLETE(no, "The Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'");
    if (a->date.len != DATE || !is_text(a->end, SCOPE_END))
        INCOMPLETE(no, "The Credential must be KEY/DATE/REGION/SERVICE/" SCOPE_END);
    return CM_OK;
}

/* ---- The canonical request goes straight into a digest. */

struct digest {
    EVP_MD_CTX *ctx;
    bool good;
};

static void put(struct digest *d, const void *data, size_t len)
{
    d->good = d->good && EVP_DigestUpdate(d->ctx, data, len) == 1;
}

static void put_str(struct digest *d, const char *text)
{
    put(d, text, strlen(text));
}

static void put_hex(struct digest *d, const uint8_t digest[DIGEST])
{
    uint8_t hex[2 * DIGEST];
    struct cm_writer w = cm_writer(hex, sizeof hex);

    cm_put_hex(&w, digest, DIGEST);
    put(d, hex, w.len);
}

/* The path is encoded a second time, as every service but S3 has it. */
static void put_encoded(struct digest *d, struct cm_span s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.data[i];
        const char out[3] = { '%', hex[c >> 4], hex[c & 15] };
        if (isalnum(c) || (c != '\0' && strchr("-_.~", c) != NULL))
            put(d, &c, 1);
        else
            put(d, out, sizeof out);
    }
}

/* Without empty and dot segments. */
static cm_err put_path(struct digest *d, const char *path, struct cm_svc_error *no)
{
    struct cm_span in = cm_span_str(path), part[PATH_MAX_PARTS];
    const bool open = in.len > 0 && in.data[in.len - 1] == '/';
    size_t parts = 0;

    while (in.len > 0) {
        const struct cm_span p = take_to(&in, '/');
        if (p.len == 0 || is_text(p, "."))
            continue;
        if (is_text(p, "..")) {
            parts -= parts > 0;
            continue;
        }
        if (parts == PATH_MAX_PARTS)
            INCOMPLETE(no, "The path has more than %d parts", PATH_MAX_PARTS);
        part[parts++] = p;
    }
    for (size_t i = 0; i < parts; i++) {
        put_str(d, "/");
        put_encoded(d, part[i]);
    }
    if (parts == 0 || open)
        put_str(d, "/");
    return CM_OK;
}

struct pair {
    struct cm_span name, value;
};

static int compare_spans(struct cm_span a, struct cm_span b)
{
    const size_t len = a.len < b.len ? a.len : b.len;
    const int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *const x = a, *const y = b;
    const int order = compare_spans(x->name, y->name);

    return order != 0 ? order : compare_spans(x->value, y->value);
}

static cm_err put_query(struct digest *d, const char *query, struct cm_svc_error *no)
{
    struct cm_span in = cm_span_str(query != NULL ? query : "");
    struct pair pair[QUERY_PAIRS];
    size_t pairs = 0;

    while (in.len > 0) {
        struct cm_span value = take_to(&in, '&');
        if (value.len == 0)
            continue;
        if (pairs == QUERY_PAIRS)
            INCOMPLETE(no, "The query has more than %d parameters", QUERY_PAIRS);
        pair[pairs].name = take_to(&value, '=');
        pair[pairs++].value = value;
    }
    qsort(pair, pairs, sizeof pair[0], compare_pairs);
    for (size_t i = 0; i < pairs; i++) {
        if (i > 0)
            put_str(d, "&");
        put(d, pair[i].name.data, pair[i].name.len);
        put_str(d, "=");
        put(d, pair[i].value.data, pair[i].value.len);
    }
    return CM_OK;
}

/* Without white space around, and one space for several inside. */
static void put_trimmed(struct digest *d, const char *value)
{
    bool space = false, first = true;

    for (; *value != '\0'; value++) {
        if (*value == ' ' || *value == '\t') {
            space = true;
            continue;
        }
        if (space && !first)
            put_str(d, " ");
        put(d, value, 1);
        space = first = false;
    }
}

static bool is_named(const struct cm_sigv4_header *h, struct cm_span name)
{
    return strlen(h->name) == name.len && strncasecmp(h->name, (const char *) name.data, name.len) == 0;
}

static cm_err put_headers(struct digest *d, const struct cm_sigv4_request *r, struct cm_span names,
                          struct cm_svc_error *no)
{
    struct cm_span last = { 0 };

    while (names.len > 0) {
        const struct cm_span name = take_to(&names, ';');
        size_t found = 0;
        if (name.len == 0 || (last.len > 0 && compare_spans(last, name) >= 0))
            INCOMPLETE(no, "SignedHeaders must be in order, each there once");
        put(d, name.data, name.len);
        put_str(d, ":");
        for (size_t i = 0; i < r->headers; i++) {
            if (!is_named(&r->header[i], name))
                continue;
            if (found++ > 0)
                put_str(d, ",");
            put_trimmed(d, r->header[i].value);
        }
        if (found == 0)
            INCOMPLETE(no, "SignedHeaders has a header that the request has not");
        put_str(d, "\n");
        last = name;
    }
    return CM_OK;
}

static cm_err hash_request(const struct cm_sigv4_request *r, const struct authorization *a,
                           uint8_t out[DIGEST], struct cm_svc_error *no)
{
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    struct digest d = { .ctx = ctx };
    uint8_t body[DIGEST];

    d.good =
        ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
        EVP_Digest(r->body.len > 0 ? r->body.data : body, r->body.len, body, NULL, EVP_sha256(), NULL) == 1;
    put_str(&d, r->method);
    put_str(&d, "\n");
    CM_TRY(put_path(&d, r->path, no));
    put_str(&d, "\n");
    CM_TRY(put_query(&d, r->query, no));
    put_str(&d, "\n");
    CM_TRY(put_headers(&d, r, a->signed_headers, no));
    put_str(&d, "\n");
    put(&d, a->signed_headers.data, a->signed_headers.len);
    put_str(&d, "\n");
    put_hex(&d, body);
    if (!d.good || EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't hash a request");
    return CM_OK;
}

/* ---- The signature */

static bool mac(const uint8_t *key, size_t key_len, struct cm_span text, uint8_t out[DIGEST])
{
    return HMAC(EVP_sha256(), key, (int) key_len, text.data, text.len, out, NULL) != NULL;
}

static cm_err sign(const struct cm_sigv4_keys *keys, const struct authorization *a, const char *to_sign,
                   char out[2 * DIGEST], struct cm_svc_error *no)
{
    char first[128];
    uint8_t k[DIGEST];
    struct cm_writer w = cm_writer(out, 2 * DIGEST);

    const int n = snprintf(first, sizeof first, "AWS4%s", keys->secret_key);
    CM_ASSERT(n > 0 && (size_t) n < sizeof first);
    const bool good = mac((const uint8_t *) first, (size_t) n, a->date, k) &&
                      mac(k, DIGEST, cm_span_str(keys->region), k) && mac(k, DIGEST, a->service, k) &&
                      mac(k, DIGEST, cm_span_str(SCOPE_END), k) && mac(k, DIGEST, cm_span_str(to_sign), k);
    OPENSSL_cleanse(first, sizeof first);
    if (!good)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't sign a request");
    cm_put_hex(&w, k, DIGEST);
    return CM_OK;
}

static cm_err check_time(const char *stamp, struct cm_span date, cm_when now, struct cm_svc_error *no)
{
    char text[STAMP];
    cm_when at = 0;

    if (stamp == NULL)
        INCOMPLETE(no, "Authorization header requires existence of an 'X-Amz-Date' header");
    if (strlen(stamp) != STAMP || stamp[DATE] != 'T')
        INCOMPLETE(no, "X-Amz-Date must be YYYYMMDDTHHMMSSZ");
    (void) snprintf(text, sizeof text, "%.8s%.7s", stamp, stamp + DATE + 1);
    if (cm_when_parse(text, &at, NULL) != CM_OK)
        INCOMPLETE(no, "X-Amz-Date must be YYYYMMDDTHHMMSSZ");
    if (memcmp(stamp, date.data, DATE) != 0)
        BAD(no, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP");
    if (at > now + CM_SIGV4_SKEW_S)
        BAD(no, "Signature not yet current: %s is in the future", stamp);
    if (at < now - CM_SIGV4_SKEW_S)
        BAD(no, "Signature expired: %s is more than %d seconds ago", stamp, CM_SIGV4_SKEW_S);
    return CM_OK;
}

static bool is_listed(struct cm_span names, const char *name)
{
    while (names.len > 0) {
        const struct cm_span one = take_to(&names, ';');
        if (one.len == strlen(name) && strncasecmp((const char *) one.data, name, one.len) == 0)
            return true;
    }
    return false;
}

/* What says where, when and for whom must not be exchangeable. */
static cm_err check_signed(const struct cm_sigv4_request *r, const struct authorization *a,
                           struct cm_svc_error *no)
{
    if (!is_listed(a->signed_headers, "host"))
        BAD(no, "'Host' must be a 'SignedHeader' in the AWS Authorization.");
    for (size_t i = 0; i < r->headers; i++) {
        const char *const name = r->header[i].name;
        if (strncasecmp(name, "x-amz", 5) == 0 && strcasecmp(name, "x-amzn-trace-id") != 0 &&
            !is_listed(a->signed_headers, name))
            BAD(no, "'%.40s' must be a 'SignedHeader' in the AWS Authorization.", name);
    }
    return CM_OK;
}

static cm_err check_scope(const struct authorization *a, const struct cm_sigv4_keys *keys,
                          struct cm_svc_error *no)
{
    if (!is_text(a->access_key, keys->access_key))
        CM_REFUSE(no, CM_SVC_UNKNOWN_KEY, "The security token included in the request is invalid.");
    if (!is_text(a->region, keys->region))
        BAD(no, "Credential should be scoped to a valid region; this is %s", keys->region);
    for (const char *const *service = keys->services; !is_text(a->service, *service); service++)
        if (service[1] == NULL)
            BAD(no, "Credential should be scoped to correct service: '%s'", keys->services[0]);
    return CM_OK;
}

cm_err cm_sigv4_judge(const struct cm_sigv4_request *request, const struct cm_sigv4_keys *keys, cm_when now,
                      struct cm_svc_error *no)
{
    const char *const header = find_header(request, "authorization");
    const char *const stamp = find_header(request, "x-amz-date");
    struct authorization a = { 0 };
    uint8_t hashed[DIGEST];
    char to_sign[SCOPE_MAX + STAMP + 2 * DIGEST + 32], want[2 * DIGEST];

    if (header == NULL)
        CM_REFUSE(no, CM_SVC_NO_TOKEN, "Missing Authentication Token");
    CM_TRY(parse(header, &a, no));
    CM_TRY(check_scope(&a, keys, no));
    CM_TRY(check_signed(request, &a, no));
    CM_TRY(check_time(stamp, a.date, now, no));
    CM_TRY(hash_request(request, &a, hashed, no));

    struct cm_writer w = cm_writer(to_sign, sizeof to_sign - 1);
    cm_put_str(&w, ALGORITHM "\n");
    cm_put_str(&w, stamp);
    cm_put_byte(&w, '\n');
    cm_put_span(&w, a.date);
    cm_put_str(&w, "/");
    cm_put_str(&w, keys->region);
    cm_put_str(&w, "/");
    cm_put_span(&w, a.service);
    cm_put_str(&w, "/" SCOPE_END "\n");
    cm_put_hex(&w, hashed, sizeof hashed);
    CM_ASSERT(cm_writer_ok(&w));
    to_sign[w.len] = '\0';
    CM_TRY(sign(keys, &a, to_sign, want, no));
    if (a.signature.len != sizeof want || CRYPTO_memcmp(a.signature.data, want, sizeof want) != 0)
        BAD(no, "The request signature we calculated does not match the signature you provided. Check your "
                "AWS Secret "
                "Access Key and signing method. Consult the service documentation for details.");
    return CM_OK;
}
