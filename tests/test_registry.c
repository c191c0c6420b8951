/* Goal: the registry keeps what it was told, refuses what AWS IoT refuses, and two processes that write at
 * once lose and double nothing. Method: a file in a temporary directory; children that race. */
#include "tests/t_registry.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CA1 "1111111111111111111111111111111111111111111111111111111111111111"
#define ARN(id) "arn:aws:iot:us-east-1:123456789012:cert/" id

static const char *id_of(unsigned n)
{
    static char id[CM_REG_ID];

    (void) snprintf(id, sizeof id, "%064x", n);
    return id;
}

static cm_err add_ca(const char *id, const char *subject)
{
    return cm_reg_ca_add(t_registry,
                         &(struct cm_reg_ca_new) { .id = id,
                                                   .pem = "PEM",
                                                   .der = cm_span("der", 3),
                                                   .subject = cm_span_str(subject),
                                                   .active = true },
                         &t_no);
}

static cm_err add_cert(const char *id, enum cm_reg_status status)
{
    return cm_reg_cert_add(
        t_registry, &(struct cm_reg_cert_new) { .id = id, .ca_id = CA1, .pem = "PEM", .status = status },
        &t_no);
}

TestSuite(registry, .init = t_registry_setup, .fini = t_registry_teardown, .timeout = 60);

Test(registry, the_code_stays_until_it_is_deleted)
{
    char a[CM_REG_ID], b[CM_REG_ID], c[CM_REG_ID];

    T_DONE(cm_reg_code(t_registry, a, &t_no));
    T_DONE(cm_reg_code(t_registry, b, &t_no));
    cr_expect_str_eq(a, b);
    cr_expect_eq(strspn(a, "0123456789abcdef"), 64);
    T_DONE(cm_reg_code_delete(t_registry, &t_no));
    T_REFUSED(cm_reg_code_delete(t_registry, &t_no), CM_SVC_NOT_FOUND);
    T_DONE(cm_reg_code(t_registry, c, &t_no));
    cr_expect_str_neq(a, c);
}

Test(registry, cas)
{
    struct cm_reg_ca ca = { 0 };
    int64_t before = 0, after = 0;

    T_DONE(cm_reg_ca_generation(t_registry, &before, &t_no));
    T_DONE(add_ca(CA1, "S"));
    T_DONE(cm_reg_ca_generation(t_registry, &after, &t_no));
    cr_expect_neq(before, after);
    T_REFUSED(add_ca(CA1, "S"), CM_SVC_EXISTS);
    cr_expect_str_eq(t_no.resource_id, CA1);
    cr_expect_str_eq(t_no.resource_arn, "arn:aws:iot:us-east-1:123456789012:cacert/" CA1);
    for (unsigned i = 0; i < 9; i++)
        T_DONE(add_ca(id_of(i), "S"));
    T_REFUSED(add_ca(id_of(9), "S"), CM_SVC_LIMIT);
    T_DONE(add_ca(id_of(9), "another"));

    T_REFUSED(cm_reg_ca_delete(t_registry, CA1, &t_no), CM_SVC_STATE);
    T_DONE(cm_reg_ca_update(
        t_registry, CA1,
        &(struct cm_reg_ca_change) {
            .active = CM_REG_OFF, .auto_registration = CM_REG_ON, .template_body = "{}", .role_arn = "role" },
        &t_no));
    T_DONE(cm_reg_ca_find(t_registry, CA1, &ca, &t_no));
    cr_expect(!ca.active && ca.auto_registration && strcmp(ca.template_body, "{}") == 0);
    cm_reg_ca_done(&ca);
    T_DONE(cm_reg_ca_update(t_registry, CA1, &(struct cm_reg_ca_change) { .remove_template = true }, &t_no));
    T_DONE(cm_reg_ca_find(t_registry, CA1, &ca, &t_no));
    cr_expect_null(ca.template_body);
    cr_expect(ca.auto_registration, "what isn't to change, changed");
    cm_reg_ca_done(&ca);
    T_DONE(cm_reg_ca_delete(t_registry, CA1, &t_no));
    T_REFUSED(cm_reg_ca_find(t_registry, CA1, &ca, &t_no), CM_SVC_NOT_FOUND);
}

