#!/bin/sh
# Deletes the rule, its permission and its role: registrations stay PENDING_ACTIVATION then.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot delete-topic-rule --rule-name certmill_activate
aws lambda remove-permission --function-name certmill-activate --statement-id certmill-activate-rule
aws iam delete-role-policy --role-name certmill-activate-rule --policy-name certmill-activate-rule
aws iam delete-role --role-name certmill-activate-rule
