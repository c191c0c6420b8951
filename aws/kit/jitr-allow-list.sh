#!/bin/sh
# Makes the table of the certificates that may be activated, out of a fleet: jitr-allow-list.sh FLEET
# More fleets: add their items with a program of yours; DynamoDB imports from S3 into new tables only.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${BUCKET:?set it in settings.sh}"
fleet=${1:?usage: jitr-allow-list.sh FLEET}

[ -f "$kit/allow-list.json" ] || certmill export "$fleet" --to allow-list --out "$kit/allow-list.json"
aws s3 cp "$kit/allow-list.json" "s3://$BUCKET/certmill-allow-list/allow-list.json"
aws dynamodb import-table --input-format DYNAMODB_JSON \
    --s3-bucket-source "S3Bucket=$BUCKET,S3KeyPrefix=certmill-allow-list/" \
    --table-creation-parameters "file://$kit/jitr-allow-list-table.json"
aws dynamodb wait table-exists --table-name certmill-allow-list
