#!/bin/sh
# Deletes the function and its role.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws lambda delete-function --function-name certmill-activate
aws iam delete-role-policy --role-name certmill-activate --policy-name certmill-activate
aws iam delete-role --role-name certmill-activate
