/* Goal: the registry keeps what it was told, refuses what AWS IoT refuses, and two processes that write at
 * once lose and double nothing. Method: a file in a temporary directory; children that race. */
#include "rehearsal/registry.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CA1 "1111111111111111111111111111111111111111111111111111111111111111"
#define ARN(id) "arn:aws:iot:us-east-1:123456789012:cert/" id

static char dir[] = "/tmp/test_registry.XXXXXX", path[64];
static struct cm_registry *reg;
static struct cm_svc_error no;

static struct cm_registry *open_it(void)
{
    struct cm_registry *r = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_registry_open(path, NULL, &r, &err), CM_OK, "%s", err.what);
    return r;
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/registry", dir);
    reg = open_it();
    no = (struct cm_svc_error) { 0 };
}

static void teardown(void)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char name[80];

    cm_registry_close(reg);
    for (size_t i = 0; i < CM_COUNT(ends); i++) {
        (void) snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void) unlink(name);
    }
    (void) rmdir(dir);
}

static const char *id_of(unsigned n)
{
    static char id[CM_REG_ID];

    (void) snprintf(id, sizeof id, "%064x", n);
    return id;
}

static cm_err add_ca(const char *id, const char *subject)
{
    return cm_reg_ca_add(reg,
                         &(struct cm_reg_ca_new) { .id = id,
                                                   .pem = "PEM",
                                                   .der = cm_span("der", 3),
                                                   .subject = cm_span_str(subject),
                                                   .active = true },
                         &no);
}

static cm_err add_cert(const char *id, enum cm_reg_status status)
{
    return cm_reg_cert_add(
        reg, &(struct cm_reg_cert_new) { .id = id, .ca_id = CA1, .pem = "PEM", .status = status }, &no);
}

#define REFUSED(call, want)                                                                                  \
    do {                                                                                                     \
        no = (struct cm_svc_error) { 0 };                                                                    \
        cr_expect_eq((call), CM_E_INPUT);                                                                    \
        cr_expect_eq(no.kind, (want), "%s instead of %s: %s", cm_svc_name(no.kind), cm_svc_name(want),       \
                     no.base.what);                                                                          \
    } while (0)
#define DONE(call) cr_assert_eq((call), CM_OK, "%s", no.base.what)

TestSuite(registry, .init = setup, .fini = teardown, .timeout = 60);

Test(registry, the_code_stays_until_it_is_deleted)
{
    char a[CM_REG_ID], b[CM_REG_ID], c[CM_REG_ID];

    DONE(cm_reg_code(reg, a, &no));
    DONE(cm_reg_code(reg, b, &no));
    cr_expect_str_eq(a, b);
    cr_expect_eq(strspn(a, "0123456789abcdef"), 64);
    DONE(cm_reg_code_delete(reg, &no));
    REFUSED(cm_reg_code_delete(reg, &no), CM_SVC_NOT_FOUND);
    DONE(cm_reg_code(reg, c, &no));
    cr_expect_str_neq(a, c);
}

