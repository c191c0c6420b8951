/* Goal: a slip in a profile is told with the line where it stands, before anything is minted; placeholders
 * are found wherever OpenSSL's configuration syntax puts them, and nowhere else. Method: tables of texts.
 * What a right profile does to certificates is test_tbs's. */
#include "engine/profile.h"
#include "engine/ossl.h"

#include <criterion/criterion.h>

#define HEAD "# comment {\n[profile]\nextensions = e\n"

static const struct {
    const char *text, *words;
} bad[] = {
    { "", "has no [profile] section" },
    { "extensions = e\n[e]\nx = y\n", "has no [profile] section" },
    { HEAD "extension = e\n[e]\n",
      "line 4: unknown key \"extension\" in [profile]; did you mean \"extensions\"?" },
    { HEAD "\n# x\nKeys = P-256\n", "line 6: unknown key \"Keys\" in [profile]; did you mean \"keys\"?" },
    { HEAD "signature = x\n",
      "line 4: unknown key \"signature\" in [profile]; did you mean \"signatures\"?" },
    { HEAD "zzz = x\n[e]\nkeyUsage = digitalSignature\n", "line 4: unknown key \"zzz\" in [profile]" },
    { HEAD "subject = /CN={ID}\n", "line 4: unknown placeholder at \"{ID}" },
    { HEAD "[e]\nsubjectAltName = DNS:{host}\n", "line 5: unknown placeholder at \"{host}" },
    { HEAD "[e]\nx = a}\n", "line 5: unknown placeholder at \"}" },
    { HEAD "[e]\nx = \"#\" {host}\n", "line 5: unknown placeholder at \"{host}" },
    { HEAD "[e]\nx = \\# {host}\n", "line 5: unknown placeholder at \"{host}" },
    { HEAD, "line 3: extensions names section [e], which does not exist" },
    { HEAD "extensions_rsa = r\n[e]\nkeyUsage = digitalSignature\n",
      "line 4: extensions_rsa names section [r], which does not exist" },
    { HEAD "this is no setting\n", "line 4: not OpenSSL configuration syntax" },
    { HEAD "[unclosed\n", "line 4: not OpenSSL configuration syntax" },
    { HEAD "days = 0\n[e]\nx = y\n", "line 4: days must be a whole number from 1 to 3652059" },
    { HEAD "days = 3652060\n[e]\nx = y\n", "line 4: days must be" },
    { HEAD "days = -1\n[e]\nx = y\n", "line 4: days must be" },
    { HEAD "days = 12 months\n[e]\nx = y\n", "line 4: days must be" },
    { HEAD "days = \n[e]\nx = y\n", "line 4: days must be" },
    { HEAD "days = 99999999999999999999\n[e]\nx = y\n", "line 4: days must be" },
    { HEAD "days = +5\n[e]\nx = y\n", "line 4: days must be" },
};

Test(profile, slips_are_told_with_their_line)
{
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct cm_profile *p = NULL;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_profile_open("slip", cm_span_str(bad[i].text), NULL, &p, &err), CM_E_INPUT, "%zu: %s",
                     i, bad[i].text);
        cr_expect(strstr(err.what, bad[i].words) != NULL && strncmp(err.what, "profile slip", 12) == 0,
                  "%zu: \"%s\"", i, err.what);
        cr_expect_null(p);
    }
}

Test(profile, what_is_not_text_or_too_long)
{
    static char big[CM_PROFILE_TEXT_MAX + 2];
    struct cm_profile *p = NULL;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_profile_open("x", cm_span(HEAD "\0", sizeof HEAD), NULL, &p, &err), CM_E_INPUT);
    memset(big, '#', sizeof big);
    cr_expect_eq(cm_profile_open("x", cm_span(big, CM_PROFILE_TEXT_MAX + 1), NULL, &p, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "longer than 65536"), "%s", err.what);
}

