#include "cli/signals.h"

#include <stddef.h>

volatile sig_atomic_t cm_signals_arrived;

static void note(int sig)
{
    cm_signals_arrived = sig;
}

void cm_signals_catch(void)
{
    static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction sa = { .sa_handler = note, .sa_flags = (int) SA_RESETHAND };

    (void) sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        struct sigaction old;
        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void) sigaction(caught[i], &sa, NULL);
    }
}