Test(registry, cas)
{
    struct cm_reg_ca ca = { 0 };
    int64_t before = 0, after = 0;

    DONE(cm_reg_ca_generation(reg, &before, &no));
    DONE(add_ca(CA1, "S"));
    DONE(cm_reg_ca_generation(reg, &after, &no));
    cr_expect_neq(before, after);
    REFUSED(add_ca(CA1, "S"), CM_SVC_EXISTS);
    cr_expect_str_eq(no.resource_id, CA1);
    cr_expect_str_eq(no.resource_arn, "arn:aws:iot:us-east-1:123456789012:cacert/" CA1);
    for (unsigned i = 0; i < 9; i++)
        DONE(add_ca(id_of(i), "S"));
    REFUSED(add_ca(id_of(9), "S"), CM_SVC_LIMIT);
    DONE(add_ca(id_of(9), "another"));

    REFUSED(cm_reg_ca_delete(reg, CA1, &no), CM_SVC_STATE);
    DONE(cm_reg_ca_update(
        reg, CA1,
        &(struct cm_reg_ca_change) {
            .active = CM_REG_OFF, .auto_registration = CM_REG_ON, .template_body = "{}", .role_arn = "role" },
        &no));
    DONE(cm_reg_ca_find(reg, CA1, &ca, &no));
    cr_expect(!ca.active && ca.auto_registration && strcmp(ca.template_body, "{}") == 0);
    cm_reg_ca_done(&ca);
    DONE(cm_reg_ca_update(reg, CA1, &(struct cm_reg_ca_change) { .remove_template = true }, &no));
    DONE(cm_reg_ca_find(reg, CA1, &ca, &no));
    cr_expect_null(ca.template_body);
    cr_expect(ca.auto_registration, "what isn't to change, changed");
    cm_reg_ca_done(&ca);
    DONE(cm_reg_ca_delete(reg, CA1, &no));
    REFUSED(cm_reg_ca_find(reg, CA1, &ca, &no), CM_SVC_NOT_FOUND);
}

Test(registry, certificates_and_what_hangs_on_them)
{
    struct cm_reg_cert cert = { 0 };
    char arn[CM_SVC_ARN];
    bool first = false;

    DONE(add_cert(CA1, CM_REG_ACTIVE));
    REFUSED(add_cert(CA1, CM_REG_ACTIVE), CM_SVC_EXISTS);
    cr_expect_str_eq(no.resource_arn, ARN(CA1));
    cr_assert(cm_registry_arn(reg, "cert", CA1, arn, sizeof arn));

    DONE(cm_reg_policy_add(reg, "P", "{}", &no));
    REFUSED(cm_reg_policy_attach(reg, "Q", arn, &no), CM_SVC_NOT_FOUND);
    REFUSED(cm_reg_policy_attach(reg, "P", "arn:aws:iot:eu-west-1:123456789012:cert/" CA1, &no),
            CM_SVC_INVALID);
    DONE(cm_reg_policy_attach(reg, "P", arn, &no));
    DONE(cm_reg_policy_attach(reg, "P", arn, &no));
    REFUSED(cm_reg_policy_delete(reg, "P", &no), CM_SVC_DELETE_CONFLICT);
    REFUSED(cm_reg_cert_delete(reg, CA1, true, &no), CM_SVC_STATE);
    REFUSED(cm_reg_cert_pending(reg, &(struct cm_reg_cert_new) { .id = CA1, .ca_id = CA1, .pem = "PEM" },
                                &first, &no),
            CM_SVC_STATE);
    DONE(cm_reg_cert_set_status(reg, CA1, CM_REG_REVOKED, &no));
    REFUSED(cm_reg_cert_delete(reg, CA1, false, &no), CM_SVC_DELETE_CONFLICT);
    DONE(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t" }, &no));
    DONE(cm_reg_thing_attach(reg, "t", arn, &no));
    REFUSED(cm_reg_cert_delete(reg, CA1, true, &no), CM_SVC_DELETE_CONFLICT);
    REFUSED(cm_reg_thing_delete(reg, "t", 0, &no), CM_SVC_INVALID);
    DONE(cm_reg_thing_detach(reg, "t", arn, &no));
    DONE(cm_reg_cert_delete(reg, CA1, true, &no));
    REFUSED(cm_reg_cert_find(reg, CA1, &cert, &no), CM_SVC_NOT_FOUND);
    DONE(cm_reg_policy_delete(reg, "P", &no));
}

Test(registry, things_types_and_groups)
{
    struct cm_reg_thing thing = { 0 };

    REFUSED(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &no),
            CM_SVC_NOT_FOUND);
    DONE(cm_reg_named_add(reg, CM_REG_TYPE, "T", NULL, "{}", &no));
    DONE(cm_reg_named_add(reg, CM_REG_TYPE, "T", NULL, "{}", &no));
    REFUSED(cm_reg_named_add(reg, CM_REG_TYPE, "T", NULL, "{\"a\":1}", &no), CM_SVC_EXISTS);
    DONE(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &no));
    DONE(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &no));
    REFUSED(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t" }, &no), CM_SVC_EXISTS);
    REFUSED(cm_reg_thing_update(reg, &(struct cm_reg_thing_new) { .name = "t", .type = "" }, 7, &no),
            CM_SVC_VERSION_CONFLICT);
    DONE(cm_reg_thing_update(
        reg, &(struct cm_reg_thing_new) { .name = "t", .type = "", .attributes = "{\"a\":\"b\"}" }, 1, &no));
    DONE(cm_reg_thing_find(reg, "t", &thing, &no));
    cr_expect_str_eq(thing.type, "");
    cr_expect_str_eq(thing.attributes, "{\"a\":\"b\"}");
    cr_expect_eq(thing.version, 2);
    cm_reg_thing_done(&thing);

    REFUSED(cm_reg_named_delete(reg, CM_REG_TYPE, "T", &no), CM_SVC_INVALID);
    DONE(cm_reg_named_deprecate(reg, "T", true, &no));
    REFUSED(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "u", .type = "T" }, &no),
            CM_SVC_INVALID);
    DONE(cm_reg_named_delete(reg, CM_REG_TYPE, "T", &no));

    REFUSED(cm_reg_member_add(reg, CM_REG_GROUP, "g", "t", &no), CM_SVC_NOT_FOUND);
    DONE(cm_reg_named_add(reg, CM_REG_GROUP, "g", NULL, "{}", &no));
    DONE(cm_reg_member_add(reg, CM_REG_GROUP, "g", "t", &no));
    DONE(cm_reg_member_add(reg, CM_REG_GROUP, "g", "t", &no));
    DONE(cm_reg_member_remove(reg, CM_REG_GROUP, "g", "t", &no));
}

