# Steps about single messages: attributes, bodies, waiting, visibility, delay.

attributes='{
  "Count": {"DataType": "Number", "StringValue": "12.50"},
  "Raw": {"DataType": "Binary", "BinaryValue": "cmF3IGJ5dGVz"},
  "Stone.Kind": {"DataType": "String.en", "StringValue": "granite"}}'
md5_all() { { attribute Count Number 12.50; attribute Raw Binary "raw bytes"; attribute Stone.Kind String.en granite; } | md5; }

step_send_receive() {
  local url sent got start
  start=$(now)
  url=$(create)
  sent=$(ask '[MessageId, MD5OfMessageBody, MD5OfMessageAttributes]' \
    send-message --queue-url "$url" --message-body hello --message-attributes "$attributes")
  equal "${sent#*$'\t'}" "$(printf hello | md5)"$'\t'"$(md5_all)" "MD5 of body and of attributes when sent"
  got=$(receive "$url" 'Messages[0].[MessageId, MD5OfBody, MD5OfMessageAttributes]' \
    --attribute-names All --message-attribute-names All --visibility-timeout 0)
  equal "$got" "$sent" "MessageId, MD5 of body and of attributes when received"
  got=$(receive "$url" 'Messages[0].[Body, MessageAttributes.Count.StringValue, MessageAttributes.Raw.BinaryValue,
    MessageAttributes.Raw.DataType, MessageAttributes."Stone.Kind".DataType, Attributes.ApproximateReceiveCount]' \
    --message-system-attribute-names All --message-attribute-names All --visibility-timeout 0)
  equal "$got" $'hello\t12.50\tcmF3IGJ5dGVz\tBinary\tString.en\t2' "body and attributes"
  got=$(receive "$url" 'Messages[0].Attributes.SentTimestamp' --message-system-attribute-names SentTimestamp --visibility-timeout 0)
  [ "$got" -ge $((start - 60000)) ] && [ "$got" -le $(($(now) + 60000)) ] || fail "SentTimestamp: got $got, far from our clock"
  got=$(receive "$url" 'Messages[0].keys(@) | sort(@)')
  equal "$got" $'Body\tMD5OfBody\tMessageId\tReceiptHandle' "members when no attributes are asked for"
}

step_attribute_filters() {
  local url filter wanted got
  url=$(create "" VisibilityTimeout=0)
  send "$url" x --message-attributes "$attributes"
  while IFS='|' read -r filter wanted; do
    # shellcheck disable=SC2086 # the filter is one or more names
    got=$(set -f && receive "$url" 'Messages[0].keys(MessageAttributes || `{}`) | sort(@)' --message-attribute-names $filter)
    equal "$got" "${wanted// /$'\t'}" "attributes for the filter $filter"
  done <<-END
	Count|Count
	All|Count Raw Stone.Kind
	.*|Count Raw Stone.Kind
	Stone.* Raw|Raw Stone.Kind
	Missing|
	END
  got=$(receive "$url" 'Messages[0].MD5OfMessageAttributes' --message-attribute-names Count)
  equal "$got" "$(attribute Count Number 12.50 | md5)" "MD5 of the attributes that the filter let through"
}

step_unicode() {
  local url body='Grüße, мир, 世界, 🚀 <&> "quotes" \back\ %41 + é'
  url=$(create)
  equal "$(ask MD5OfMessageBody send-message --queue-url "$url" --message-body "$body")" "$(printf %s "$body" | md5)" "MD5 of the body"
  equal "$(receive "$url" 'Messages[0].Body')" "$body" "body"
}

