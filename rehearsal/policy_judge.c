#include "rehearsal/policy_impl.h"

#include <ctype.h>

/* A pattern is read a character at a time, the values of its variables put in as it goes: no expanded text
 * has to be kept, and what a variable brings can't be taken for a wildcard. A cursor can be copied to come
 * back to. */
struct cursor {
    struct cm_span left;  /* of the pattern */
    struct cm_span value; /* left of the variable that is being put in */
    bool wild;            /* "*" and "?" are wildcards */
    const struct cm_policy_request *request;
};

enum token { TOKEN_END, TOKEN_CHAR, TOKEN_STAR, TOKEN_ANY };

static struct cm_span skip(struct cm_span s, size_t n)
{
    return cm_span(s.data + n, s.len - n);
}

static bool has_prefix(struct cm_span s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

/* Certificates bring what their owner wrote: that must not widen a policy. */
static bool is_trusted(struct cm_span name, struct cm_span value)
{
    if (value.len > CM_POLICY_VALUE_MAX)
        return false;
    if (!has_prefix(name, "iot:Certificate."))
        return true;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] != '\0' && strchr("*$+?#", value.data[i]) != NULL)
            return false;
    return true;
}

/* At "${": true when the cursor went behind "}", with the value still to be read. */
static bool enter_variable(struct cursor *c)
{
    const struct cm_span inside = skip(c->left, 2);
    const uint8_t *const close = memchr(inside.data, '}', inside.len);
    struct cm_span values[CM_POLICY_VALUES];

    if (close == NULL)
        return false;
    const struct cm_span name = cm_span(inside.data, (size_t) (close - inside.data));
    if (name.len == 1 && strchr("*?$", name.data[0]) != NULL)
        values[0] = name;
    else if (c->request->lookup(c->request->lookup_arg, name, values) == 0 || !is_trusted(name, values[0]))
        return false;
    c->left = skip(inside, name.len + 1);
    c->value = values[0];
    return true;
}

static enum token next(struct cursor *c, uint8_t *out)
{
    for (;;) {
        if (c->value.len > 0) {
            *out = c->value.data[0];
            c->value = skip(c->value, 1);
            return TOKEN_CHAR;
        }
        if (c->left.len == 0)
            return TOKEN_END;
        if (!has_prefix(c->left, "${") || !enter_variable(c))
            break;
    }
    *out = c->left.data[0];
    c->left = skip(c->left, 1);
    if (c->wild && *out == '*')
        return TOKEN_STAR;
    return c->wild && *out == '?' ? TOKEN_ANY : TOKEN_CHAR;
}

static bool same(uint8_t a, uint8_t b, bool caseless)
{
    return a == b || (caseless && tolower(a) == tolower(b));
}

