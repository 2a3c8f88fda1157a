# Steps about batches.

failed_entries='sort_by(Failed || `[]`, &Id)[].[Id, Code, to_string(SenderFault)]'

step_send_batch() {
  local url got large
  url=$(create "" MaximumMessageSize=1024)
  large=$(printf %01025d 0)
  sqs send-message-batch --queue-url "$url" --output json --entries '[
    {"Id": "e0", "MessageBody": "body 0", "MessageAttributes": {"Count": {"DataType": "Number", "StringValue": "1"}}},
    {"Id": "e1", "MessageBody": "body 1"}, {"Id": "e2", "MessageBody": "'"$large"'"}, {"Id": "e3", "MessageBody": "body 3"},
    {"Id": "e4", "MessageBody": "body 4"}, {"Id": "e5", "MessageBody": "body 5"}, {"Id": "e6", "MessageBody": "bad \u0001"},
    {"Id": "e7", "MessageBody": "body 7"}, {"Id": "e8", "MessageBody": "body 8"}, {"Id": "e9", "MessageBody": "body 9"}]' \
    --query "{a: $failed_entries, b: length(Successful), c: Successful[?Id=='e0'].[MD5OfMessageBody, MD5OfMessageAttributes]}" |
    tr -d ' \n' >"$tmp/batch"
  got='{"a":[["e2","InvalidParameterValue","true"],["e6","InvalidMessageContents","true"]],"b":8,'
  got+='"c":[["'$(printf 'body 0' | md5)'","'$(attribute Count Number 1 | md5)'"]]}'
  equal "$(cat "$tmp/batch")" "$got" "failed entries, number of successful ones, MD5s of e0"
  equal "$(counts "$url")" "8 0 0" "visible, in flight, delayed"
}

# fill URL N: sends N messages, at most 10; their bodies are 0, 1, ...
fill() {
  local i entries=()
  for ((i = 0; i < $2; i++)); do
    entries+=("Id=$i,MessageBody=$i")
  done
  sqs send-message-batch --queue-url "$1" --entries "${entries[@]}"
}

# receive_n URL N: receives N messages, in as many calls as that needs, and
# leaves a line "BODY HANDLE" for each in $tmp/received.
receive_n() {
  local n=0 calls=0
  : >"$tmp/received"
  while [ $n -lt "$2" ]; do
    [ $calls -lt 10 ] || fail "received $n of $2 messages in $calls calls"
    receive "$1" 'Messages[].[Body, ReceiptHandle]' --max-number-of-messages 10 | sed '/^None$/d' >>"$tmp/received"
    n=$(wc -l <"$tmp/received")
    calls=$((calls + 1))
  done
  equal "$n" "$2" "number of messages received"
}

step_receive_and_delete_batch() {
  local url body handle entries=("Id=garbage,ReceiptHandle=garbage")
  url=$(create "" VisibilityTimeout=60)
  fill "$url" 9
  receive_n "$url" 9
  while read -r body handle; do
    entries+=("Id=d$body,ReceiptHandle=$handle")
  done <"$tmp/received"
  sqs delete-message-batch --queue-url "$url" --entries "${entries[@]}" --output text \
    --query "[$failed_entries, [[to_string(length(Successful))]]][]" >"$tmp/deleted"
  equal "$(cat "$tmp/deleted")" $'garbage\tReceiptHandleIsInvalid\ttrue\n9' "failed entries and number of successful ones"
  equal "$(counts "$url")" "0 0 0" "visible, in flight, delayed in the end"
}

step_change_visibility_batch() {
  local url body handle entries=("Id=garbage,ReceiptHandle=garbage,VisibilityTimeout=0")
  url=$(create "" VisibilityTimeout=60)
  fill "$url" 3
  receive_n "$url" 3
  while read -r body handle; do
    entries+=("Id=c$body,ReceiptHandle=$handle,VisibilityTimeout=$((body == 1 ? 120 : 0))")
  done <"$tmp/received"
  sqs change-message-visibility-batch --queue-url "$url" --entries "${entries[@]}" --output text \
    --query "[$failed_entries, [[to_string(length(Successful))]]][]" >"$tmp/changed"
  equal "$(cat "$tmp/changed")" $'garbage\tReceiptHandleIsInvalid\ttrue\n3' "failed entries and number of successful ones"
  equal "$(counts "$url")" "2 1 0" "visible, in flight, delayed"
}

step_batch_errors() {
  local url i eleven=() code=AWS.SimpleQueueService
  url=$(create)
  for i in {1..11}; do
    eleven+=("Id=e$i,MessageBody=x")
  done
  refused $code.EmptyBatchRequest send-message-batch --queue-url "$url" --entries '[]'
  refused $code.TooManyEntriesInBatchRequest send-message-batch --queue-url "$url" --entries "${eleven[@]}"
  refused $code.BatchEntryIdsNotDistinct send-message-batch --queue-url "$url" --entries Id=a,MessageBody=x Id=a,MessageBody=y
  refused $code.InvalidBatchEntryId delete-message-batch --queue-url "$url" --entries 'Id=a b,ReceiptHandle=x'
  {
    printf '[{"Id": "a", "MessageBody": "'
    head -c 524288 /dev/zero | tr '\0' x
    printf '"}, {"Id": "b", "MessageBody": "'
    head -c 524289 /dev/zero | tr '\0' x
    printf '"}]'
  } >"$tmp/long"
  refused $code.BatchRequestTooLong send-message-batch --queue-url "$url" --entries "file://$tmp/long"
  equal "$(counts "$url")" "0 0 0" "visible, in flight, delayed"
}
