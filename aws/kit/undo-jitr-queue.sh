#!/bin/sh
# Deletes the queue of what failed, and what is in it.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
. "$kit/settings.sh"

url=$(aws sqs get-queue-url --queue-name certmill-activate-failed --query QueueUrl --output text)
aws sqs delete-queue --queue-url "$url"
