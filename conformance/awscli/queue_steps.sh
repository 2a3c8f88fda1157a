# Steps about queues: their life, attributes, counts, purge, redrive, errors.

no_queue=AWS.SimpleQueueService.NonExistentQueue

# The CLI must be one that speaks the JSON protocol.
step_protocol() {
  sqs list-queues --debug >"$tmp/protocol" 2>&1
  grep -q 'application/x-amz-json-1.0' "$tmp/protocol" || fail "this AWS CLI speaks the query protocol; run conformance/install"
}

step_create_queue() {
  local dead url attributes got
  dead=$(arn "$(create -dead)")
  attributes='{
    "VisibilityTimeout": "7", "DelaySeconds": "3", "MessageRetentionPeriod": "3600",
    "ReceiveMessageWaitTimeSeconds": "2", "MaximumMessageSize": "2048",
    "RedrivePolicy": "{\"deadLetterTargetArn\": \"'$dead'\", \"maxReceiveCount\": \"3\"}"}'
  url=$(create "" "$attributes")
  [[ $url =~ ^${AWS_ENDPOINT_URL_SQS%/}/[0-9]{12}/$name$ ]] || fail "URL of the queue: got $url, want one of $AWS_ENDPOINT_URL_SQS"
  equal "$(create "" "$attributes")" "$url" "URL when created again with the same attributes"
  refused QueueAlreadyExists create-queue --queue-name "$name" --attributes VisibilityTimeout=8
  equal "$(ask QueueUrl get-queue-url --queue-name "$name")" "$url" get-queue-url
  got=$(ask 'Attributes.[VisibilityTimeout, DelaySeconds, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, MaximumMessageSize]' \
    get-queue-attributes --queue-url "$url" --attribute-names All)
  equal "$got" $'7\t3\t3600\t2\t2048' "attributes of the queue"
  got=$(ask Attributes.RedrivePolicy get-queue-attributes --queue-url "$url" --attribute-names RedrivePolicy)
  [[ $got == *"\"$dead\""* && $got =~ \"maxReceiveCount\":\ ?\"?3\"? ]] || fail "RedrivePolicy: got $got"
}

step_list_queues() {
  local i wanted="" first
  for i in 0 1 2 3 4; do
    wanted+="$(create "-a-$i")"$'\t'
  done
  wanted=${wanted%$'\t'}
  create -b >"$tmp/other"
  equal "$(ask 'sort(QueueUrls)' list-queues --queue-name-prefix "$name-a-")" "$wanted" "queues with the prefix"
  # The CLI asks for page after page of two.
  ask 'QueueUrls' list-queues --queue-name-prefix "$name-a-" --page-size 2 >"$tmp/pages"
  equal "$(tr '\t' '\n' <"$tmp/pages" | sort | paste -s)" "$wanted" "queues by pages of two"
  # The user asks for page after page of three.
  first=$(sqs list-queues --queue-name-prefix "$name-a-" --page-size 3 --max-items 3 --query NextToken --output json | tr -d '"')
  [ "$first" != null ] || fail "NextToken after 3 of 5 queues: got none"
  equal "$(ask 'length(QueueUrls)' list-queues --queue-name-prefix "$name-a-" --page-size 3 --starting-token "$first")" 2 \
    "number of queues after the first three"
}

step_queue_attributes() {
  local url got
  url=$(create)
  got=$(ask 'Attributes.[VisibilityTimeout, DelaySeconds, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, MaximumMessageSize]' \
    get-queue-attributes --queue-url "$url" --attribute-names All)
  equal "$got" $'30\t0\t345600\t0\t1048576' "attributes of a new queue"
  sqs set-queue-attributes --queue-url "$url" --attributes VisibilityTimeout=0,DelaySeconds=900,MaximumMessageSize=1024
  got=$(ask '[keys(Attributes) | sort(@), [Attributes.DelaySeconds, Attributes.VisibilityTimeout]]' \
    get-queue-attributes --queue-url "$url" --attribute-names VisibilityTimeout DelaySeconds)
  equal "$got" $'DelaySeconds\tVisibilityTimeout\n900\t0' "two attributes by name"
}

step_counts_and_purge() {
  local url handle
  url=$(create "" VisibilityTimeout=60)
  sqs send-message-batch --queue-url "$url" --entries Id=a,MessageBody=1 Id=b,MessageBody=2 Id=c,MessageBody=3 \
    Id=d,MessageBody=4,DelaySeconds=600
  equal "$(counts "$url")" "3 0 1" "visible, in flight, delayed after sending"
  handle=$(receive "$url" 'Messages[0].ReceiptHandle')
  equal "$(counts "$url")" "2 1 1" "visible, in flight, delayed after receiving 1"
  sqs delete-message --queue-url "$url" --receipt-handle "$handle"
  equal "$(counts "$url")" "2 0 1" "visible, in flight, delayed after deleting 1"
  sqs purge-queue --queue-url "$url"
  equal "$(counts "$url")" "0 0 0" "visible, in flight, delayed after the purge"
  refused AWS.SimpleQueueService.PurgeQueueInProgress purge-queue --queue-url "$url"
}

step_dead_letter() {
  local dead source url id i got handle
  dead=$(create -dead)
  url=$(create "" '{"RedrivePolicy": "{\"deadLetterTargetArn\": \"'"$(arn "$dead")"'\", \"maxReceiveCount\": 2}"}')
  source=$(arn "$url")
  id=$(ask MessageId send-message --queue-url "$url" --message-body poison)
  for i in 1 2; do
    got=$(receive "$url" 'Messages[0].[Attributes.ApproximateReceiveCount, ReceiptHandle]' --message-system-attribute-names All)
    handle=${got#*$'\t'}
    equal "${got%%$'\t'*}" "$i" "ApproximateReceiveCount in the source"
    sqs change-message-visibility --queue-url "$url" --receipt-handle "$handle" --visibility-timeout 0
  done
  equal "$(sqs receive-message --queue-url "$url")" "" "answer of the source after maxReceiveCount receives"
  got=$(receive "$dead" 'Messages[0].[MessageId, Body, Attributes.DeadLetterQueueSourceArn]' --message-system-attribute-names All)
  equal "$got" "$id"$'\t'poison$'\t'"$source" "message in the dead-letter queue"
  equal "$(counts "$url")" "0 0 0" "visible, in flight, delayed in the source"
}

step_delete_queue() {
  local url
  url=$(create)
  sqs delete-queue --queue-url "$url"
  refused $no_queue get-queue-url --queue-name "$name"
  refused $no_queue send-message --queue-url "$url" --message-body x
  equal "$(ask 'length(QueueUrls || `[]`)' list-queues --queue-name-prefix "$name")" 0 "number of queues left"
}

step_queue_errors() {
  local url
  url=$(create)
  refused $no_queue receive-message --queue-url "$url-nowhere"
  refused $no_queue delete-queue --queue-url "$url-nowhere"
  refused InvalidParameterValue create-queue --queue-name "no spaces"
  refused InvalidAttributeValue create-queue --queue-name "$name-bad" --attributes VisibilityTimeout=43201
  refused InvalidAttributeName set-queue-attributes --queue-url "$url" --attributes Colour=red
}

step_signature_errors() {
  sqs list-queues >"$tmp/list"
  AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY}x refused 'SignatureDoesNotMatch|InvalidSignatureException' list-queues
  AWS_ACCESS_KEY_ID=AKIAUNKNOWNUNKNOWN00 refused 'InvalidClientTokenId|UnrecognizedClientException' list-queues
}
