#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/profiles.h"
#include "engine/profile.h"

#include <jansson.h>

/* The description out of the profile's own text; "" when it has none. */
static cm_err describe(const struct cm_profile_text *item, char *buf, size_t cap, const char **out,
                       struct cm_error *err)
{
    struct cm_profile *p = NULL;
    const char *found = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_profile_open(item->name, cm_span_str(item->text), NULL, &p, err));
    rc = cm_profile_pattern(p, "description", buf, cap, &found, err);
    cm_profile_close(p);
    CM_TRY(rc);
    if (found != buf)
        (void) snprintf(buf, cap, "%s", found != NULL ? found : "");
    *out = buf;
    return CM_OK;
}

static cm_err run_list(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                       struct cm_error *err)
{
    json_t *list = common->json ? json_array() : NULL;
    cm_err rc = CM_OK;

    (void) opts;
    (void) operands;
    for (size_t i = 0; i < cm_profiles_embedded_count; i++) {
        const struct cm_profile_text *item = &cm_profiles_embedded[i];
        char buf[256];
        const char *text = "";
        rc = describe(item, buf, sizeof buf, &text, err);
        if (rc != CM_OK)
            break;
        if (!common->json)
            (void) printf("%-14s %s\n", item->name, text);
        else if (json_array_append_new(list,
                                       json_pack("{s:s s:s}", "name", item->name, "description", text)) != 0)
            rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the list");
        if (rc != CM_OK)
            break;
    }
    if (rc == CM_OK && common->json)
        return cm_msg_json(list, err);
    json_decref(list);
    return rc;
}

static cm_err run_show(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                       struct cm_error *err)
{
    struct cm_profiles_item item = { .name = "" };
    cm_err rc = CM_OK;

    (void) opts;
    CM_TRY(cm_profiles_load(operands->item[0], &item, err));
    if (common->json)
        rc = cm_msg_json(json_pack("{s:s s:s}", "name", item.name, "text", item.text), err);
    else
        (void) fwrite(item.text, 1, item.len, stdout); /* main asks whether stdout took it */
    cm_profiles_done(&item);
    return rc;
}

const struct cm_cmd cm_cmd_profile_list = {
    .name = "profile list",
    .usage = "[--json]",
    .summary = "the certificate profiles that are built in",
    .run = run_list,
};

const struct cm_cmd cm_cmd_profile_show = {
    .name = "profile show",
    .usage = "NAME|FILE",
    .summary = "print a profile: what its certificates will say",
    .notes = "A profile is an OpenSSL configuration file. To make your own, start from a shipped one:\n"
             "  certmill profile show aws-iot > my.profile\n"
             "  certmill mint --profile ./my.profile …",
    .operands_min = 1,
    .operands_max = 1,
    .run = run_show,
};
