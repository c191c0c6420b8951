#!/bin/sh
# Just-in-time provisioning instead of registration: the CA gets a template (jitp-template.json, which
# jitp-registration.json holds as a string), and every certificate that it ever signed is provisioned by it when it
# first connects. There is no allow-list in this. Policy and role come first.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-auto-registration-status ENABLE --registration-config "$(document jitp-registration.json)"
