#include "cli/profiles.h"
#include "cli/args.h"
#include "cli/input.h"

#include <stdlib.h>
#include <unistd.h>

enum { SHIPPED_MAX = 64 };

static const char suffix[] = ".profile";

const struct cm_profile_text *cm_profiles_find(const char *name)
{
    for (size_t i = 0; i < cm_profiles_embedded_count; i++)
        if (strcmp(cm_profiles_embedded[i].name, name) == 0)
            return &cm_profiles_embedded[i];
    return NULL;
}

static bool has_suffix(const char *text)
{
    const size_t len = strlen(text);

    return len > sizeof suffix - 1 && strcmp(text + len - (sizeof suffix - 1), suffix) == 0;
}

static cm_err unknown(const char *which, struct cm_error *err)
{
    const char *names[SHIPPED_MAX + 1] = { NULL };
    char list[240];
    struct cm_writer w = cm_writer(list, sizeof list - 1);

    for (size_t i = 0; i < cm_profiles_embedded_count && i < SHIPPED_MAX; i++) {
        names[i] = cm_profiles_embedded[i].name;
        if (i > 0)
            cm_put_lit(&w, ", ");
        cm_put_str(&w, names[i]);
    }
    list[w.len] = '\0';
    const char *nearest = cm_args_nearest(which, names);
    if (access(which, F_OK) == 0)
        CM_FAIL(err, CM_E_USAGE, "no shipped profile \"%.60s\"; for the file of that name write ./%.60s",
                which, which);
    if (nearest != NULL)
        CM_FAIL(err, CM_E_USAGE, "no profile \"%.60s\"; did you mean %s?", which, nearest);
    CM_FAIL(err, CM_E_USAGE, "no profile \"%.60s\"; there are %s, or a file: ./NAME.profile", which, list);
}

/* The last part of the path without ".profile". */
static cm_err name_of(const char *path, char out[CM_PROFILES_NAME_MAX], struct cm_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const size_t len = strlen(base) - (has_suffix(base) ? sizeof suffix - 1 : 0);

    if (len == 0 || len >= CM_PROFILES_NAME_MAX)
        CM_FAIL(err, CM_E_USAGE,
                "profile %s: its file name makes no profile name of 1 to %d octets; rename it", path,
                CM_PROFILES_NAME_MAX - 1);
    memcpy(out, base, len);
    out[len] = '\0';
    return CM_OK;
}

cm_err cm_profiles_load(const char *which, struct cm_profiles_item *out, struct cm_error *err)
{
    const struct cm_profile_text *shipped = cm_profiles_find(which);
    struct cm_profiles_item item = { .name = "" };

    if (shipped != NULL) {
        item.text = shipped->text;
        item.len = strlen(shipped->text);
        (void) snprintf(item.name, sizeof item.name, "%s", shipped->name);
    } else if (strchr(which, '/') != NULL || has_suffix(which)) {
        CM_TRY(name_of(which, item.name, err));
        CM_TRY(cm_input_read(which, "profile", &item.owned, &item.len, err));
        item.text = item.owned;
    } else {
        return unknown(which, err);
    }
    *out = item;
    return CM_OK;
}

void cm_profiles_done(struct cm_profiles_item *item)
{
    free(item->owned);
    *item = (struct cm_profiles_item) { .name = "" };
}
