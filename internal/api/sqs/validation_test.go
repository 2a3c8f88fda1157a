package sqs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/queue"
)

// The documented limits, from both sides, in both protocols. TestRefusals has
// the faults that are one of a kind.

// members is part of a JSON object, `"name":value,...`.
type members string

func (m members) with(more string) string { return "{" + string(m) + "," + more + "}" }

// repeated joins n copies of a format that has one %d.
func repeated(n int, format string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, ",")
}

const (
	toQ, toFIFO = members(`"QueueUrl":"q"`), members(`"QueueUrl":"q.fifo"`)
	send        = members(`"QueueUrl":"q","MessageBody":"x"`)
	sendFIFO    = members(`"QueueUrl":"q.fifo","MessageBody":"x"`)

	deadARN    = "arn:aws:sqs:us-east-1:000000000000:dead"
	nameText   = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
	fifoName   = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
	dedupText  = "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length."
	tagText    = "tag keys have 1 to 128 characters, tag values at most 256."
	listsText  = "sourceQueueArns must have 1 to 10 ARNs with the redrivePermission byQueue."
	policyText = "Only following attributes are supported: "
)

func attributes(m members, name, value string) string {
	return m.with(fmt.Sprintf(`"Attributes":{%q:%q}`, name, value))
}

func messageAttribute(name, dataType, value string) string {
	field := "StringValue"
	if strings.HasPrefix(dataType, "Binary") {
		field = "BinaryValue"
	}
	return send.with(fmt.Sprintf(`"MessageAttributes":{%q:{"DataType":%q,%q:%q}}`, name, dataType, field, value))
}

func newValidationEnv(t *testing.T) *env {
	e := newEnv(t, nil)
	e.create("q", nil)
	e.create("dead", nil)
	e.create("small", func(s *queue.Settings) { s.MaxMessageBytes = 1024 })
	e.create("q.fifo", func(s *queue.Settings) { s.FIFO = new(queue.FIFO) })
	return e
}

