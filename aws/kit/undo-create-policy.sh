#!/bin/sh
# Detaches the policy of the devices from all that have it, and deletes it: none of them can connect any more.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

targets=$(aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot list-targets-for-policy \
    --policy-name certmill-device --query "targets[]" --output text)
for target in $targets; do
    aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot detach-policy --policy-name certmill-device \
        --target "$target"
done
aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot delete-policy --policy-name certmill-device
