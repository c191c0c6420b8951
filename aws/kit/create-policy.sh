#!/bin/sh
# Makes the policy of the devices: device-policy.json.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot create-policy --policy-name certmill-device \
    --policy-document "$(document device-policy.json)"
