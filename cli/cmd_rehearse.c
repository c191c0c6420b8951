#include "cli/cmd.h"
#include "cli/rehearsing.h"

enum { AT_ONCE_MAX = 256, TIMEOUT_MAX_S = 3600 };

struct opts {
    struct cm_rehearsing fleet;
    int limits;
};

static void defaults(void *opts)
{
    struct opts *const o = opts;

    o->fleet.at_once = 64;
    o->fleet.timeout_s = 60;
}

static const char *const limits[] = { "none", "aws", NULL };

static const struct cm_arg args[] = {
    { "devices", CM_ARG_U64, offsetof(struct opts, fleet.devices), 1, UINT64_MAX, NULL, "N",
      "only the first N of the fleet; all" },
    { "at-once", CM_ARG_U32, offsetof(struct opts, fleet.at_once), 1, AT_ONCE_MAX, NULL, "N",
      "devices that are under way at the same time; 64" },
    { "timeout", CM_ARG_U32, offsetof(struct opts, fleet.timeout_s), 1, TIMEOUT_MAX_S, NULL, "SECONDS",
      "how long a device may take before it counts as failed; 60" },
    { "faults", CM_ARG_FLAG, offsetof(struct opts, fleet.faults), 0, 0, NULL, NULL,
      "loses a fifth of the events, doubles and delays others" },
    { "seed", CM_ARG_U64, offsetof(struct opts, fleet.seed), 1, UINT64_MAX, NULL, "N",
      "with --faults: the same ones again; a random one, which is told" },
    { "keys", CM_ARG_STR, offsetof(struct opts, fleet.keys), 0, 0, NULL, "DIR",
      "where the keys are; DIR/keys, or where the run wrote them" },
    { "serve", CM_ARG_STR, offsetof(struct opts, fleet.serve), 0, 0, NULL, "DIR",
      "answer your own steps until INT, after those of the FLEET; DIR keeps what is registered" },
    { "limits", CM_ARG_CHOICE, offsetof(struct opts, limits), 0, 0, limits, NULL,
      "aws: refuse what comes faster than AWS IoT's documented default rates; none" },
};

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *const o = opts;

    struct cm_rehearsing r = o->fleet;

    if (r.serve == NULL && operands->count == 0)
        CM_FAIL(err, CM_E_USAGE,
                "name a fleet to rehearse, or with --serve DIR where the stand-in for AWS IoT keeps what is "
                "registered, or both");
    if (r.serve == NULL && o->limits != 0)
        CM_FAIL(err, CM_E_USAGE, "--limits goes with --serve");
    r.dir = operands->count > 0 ? operands->item[0] : NULL;
    r.limits_aws = o->limits == 1;
    return cm_rehearsing_run(&r, common, err);
}

const struct cm_cmd cm_cmd_rehearse = {
    .name = "rehearse",
    .usage = "[FLEET] [--serve DIR]",
    .summary = "play AWS IoT on this machine, for a fleet's first connections or for your own steps",
    .notes =
        "With FLEET, mosquitto is started on a free port of 127.0.0.1 with a plugin that does what AWS IoT "
        "does\n"
        "at first connections, the fleet's CA is registered there, and the devices connect with their own "
        "keys\n"
        "and bundles: each is registered and dropped, activated by the rule if it is in the fleet, connects\n"
        "again and publishes. FLEET is only read; a directory below TMPDIR, without any key, is removed at "
        "the\n"
        "end. Exit 1: a device failed, and the reason is told. The keys must be readable without a "
        "passphrase\n"
        "(mint --plaintext-keys).\n"
        "\n"
        "With --serve, AWS IoT's control plane and its broker run on 127.0.0.1 until INT or TERM ends it; "
        "what it\n"
        "prints says how aws (the command line of AWS) gets to it: an endpoint URL and credentials that are "
        "good for\n"
        "nothing else. Requests without a valid signature by them get 403. Nothing leaves this machine.\n"
        "\n"
        "With both, the FLEET connects when you press Enter (or the standard input ends), so that you can "
        "subscribe\n"
        "to the events before; after the report the rule goes on for devices that you connect by hand: those "
        "of the\n"
        "fleet are activated, all others denied, and each is told.\n"
        "\n"
        "For bulk registration, DIR/buckets/NAME stands for the bucket NAME: put the input file there.\n",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .operands_max = 1,
    .run = run,
};
