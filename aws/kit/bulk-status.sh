#!/bin/sh
# How far a bulk registration is, and where its errors and results lie: bulk-status.sh TASK
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"
task=${1:?usage: bulk-status.sh TASK}

aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot describe-thing-registration-task --task-id "$task"
aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot list-thing-registration-task-reports --task-id "$task" \
    --report-type ERRORS
aws ${ENDPOINT_URL:+--endpoint-url "$ENDPOINT_URL"} iot list-thing-registration-task-reports --task-id "$task" \
    --report-type RESULTS
