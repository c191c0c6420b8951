#!/bin/sh
# Deletes the role of just-in-time provisioning and of bulk registration.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws iam delete-role-policy --role-name certmill-provision --policy-name certmill-provision
aws iam delete-role --role-name certmill-provision
