#include "cli/serving.h"

#include "cli/msg.h"
#include "cli/signals.h"
#include "rehearsal/stand.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum { TURN_MS = 50 };

cm_err cm_serving_say(const struct cm_stand *s, const struct cm_common *common, struct cm_error *err)
{
    const struct cm_stand_address *at = cm_stand_address(s);

    if (common->json)
        CM_TRY(
            cm_msg_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "endpoint_url",
                                  at->endpoint_url, "access_key_id", at->access_key, "secret_access_key",
                                  at->secret_key, "region", at->region, "buckets", at->buckets, "broker_host",
                                  "127.0.0.1", "broker_port", at->broker_port, "cafile", at->cafile),
                        err));
    else
        (void) printf("AWS IoT's control plane is at %s until INT (Ctrl-C) ends it. In another shell:\n"
                      "  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n"
                      "  export AWS_DEFAULT_REGION=%s AWS_EC2_METADATA_DISABLED=true\n"
                      "  aws --endpoint-url %s iot get-registration-code\n"
                      "Devices connect to 127.0.0.1, port %d, with --cafile %s\n",
                      at->endpoint_url, at->access_key, at->secret_key, at->region, at->endpoint_url,
                      at->broker_port, at->cafile);
    if (fflush(stdout) != 0)
        CM_FAIL(err, CM_E_IO, "can't write to the standard output");
    return CM_OK;
}

cm_err cm_serving_wait_for_line(struct cm_stand *s, const struct cm_common *common, struct cm_error *err)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    char c = '\0';

    if (!common->quiet)
        cm_msg_note("the devices connect when you press Enter");
    while (cm_signals_arrived == 0) {
        CM_TRY(cm_stand_check(s, err));
        const int ready = poll(&in, 1, TURN_MS);
        if (ready < 0 && errno != EINTR)
            CM_FAIL(err, CM_E_IO, "can't wait for the standard input");
        if (ready > 0 && (read(STDIN_FILENO, &c, 1) != 1 || c == '\n'))
            return CM_OK; /* what can't be read has ended */
    }
    return CM_OK;
}

cm_err cm_serving_wait(struct cm_stand *s, void (*on_turn)(void *arg), void *arg, struct cm_error *err)
{
    const struct timespec moment = { .tv_nsec = TURN_MS * 1000000 };

    while (cm_signals_arrived == 0) {
        CM_TRY(cm_stand_check(s, err));
        if (on_turn != NULL)
            on_turn(arg);
        (void) nanosleep(&moment, NULL);
    }
    return CM_OK;
}