# 1 MiB, the largest that SQS takes, counted in bytes of UTF-8.
step_large_bodies() {
  local url
  url=$(create)
  head -c 1048570 /dev/zero | tr '\0' x >"$tmp/large"
  printf '世界' >>"$tmp/large"
  equal "$(ask MD5OfMessageBody send-message --queue-url "$url" --message-body "file://$tmp/large")" "$(md5 <"$tmp/large")" "MD5 of the body"
  receive "$url" 'Messages[0].Body' | tr -d '\n' | cmp - "$tmp/large" || fail "large body was changed"
  printf x >>"$tmp/large"
  refused InvalidParameterValue send-message --queue-url "$url" --message-body "file://$tmp/large"
}

step_long_poll() {
  local url start took receiver sent
  url=$(create)
  start=$(now)
  equal "$(sqs receive-message --queue-url "$url" --wait-time-seconds 2)" "" "answer of a long poll on an empty queue"
  took=$(($(now) - start))
  [ $took -ge 2000 ] || fail "long poll of 2 s ended after $took ms"

  (
    ask 'Messages[0].Body' receive-message --queue-url "$url" --wait-time-seconds 10 --debug >"$tmp/woken" 2>"$tmp/debug"
    now >"$tmp/woken-at"
  ) &
  receiver=$!
  # Its log says when the request leaves; sending starts a second program, which takes longer than the request.
  start=$SECONDS
  until grep -qs 'Sending http request' "$tmp/debug"; do
    [ $((SECONDS - start)) -lt 20 ] || fail "the receiver did not send its request within 20 s"
    sleep 0.05
  done
  send "$url" "wake up"
  sent=$(now)
  wait $receiver
  equal "$(cat "$tmp/woken")" "wake up" "body of the long poll"
  took=$(($(cat "$tmp/woken-at") - sent))
  [ $took -lt 1000 ] || fail "the long poll ended $took ms after the send, want less than 1000"
}

step_visibility() {
  local url got handle start took
  url=$(create "" VisibilityTimeout=60)
  send "$url" x
  handle=$(receive "$url" 'Messages[0].ReceiptHandle')
  equal "$(sqs receive-message --queue-url "$url")" "" "answer while the only message is in flight"
  sqs change-message-visibility --queue-url "$url" --receipt-handle "$handle" --visibility-timeout 0
  got=$(ask 'Messages[0].Attributes.ApproximateReceiveCount' receive-message --queue-url "$url" \
    --message-system-attribute-names ApproximateReceiveCount --visibility-timeout 3)
  equal "$got" 2 "ApproximateReceiveCount after a change to 0"
  start=$(now)
  got=$(ask 'Messages[0].Attributes.ApproximateReceiveCount' receive-message --queue-url "$url" \
    --message-system-attribute-names ApproximateReceiveCount --wait-time-seconds 15)
  took=$(($(now) - start))
  equal "$got" 3 "ApproximateReceiveCount after the timeout of the second receive"
  [ $took -lt 10000 ] || fail "a message with a timeout of 3 s came back after $took ms"
}

step_delay() {
  local url
  url=$(create)
  send "$url" late --delay-seconds 5
  equal "$(counts "$url")" "0 0 1" "visible, in flight, delayed"
  equal "$(ask 'Messages[0].Body' receive-message --queue-url "$url" --wait-time-seconds 15)" late "body after the delay"
}

step_message_errors() {
  local url handle
  url=$(create "" MaximumMessageSize=1024)
  refused InvalidMessageContents send-message --queue-url "$url" --message-body $'bad \x01'
  refused MissingParameter send-message --queue-url "$url" --message-body ""
  refused InvalidParameterValue send-message --queue-url "$url" --message-body "$(printf %01025d 0)"
  refused InvalidParameterValue send-message --queue-url "$url" --message-body x --delay-seconds 901
  refused InvalidParameterValue receive-message --queue-url "$url" --max-number-of-messages 11
  refused ReceiptHandleIsInvalid delete-message --queue-url "$url" --receipt-handle garbage
  send "$url" x
  handle=$(receive "$url" 'Messages[0].ReceiptHandle')
  refused InvalidParameterValue change-message-visibility --queue-url "$url" --receipt-handle "$handle" --visibility-timeout 43201
}
