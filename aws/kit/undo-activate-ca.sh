#!/bin/sh
# Deactivates the CA: nothing more is registered under it. Devices that are ACTIVE go on connecting.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-status INACTIVE
