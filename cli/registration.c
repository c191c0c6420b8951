#include "cli/registration.h"

#include "cli/amount.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

enum {
    REGISTER,
    REGISTER_NO_CA,
    REGISTRATIONS,
    REGISTER_THING,
    CREATE_THING,
    ATTACH_THING,
    ATTACH_POLICY,
    UPDATE,
    CONNECT,
    CALLS,
};
_Static_assert((int) CALLS == (int) CM_REG_CALLS, "a name for each call");

/* Service Quotas of AWS IoT Core, defaults of an account in a region. "Registrations" is its bound on
 * certificates registered a second, by whatever way. */
const struct cm_reg_call cm_reg_call[CM_REG_CALLS] = {
    [REGISTER] = { "RegisterCertificate", 10 },
    [REGISTER_NO_CA] = { "RegisterCertificateWithoutCA", 10 },
    [REGISTRATIONS] = { "Registrations", 15 },
    [REGISTER_THING] = { "RegisterThing", 10 },
    [CREATE_THING] = { "CreateThing", 100 },
    [ATTACH_THING] = { "AttachThingPrincipal", 100 },
    [ATTACH_POLICY] = { "AttachPolicy", 15 },
    [UPDATE] = { "UpdateCertificate", 10 },
    [CONNECT] = { "Connect", 500 },
};

const struct cm_reg_path cm_reg_path[CM_REG_PATHS] = {
    { "api-no-ca",
      "call by call, without a registered CA",
      false,
      { { REGISTER_NO_CA, 1 },
        { REGISTRATIONS, 1 },
        { CREATE_THING, 1 },
        { ATTACH_THING, 1 },
        { ATTACH_POLICY, 1 } },
      5 },
    { "api",
      "call by call, under a registered CA",
      false,
      { { REGISTER, 1 },
        { REGISTRATIONS, 1 },
        { CREATE_THING, 1 },
        { ATTACH_THING, 1 },
        { ATTACH_POLICY, 1 } },
      5 },
    { "bulk",
      "bulk registration, one task at a time",
      false,
      { { REGISTER_THING, 1 }, { REGISTRATIONS, 1 } },
      2 },
    /* The first connection of an unknown certificate is dropped: each device connects twice. */
    { "jitp",
      "just-in-time provisioning by template",
      true,
      { { CONNECT, 2 }, { REGISTRATIONS, 1 }, { REGISTER_THING, 1 } },
      3 },
    { "jitr",
      "just-in-time registration, a function activates",
      true,
      { { CONNECT, 2 },
        { REGISTRATIONS, 1 },
        { UPDATE, 1 },
        { CREATE_THING, 1 },
        { ATTACH_THING, 1 },
        { ATTACH_POLICY, 1 } },
      6 },
};

static cm_err unknown_call(const char *item, struct cm_error *err)
{
    char names[256];
    struct cm_writer w = cm_writer(names, sizeof names - 1);

    for (size_t i = 0; i < CM_REG_CALLS; i++) {
        cm_put_str(&w, i > 0 ? ", " : "");
        cm_put_str(&w, cm_reg_call[i].name);
    }
    names[w.len] = '\0';
    CM_FAIL(err, CM_E_USAGE, "--rate \"%.60s\": write CALL=N, N from 1 to 1000000 a second; the calls are %s",
            item, names);
}

cm_err cm_reg_rates_set(const struct cm_strs *items, struct cm_reg_rates *out, struct cm_error *err)
{
    struct cm_reg_rates r;
    bool said[CM_REG_CALLS] = { false };

    for (size_t i = 0; i < CM_REG_CALLS; i++)
        r.rate[i] = cm_reg_call[i].rate;
    for (size_t i = 0; i < items->count; i++) {
        const char *item = items->item[i], *value = strchr(item, '=');
        size_t call = 0;
        if (value == NULL)
            return unknown_call(item, err);
        const size_t len = (size_t) (value++ - item);
        while (call < CM_REG_CALLS &&
               (strlen(cm_reg_call[call].name) != len || strncasecmp(cm_reg_call[call].name, item, len) != 0))
            call++;
        if (call == CM_REG_CALLS || strlen(value) > 7 || *value == '\0' ||
            strspn(value, "0123456789") != strlen(value))
            return unknown_call(item, err);
        const unsigned long rate = strtoul(value, NULL, 10);
        if (rate < 1 || rate > 1000000)
            return unknown_call(item, err);
        if (said[call])
            CM_FAIL(err, CM_E_USAGE, "--rate: %s was given twice; say it once", cm_reg_call[call].name);
        said[call] = true;
        r.rate[call] = (uint32_t) rate;
    }
    *out = r;
    return CM_OK;
}

double cm_reg_pace(const struct cm_reg_path *path, const struct cm_reg_rates *rates, unsigned *call)
{
    double pace = 0;

    for (unsigned i = 0; i < path->steps; i++) {
        const double mine = (double) rates->rate[path->step[i].call] / path->step[i].times;
        if (i == 0 || mine < pace) {
            pace = mine;
            *call = path->step[i].call;
        }
    }
    return pace;
}

static json_t *path_json(const struct cm_reg_path *path, const struct cm_reg_rates *rates, uint64_t devices)
{
    unsigned slowest = 0;
    const double pace = cm_reg_pace(path, rates, &slowest);
    json_t *steps = json_array();

    for (unsigned i = 0; i < path->steps; i++) {
        const unsigned call = path->step[i].call;
        (void) json_array_append_new(steps, json_pack("{s:s s:i s:i s:i}", "call", cm_reg_call[call].name,
                                                      "times", (int) path->step[i].times, "per_second",
                                                      (int) rates->rate[call], "default_per_second",
                                                      (int) cm_reg_call[call].rate));
    }
    return json_pack("{s:s s:s s:b s:f s:f s:s s:o}", "path", path->name, "what", path->what,
                     "on_first_connection", (int) path->on_connection, "seconds", (double) devices / pace,
                     "devices_per_second", pace, "limited_by", cm_reg_call[slowest].name, "steps", steps);
}

json_t *cm_reg_json(const struct cm_reg_rates *rates, uint64_t devices)
{
    json_t *paths = json_array();

    for (size_t i = 0; paths != NULL && i < CM_REG_PATHS; i++)
        if (json_array_append_new(paths, path_json(&cm_reg_path[i], rates, devices)) != 0) {
            json_decref(paths);
            paths = NULL;
        }
    return paths;
}

void cm_reg_print(const struct cm_reg_rates *rates, uint64_t devices)
{
    struct cm_amount time;

    (void) printf("\nAWS IoT Core then registers them, at the default rates of an account in a region (which "
                  "it can have\n"
                  "raised; --rate CALL=N reckons with others):\n\n");
    for (size_t i = 0; i < CM_REG_PATHS; i++) {
        const struct cm_reg_path *path = &cm_reg_path[i];
        unsigned slowest = 0;
        const double pace = cm_reg_pace(path, rates, &slowest);
        const bool raised = rates->rate[slowest] != cm_reg_call[slowest].rate;
        (void) printf("  %-10s %-12s %s%s: %g a second, %s%s\n", path->name,
                      cm_amount_time(&time, (double) devices / pace), path->what,
                      path->on_connection ? ", if all connect at once" : "", pace, cm_reg_call[slowest].name,
                      raised ? " (not its default)" : "");
    }
}
