#!/bin/sh
# Deletes the allow-list, and its file in the bucket: then the function activates nothing.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${BUCKET:?set it in settings.sh}"

aws dynamodb delete-table --table-name certmill-allow-list
aws s3 rm "s3://$BUCKET/certmill-allow-list/allow-list.json"