Test(registry, certificates_and_what_hangs_on_them)
{
    struct cm_reg_cert cert = { 0 };
    char arn[CM_SVC_ARN];
    bool first = false;

    T_DONE(add_cert(CA1, CM_REG_ACTIVE));
    T_REFUSED(add_cert(CA1, CM_REG_ACTIVE), CM_SVC_EXISTS);
    cr_expect_str_eq(t_no.resource_arn, ARN(CA1));
    cr_assert(cm_registry_arn(t_registry, "cert", CA1, arn, sizeof arn));

    T_DONE(cm_reg_policy_add(t_registry, "P", "{}", &t_no));
    T_REFUSED(cm_reg_policy_attach(t_registry, "Q", arn, &t_no), CM_SVC_NOT_FOUND);
    T_REFUSED(cm_reg_policy_attach(t_registry, "P", "arn:aws:iot:eu-west-1:123456789012:cert/" CA1, &t_no),
              CM_SVC_INVALID);
    T_DONE(cm_reg_policy_attach(t_registry, "P", arn, &t_no));
    T_DONE(cm_reg_policy_attach(t_registry, "P", arn, &t_no));
    T_REFUSED(cm_reg_policy_delete(t_registry, "P", &t_no), CM_SVC_DELETE_CONFLICT);
    T_REFUSED(cm_reg_cert_delete(t_registry, CA1, true, &t_no), CM_SVC_STATE);
    T_REFUSED(cm_reg_cert_pending(t_registry,
                                  &(struct cm_reg_cert_new) { .id = CA1, .ca_id = CA1, .pem = "PEM" }, &first,
                                  &t_no),
              CM_SVC_STATE);
    T_DONE(cm_reg_cert_set_status(t_registry, CA1, CM_REG_REVOKED, &t_no));
    T_REFUSED(cm_reg_cert_delete(t_registry, CA1, false, &t_no), CM_SVC_DELETE_CONFLICT);
    T_DONE(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t" }, &t_no));
    T_DONE(cm_reg_thing_attach(t_registry, "t", arn, &t_no));
    T_REFUSED(cm_reg_cert_delete(t_registry, CA1, true, &t_no), CM_SVC_DELETE_CONFLICT);
    T_REFUSED(cm_reg_thing_delete(t_registry, "t", 0, &t_no), CM_SVC_INVALID);
    T_DONE(cm_reg_thing_detach(t_registry, "t", arn, &t_no));
    T_DONE(cm_reg_cert_delete(t_registry, CA1, true, &t_no));
    T_REFUSED(cm_reg_cert_find(t_registry, CA1, &cert, &t_no), CM_SVC_NOT_FOUND);
    T_DONE(cm_reg_policy_delete(t_registry, "P", &t_no));
}

Test(registry, things_types_and_groups)
{
    struct cm_reg_thing thing = { 0 };

    T_REFUSED(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &t_no),
              CM_SVC_NOT_FOUND);
    T_DONE(cm_reg_named_add(t_registry, CM_REG_TYPE, "T", NULL, "{}", &t_no));
    T_DONE(cm_reg_named_add(t_registry, CM_REG_TYPE, "T", NULL, "{}", &t_no));
    T_REFUSED(cm_reg_named_add(t_registry, CM_REG_TYPE, "T", NULL, "{\"a\":1}", &t_no), CM_SVC_EXISTS);
    T_DONE(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &t_no));
    T_DONE(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t", .type = "T" }, &t_no));
    T_REFUSED(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t" }, &t_no), CM_SVC_EXISTS);
    T_REFUSED(
        cm_reg_thing_update(t_registry, &(struct cm_reg_thing_new) { .name = "t", .type = "" }, 7, &t_no),
        CM_SVC_VERSION_CONFLICT);
    T_DONE(cm_reg_thing_update(
        t_registry, &(struct cm_reg_thing_new) { .name = "t", .type = "", .attributes = "{\"a\":\"b\"}" }, 1,
        &t_no));
    T_DONE(cm_reg_thing_find(t_registry, "t", &thing, &t_no));
    cr_expect_str_eq(thing.type, "");
    cr_expect_str_eq(thing.attributes, "{\"a\":\"b\"}");
    cr_expect_eq(thing.version, 2);
    cm_reg_thing_done(&thing);

    T_REFUSED(cm_reg_named_delete(t_registry, CM_REG_TYPE, "T", &t_no), CM_SVC_INVALID);
    T_DONE(cm_reg_named_deprecate(t_registry, "T", true, &t_no));
    T_REFUSED(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "u", .type = "T" }, &t_no),
              CM_SVC_INVALID);
    T_DONE(cm_reg_named_delete(t_registry, CM_REG_TYPE, "T", &t_no));

    T_REFUSED(cm_reg_member_add(t_registry, CM_REG_GROUP, "g", "t", &t_no), CM_SVC_NOT_FOUND);
    T_DONE(cm_reg_named_add(t_registry, CM_REG_GROUP, "g", NULL, "{}", &t_no));
    T_DONE(cm_reg_member_add(t_registry, CM_REG_GROUP, "g", "t", &t_no));
    T_DONE(cm_reg_member_add(t_registry, CM_REG_GROUP, "g", "t", &t_no));
    T_DONE(cm_reg_member_remove(t_registry, CM_REG_GROUP, "g", "t", &t_no));
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

    T_DONE(add_cert(CA1, CM_REG_ACTIVE));
    cr_assert(cm_registry_arn(t_registry, "cert", CA1, arn, sizeof arn));
    T_DONE(cm_reg_policy_add(t_registry, "A", "{}", &t_no));
    T_DONE(cm_reg_policy_add(t_registry, "B", "{}", &t_no));
    T_DONE(cm_reg_policy_add(t_registry, "C", "{}", &t_no));
    T_DONE(cm_reg_thing_add(t_registry, &(struct cm_reg_thing_new) { .name = "t" }, &t_no));
    T_DONE(cm_reg_named_add(t_registry, CM_REG_GROUP, "g", NULL, "{}", &t_no));
    T_DONE(cm_reg_member_add(t_registry, CM_REG_GROUP, "g", "t", &t_no));
    T_DONE(cm_reg_policy_attach(t_registry, "A", arn, &t_no));
    T_DONE(cm_reg_policy_attach(t_registry, "B", "arn:aws:iot:us-east-1:123456789012:thinggroup/g", &t_no));
    T_DONE(cm_reg_policies_of(t_registry, arn, "t", on_policy, names, &t_no));
    cr_expect_str_eq(names, "AB");
    names[0] = '\0';
    T_DONE(cm_reg_policies_of(t_registry, arn, NULL, on_policy, names, &t_no));
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
        T_DONE(add_cert(id_of(i), CM_REG_INACTIVE));
    do {
        T_DONE(cm_reg_list(t_registry, CM_REG_LIST_CERTS_BY_CA, &page, on_item, &seen, &next, &t_no));
        page.after = next;
        pages++;
    } while (next != 0);
    cr_expect_eq(seen, 10);
    cr_expect_eq(pages, 3);
    page = (struct cm_reg_page) { .rows = 10, .descending = true };
    T_DONE(cm_reg_list(t_registry, CM_REG_LIST_CERTS, &page, on_item, &seen, &next, &t_no));
    cr_expect_eq(next, 0, "a page that is just full has no next one");
    cr_expect_eq(seen, 20);
    for (int list = 0; list < CM_REG_LIST_COUNT; list++)
        T_DONE(cm_reg_list(t_registry, (enum cm_reg_list) list, &page, on_item, &seen, &next, &t_no));
}

