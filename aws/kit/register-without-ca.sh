#!/bin/sh
# Registers certificates without their CA, in any number of accounts: register-without-ca.sh FILE…
# Each file is a bundle as certmill extract writes it; its first certificate is what is registered. The device must send
# SNI. The policy comes first.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
[ $# -gt 0 ] || { echo "usage: register-without-ca.sh FILE..." >&2; exit 2; }

for file in "$@"; do
    id=$(openssl x509 -in "$file" -outform DER | sha256sum | cut -c 1-64)
    # What is registered already, when this is run again, is found by its id.
    arn=$(aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot register-certificate-without-ca --status ACTIVE \
        --certificate-pem "$(sed "/-----END CERTIFICATE-----/q" "$file")" --query certificateArn --output text) ||
        arn=$(aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot describe-certificate --certificate-id "$id" \
            --query certificateDescription.certificateArn --output text)
    aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot attach-policy --policy-name certmill-device --target "$arn"
    echo "$file $arn"
done
