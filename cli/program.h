#ifndef CM_CLI_PROGRAM_H
#define CM_CLI_PROGRAM_H

#include "cli/args.h"

/* program.h - what the programs have in common: descriptors and signals at the start, the search for a
 * command, help, messages, exit codes. */
enum { CM_PROGRAM_CMDS = 64 };

struct cm_program {
    const struct cm_cmd *const *cmds;
    size_t count;              /* at most CM_PROGRAM_CMDS */
    const char *intro, *outro; /* of --help, around the list of commands */
};

/* The whole of main. */
int cm_program_main(const struct cm_program *p, int argc, char **argv);

#endif