func TestLimitsRefused(t *testing.T) {
	e := newValidationEnv(t)
	const set, create = "SetQueueAttributes", "CreateQueue"
	value := func(v any, parameter, reason string) refusal {
		return parameterValue(fmt.Sprintf("Value %v for parameter %s is invalid. Reason: %s", v, parameter, reason))
	}
	outside := func(name string, lo, hi int) refusal {
		return attributeValue(fmt.Sprintf("Invalid value for the parameter %s. Reason: Must be an integer from %d to %d.", name, lo, hi))
	}
	redrive := func(policy, reason string) refusal { return value(policy, "RedrivePolicy", reason) }
	allow := func(policy, reason string) refusal { return value(policy, "RedriveAllowPolicy", reason) }
	notANumber := parameterValue("Can't cast the value of message (user) attribute 'a' to a number.")
	onlyFIFO := func(name string) refusal {
		return attributeName("You can specify the " + name + " only when FifoQueue is set to true.")
	}
	x129 := strings.Repeat("x", 129)

	type row struct {
		action, body string
		want         refusal
	}
	rows := []row{
		{create, `{"QueueName":"a.b"}`, parameterValue(nameText)},
		{create, `{"QueueName":"é"}`, parameterValue(nameText)},
		{create, `{"QueueName":".fifo","Attributes":{"FifoQueue":"true"}}`, parameterValue(nameText)},
		{create, `{"QueueName":"` + strings.Repeat("x", 76) + `.fifo","Attributes":{"FifoQueue":"true"}}`, parameterValue(nameText)},
		{create, `{"QueueName":"a","Attributes":{"FifoQueue":"true"}}`, parameterValue(fifoName)},
		{create, `{"QueueName":"a.fifo","Attributes":{"FifoQueue":"false"}}`, parameterValue(nameText)},

		{set, attributes(toQ, "FifoQueue", "true"), attributeName("Unknown Attribute FifoQueue.")},
		{set, attributes(toQ, "FifoQueue", "false"), attributeName("Unknown Attribute FifoQueue.")},
		{set, attributes(toQ, "ContentBasedDeduplication", "true"), attributeName("Unknown Attribute ContentBasedDeduplication.")},
		{set, attributes(toQ, "DeduplicationScope", "queue"), onlyFIFO("DeduplicationScope")},
		{set, attributes(toQ, "FifoThroughputLimit", "perQueue"), onlyFIFO("FifoThroughputLimit")},
		{set, attributes(toFIFO, "FifoQueue", "false"), attributeValue("Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")},
		{set, attributes(toFIFO, "ContentBasedDeduplication", "yes"), attributeValue("Invalid value for the parameter ContentBasedDeduplication. Reason: Must be false or true.")},
		{set, attributes(toFIFO, "DeduplicationScope", "group"), attributeValue("Invalid value for the parameter DeduplicationScope. Reason: Must be queue or messageGroup.")},
		{set, attributes(toFIFO, "FifoThroughputLimit", "none"), attributeValue("Invalid value for the parameter FifoThroughputLimit. Reason: Must be perQueue or perMessageGroupId.")},
		{create, `{"QueueName":"a.fifo","Attributes":{"FifoQueue":"true","FifoThroughputLimit":"perMessageGroupId"}}`, attributeValue("Invalid value for the parameter FifoThroughputLimit. Reason: perMessageGroupId needs the DeduplicationScope messageGroup.")},
		{set, attributes(toQ, "visibilitytimeout", "1"), attributeName("Unknown Attribute visibilitytimeout.")},
		{set, attributes(toQ, "All", "1"), attributeName("Unknown Attribute All.")},
		{set, attributes(toQ, "ApproximateNumberOfMessages", "1"), attributeName("Unknown Attribute ApproximateNumberOfMessages.")},

		{set, attributes(toQ, "RedrivePolicy", `[]`), redrive(`[]`, "Redrive policy is not a valid JSON map.")},
		{set, attributes(toQ, "RedrivePolicy", `null`), redrive(`null`, "Redrive policy is not a valid JSON map.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `x`), allow(`x`, "Redrive allow policy is not a valid JSON map.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `{}`), allow(`{}`, "Redrive allow policy does not contain mandatory attribute: redrivePermission.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":1}`), allow(`{"redrivePermission":1}`, "Redrive allow policy is not a valid JSON map.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":"some"}`), allow(`{"redrivePermission":"some"}`, "redrivePermission must be allowAll, denyAll or byQueue.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":"denyAll","sourceQueueArns":["a"]}`), allow(`{"redrivePermission":"denyAll","sourceQueueArns":["a"]}`, "sourceQueueArns is only for the redrivePermission byQueue.")},
		{set, attributes(toQ, "RedriveAllowPolicy", `{"RedrivePermission":"denyAll"}`), allow(`{"RedrivePermission":"denyAll"}`, policyText+"[redrivePermission, sourceQueueArns].")},

		{"SendMessage", send.with(`"MessageGroupId":"é"`), value("é", "MessageGroupId", groupIDText)},
		{"SendMessage", send.with(`"MessageDeduplicationId":""`), value("", "MessageDeduplicationId", notThisQueue)},
		{"SendMessage", `{"QueueUrl":"q.fifo","MessageBody":"x"}`, missingParameter("MessageGroupId")},
		{"SendMessage", sendFIFO.with(`"MessageGroupId":"g","MessageDeduplicationId":""`), value("", "MessageDeduplicationId", dedupText)},
		{"SendMessage", sendFIFO.with(`"MessageGroupId":"g","MessageDeduplicationId":"` + x129 + `"`), value(x129, "MessageDeduplicationId", dedupText)},
		{"ReceiveMessage", toFIFO.with(`"ReceiveRequestAttemptId":"` + x129 + `"`), value(x129, "ReceiveRequestAttemptId", "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.")},
		{"ReceiveMessage", toQ.with(`"MaxNumberOfMessages":-1`), value(-1, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")},
		{"ReceiveMessage", toQ.with(`"WaitTimeSeconds":-1`), value(-1, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")},
		{"ReceiveMessage", toQ.with(`"VisibilityTimeout":-1`), value(-1, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")},
		{"ReceiveMessage", toQ.with(`"AttributeNames":["Policy"]`), attributeName("Unknown Attribute Policy.")},
		{"ReceiveMessage", toQ.with(`"MessageSystemAttributeNames":["AWSTraceheader"]`), attributeName("Unknown Attribute AWSTraceheader.")},
		{"ChangeMessageVisibility", toQ.with(`"ReceiptHandle":"x","VisibilityTimeout":43201`), value(43201, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")},
		{"ChangeMessageVisibility", toQ.with(`"VisibilityTimeout":1`), missingParameter("ReceiptHandle")},

		{"SendMessage", messageAttribute("Amazon.x", "String", "x"), parameterValue("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use.")},
		{"SendMessage", messageAttribute(".a", "String", "x"), parameterValue("The message attribute name '.a' is invalid. Attribute name can not start or end with a period (.) or have successive periods.")},
		{"SendMessage", messageAttribute("a b", "String", "x"), parameterValue("The message attribute name 'a b' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters.")},
		{"SendMessage", messageAttribute("a", "string", "x"), parameterValue("The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: Binary, Number, String.")},
		{"SendMessage", messageAttribute("a", "Number", strings.Repeat("1", 39)), notANumber},
		{"SendMessage", messageAttribute("a", "Number.float", "1e127"), notANumber},
		{"SendMessage", messageAttribute("a", "Number", "1e-129"), notANumber},
		{"SendMessage", messageAttribute("a", "Number", ""), parameterValue("Message (user) attribute 'a' must contain a non-empty value of type 'Number'.")},
		{"SendMessage", send.with(`"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":""}}`), parameterValue("Message (user) attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'.")},
		{"SendMessage", send.with(`"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"Binary","BinaryValue":"AQID"}}`), parameterValue("The type of message system attribute 'AWSTraceHeader' is invalid. You must use only the type String.")},

		{"TagQueue", toQ.with(`"Tags":{"` + x129 + `":"v"}`), parameterValue(`The tag "` + x129[:128] + `" is invalid: ` + tagText)},
		{"TagQueue", toQ.with(`"Tags":{"k":"` + x129 + x129 + `"}`), parameterValue(`The tag "k" is invalid: ` + tagText)},
		{"ListQueues", `{"MaxResults":-1}`, value(-1, "MaxResults", "Must be between 1 and 1000, if provided.")},
		{"ListDeadLetterSourceQueues", toQ.with(`"MaxResults":1001`), value(1001, "MaxResults", "Must be between 1 and 1000, if provided.")},
	}
	for name, limits := range map[string][2]int{
		"VisibilityTimeout": {0, 43200}, "DelaySeconds": {0, 900}, "MessageRetentionPeriod": {60, 1209600}, "ReceiveMessageWaitTimeSeconds": {0, 20},
		"MaximumMessageSize": {1024, 1048576}, "KmsDataKeyReusePeriodSeconds": {60, 86400},
	} {
		want := outside(name, limits[0], limits[1])
		for _, v := range []string{fmt.Sprint(limits[0] - 1), fmt.Sprint(limits[1] + 1), "1.5", " 100", "100s", "1e2", "99999999999999999999"} {
			rows = append(rows, row{set, attributes(toQ, name, v), want}, row{create, attributes(`"QueueName":"new"`, name, v), want})
		}
	}
	for _, test := range []struct{ policy, reason string }{
		{`{"maxReceiveCount":1,"deadLetterTargetArn":null}`, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."},
		{`{"MaxReceiveCount":1,"DeadLetterTargetArn":"` + deadARN + `"}`, policyText + "[deadLetterTargetArn, maxReceiveCount]."},
		{`{"maxReceiveCount":1,"deadLetterTargetArn":"` + deadARN + `","other":1}`, policyText + "[deadLetterTargetArn, maxReceiveCount]."},
		{`{"maxReceiveCount":-1,"deadLetterTargetArn":"` + deadARN + `"}`, "Invalid value for maxReceiveCount: -1, valid values are from 1 to 1000 both inclusive."},
		{`{"maxReceiveCount":1.5,"deadLetterTargetArn":"` + deadARN + `"}`, "Invalid value for maxReceiveCount: 1.5, valid values are from 1 to 1000 both inclusive."},
		{`{"maxReceiveCount":"many","deadLetterTargetArn":"` + deadARN + `"}`, "Invalid value for maxReceiveCount: many, valid values are from 1 to 1000 both inclusive."},
		{`{"maxReceiveCount":1,"deadLetterTargetArn":5}`, "Dead letter target does not exist."},
		{`{"maxReceiveCount":1,"deadLetterTargetArn":"` + deadARN + `.fifo"}`, "Dead letter target does not exist."},
		{`{"maxReceiveCount":1,"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q.fifo"}`, "Dead-letter queue must be same type of queue as the source."},
	} {
		rows = append(rows, row{set, attributes(toQ, "RedrivePolicy", test.policy), redrive(test.policy, test.reason)})
	}
	eleven := `{"redrivePermission":"byQueue","sourceQueueArns":[` + repeated(11, `"arn:aws:sqs:us-east-1:000000000000:q%d"`) + `]}`
	rows = append(rows, row{set, attributes(toQ, "RedriveAllowPolicy", eleven), allow(eleven, listsText)})

	for _, r := range rows {
		e.refuses(t, r.action, r.body, r.want)
	}
	if n := e.ok("ListQueues", `{}`); strings.Count(n.body, "http://") != 4 {
		t.Errorf("queues after refusals: %s", n.body)
	}
	for _, name := range []string{"q", "q.fifo"} {
		if d := e.queue(name).Depth(); d != (queue.Depth{}) {
			t.Errorf("a refused request left something in %s: %+v", name, d)
		}
	}
}

