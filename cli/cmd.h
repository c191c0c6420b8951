#ifndef CM_CLI_CMD_H
#define CM_CLI_CMD_H

#include "cli/args.h"

/* cmd.h - the subcommands. TO ADD ONE: a file cli/cmd_x.c and a row in main.c, or in online.c
 * for what talks to AWS IoT or stands in for it. */
extern const struct cm_cmd cm_cmd_ca_init;
extern const struct cm_cmd cm_cmd_mint;
extern const struct cm_cmd cm_cmd_plan;
extern const struct cm_cmd cm_cmd_resume;
extern const struct cm_cmd cm_cmd_reissue;
extern const struct cm_cmd cm_cmd_repair;
extern const struct cm_cmd cm_cmd_purge_keys;
extern const struct cm_cmd cm_cmd_verify;
extern const struct cm_cmd cm_cmd_show;
extern const struct cm_cmd cm_cmd_extract;
extern const struct cm_cmd cm_cmd_load;
extern const struct cm_cmd cm_cmd_export;
extern const struct cm_cmd cm_cmd_claim;
extern const struct cm_cmd cm_cmd_report;
extern const struct cm_cmd cm_cmd_import_status;
extern const struct cm_cmd cm_cmd_aws_kit;
extern const struct cm_cmd cm_cmd_aws_check;
/* Done by certmill-aws (online.c), where it is; certmill knows them by name. */
extern const struct cm_cmd cm_cmd_rehearse_elsewhere;
extern const struct cm_cmd cm_cmd_rehearse;
extern const struct cm_cmd cm_cmd_bench;
extern const struct cm_cmd cm_cmd_doctor;
extern const struct cm_cmd cm_cmd_profile_list;
extern const struct cm_cmd cm_cmd_profile_show;

#endif
