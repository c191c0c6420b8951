#!/bin/sh
# Puts the input of a bulk registration where AWS IoT reads it: things.ndjson, from bulk-export.sh.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
: "${BUCKET:?set it in settings.sh}"

aws s3 cp "$kit/things.ndjson" "s3://$BUCKET/things.ndjson"
