#!/bin/sh
# Takes back register-without-ca.sh: deactivates and deletes the certificates. undo-register-without-ca.sh FILE…
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
[ $# -gt 0 ] || { echo "usage: undo-register-without-ca.sh FILE..." >&2; exit 2; }

for file in "$@"; do
    id=$(openssl x509 -in "$file" -outform DER | sha256sum | cut -c 1-64)
    arn=$(aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot describe-certificate --certificate-id "$id" \
        --query certificateDescription.certificateArn --output text)
    aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot update-certificate --certificate-id "$id" \
        --new-status INACTIVE
    aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot detach-policy --policy-name certmill-device --target "$arn"
    aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot delete-certificate --certificate-id "$id"
    echo "$file $id"
done