Test(registry, a_transaction_of_several_calls_is_whole_or_not_at_all)
{
    struct cm_reg_cert cert = { 0 };

    T_DONE(cm_reg_begin(t_registry, &t_no));
    T_DONE(add_cert(id_of(1), CM_REG_ACTIVE));
    T_REFUSED(add_cert(id_of(1), CM_REG_ACTIVE), CM_SVC_EXISTS);
    cm_reg_rollback(t_registry);
    T_REFUSED(cm_reg_cert_find(t_registry, id_of(1), &cert, &t_no), CM_SVC_NOT_FOUND);
    T_DONE(cm_reg_begin(t_registry, &t_no));
    T_DONE(add_cert(id_of(1), CM_REG_ACTIVE));
    T_DONE(cm_reg_commit(t_registry, &t_no));
    T_DONE(cm_reg_cert_find(t_registry, id_of(1), &cert, &t_no));
    cm_reg_cert_done(&cert);
}

enum { RACERS = 3, RACED = 120 };

/* Every racer registers the same certificates; says how many were its own. */
static int race(void)
{
    struct cm_registry *mine = NULL;
    struct cm_error err = { 0 };
    int firsts = 0;

    if (cm_registry_open(t_registry_path(), NULL, &mine, &err) != CM_OK)
        return 255;
    for (unsigned i = 0; i < RACED; i++) {
        const struct cm_reg_cert_new cert = { .id = id_of(i), .ca_id = CA1, .pem = "PEM" };
        bool first = false;
        if (cm_reg_cert_pending(mine, &cert, &first, &t_no) != CM_OK)
            return 255;
        firsts += first;
    }
    cm_registry_close(mine);
    return firsts;
}

Test(registry, processes_that_race_register_each_certificate_once_and_lose_no_event)
{
    struct cm_reg_event event = { 0 };
    struct cm_error err = { 0 };
    pid_t child[RACERS];
    int firsts = 0, status = 0, events = 0;

    cm_registry_close(t_registry);
    t_registry = NULL;
    (void) unlink(t_registry_path()); /* so that they race to make it, too */
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
    cr_assert_eq(cm_registry_open(t_registry_path(), NULL, &t_registry, &err), CM_OK, "%s", err.what);
    while (cm_reg_event_next(t_registry, event.seq, &event, &t_no) == CM_OK) {
        events++;
        if (events % 2 == 0)
            T_DONE(cm_reg_event_sent(t_registry, event.seq, &t_no));
    }
    cr_expect_eq(events, RACERS * RACED);
    cr_expect_not_null(strstr(event.topic, "$aws/events/certificates/registered/" CA1));
    event.seq = 0;
    for (events = 0; cm_reg_event_next(t_registry, event.seq, &event, &t_no) == CM_OK; events++)
        ;
    cr_expect_eq(events, RACERS * RACED / 2);
}
