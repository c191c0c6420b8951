#!/bin/sh
# Stops a bulk registration: undo-bulk-start.sh TASK. What it has registered stays.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
task=${1:?usage: undo-bulk-start.sh TASK}

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot stop-thing-registration-task --task-id "$task"
