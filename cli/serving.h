#ifndef CM_CLI_SERVING_H
#define CM_CLI_SERVING_H

#include "cli/args.h"

/* serving.h - certmill rehearse --serve: what a person is told of the stand-in, and the wait for a signal. */
struct cm_stand;
CM_MUST_CHECK cm_err cm_serving_say(const struct cm_stand *s, const struct cm_common *common,
                                    struct cm_error *err);
/* Until a line, or the end, of the standard input, or INT or TERM. */
CM_MUST_CHECK cm_err cm_serving_wait_for_line(struct cm_stand *s, const struct cm_common *common,
                                              struct cm_error *err);
/* Until INT or TERM. on_turn (NULL: none) is called some times a second. A broker that died ends it: who
 * works by hand wants to see that. */
CM_MUST_CHECK cm_err cm_serving_wait(struct cm_stand *s, void (*on_turn)(void *arg), void *arg,
                                     struct cm_error *err);

#endif
