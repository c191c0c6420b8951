#!/bin/sh
# Registers the CA in SNI_ONLY mode: several accounts may have it, no proof of possession is asked for, and its
# devices must send SNI. It is INACTIVE then; activate-ca.sh goes on.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot register-ca-certificate --certificate-mode SNI_ONLY \
    --ca-certificate "file://$kit/ca.pem"