static struct cm_profile *open_ok(const char *text)
{
    struct cm_profile *p = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_profile_open("good", cm_span_str(text), NULL, &p, &err), CM_OK, "%s", err.what);
    return p;
}

static const char *pattern_of(const struct cm_profile *p, const char *key)
{
    static char buf[512];
    const char *out = NULL;

    cr_assert_eq(cm_profile_pattern(p, key, buf, sizeof buf, &out, NULL), CM_OK);
    return out;
}

/* Placeholders come back as they were written, whatever the syntax around them did. */
Test(profile, values_with_their_placeholders)
{
    struct cm_profile *p = open_ok("[profile]\n"
                                   "subject = /O=Acme/CN={id}-{seq:08}-{seq:08}-{mac} # not {here}\n"
                                   "san = \"URI:a#{uuid}\",DNS:\\#{id}\n"
                                   "description = a \\\n  {seq} b\n"
                                   "days = 3652059\n"
                                   "extensions = e\n# {nor} here\n[e]\nx = y\n");

    cr_expect_str_eq(pattern_of(p, "subject"), "/O=Acme/CN={id}-{seq:08}-{seq:08}-{mac}");
    cr_expect_str_eq(pattern_of(p, "san"), "URI:a#{uuid},DNS:#{id}");
    cr_expect_not_null(strstr(pattern_of(p, "description"), "{seq} b"));
    cr_expect_null(pattern_of(p, "keys"));
    cr_expect_eq(p->days, 3652059);
    cr_expect_eq(p->marks, 5);
    char small[8];
    const char *out = NULL;
    struct cm_error err = { 0 };
    cr_expect_eq(cm_profile_pattern(p, "subject", small, sizeof small, &out, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "subject is longer than 7"), "%s", err.what);
    cm_profile_close(p);
}

/* A text from the command line has no comments: all of it counts. */
Test(profile, marks_of_a_text)
{
    struct cm_profile *p = open_ok("[profile]\nextensions = e\n[e]\nx = {id}\n");
    char *marked = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_profile_mark(p, "URI:a#{id}{seq}", &marked, &err), CM_OK, "%s", err.what);
    cr_expect_eq(strlen(marked), 6 + 2 * CM_MARK_LEN);
    cr_expect_eq(cm_profile_mark_at(p, (const uint8_t *) marked + 6, CM_MARK_LEN), 0,
                 "the profile's own {id}");
    cr_expect_eq(cm_profile_mark_at(p, (const uint8_t *) marked + 6 + CM_MARK_LEN, CM_MARK_LEN), 1);
    cr_expect_eq(cm_profile_mark_at(p, (const uint8_t *) marked + 6, CM_MARK_LEN - 1), -1, "cut off");
    cr_expect_eq(cm_profile_mark_at(p, (const uint8_t *) marked + 5, CM_MARK_LEN), -1);
    free(marked);
    cr_expect_eq(cm_profile_mark(p, "DNS:{host}", &marked, &err), CM_E_INPUT);
    cm_profile_close(p);
}

Test(profile, no_more_marks_than_there_is_room_for)
{
    char text[2048] = "[profile]\nextensions = e\n[e]\nx = ";
    struct cm_profile *p = NULL;
    struct cm_error err = { 0 };

    for (unsigned i = 1; i <= 16; i++)
        for (size_t f = 0; f < 2; f++)
            (void) snprintf(text + strlen(text), 16, f == 0 ? "{seq:%u}" : "{seq:%02ux}", i);
    p = open_ok(text);
    cr_expect_eq(p->marks, CM_PROFILE_MARKS);
    cm_profile_close(p);
    (void) snprintf(text + strlen(text), 16, "{id}");
    cr_expect_eq(cm_profile_open("x", cm_span_str(text), NULL, &p, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "more than 32 different placeholders"), "%s", err.what);
}

