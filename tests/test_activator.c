/* Goal: the rule has each new certificate handled, however often and in whatever order its events come, and
 * with a fifth of them lost; the list tells what is in force from what was replaced, burned, and never there.
 * Method: messages by hand, no broker, and a stub of the function; the fleet is minted by the program, and
 * killed on the way. */
#include "engine/batch.h"
#include "io/fleet.h"
#include "io/fleet_walk.h"
#include "io/journalread.h"
#include "rehearsal/activator.h"

#include <criterion/criterion.h>
#include <unistd.h>

enum { DEVICES = 50 };

static char dir[] = "/tmp/test_activator.XXXXXX";
static struct cm_fleet *fleet;
static struct cm_allow *allow;
static char id[DEVICES][65], name[DEVICES][CM_ROW_NAME_MAX + 1]; /* in manifest order */
static unsigned handled[DEVICES];
static bool refuse;

static void shell(const char *fmt)
{
    char line[1000];

    (void) snprintf(line, sizeof line, "cd %s && %s", dir, fmt);
    cr_assert_eq(system(line), 0, "%s", line);
}

static void setup(void)
{
    struct cm_error err = { 0 };
    struct cm_fleet_walk *walk = NULL;
    const struct cm_row *row = NULL;
    char path[64];

    cr_assert_not_null(mkdtemp(dir));
    shell("\"$CERTMILL\" ca init --quiet --out ca >out && \"$CERTMILL\" mint --quiet --batch 8 --ca "
          "ca/ca.pem --ca-key "
          "ca/ca.key --out fleet --count 50 --plaintext-keys >>out");
    (void) snprintf(path, sizeof path, "%s/fleet", dir);
    cr_assert_eq(cm_fleet_open(path, NULL, &fleet, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_allow_open(fleet, &allow, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_fleet_walk_open(fleet, &walk, &err), CM_OK);
    for (size_t i = 0; i < DEVICES; i++) {
        cr_assert_eq(cm_fleet_walk_next(walk, &row, &err), CM_OK, "%s", err.what);
        (void) snprintf(id[i], sizeof id[i], "%s", row->certificate_id);
        (void) snprintf(name[i], sizeof name[i], "%s", row->device_id);
    }
    cm_fleet_walk_close(walk);
}

static void teardown(void)
{
    cm_allow_close(allow);
    cm_fleet_close(fleet);
    shell("cd / && rm -rf \"$OLDPWD\"");
}

/* Activates what is on the list, once; denies the rest as unknown; the device with the last certificate has
 * another one. */
static cm_err handle(void *arg, const char *certificate_id, const char *ca_id, struct cm_function_result *out,
                     struct cm_error *err)
{
    size_t number = 0;

    (void) arg;
    cr_expect_str_eq(ca_id, cm_fleet_run(fleet)->ca_certificate_id);
    if (refuse)
        CM_FAIL(err, CM_E_IO, "not today");
    if (!cm_allow_find(allow, certificate_id, &number)) {
        *out = (struct cm_function_result) { CM_FUNCTION_DENIED, CM_STANDING_UNKNOWN, "", "" };
        return CM_OK;
    }
    out->done = handled[number]++ == 0 ? CM_FUNCTION_ACTIVATED : CM_FUNCTION_LEFT_ALONE;
    if (strcmp(certificate_id, id[DEVICES - 1]) == 0)
        memset(out->other, 'f', 64);
    return cm_allow_device(allow, number, out->device_id, err);
}

static struct cm_activator *make(uint64_t seed)
{
    const struct cm_activator_conf conf = { handle, NULL, seed };
    struct cm_activator *a = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_activator_new(&conf, &a, &err), CM_OK, "%s", err.what);
    return a;
}

static void tell(struct cm_activator *a, const char *certificate_id, const char *status)
{
    char text[400];

    (void) snprintf(
        text, sizeof text,
        "{\"certificateId\":\"%.64s\",\"caCertificateId\":\"%.64s\",\"timestamp\":1,\"certificateStatus\":"
        "\"%.40s\",\"awsAccountId\":\"123456789012\",\"certificateRegistrationTimestamp\":\"1\"}",
        certificate_id, cm_fleet_run(fleet)->ca_certificate_id, status);
    cm_activator_message(a, cm_span_str(text));
}

TestSuite(activator, .init = setup, .fini = teardown, .timeout = 60);

Test(activator, the_list_has_the_fleet_and_nothing_else)
{
    char upper[65];

    cr_expect_eq(cm_allow_count(allow), DEVICES);
    for (size_t i = 0; i < DEVICES; i++)
        cr_expect(cm_allow_find(allow, id[i], NULL), "%s", id[i]);
    for (size_t i = 0; i < sizeof upper; i++)
        upper[i] = id[0][i] >= 'a' ? (char) (id[0][i] - 32) : id[0][i];
    cr_expect_not(cm_allow_find(allow, upper, NULL) && strcmp(upper, id[0]) != 0);
    cr_expect_not(cm_allow_find(allow, "", NULL));
    id[0][63] = id[0][63] == '0' ? '1' : '0';
    cr_expect_not(cm_allow_find(allow, id[0], NULL));
}

Test(activator, events_that_repeat_are_counted_once)
{
    struct cm_activator *a = make(0);
    struct cm_activator_finding f;
    struct cm_activator_counts n;

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < DEVICES; i++)
            tell(a, id[i], "PENDING_ACTIVATION");
    cm_activator_counts(a, &n);
    cr_expect_eq(n.activated, DEVICES);
    cr_expect_eq(n.left_alone, DEVICES);
    cr_expect_eq(n.events, 2 * DEVICES);
    cr_expect_eq(n.doubled, 1);
    cr_assert(cm_activator_finding(a, 0, &f));
    cr_expect_str_eq(f.what, "doubled");
    cr_expect_str_eq(f.certificate_id, id[DEVICES - 1]);
    cr_expect_str_eq(f.device_id, name[DEVICES - 1]);
    cr_expect_not(cm_activator_finding(a, 1, &f), "each once");
    cm_activator_free(a);
}

