#!/bin/sh
# Just-in-time registration: a device that connects for the first time is registered, PENDING_ACTIVATION. Have policy,
# allow-list, queue, function and rule ready before.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-auto-registration-status ENABLE
