# Steps about FIFO queues: groups, deduplication, redrive.

# send_fifo URL BODY DEDUPLICATION-ID: sends to the group of the body's first
# letter, and prints the id and the sequence number.
send_fifo() {
  ask '[MessageId, SequenceNumber]' send-message --queue-url "$1" --message-body "$2" --message-group-id "${2:0:1}" \
    --message-deduplication-id "$3"
}

# receive_fifo URL: bodies and groups of one receive of up to ten.
receive_fifo() {
  ask 'Messages[].[join(`/`, [Attributes.MessageGroupId, Body])][]' receive-message --queue-url "$1" --max-number-of-messages 10 \
    --message-system-attribute-names MessageGroupId
}

step_fifo() {
  local url first got handle
  url=$(create .fifo FifoQueue=true)
  [[ $url == */$name.fifo ]] || fail "URL of the queue: got $url"
  got=$(ask 'Attributes.[FifoQueue, ContentBasedDeduplication, DeduplicationScope, FifoThroughputLimit]' \
    get-queue-attributes --queue-url "$url" --attribute-names All)
  equal "$got" $'true\tfalse\tqueue\tperQueue' "attributes of a new queue"

  first=$(send_fifo "$url" a0 same)
  [[ ${first#*$'\t'} =~ ^[0-9]{20}$ ]] || fail "sequence number: got ${first#*$'\t'}, want 20 digits"
  equal "$(send_fifo "$url" "a again" same)" "$first" "id and sequence number of a send again"
  got=$(ask 'Successful[].SequenceNumber' send-message-batch --queue-url "$url" --entries \
    Id=1,MessageBody=a1,MessageGroupId=a,MessageDeduplicationId=1 Id=2,MessageBody=b0,MessageGroupId=b,MessageDeduplicationId=2 \
    Id=3,MessageBody=b1,MessageGroupId=b,MessageDeduplicationId=3)
  got=${first#*$'\t'}$'\t'$got
  equal "$(tr '\t' '\n' <<<"$got" | sort -u | paste -s)" "$got" "sequence numbers in their order"

  # Group a is locked while its first message is in flight.
  got=$(receive "$url" 'Messages[0].[Body, Attributes.MessageDeduplicationId, ReceiptHandle]' --message-system-attribute-names All)
  handle=${got##*$'\t'}
  equal "${got%$'\t'*}" $'a0\tsame' "first message"
  equal "$(receive_fifo "$url")" $'b/b0\tb/b1' "messages while group a is locked"
  sqs change-message-visibility --queue-url "$url" --receipt-handle "$handle" --visibility-timeout 0
  equal "$(receive_fifo "$url")" $'a/a0\ta/a1' "messages of group a after it was let go"
  sqs purge-queue --queue-url "$url"
  send_fifo "$url" a2 a2 >"$tmp/sent"
  equal "$(receive_fifo "$url")" a/a2 "message sent to the locked group after the purge"
}

step_fifo_content_and_dead_letter() {
  local dead url got
  dead=$(create -dead.fifo FifoQueue=true)
  url=$(create .fifo '{"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "0",
    "RedrivePolicy": "{\"deadLetterTargetArn\": \"'"$(arn "$dead")"'\", \"maxReceiveCount\": 1}"}')
  got=$(for i in 1 2; do ask SequenceNumber send-message --queue-url "$url" --message-body same --message-group-id a; done)
  equal "$(uniq <<<"$got" | wc -l)" 1 "number of sequence numbers of two sends of the same body"
  send_fifo "$url" "a second" 2 >"$tmp/sent"
  equal "$(receive_fifo "$url")" $'a/same\ta/a second' "messages in the source"
  equal "$(sqs receive-message --queue-url "$url")" "" "answer of the source after maxReceiveCount receives"
  equal "$(receive_fifo "$dead")" $'a/same\ta/a second' "messages in the dead-letter queue"
}

step_fifo_errors() {
  local url
  url=$(create .fifo FifoQueue=true)
  refused InvalidParameterValue create-queue --queue-name "$name" --attributes FifoQueue=true
  refused MissingParameter send-message --queue-url "$url" --message-body x --message-deduplication-id a
  refused InvalidParameterValue send-message --queue-url "$url" --message-body x --message-group-id a
  refused InvalidParameterValue send-message --queue-url "$url" --message-body x --message-group-id a \
    --message-deduplication-id a --delay-seconds 1
}