Test(activator, strangers_and_nonsense_activate_nothing)
{
    struct cm_activator *a = make(0);
    struct cm_activator_counts n;
    struct cm_activator_finding f;
    static const char stranger[] = "00000000000000000000000000000000000000000000000000000000000000ff";

    tell(a, stranger, "PENDING_ACTIVATION");
    tell(a, id[0], "ACTIVE");
    tell(a, "short", "PENDING_ACTIVATION");
    cm_activator_message(a, cm_span_str("[]"));
    cm_activator_message(a, cm_span_str("{"));
    cm_activator_message(a, cm_span_str(""));
    cm_activator_counts(a, &n);
    cr_expect_eq(n.denied[CM_STANDING_UNKNOWN], 1);
    cr_assert(cm_activator_finding(a, 0, &f));
    cr_expect_str_eq(f.what, "unknown");
    cr_expect_str_eq(f.certificate_id, stranger);
    cr_expect_eq(n.malformed, 5);
    cr_expect_eq(n.activated, 0);
    cm_activator_free(a);
}

Test(activator, what_the_service_refuses_is_told_and_tried_again)
{
    struct cm_activator *a = make(0);
    struct cm_activator_counts n;

    refuse = true;
    tell(a, id[0], "PENDING_ACTIVATION");
    cm_activator_counts(a, &n);
    cr_expect_eq(n.failed, 1);
    cr_expect_str_eq(n.last_failure, "not today");
    refuse = false;
    tell(a, id[0], "PENDING_ACTIVATION");
    cm_activator_counts(a, &n);
    cr_expect_eq(n.activated, 1);
    cm_activator_free(a);
}

Test(activator, faults_lose_double_and_delay_by_their_seed)
{
    struct cm_activator_counts first = { 0 }, second = { 0 };

    for (int run = 0; run < 2; run++) {
        struct cm_activator *a = make(7);
        memset(handled, 0, sizeof handled);
        for (int round = 0; round < 20; round++)
            for (size_t i = 0; i < DEVICES; i++)
                tell(a, id[i], "PENDING_ACTIVATION");
        cm_activator_idle(a);
        cm_activator_counts(a, run == 0 ? &first : &second);
        cm_activator_free(a);
    }
    cr_expect_eq(first.activated, DEVICES);
    cr_expect(first.lost > 150 && first.lost < 250, "%lu of 1000", (unsigned long) first.lost);
    cr_expect(first.activated + first.left_alone > 1000 - first.lost, "some came twice");
    cr_expect_eq(first.lost, second.lost);
    cr_expect_eq(first.left_alone, second.left_alone);
}

