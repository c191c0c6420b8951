#!/bin/sh
# Makes the function that activates, jitr_activate.py, with its role. Queue and allow-list come first.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"

aws iam create-role --role-name certmill-activate \
    --assume-role-policy-document "$(document jitr-function-trust.json)"
aws iam put-role-policy --role-name certmill-activate --policy-name certmill-activate \
    --policy-document "$(document jitr-function-permissions.json)"
aws iam wait role-exists --role-name certmill-activate

python3 -m zipfile -c "$kit/jitr_activate.zip" "$kit/jitr_activate.py"
# A role that is new is not known everywhere at once.
tries=0
until aws lambda create-function --function-name certmill-activate --runtime python3.12 --timeout 60 \
    --handler jitr_activate.handler --zip-file "fileb://$kit/jitr_activate.zip" \
    --role "arn:@PARTITION@:iam::$ACCOUNT_ID:role/certmill-activate" \
    --environment "Variables={ALLOW_LIST_TABLE=certmill-allow-list,DEVICE_POLICY=certmill-device}" \
    --dead-letter-config "TargetArn=arn:@PARTITION@:sqs:$AWS_REGION:$ACCOUNT_ID:certmill-activate-failed"; do
    tries=$((tries + 1))
    [ "$tries" -lt 6 ] || exit 1
    sleep 10
done
aws lambda wait function-active --function-name certmill-activate