static cm_err on_policy(void *arg, const char *name, const char *document)
{
    (void) document;
    (void) strncat(arg, name, 8);
    return CM_OK;
}

Test(registry, policies_come_from_the_certificate_and_the_groups_of_its_thing)
{
    char names[64] = "", arn[CM_SVC_ARN];

    DONE(add_cert(CA1, CM_REG_ACTIVE));
    cr_assert(cm_registry_arn(reg, "cert", CA1, arn, sizeof arn));
    DONE(cm_reg_policy_add(reg, "A", "{}", &no));
    DONE(cm_reg_policy_add(reg, "B", "{}", &no));
    DONE(cm_reg_policy_add(reg, "C", "{}", &no));
    DONE(cm_reg_thing_add(reg, &(struct cm_reg_thing_new) { .name = "t" }, &no));
    DONE(cm_reg_named_add(reg, CM_REG_GROUP, "g", NULL, "{}", &no));
    DONE(cm_reg_member_add(reg, CM_REG_GROUP, "g", "t", &no));
    DONE(cm_reg_policy_attach(reg, "A", arn, &no));
    DONE(cm_reg_policy_attach(reg, "B", "arn:aws:iot:us-east-1:123456789012:thinggroup/g", &no));
    DONE(cm_reg_policies_of(reg, arn, "t", on_policy, names, &no));
    cr_expect_str_eq(names, "AB");
    names[0] = '\0';
    DONE(cm_reg_policies_of(reg, arn, NULL, on_policy, names, &no));
    cr_expect_str_eq(names, "A");
}

static cm_err on_item(void *arg, const struct cm_reg_item *item)
{
    (void) item;
    ++*(unsigned *) arg;
    return CM_OK;
}