func TestLimitsTaken(t *testing.T) {
	e := newValidationEnv(t)
	const mib = 1 << 20
	x256 := strings.Repeat("x", 256)
	printable := make([]byte, 0, 128)
	for c := byte('!'); c <= '~'; c++ {
		if c != '"' && c != '\\' {
			printable = append(printable, c)
		}
	}
	group := string(printable) + strings.Repeat("x", 128-len(printable))
	body := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct{ action, body string }{
		{"CreateQueue", `{"QueueName":"` + x256[:80] + `"}`},
		{"CreateQueue", `{"QueueName":"a-B_9"}`},
		{"CreateQueue", `{"QueueName":"` + x256[:75] + `.fifo","Attributes":{"FifoQueue":"true","FifoThroughputLimit":"perMessageGroupId","DeduplicationScope":"messageGroup","ContentBasedDeduplication":"true"}}`},
		{"SetQueueAttributes", toFIFO.with(`"Attributes":{"FifoQueue":"true","ContentBasedDeduplication":"false","DeduplicationScope":"queue","FifoThroughputLimit":"perQueue"}`)},
		{"SetQueueAttributes", toQ.with(`"Attributes":{"VisibilityTimeout":"0","DelaySeconds":"0","MessageRetentionPeriod":"60","ReceiveMessageWaitTimeSeconds":"0","MaximumMessageSize":"1024","KmsDataKeyReusePeriodSeconds":"60"}`)},
		{"SetQueueAttributes", toQ.with(`"Attributes":{"VisibilityTimeout":"43200","DelaySeconds":"900","MessageRetentionPeriod":"1209600","ReceiveMessageWaitTimeSeconds":"20","MaximumMessageSize":"1048576","KmsDataKeyReusePeriodSeconds":"86400"}`)},
		{"SetQueueAttributes", toQ.with(`"Attributes":{"KmsMasterKeyId":"","Policy":"","RedrivePolicy":"","RedriveAllowPolicy":""}`)},
		{"SetQueueAttributes", attributes(toQ, "RedrivePolicy", `{"maxReceiveCount":1,"deadLetterTargetArn":"`+deadARN+`"}`)},
		{"SetQueueAttributes", attributes(toQ, "RedrivePolicy", `{"deadLetterTargetArn":"`+deadARN+`","maxReceiveCount":"1000"}`)},
		{"SetQueueAttributes", attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":"byQueue","sourceQueueArns":[`+repeated(10, `"arn:aws:sqs:us-east-1:000000000000:q%d"`)+`]}`)},
		{"SetQueueAttributes", attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":"denyAll"}`)},
		{"SetQueueAttributes", attributes(toQ, "RedriveAllowPolicy", `{"redrivePermission":"allowAll"}`)},
		{"SetQueueAttributes", attributes(toQ, "SqsManagedSseEnabled", "false")},

		{"SendMessage", `{"QueueUrl":"q","MessageBody":"\t\n\r \uD7FF\uE000\uFFFD\uD800\uDC00\uDBFF\uDFFF~\u007f\u0080"}`},
		{"SendMessage", `{"QueueUrl":"q","MessageBody":"` + body(mib) + `"}`},
		{"SendMessage", `{"QueueUrl":"q","MessageBody":"` + body(mib-9) + `","MessageAttributes":{"a":{"DataType":"String","StringValue":"xx"}}}`},
		{"SendMessage", `{"QueueUrl":"q","MessageBody":"` + body(mib) + `","MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"Root=1"}}}`},
		{"SendMessage", `{"QueueUrl":"small","MessageBody":"` + body(1024) + `"}`},
		{"SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"` + x256[:80] + `","MessageBody":"` + body(mib/2) + `"},{"Id":"a-B_9","MessageBody":"` + body(mib/2) + `"}]}`},
		{"SendMessage", send.with(`"DelaySeconds":900,"MessageGroupId":"` + group + `"`)},
		{"SendMessage", sendFIFO.with(`"MessageGroupId":"` + group + `","MessageDeduplicationId":"` + group + `","DelaySeconds":0`)},
		{"SendMessage", messageAttribute(x256, "String", "x")},
		{"SendMessage", messageAttribute("aws", "String.x y", "x")},
		{"SendMessage", messageAttribute("a.b-c_9", "Number.int", "-1e126")},
		{"SendMessage", messageAttribute("a", "Number", strings.Repeat("9", 38))},
		{"SendMessage", messageAttribute("a", "Binary.gif", "AA==")},
		{"SendMessage", send.with(`"MessageAttributes":{` + repeated(10, `"a%d":{"DataType":"String","StringValue":"x"}`) + `}`)},

		{"ReceiveMessage", toQ.with(`"WaitTimeSeconds":0,"MaxNumberOfMessages":1,"VisibilityTimeout":0`)},
		{"ReceiveMessage", `{"QueueUrl":"small","WaitTimeSeconds":20,"MaxNumberOfMessages":1,"VisibilityTimeout":43200}`}, // there is one
		{"ReceiveMessage", toQ.with(`"WaitTimeSeconds":0,"MaxNumberOfMessages":10`)},
		{"ReceiveMessage", toQ.with(`"WaitTimeSeconds":0,"MessageAttributeNames":["none",".*","a.*","All"],"MessageSystemAttributeNames":["All","SenderId","SentTimestamp","ApproximateReceiveCount","ApproximateFirstReceiveTimestamp","AWSTraceHeader","DeadLetterQueueSourceArn","MessageGroupId","SequenceNumber","MessageDeduplicationId"]`)},
		{"ReceiveMessage", toFIFO.with(`"ReceiveRequestAttemptId":"` + group + `"`)},
		{"TagQueue", toQ.with(`"Tags":{` + repeated(49, `"k%d":""`) + `,"` + strings.Repeat("é", 128) + `":"` + strings.Repeat("é", 256) + `"}`)},
		{"GetQueueAttributes", toQ.with(`"AttributeNames":["All"]`)},
		{"ListQueues", `{"MaxResults":1000}`},
	} {
		e.takes(t, test.action, test.body)
	}
}

// TestFailedEntries checks which faults fail an entry alone, and how.
func TestFailedEntries(t *testing.T) {
	e := newValidationEnv(t)
	type list = []failedEntry
	fault := func(id, code, message string) failedEntry { return failedEntry{id, code, message, true} }
	value := func(id, v, parameter, reason string) failedEntry {
		return fault(id, "InvalidParameterValue", "Value "+v+" for parameter "+parameter+" is invalid. Reason: "+reason)
	}
	for _, test := range []struct {
		action, body string
		good         int
		want         list
	}{
		{
			"SendMessageBatch", `{"QueueUrl":"small","Entries":[{"Id":"a","MessageBody":"x"},{"Id":"b","MessageBody":"\u0000"},{"Id":"c","MessageBody":"` + strings.Repeat("x", 1025) + `"},{"Id":"d"},{"Id":"e","MessageBody":"x","DelaySeconds":901},{"Id":"f","MessageBody":"x","MessageGroupId":"a b"},{"Id":"g","MessageBody":"x","MessageDeduplicationId":"d"},{"Id":"h","MessageBody":"x","MessageAttributes":{"AWS.x":{"DataType":"String","StringValue":"x"}}},{"Id":"i","MessageBody":"x","MessageSystemAttributes":{"x":{"DataType":"String","StringValue":"x"}}},{"Id":"j","MessageBody":"x"}]}`,
			2,
			list{
				fault("b", "InvalidMessageContents", charactersText),
				fault("c", "InvalidParameterValue", "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."),
				fault("d", "MissingParameter", "The request must contain the parameter MessageBody."),
				value("e", "901", "DelaySeconds", "DelaySeconds must be >= 0 and <= 900."),
				value("f", "a b", "MessageGroupId", groupIDText),
				value("g", "d", "MessageDeduplicationId", notThisQueue),
				fault("h", "InvalidParameterValue", "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use."),
				fault("i", "InvalidParameterValue", "Message system attribute name 'x' is invalid."),
			},
		},
		{
			"SendMessageBatch", `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","MessageBody":"x","MessageGroupId":"g","MessageDeduplicationId":"1"},{"Id":"b","MessageBody":"x","MessageGroupId":"g","MessageDeduplicationId":"2","DelaySeconds":1},{"Id":"c","MessageBody":"x","MessageGroupId":"g","MessageDeduplicationId":"a b"}]}`,
			1,
			list{value("b", "1", "DelaySeconds", notThisQueue), value("c", "a b", "MessageDeduplicationId", dedupText)},
		},
		{
			"DeleteMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a"},{"Id":"b","ReceiptHandle":"x"}]}`,
			0,
			list{fault("a", "MissingParameter", "The request must contain the parameter ReceiptHandle."), fault("b", "ReceiptHandleIsInvalid", `The input receipt handle "x" is not a valid receipt handle.`)},
		},
		{
			"ChangeMessageVisibilityBatch", `{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"x"},{"Id":"b","ReceiptHandle":"x","VisibilityTimeout":43201},{"Id":"c","ReceiptHandle":"x","VisibilityTimeout":1}]}`,
			0,
			list{
				fault("a", "MissingParameter", "The request must contain the parameter VisibilityTimeout."),
				value("b", "43201", "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided."),
				fault("c", "ReceiptHandleIsInvalid", `The input receipt handle "x" is not a valid receipt handle.`),
			},
		},
	} {
		good, failed := e.batch(t, test.action, test.body)
		if diff := cmp.Diff(test.want, failed); diff != "" || good != test.good {
			t.Errorf("%s: %d entries succeeded, want %d; failed (-want +got):\n%s", test.action, good, test.good, diff)
		}
	}

	// What no FIFO queue can order fails the call, as at Amazon.
	entries := func(second string) string {
		return `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","MessageBody":"x","MessageGroupId":"g","MessageDeduplicationId":"9"},{"Id":"b","MessageBody":"x",` + second + `}]}`
	}
	before := e.queue("q.fifo").Depth()
	e.refuses(t, "SendMessageBatch", entries(`"MessageDeduplicationId":"10"`), parameterValue("The request must contain the parameter MessageGroupId."))
	e.refuses(t, "SendMessageBatch", entries(`"MessageGroupId":"g"`), parameterValue("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"))
	if after := e.queue("q.fifo").Depth(); after != before {
		t.Errorf("depth %+v after refusals, %+v before", after, before)
	}
}
