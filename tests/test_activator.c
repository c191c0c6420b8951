/* Goal: the rule activates what is on the fleet's allow-list and nothing else, however often and in whatever
 * order its events come, and with a fifth of them lost. Method: messages by hand, no broker; the fleet is
 * minted by the program. */
#include "io/fleet.h"
#include "io/fleet_walk.h"
#include "rehearsal/activator.h"

#include <criterion/criterion.h>
#include <unistd.h>

enum { DEVICES = 50 };

static char dir[] = "/tmp/test_activator.XXXXXX";
static struct cm_allow *allow;
static char id[DEVICES][65];
static unsigned activations[DEVICES];
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
    struct cm_fleet *fleet = NULL;
    struct cm_fleet_walk *walk = NULL;
    const struct cm_row *row = NULL;
    char path[64];

    cr_assert_not_null(mkdtemp(dir));
    shell("\"$CERTMILL\" ca init --quiet --out ca >out && \"$CERTMILL\" mint --quiet --ca ca/ca.pem --ca-key "
          "ca/ca.key --out fleet --count 50 --plaintext-keys >>out");
    (void) snprintf(path, sizeof path, "%s/fleet", dir);
    cr_assert_eq(cm_fleet_open(path, NULL, &fleet, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_allow_open(fleet, &allow, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_fleet_walk_open(fleet, &walk, &err), CM_OK);
    for (size_t i = 0; i < DEVICES; i++) {
        cr_assert_eq(cm_fleet_walk_next(walk, &row, &err), CM_OK, "%s", err.what);
        (void) snprintf(id[i], sizeof id[i], "%s", row->certificate_id);
    }
    cm_fleet_walk_close(walk);
    cm_fleet_close(fleet);
}

static void teardown(void)
{
    cm_allow_close(allow);
    shell("cd / && rm -rf \"$OLDPWD\"");
}

static cm_err activate(void *arg, const char *certificate_id, struct cm_error *err)
{
    (void) arg;
    if (refuse)
        CM_FAIL(err, CM_E_IO, "not today");
    for (size_t i = 0; i < DEVICES; i++)
        activations[i] += strcmp(id[i], certificate_id) == 0;
    return CM_OK;
}

static struct cm_activator *make(uint64_t seed)
{
    const struct cm_activator_conf conf = { allow, activate, NULL, seed };
    struct cm_activator *a = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_activator_new(&conf, &a, &err), CM_OK, "%s", err.what);
    return a;
}

static void tell(struct cm_activator *a, const char *certificate_id, const char *status)
{
    char text[300];

    (void) snprintf(
        text, sizeof text,
        "{\"certificateId\":\"%.64s\",\"caCertificateId\":\"x\",\"timestamp\":1,\"certificateStatus\":"
        "\"%.40s\",\"awsAccountId\":\"123456789012\",\"certificateRegistrationTimestamp\":\"1\"}",
        certificate_id, status);
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
    struct cm_activator_counts n;

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < DEVICES; i++)
            tell(a, id[i], "PENDING_ACTIVATION");
    cm_activator_counts(a, &n);
    cr_expect_eq(n.activated, DEVICES);
    cr_expect_eq(n.again, DEVICES);
    cr_expect_eq(n.events, 2 * DEVICES);
    cm_activator_free(a);
}

Test(activator, strangers_and_nonsense_activate_nothing)
{
    struct cm_activator *a = make(0);
    struct cm_activator_counts n;
    static const char stranger[] = "00000000000000000000000000000000000000000000000000000000000000ff";

    tell(a, stranger, "PENDING_ACTIVATION");
    tell(a, id[0], "ACTIVE");
    tell(a, "short", "PENDING_ACTIVATION");
    cm_activator_message(a, cm_span_str("[]"));
    cm_activator_message(a, cm_span_str("{"));
    cm_activator_message(a, cm_span_str(""));
    cm_activator_counts(a, &n);
    cr_expect_eq(n.denied, 1);
    cr_expect_str_eq(n.last_denied, stranger);
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
        memset(activations, 0, sizeof activations);
        for (int round = 0; round < 20; round++)
            for (size_t i = 0; i < DEVICES; i++)
                tell(a, id[i], "PENDING_ACTIVATION");
        cm_activator_idle(a);
        cm_activator_counts(a, run == 0 ? &first : &second);
        cm_activator_free(a);
    }
    cr_expect_eq(first.activated, DEVICES);
    cr_expect(first.lost > 150 && first.lost < 250, "%lu of 1000", (unsigned long) first.lost);
    cr_expect(first.activated + first.again > 1000 - first.lost, "some came twice");
    cr_expect_eq(first.lost, second.lost);
    cr_expect_eq(first.again, second.again);
}
