#!/bin/sh
# Takes the template from the CA and ends auto-registration. Devices that have been provisioned stay so.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --remove-auto-registration --new-auto-registration-status DISABLE
