#!/bin/sh
# Activates the CA: its certificates may be registered.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-status ACTIVE
