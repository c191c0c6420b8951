#include "cli/cmd.h"
#include "cli/program.h"

/* TO ADD A SUBCOMMAND: a file cli/cmd_x.c, a line in cmd.h and a row here. */
static const struct cm_cmd *const cmds[] = {
    &cm_cmd_ca_init, &cm_cmd_plan, &cm_cmd_mint, &cm_cmd_resume, &cm_cmd_verify, &cm_cmd_show,
    &cm_cmd_extract, &cm_cmd_export, &cm_cmd_load, &cm_cmd_claim, &cm_cmd_report, &cm_cmd_import_status,
    &cm_cmd_repair, &cm_cmd_reissue, &cm_cmd_purge_keys, &cm_cmd_aws_kit, &cm_cmd_aws_check,
    &cm_cmd_rehearse_elsewhere, &cm_cmd_bench, &cm_cmd_doctor, &cm_cmd_profile_list,
    &cm_cmd_profile_show,
};

static const char intro[] =
    "certmill mints device identities in bulk: for each device a key pair, a certificate\n"
    "signed by your CA, a bundle (leaf first, then the CA chain) and a manifest row.\n"
    "\n"
    "Usage: certmill COMMAND [OPTIONS]\n"
    "\n"
    "A first fleet, in three steps:\n"
    "  certmill ca init --out demo-ca\n"
    "  certmill mint --ca demo-ca/ca.pem --ca-key demo-ca/ca.key --out fleet --count 1000 --plaintext-keys\n"
    "  certmill verify fleet\n"
    "\n"
    "Commands:\n";

static const char outro[] =
    "\n"
    "certmill help COMMAND tells more; certmill --version names the libcrypto in use.\n"
    "Exit codes: 0 done; 1 done, but something was found; 2 the request or its inputs are wrong;\n"
    "3 the environment failed (disk, limits, database); 4 cryptography failed; 128+N stopped by signal N.\n";

int main(int argc, char **argv)
{
    static const struct cm_program certmill = {
        .cmds = cmds, .count = CM_COUNT(cmds), .intro = intro, .outro = outro
    };

    return cm_program_main(&certmill, argc, argv);
}
