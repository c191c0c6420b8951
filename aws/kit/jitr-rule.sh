#!/bin/sh
# Makes the rule that hands registrations under this CA to the function, the permission to do so, and the role that
# puts failed ones into the queue.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"

aws iam create-role --role-name certmill-activate-rule \
    --assume-role-policy-document "$(document jitr-rule-trust.json)"
aws iam put-role-policy --role-name certmill-activate-rule --policy-name certmill-activate-rule \
    --policy-document "$(document jitr-rule-permissions.json)"
aws iam wait role-exists --role-name certmill-activate-rule

aws lambda add-permission --function-name certmill-activate --statement-id certmill-activate-rule \
    --action lambda:InvokeFunction --principal iot.amazonaws.com --source-account "$ACCOUNT_ID" \
    --source-arn "arn:@PARTITION@:iot:$AWS_REGION:$ACCOUNT_ID:rule/certmill_activate"
# A role that is new is not known everywhere at once.
tries=0
until aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot create-topic-rule --rule-name certmill_activate \
    --topic-rule-payload "$(document jitr-rule.json)"; do
    tries=$((tries + 1))
    [ "$tries" -lt 6 ] || exit 1
    sleep 10
done
