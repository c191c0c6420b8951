#include "engine/profile.h"

#include "engine/ident.h"
#include "engine/ossl.h"

#include <ctype.h>
#include <openssl/err.h>
#include <strings.h>

static const char *const profile_keys[] = {
    "description",   "subject",  "san",        "days",          "keys",           "signatures",
    "id_characters", "registry", "extensions", "extensions_ec", "extensions_rsa", "extensions_ed25519",
};

/* Marks are letters and digits only, so that they pass every string type that
 * libcrypto may put them in, and long enough never to occur by accident. */
static void mark_name(size_t index, char out[CM_MARK_LEN + 1])
{
    (void) snprintf(out, CM_MARK_LEN + 1, "cmQzSlot%02uXw", (unsigned) index % 100);
}

int cm_profile_mark_at(const struct cm_profile *p, const uint8_t *data, size_t len)
{
    char name[CM_MARK_LEN + 1];

    for (size_t i = 0; len >= CM_MARK_LEN && i < p->marks; i++) {
        mark_name(i, name);
        if (memcmp(data, name, CM_MARK_LEN) == 0)
            return (int) i;
    }
    return -1;
}

static unsigned line_of(const char *text, const char *at)
{
    unsigned line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* The index of the mark for the placeholder text[0..len); a new one when it is new. */
static cm_err intern_mark(struct cm_profile *p, const char *text, size_t len, struct cm_piece piece,
                          size_t *out, struct cm_error *err)
{
    for (size_t i = 0; i < p->marks; i++) {
        if (strlen(p->mark_text[i]) == len && memcmp(p->mark_text[i], text, len) == 0) {
            *out = i;
            return CM_OK;
        }
    }
    if (p->marks == CM_PROFILE_MARKS || len >= sizeof p->mark_text[0])
        CM_FAIL(err, CM_E_INPUT, "profile %s: more than %d different placeholders", p->name,
                CM_PROFILE_MARKS);
    memcpy(p->mark_text[p->marks], text, len);
    p->mark[p->marks] = piece;
    *out = p->marks++;
    return CM_OK;
}

/* Where the copying of a profile's text stands, as OpenSSL's configuration reader
 * sees it: a '#' that is quoted or escaped begins no comment. */
struct syntax {
    bool comment;
    char quote; /* the open one, or 0 */
};

/* Characters at c that belong together: two for an escape, else one. */
static size_t step(struct syntax *s, const char *c)
{
    if (*c == '\n') {
        *s = (struct syntax) { 0 };
    } else if (!s->comment && *c == '\\' && c[1] != '\0' && strchr("#\"'`\\\n", c[1]) != NULL) {
        return 2;
    } else if (!s->comment && s->quote != 0) {
        s->quote = *c == s->quote ? 0 : s->quote;
    } else if (!s->comment && (*c == '"' || *c == '\'' || *c == '`')) {
        s->quote = *c;
    } else if (*c == '#') {
        s->comment = true;
    }
    return 1;
}

/* Copies text to w with every placeholder replaced by its mark; of a whole profile
 * (is_file), those outside comments. */
static cm_err put_marked(struct cm_profile *p, const char *text, bool is_file, struct cm_writer *w,
                         struct cm_error *err)
{
    struct syntax syntax = { 0 };

    for (const char *c = text; *c != '\0';) {
        struct cm_piece piece = { .kind = CM_PIECE_TEXT };
        char name[CM_MARK_LEN + 1], why[320];
        size_t len = is_file ? step(&syntax, c) : 1, index = 0;

        if (syntax.comment || (*c != '{' && *c != '}')) {
            cm_put(w, c, len);
            c += len;
            continue;
        }
        len = cm_piece_parse(c, p->columns, &piece);
        if (len == 0)
            CM_FAIL(err, CM_E_INPUT, "profile %s, line %u: %s", p->name, line_of(text, c),
                    cm_piece_fault(c, p->columns, why, sizeof why));
        CM_TRY(intern_mark(p, c, len, piece, &index, err));
        mark_name(index, name);
        cm_put(w, name, CM_MARK_LEN);
        c += len;
    }
    return CM_OK;
}

static cm_err mark_text(struct cm_profile *p, const char *text, bool is_file, char **out,
                        struct cm_error *err)
{
    /* The shortest placeholder, {a}, grows to CM_MARK_LEN. */
    const size_t cap = strlen(text) * (CM_MARK_LEN / 3) + 1;
    char *buf = malloc(cap + 1);
    struct cm_writer w = cm_writer(buf, cap);
    cm_err rc = CM_OK;

    if (buf == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for profile %s", p->name);
    rc = put_marked(p, text, is_file, &w, err);
    if (rc != CM_OK) {
        free(buf);
        return rc;
    }
    CM_ASSERT(cm_writer_ok(&w));
    buf[w.len] = '\0';
    *out = buf;
    return CM_OK;
}

cm_err cm_profile_mark(struct cm_profile *p, const char *text, char **out, struct cm_error *err)
{
    return mark_text(p, text, false, out, err);
}

/* The line in the user's text where [profile] says `key`, for messages. */
static unsigned line_of_key(const char *text, const char *key)
{
    const char *at = strstr(text, "[profile]");

    if (at == NULL)
        at = text;
    for (const char *c = at; (c = strstr(c, key)) != NULL; c++) {
        const char *after = c + strlen(key);
        after += strspn(after, " \t");
        if ((c == text || isspace((unsigned char) c[-1])) && *after == '=')
            return line_of(text, c);
    }
    return line_of(text, at);
}

/* How many leading characters two words share: enough to guess a slip by. */
static const char *nearest_key(const char *typed)
{
    const char *best = NULL;
    size_t best_score = 1;

    for (size_t i = 0; i < CM_COUNT(profile_keys); i++) {
        size_t n = 0;
        while (typed[n] != '\0' && tolower((unsigned char) typed[n]) == profile_keys[i][n])
            n++;
        if (n > best_score) {
            best = profile_keys[i];
            best_score = n;
        }
    }
    return best;
}

static cm_err check_keys(const struct cm_profile *p, const char *text, struct cm_error *err)
{
    const STACK_OF(CONF_VALUE) *section = NCONF_get_section(p->conf, "profile");

    if (section == NULL)
        CM_FAIL(err, CM_E_INPUT, "profile %s has no [profile] section; see `certmill profile show aws-iot`",
                p->name);
    for (int i = 0; i < sk_CONF_VALUE_num(section); i++) {
        const char *key = sk_CONF_VALUE_value(section, i)->name;
        bool known = false;
        for (size_t k = 0; k < CM_COUNT(profile_keys); k++)
            known |= strcmp(profile_keys[k], key) == 0;
        if (!known) {
            const char *near = nearest_key(key);
            CM_FAIL(err, CM_E_INPUT, "profile %s, line %u: unknown key \"%.40s\" in [profile]%s%s%s", p->name,
                    line_of_key(text, key), key, near != NULL ? "; did you mean \"" : "",
                    near != NULL ? near : "", near != NULL ? "\"?" : "");
        }
    }
    return CM_OK;
}

/* Every extensions… key must name a section that exists. */
static cm_err check_sections(const struct cm_profile *p, const char *text, struct cm_error *err)
{
    for (size_t k = 0; k < CM_COUNT(profile_keys); k++) {
        const char *section = NULL;
        if (strncmp(profile_keys[k], "extensions", 10) != 0)
            continue;
        section = NCONF_get_string(p->conf, "profile", profile_keys[k]);
        if (section != NULL && NCONF_get_section(p->conf, section) == NULL)
            CM_FAIL(err, CM_E_INPUT, "profile %s, line %u: %s names section [%.40s], which does not exist",
                    p->name, line_of_key(text, profile_keys[k]), profile_keys[k], section);
    }
    return CM_OK;
}

static cm_err read_days(struct cm_profile *p, const char *text, struct cm_error *err)
{
    const char *days = NCONF_get_string(p->conf, "profile", "days");
    char *end = NULL;
    unsigned long n = 0;

    if (days == NULL)
        return CM_OK;
    n = strtoul(days, &end, 10);
    if (!isdigit((unsigned char) days[0]) || *end != '\0' || n == 0 || n > 3652059)
        CM_FAIL(err, CM_E_INPUT, "profile %s, line %u: days must be a whole number from 1 to 3652059",
                p->name, line_of_key(text, "days"));
    p->days = (uint32_t) n;
    return CM_OK;
}

static cm_err load(struct cm_profile *p, const char *text, struct cm_error *err)
{
    CM_AUTO(BIO) bio = NULL;
    char *marked = NULL;
    long line = -1;
    int loaded = 0;

    CM_TRY(mark_text(p, text, true, &marked, err));
    p->conf = NCONF_new(NULL);
    bio = BIO_new_mem_buf(marked, -1);
    if (p->conf != NULL && bio != NULL)
        loaded = NCONF_load_bio(p->conf, bio, &line);
    free(marked);
    if (loaded != 1)
        CM_FAIL(err, CM_E_INPUT,
                "profile %s, line %ld: not OpenSSL configuration syntax (name = value, [section])", p->name,
                line > 0 ? line : 1);
    CM_TRY(check_keys(p, text, err));
    CM_TRY(check_sections(p, text, err));
    return read_days(p, text, err);
}

cm_err cm_profile_open(const char *name, struct cm_span text, const struct cm_columns *columns,
                       struct cm_profile **out, struct cm_error *err)
{
    struct cm_profile *p = NULL;
    char *copy = NULL;
    cm_err rc = CM_OK;

    if (text.len > CM_PROFILE_TEXT_MAX || memchr(text.data, 0, text.len) != NULL)
        CM_FAIL(err, CM_E_INPUT, "profile %.80s is not text, or longer than %d octets", name,
                CM_PROFILE_TEXT_MAX);
    p = calloc(1, sizeof *p);
    copy = strndup((const char *) text.data, text.len);
    if (p == NULL || copy == NULL) {
        free(p);
        free(copy);
        CM_FAIL(err, CM_E_NOMEM, "no memory for profile %.80s", name);
    }
    (void) snprintf(p->name, sizeof p->name, "%s", name);
    p->columns = columns;
    rc = load(p, copy, err);
    free(copy);
    if (rc != CM_OK) {
        cm_profile_close(p);
        return rc;
    }
    *out = p;
    return CM_OK;
}

void cm_profile_close(struct cm_profile *p)
{
    if (p == NULL)
        return;
    NCONF_free(p->conf);
    free(p);
}

cm_err cm_profile_pattern(const struct cm_profile *p, const char *key, char *buf, size_t cap,
                          const char **out, struct cm_error *err)
{
    const char *value = NCONF_get_string(p->conf, "profile", key);
    struct cm_writer w = cm_writer(buf, cap);

    *out = NULL;
    if (value == NULL)
        return CM_OK;
    for (const char *c = value; *c != '\0';) {
        const int mark = cm_profile_mark_at(p, (const uint8_t *) c, strlen(c));
        if (mark >= 0) {
            cm_put_str(&w, p->mark_text[mark]);
            c += CM_MARK_LEN;
        } else {
            cm_put_byte(&w, (uint8_t) *c++);
        }
    }
    cm_put_byte(&w, 0);
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_INPUT, "profile %s: %s is longer than %zu octets", p->name, key, cap - 1);
    *out = buf;
    return CM_OK;
}

const char *cm_profile_section(const struct cm_profile *p, enum cm_keyfam family)
{
    static const char *const key[] = { [CM_KEYFAM_EC] = "extensions_ec",
                                       [CM_KEYFAM_RSA] = "extensions_rsa",
                                       [CM_KEYFAM_ED25519] = "extensions_ed25519" };
    const char *section = NCONF_get_string(p->conf, "profile", key[family]);

    return section != NULL ? section : NCONF_get_string(p->conf, "profile", "extensions");
}

const char *cm_profile_registry(const struct cm_profile *p)
{
    return NCONF_get_string(p->conf, "profile", "registry");
}

/* Is name one of the words of the list that the key holds? True when there is no list. */
static bool listed(const struct cm_profile *p, const char *key, const char *name)
{
    const char *list = NCONF_get_string(p->conf, "profile", key);

    if (list == NULL)
        return true;
    while (*list != '\0') {
        const size_t skip = strspn(list, " ,\t"), n = strcspn(list + skip, " ,\t");
        if (n == strlen(name) && strncasecmp(list + skip, name, n) == 0)
            return true;
        list += skip + n;
    }
    return false;
}

cm_err cm_profile_check(const struct cm_profile *p, const struct cm_keyalg *key, const struct cm_sigalg *sig,
                        struct cm_error *err)
{
    if (!listed(p, "keys", key->name))
        CM_FAIL(err, CM_E_USAGE, "profile %s does not allow %s device keys; it allows %s", p->name, key->name,
                NCONF_get_string(p->conf, "profile", "keys"));
    if (!listed(p, "signatures", sig->name))
        CM_FAIL(err, CM_E_USAGE,
                "profile %s does not allow certificates signed with %s; use another CA key or "
                "profile",
                p->name, sig->name);
    return CM_OK;
}

/* Does set ("a-zA-Z0-9:_-", a final '-' for itself) hold c? */
static bool in_set(const char *set, uint8_t c)
{
    for (; *set != '\0'; set++) {
        if (set[1] == '-' && set[2] != '\0') {
            if (c >= (uint8_t) set[0] && c <= (uint8_t) set[2])
                return true;
            set += 2;
        } else if ((uint8_t) *set == c) {
            return true;
        }
    }
    return false;
}

cm_err cm_profile_check_id(const struct cm_profile *p, struct cm_span id, struct cm_error *err)
{
    const char *set = NCONF_get_string(p->conf, "profile", "id_characters");
    char shown[80];

    for (size_t i = 0; set != NULL && i < id.len; i++)
        if (!in_set(set, id.data[i]))
            CM_FAIL(err, CM_E_INPUT,
                    "device id \"%s\" has a character that profile %s does not allow; it allows %s",
                    cm_printable(id, shown, sizeof shown), p->name, set);
    return CM_OK;
}