Test(registry, lists_come_in_pages)
{
    struct cm_reg_page page = { .of = CA1, .rows = 4 };
    int64_t next = 0;
    unsigned seen = 0, pages = 0;

    for (unsigned i = 0; i < 10; i++)
        DONE(add_cert(id_of(i), CM_REG_INACTIVE));
    do {
        DONE(cm_reg_list(reg, CM_REG_LIST_CERTS_BY_CA, &page, on_item, &seen, &next, &no));
        page.after = next;
        pages++;
    } while (next != 0);
    cr_expect_eq(seen, 10);
    cr_expect_eq(pages, 3);
    page = (struct cm_reg_page) { .rows = 10, .descending = true };
    DONE(cm_reg_list(reg, CM_REG_LIST_CERTS, &page, on_item, &seen, &next, &no));
    cr_expect_eq(next, 0, "a page that is just full has no next one");
    cr_expect_eq(seen, 20);
    for (int list = 0; list < CM_REG_LIST_COUNT; list++)
        DONE(cm_reg_list(reg, (enum cm_reg_list) list, &page, on_item, &seen, &next, &no));
}

Test(registry, a_transaction_of_several_calls_is_whole_or_not_at_all)
{
    struct cm_reg_cert cert = { 0 };

    DONE(cm_reg_begin(reg, &no));
    DONE(add_cert(id_of(1), CM_REG_ACTIVE));
    REFUSED(add_cert(id_of(1), CM_REG_ACTIVE), CM_SVC_EXISTS);
    cm_reg_rollback(reg);
    REFUSED(cm_reg_cert_find(reg, id_of(1), &cert, &no), CM_SVC_NOT_FOUND);
    DONE(cm_reg_begin(reg, &no));
    DONE(add_cert(id_of(1), CM_REG_ACTIVE));
    DONE(cm_reg_commit(reg, &no));
    DONE(cm_reg_cert_find(reg, id_of(1), &cert, &no));
    cm_reg_cert_done(&cert);
}

enum { RACERS = 3, RACED = 120 };

/* Every racer registers the same certificates; says how many were its own. */
static int race(void)
{
    struct cm_registry *mine = NULL;
    struct cm_error err = { 0 };
    int firsts = 0;

    if (cm_registry_open(path, NULL, &mine, &err) != CM_OK)
        return 255;
    for (unsigned i = 0; i < RACED; i++) {
        const struct cm_reg_cert_new cert = { .id = id_of(i), .ca_id = CA1, .pem = "PEM" };
        bool first = false;
        if (cm_reg_cert_pending(mine, &cert, &first, &no) != CM_OK)
            return 255;
        firsts += first;
    }
    cm_registry_close(mine);
    return firsts;
}

Test(registry, processes_that_race_register_each_certificate_once_and_lose_no_event)
{
    struct cm_reg_event event = { 0 };
    pid_t child[RACERS];
    int firsts = 0, status = 0, events = 0;

    cm_registry_close(reg);
    reg = NULL;
    (void) unlink(path); /* so that they race to make it, too */
    for (size_t i = 0; i < RACERS; i++) {
        child[i] = fork();
        cr_assert_geq(child[i], 0);
        if (child[i] == 0)
            _exit(race());
    }
    for (size_t i = 0; i < RACERS; i++) {
        cr_assert_eq(waitpid(child[i], &status, 0), child[i]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        firsts += WEXITSTATUS(status);
    }
    cr_expect_eq(firsts, RACED);
    reg = open_it();
    while (cm_reg_event_next(reg, event.seq, &event, &no) == CM_OK) {
        events++;
        if (events % 2 == 0)
            DONE(cm_reg_event_sent(reg, event.seq, &no));
    }
    cr_expect_eq(events, RACERS * RACED);
    cr_expect_not_null(strstr(event.topic, "$aws/events/certificates/registered/" CA1));
    event.seq = 0;
    for (events = 0; cm_reg_event_next(reg, event.seq, &event, &no) == CM_OK; events++)
        ;
    cr_expect_eq(events, RACERS * RACED / 2);
}