Test(activator, findings_are_kept_up_to_a_bound_and_counted_beyond)
{
    struct cm_activator *a = make(0);
    struct cm_activator_finding f;
    struct cm_activator_counts n;
    char other[65];

    for (unsigned i = 0; i < CM_ACTIVATOR_FINDINGS + 5; i++) {
        (void) snprintf(other, sizeof other, "%064x", i);
        tell(a, other, "PENDING_ACTIVATION");
    }
    cm_activator_counts(a, &n);
    cr_expect_eq(n.denied[CM_STANDING_UNKNOWN], CM_ACTIVATOR_FINDINGS + 5);
    cr_expect(cm_activator_finding(a, CM_ACTIVATOR_FINDINGS - 1, &f));
    cr_expect_not(cm_activator_finding(a, CM_ACTIVATOR_FINDINGS, &f));
    cm_activator_free(a);
}

static void reopen(void)
{
    struct cm_error err = { 0 };
    char path[64];

    cm_allow_close(allow);
    cm_fleet_close(fleet);
    (void) snprintf(path, sizeof path, "%s/fleet", dir);
    cr_assert_eq(cm_fleet_open(path, NULL, &fleet, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_allow_open(fleet, &allow, &err), CM_OK, "%s", err.what);
}

/* A serial under a prefix of the run, and a certificate that the manifest does not have. */
static enum cm_standing explain(size_t prefix)
{
    uint8_t serial[CM_SERIAL_LEN] = { 0 };
    enum cm_standing standing = CM_STANDING_COUNT;
    struct cm_error err = { 0 };
    char device_id[CM_ROW_NAME_MAX + 1];
    static const char stranger[] = "00000000000000000000000000000000000000000000000000000000000000ff";

    memcpy(serial, cm_fleet_journal(fleet)->prefix[prefix].octets, CM_SERIAL_PREFIX);
    cr_assert_eq(
        cm_allow_explain(allow, stranger, cm_span(serial, sizeof serial), &standing, device_id, &err), CM_OK,
        "%s", err.what);
    cr_expect_str_eq(device_id, "");
    return standing;
}

Test(activator, burned_is_what_lies_under_a_prefix_without_a_commit)
{
    /* Dies between the row of the manifest and its commit: what was signed is lost. */
    const char *build = getenv("CM_BUILD");
    char faulty[4096];
    (void) snprintf(faulty, sizeof faulty, "%s/tests/faults/certmill-faulty", build != NULL ? build : ".");
    if (access(faulty, X_OK) != 0)
        cr_skip_test("certmill-faulty is not in this build");
    shell("rm -rf fleet; env CERTMILL_FAULTS='tune commit_devices 16;kill point@journal.write 4' "
          "\"$CM_BUILD\"/tests/faults/certmill-faulty mint --quiet --ca ca/ca.pem --ca-key ca/ca.key --out "
          "fleet "
          "--count 50 --batch 8 --plaintext-keys >>out; \"$CERTMILL\" resume --quiet fleet --ca ca/ca.pem "
          "--ca-key ca/ca.key >>out && test -s fleet/burned.ndjson");
    reopen();
    const struct cm_journal_state *j = cm_fleet_journal(fleet);
    size_t burned = 0;
    for (size_t i = 0; i < j->prefixes; i++) {
        const bool other = cm_ranges_meets(&j->used, i, i) || cm_ranges_meets(&j->unused, i, i);
        cr_expect_eq(explain(i), other ? CM_STANDING_UNKNOWN : CM_STANDING_BURNED, "prefix %zu", i);
        burned += !other;
    }
    cr_expect_gt(burned, 0);
}

Test(activator, superseded_is_what_the_manifest_has_and_is_not_in_force)
{
    enum cm_standing standing = CM_STANDING_COUNT;
    struct cm_error err = { 0 };
    char device_id[CM_ROW_NAME_MAX + 1], line[300];

    (void) snprintf(line, sizeof line,
                    "\"$CERTMILL\" reissue --quiet fleet --ca ca/ca.pem --ca-key ca/ca.key --reason test %s "
                    ">>out",
                    name[1]);
    shell(line);
    reopen();
    cr_expect_eq(cm_allow_count(allow), DEVICES);
    cr_expect_not(cm_allow_find(allow, id[1], NULL));
    cr_assert_eq(cm_allow_explain(allow, id[1], cm_span(NULL, 0), &standing, device_id, &err), CM_OK, "%s",
                 err.what);
    cr_expect_eq(standing, CM_STANDING_SUPERSEDED);
    cr_expect_str_eq(device_id, name[1]);
}
