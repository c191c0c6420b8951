#ifndef CM_CLI_TERM_H
#define CM_CLI_TERM_H

#include <stdio.h>

/* Prints text that came from a disk or a certificate: what could drive the terminal
 * (C0, DEL, and C1 in UTF-8) is shown as \xNN. */
static inline void cm_term_put(FILE *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *) text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
            (void) fprintf(out, "\\x%02x", *at);
        else
            (void) fputc(*at, out);
    }
}

#endif
