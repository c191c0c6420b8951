#!/bin/sh
# Makes the role with which AWS IoT provisions devices by the template.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${ACCOUNT_ID:?set it in settings.sh}" "${AWS_REGION:?set it in settings.sh}"

aws iam create-role --role-name certmill-provision \
    --assume-role-policy-document "$(document provision-trust.json)"
aws iam put-role-policy --role-name certmill-provision --policy-name certmill-provision \
    --policy-document "$(document provision-permissions.json)"
aws iam wait role-exists --role-name certmill-provision
