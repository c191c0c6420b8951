#!/bin/sh
# Ends just-in-time registration (and provisioning): devices that are not known yet are refused.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-auto-registration-status DISABLE
