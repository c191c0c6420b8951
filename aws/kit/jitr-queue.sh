#!/bin/sh
# The queue of what failed: events that the rule could not hand over, events that the function failed at.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

aws sqs create-queue --queue-name certmill-activate-failed --attributes MessageRetentionPeriod=1209600
