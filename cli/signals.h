#ifndef CM_CLI_SIGNALS_H
#define CM_CLI_SIGNALS_H

#include <signal.h>

/* signals.h - the first INT, TERM or HUP asks for a clean end, the second kills. A
 * signal that was ignored at the start (nohup) stays ignored. Main thread. */

/* The signal that came, 0 before: look at it between pieces of work. */
extern volatile sig_atomic_t cm_signals_arrived;

void cm_signals_catch(void);

#endif
