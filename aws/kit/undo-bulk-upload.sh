#!/bin/sh
# Takes the input of a bulk registration away again.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${BUCKET:?set it in settings.sh}"

aws s3 rm "s3://$BUCKET/things.ndjson"
