#!/bin/sh
# Takes back register-ca-default.sh and register-ca-sni-only.sh. Certificates of devices stay as they are.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-ca-certificate --certificate-id "$CA_CERTIFICATE_ID" \
    --new-status INACTIVE --new-auto-registration-status DISABLE
aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot delete-ca-certificate --certificate-id "$CA_CERTIFICATE_ID"
