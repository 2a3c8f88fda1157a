# Steps about what stands around queues: tags, permissions, move tasks.

step_tags() {
  local url
  url=$(ask QueueUrl create-queue --queue-name "$name" --tags team=blue,empty=)
  sqs tag-queue --queue-url "$url" --tags '{"team": "grün", "a b": "&<>"}'
  sqs untag-queue --queue-url "$url" --tag-keys empty never-there
  equal "$(ask '[keys(Tags) | sort(@) | join(`,`, @), Tags.team, Tags."a b"]' list-queue-tags --queue-url "$url")" \
    $'a b,team\tgrün\t&<>' "keys and values of the tags"
}

step_permissions() {
  local url arn account
  url=$(create)
  arn=$(arn "$url")
  account=$(cut -d: -f5 <<<"$arn")
  sqs add-permission --queue-url "$url" --label one --aws-account-ids "$account" --actions SendMessage ReceiveMessage
  refused InvalidParameterValue add-permission --queue-url "$url" --label one --aws-account-ids "$account" --actions SendMessage
  ask Attributes.Policy get-queue-attributes --queue-url "$url" --attribute-names Policy >"$tmp/policy"
  grep -q '"SQS:ReceiveMessage"' "$tmp/policy" && grep -q "\"$arn\"" "$tmp/policy" || fail "Policy: got $(cat "$tmp/policy")"
  sqs remove-permission --queue-url "$url" --label one
  equal "$(sqs get-queue-attributes --queue-url "$url" --attribute-names Policy)" "" "answer about a Policy that is gone"
}

# until_task STATUS ARN: waits until the newest task of a source has the status.
until_task() {
  local i got
  for ((i = 0; i < 10; i++)); do
    got=$(ask 'Results[0].Status' list-message-move-tasks --source-arn "$2")
    [ "$got" != "$1" ] || return 0
  done
  fail "status of the task: got $got, want $1"
}

step_move_tasks() {
  local dead url dead_arn handle i got
  dead=$(create -dead)
  dead_arn=$(arn "$dead")
  url=$(create "" '{"VisibilityTimeout": "0", "RedrivePolicy": "{\"deadLetterTargetArn\": \"'"$dead_arn"'\", \"maxReceiveCount\": 1}"}')
  equal "$(ask 'queueUrls[]' list-dead-letter-source-queues --queue-url "$dead")" "$url" "sources of the dead-letter queue"
  for i in 1 2; do
    sqs send-message-batch --queue-url "$url" --entries Id={a,b,c,d,e,f,g,h,i,j},MessageBody=$i
  done
  # A receive may have fewer than there are, and finds that one is dead before it gives none.
  for ((i = 0; i < 10; i++)); do
    [ -n "$(sqs receive-message --queue-url "$url" --max-number-of-messages 10)" ] || break
  done
  equal "$(counts "$dead")" "20 0 0" "visible, in flight, delayed in the dead-letter queue"

  refused InvalidParameterValue start-message-move-task --source-arn "$(arn "$url")"
  refused ResourceNotFoundException list-message-move-tasks --source-arn "$dead_arn-nowhere"
  # One a second, which takes longer than it takes the CLI to start again and cancel it.
  handle=$(ask TaskHandle start-message-move-task --source-arn "$dead_arn" --max-number-of-messages-per-second 1)
  sqs cancel-message-move-task --task-handle "$handle"
  got=$(ask 'Results[0].[Status, MaxNumberOfMessagesPerSecond]' list-message-move-tasks --source-arn "$dead_arn")
  [[ $got == CANCELL*$'\t'1 ]] || fail "task after the cancel: got $got, want CANCELLING or CANCELLED, 1"
  # As fast as it goes.
  until_task CANCELLED "$dead_arn"
  sqs start-message-move-task --source-arn "$dead_arn"
  until_task COMPLETED "$dead_arn"
  equal "$(counts "$dead")" "0 0 0" "visible, in flight, delayed in the dead-letter queue after the second task"
  equal "$(counts "$url")" "20 0 0" "visible, in flight, delayed in the source"
}