Test(profile, sections_by_key_family)
{
    struct cm_profile *p = open_ok("[profile]\nextensions = e\nextensions_rsa = r\n[e]\nx = y\n[r]\nx = y\n");

    cr_expect_str_eq(cm_profile_section(p, CM_KEYFAM_EC), "e");
    cr_expect_str_eq(cm_profile_section(p, CM_KEYFAM_RSA), "r");
    cr_expect_str_eq(cm_profile_section(p, CM_KEYFAM_ED25519), "e");
    cm_profile_close(p);
    p = open_ok("[profile]\nextensions_ed25519 = r\n[r]\nx = y\n");
    cr_expect_null(cm_profile_section(p, CM_KEYFAM_EC));
    cr_expect_str_eq(cm_profile_section(p, CM_KEYFAM_ED25519), "r");
    cm_profile_close(p);
}

Test(profile, algorithms_that_it_lists)
{
    struct cm_profile *p = open_ok("[profile]\nextensions = e\nkeys = P-256, p-384\tEd25519\n"
                                   "signatures = ecdsa-with-SHA256\n[e]\nx = y\n");
    const struct cm_sigalg *sha256 = cm_sigalg_find("ecdsa-with-SHA256"),
                           *sha384 = cm_sigalg_find("ecdsa-with-SHA384");
    struct cm_error err = { 0 };

    cr_expect_eq(cm_profile_check(p, cm_keyalg_find("P-256"), sha256, &err), CM_OK);
    cr_expect_eq(cm_profile_check(p, cm_keyalg_find("P-384"), sha256, &err), CM_OK);
    cr_expect_eq(cm_profile_check(p, cm_keyalg_find("Ed25519"), sha256, &err), CM_OK);
    cr_expect_eq(cm_profile_check(p, cm_keyalg_find("P-521"), sha256, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "does not allow P-521 device keys; it allows P-256, p-384"), "%s",
                       err.what);
    cr_expect_eq(cm_profile_check(p, cm_keyalg_find("P-256"), sha384, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "signed with ecdsa-with-SHA384"), "%s", err.what);
    cm_profile_close(p);
    p = open_ok("[profile]\nextensions = e\n[e]\nx = y\n");
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        cr_expect_eq(cm_profile_check(p, cm_keyalg_at(i), sha384, NULL), CM_OK, "no list: everything goes");
    cm_profile_close(p);
}

static const struct {
    const char *set, *id;
    bool fits;
} sets[] = {
    { "a-zA-Z0-9:_-", "aZ09:_-", true },
    { "a-zA-Z0-9:_-", "a.b", false },
    { "a-zA-Z0-9:_-", "a b", false },
    { "a-zA-Z0-9:_-", "ü", false },
    { "a-z", "`", false },
    { "a-z", "{", false },
    { "a-z", "-", false },
    { "-a", "-a", true },
    { "abc", "abcabc", true },
    { "abc", "abd", false },
    { "0-9", "", true },
};

Test(profile, characters_of_ids)
{
    for (size_t i = 0; i < CM_COUNT(sets); i++) {
        char text[160];
        struct cm_error err = { 0 };
        (void) snprintf(text, sizeof text, "[profile]\nextensions = e\nid_characters = %s\n[e]\nx = y\n",
                        sets[i].set);
        struct cm_profile *p = open_ok(text);
        const cm_err rc = cm_profile_check_id(p, cm_span_str(sets[i].id), &err);
        cr_expect_eq(rc, sets[i].fits ? CM_OK : CM_E_INPUT, "%s in %s", sets[i].id, sets[i].set);
        cr_expect(sets[i].fits || strstr(err.what, sets[i].set) != NULL, "%s", err.what);
        cm_profile_close(p);
    }
    struct cm_profile *p = open_ok("[profile]\nextensions = e\n[e]\nx = y\n");
    cr_expect_eq(cm_profile_check_id(p, cm_span_str("anything ü"), NULL), CM_OK);
    cm_profile_close(p);
}
