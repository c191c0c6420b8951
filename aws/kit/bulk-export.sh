#!/bin/sh
# Writes the input of a bulk registration and its template, things.ndjson and things.template.json:
#     bulk-export.sh FLEET [OPTION of certmill export…]
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
fleet=${1:?usage: bulk-export.sh FLEET [OPTION...]}
shift

certmill export "$fleet" --to aws-bulk --aws-policy certmill-device --out "$kit/things.ndjson" "$@"
