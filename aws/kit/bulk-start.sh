#!/bin/sh
# Starts the bulk registration and prints the id of its task. The CA is ACTIVE, policy and role are there, the input is
# uploaded. An account runs one task at a time.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"
: "${BUCKET:?set it in settings.sh}"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot start-thing-registration-task \
    --template-body "file://$kit/things.template.json" \
    --input-file-bucket "$BUCKET" --input-file-key things.ndjson \
    --role-arn "arn:@PARTITION@:iam::$ACCOUNT_ID:role/certmill-provision" --query taskId --output text
