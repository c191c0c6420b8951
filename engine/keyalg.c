#include "engine/keyalg.h"

#include <strings.h>

static const struct cm_keyalg keyalgs[] = {
    { "P-256", "prime256v1 secp256r1 EC:P-256", CM_KEYFAM_EC, "EC", "P-256", 256, 256 },
    { "P-384", "secp384r1 EC:P-384", CM_KEYFAM_EC, "EC", "P-384", 384, 64 },
    { "P-521", "secp521r1 EC:P-521", CM_KEYFAM_EC, "EC", "P-521", 521, 32 },
    { "RSA-2048", "rsa:2048 rsa2048", CM_KEYFAM_RSA, "RSA", NULL, 2048, 4 },
    { "RSA-3072", "rsa:3072 rsa3072", CM_KEYFAM_RSA, "RSA", NULL, 3072, 2 },
    { "RSA-4096", "rsa:4096 rsa4096", CM_KEYFAM_RSA, "RSA", NULL, 4096, 1 },
    { "Ed25519", "", CM_KEYFAM_ED25519, "ED25519", NULL, 256, 256 },
};

size_t cm_keyalg_count(void)
{
    return CM_COUNT(keyalgs);
}

const struct cm_keyalg *cm_keyalg_at(size_t i)
{
    return i < CM_COUNT(keyalgs) ? &keyalgs[i] : NULL;
}

/* Is name one of the space-separated words? */
static bool among(const char *words, const char *name)
{
    const size_t len = strlen(name);

    for (const char *w = words; *w != '\0';) {
        const size_t n = strcspn(w, " ");
        if (n == len && strncasecmp(w, name, n) == 0)
            return true;
        w += n + (w[n] == ' ');
    }
    return false;
}

const struct cm_keyalg *cm_keyalg_find(const char *name)
{
    for (size_t i = 0; i < CM_COUNT(keyalgs); i++)
        if (strcasecmp(keyalgs[i].name, name) == 0 || among(keyalgs[i].synonyms, name))
            return &keyalgs[i];
    return NULL;
}

const char *cm_keyalg_names(void)
{
    return "P-256, P-384, P-521, RSA-2048, RSA-3072, RSA-4096, Ed25519";
}
