#!/bin/sh
# Registers the CA in DEFAULT mode: this account only, with the verification certificate as the proof of possession.
# It is INACTIVE then; activate-ca.sh goes on.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
[ -f "$kit/verification.pem" ] || { echo "verification.pem is missing: the CA must sign verification.csr" >&2; exit 1; }

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot register-ca-certificate --certificate-mode DEFAULT \
    --ca-certificate "file://$kit/ca.pem" --verification-certificate "file://$kit/verification.pem"
