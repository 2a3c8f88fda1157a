#!/usr/bin/env bash
# A session of the unmodified AWS CLI v2 against a server that speaks SQS.
#
# Usage: session.sh AWS PREFIX [--signed]
#
# AWS is the CLI's path. PREFIX begins the name of every queue that is made, so
# that sessions can share a server. --signed adds the step that needs a server
# which verifies signatures. Endpoint, region and credentials come from the
# environment, as for anybody who runs the CLI (AWS_ENDPOINT_URL_SQS,
# AWS_REGION, AWS_ACCESS_KEY_ID, ...).
#
# Each step makes its own queues and prints one line, "ok STEP" or
# "FAIL STEP: REASON"; the last line is "done N". The exit code is 1 if one
# failed. Each call of the CLI starts a Python program of its own and takes most
# of a second, so the steps make few calls; boto3's session has the long lists.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
aws=$1
prefix=$2
signed=${3:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# One attempt: a retry could hide a fault of the server.
export AWS_MAX_ATTEMPTS=1 AWS_PAGER="" AWS_CLI_FILE_ENCODING=UTF-8 LC_ALL=C.UTF-8

. "$here/client.sh"
. "$here/queue_steps.sh"
. "$here/message_steps.sh"
. "$here/batch_steps.sh"
. "$here/admin_steps.sh"
. "$here/fifo_steps.sh"

steps=(
  protocol create-queue list-queues queue-attributes counts-and-purge dead-letter delete-queue
  send-receive attribute-filters unicode large-bodies long-poll visibility delay
  send-batch receive-and-delete-batch change-visibility-batch batch-errors
  tags permissions move-tasks fifo fifo-content-and-dead-letter fifo-errors
  queue-errors message-errors
)
[ "$signed" = --signed ] && steps+=(signature-errors)

echo "version $("$aws" --version 2>&1)"
failed=0
for step in "${steps[@]}"; do
  # In a subshell that is no condition, so that -e holds in it.
  (
    set -euo pipefail
    name=$prefix-$step
    "step_${step//-/_}"
  ) >"$tmp/out" 2>"$tmp/err"
  code=$?
  if [ "$code" = 0 ]; then
    echo "ok $step"
  else
    failed=1
    echo "FAIL $step: $(tail -n 1 "$tmp/err")"
    sed "s/^/$step: /" "$tmp/out" "$tmp/err" >&2
  fi
done
echo "done ${#steps[@]}"
exit "$failed"