static size_t utf8_step(struct cm_span text, size_t at)
{
    size_t n = 1;

    while (at + n < text.len && (text.data[at + n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* The usual way: on a mismatch the last star takes one character more. */
static bool matches(struct cm_span pattern, struct cm_span text, enum cm_policy_compare how,
                    const struct cm_policy_request *request)
{
    struct cursor c = { .left = pattern, .wild = how == CM_POLICY_LIKE, .request = request }, star = c;
    size_t at = 0, star_at = 0;
    bool starred = false;
    uint8_t ch = 0;
    enum token t;

    while (at < text.len) {
        struct cursor ahead = c;
        t = next(&ahead, &ch);
        if (t == TOKEN_STAR) {
            c = star = ahead;
            star_at = at;
            starred = true;
        } else if (t == TOKEN_ANY ||
                   (t == TOKEN_CHAR && same(ch, text.data[at], how == CM_POLICY_CASELESS))) {
            c = ahead;
            at += t == TOKEN_ANY ? utf8_step(text, at) : 1;
        } else if (starred) {
            c = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while ((t = next(&c, &ch)) == TOKEN_STAR)
        ;
    return t == TOKEN_END;
}

static struct cm_span json_span(const json_t *string)
{
    return cm_span(json_string_value(string), json_string_length(string));
}

/* One string or a list of them: does one match? */
static bool one_matches(const json_t *patterns, struct cm_span text, enum cm_policy_compare how,
                        const struct cm_policy_request *request)
{
    const size_t count = json_is_array(patterns) ? json_array_size(patterns) : 1;

    if (json_is_boolean(patterns))
        return matches(cm_span_str(json_is_true(patterns) ? "true" : "false"), text, how, request);
    for (size_t i = 0; i < count; i++) {
        const json_t *const item = json_is_array(patterns) ? json_array_get(patterns, i) : patterns;
        if (matches(json_span(item), text, how, request))
            return true;
    }
    return false;
}

static bool passes(const struct cm_policy_test *t, const char *key, const json_t *wanted,
                   const struct cm_policy_request *request)
{
    struct cm_span value[CM_POLICY_VALUES];
    size_t count = request->lookup(request->lookup_arg, cm_span_str(key), value);

    if (t->op->asks_absence)
        return one_matches(wanted, cm_span_str(count == 0 ? "true" : "false"), CM_POLICY_CASELESS, request);
    if (count == 0)
        return t->if_exists || t->every == CM_POLICY_ALL || (t->op->negated && t->every != CM_POLICY_ANY);
    if (t->every == CM_POLICY_FIRST)
        count = 1;
    for (size_t i = 0; i < count; i++) {
        const bool good = one_matches(wanted, value[i], t->op->compares, request) != t->op->negated;
        if (t->every == CM_POLICY_ANY && good)
            return true;
        if (t->every != CM_POLICY_ANY && !good)
            return false;
    }
    return t->every != CM_POLICY_ANY;
}

static bool conditions_pass(const json_t *condition, const struct cm_policy_request *request)
{
    struct cm_policy_test test;
    const char *name, *key;
    json_t *keys, *wanted;

    json_object_foreach(cm_json_each(condition), name, keys)
    {
        CM_ASSERT(cm_policy_operator_find(name, &test));
        json_object_foreach(keys, key, wanted)
        {
            if (!passes(&test, key, wanted, request))
                return false;
        }
    }
    return true;
}

/* Actions have no variables. */
static size_t no_variables(void *arg, struct cm_span name, struct cm_span value[CM_POLICY_VALUES])
{
    (void) arg;
    (void) name;
    (void) value;
    return 0;
}

static enum cm_policy_effect judge_statement(const json_t *s, const struct cm_policy_request *request)
{
    const struct cm_policy_request plain = { .lookup = no_variables };
    const char *const effect = json_string_value(json_object_get(s, "Effect"));

    if (!one_matches(json_object_get(s, "Action"), cm_span_str(request->action), CM_POLICY_LIKE, &plain) ||
        !one_matches(json_object_get(s, "Resource"), cm_span_str(request->resource), CM_POLICY_LIKE,
                     request) ||
        !conditions_pass(json_object_get(s, "Condition"), request))
        return CM_POLICY_SILENT;
    return strcmp(effect, "Deny") == 0 ? CM_POLICY_DENY : CM_POLICY_ALLOW;
}

enum cm_policy_effect cm_policy_judge(const struct cm_policy *p, const struct cm_policy_request *request)
{
    const json_t *const statement = json_object_get(p->doc, "Statement");
    const size_t count = json_is_array(statement) ? json_array_size(statement) : 1;
    enum cm_policy_effect effect = CM_POLICY_SILENT;

    for (size_t i = 0; i < count && effect != CM_POLICY_DENY; i++) {
        const json_t *const one = json_is_array(statement) ? json_array_get(statement, i) : statement;
        const enum cm_policy_effect said = judge_statement(one, request);
        if (said != CM_POLICY_SILENT)
            effect = said;
    }
    return effect;
}
