#include "cli/cmd.h"
#include "cli/serving.h"

struct opts {
    const char *serve;
    int limits;
};

static const char *const limits[] = { "none", "aws", NULL };

static const struct cm_arg args[] = {
    { "serve", CM_ARG_STR, offsetof(struct opts, serve), 0, 0, NULL, "DIR",
      "answer your own steps until INT, with DIR to keep what is registered" },
    { "limits", CM_ARG_CHOICE, offsetof(struct opts, limits), 0, 0, limits, NULL,
      "aws: refuse what comes faster than AWS IoT's documented default rates; none" },
};

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *const o = opts;

    (void) operands;
    if (o->serve == NULL)
        CM_FAIL(err, CM_E_USAGE, "say with --serve DIR where the rehearsal keeps what is registered");
    return cm_serving_run(&(struct cm_serving) { .dir = o->serve, .limits_aws = o->limits == 1 }, common,
                          err);
}

const struct cm_cmd cm_cmd_rehearse = {
    .name = "rehearse",
    .usage = "--serve DIR [OPTIONS]",
    .summary = "play AWS IoT on this machine, for a fleet's first connections or for your own steps",
    .notes =
        "With --serve, AWS IoT's control plane runs on 127.0.0.1 until INT or TERM ends it; what it prints "
        "says how\n"
        "aws (the command line of AWS) gets to it: an endpoint URL and credentials that are good for nothing "
        "else.\n"
        "Requests without a valid signature by them get 403. Nothing leaves this machine.\n"
        "\n"
        "For bulk registration, DIR/buckets/NAME stands for the bucket NAME: put the input file there.\n",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .run = run,
};
