package conformance_test

import (
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// messageAttributes are of each type, and of types with a label.
var messageAttributes = map[string]types.MessageAttributeValue{
	"Stone.Kind":  {DataType: aws.String("String"), StringValue: aws.String("Feldspat, 長石 <&>")},
	"StoneWeight": {DataType: aws.String("Number"), StringValue: aws.String("12.50")},
	"Raw":         {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 127, 128, 255}},
	"Count":       {DataType: aws.String("Number.int"), StringValue: aws.String("-3")},
	"Scan":        {DataType: aws.String("Binary.png"), BinaryValue: []byte("\x89PNG\r\n")},
}

func (s *session) sendReceive() {
	url := s.create("", nil)
	body := "hello"
	sent := must(s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: &body, MessageAttributes: messageAttributes,
	}))(s.T)
	s.wantEqual("MD5OfMessageBody", *sent.MD5OfMessageBody, md5Hex([]byte(body)))
	s.wantEqual("MD5OfMessageAttributes when sent", aws.ToString(sent.MD5OfMessageAttributes), attributesMD5(messageAttributes))

	got := s.receiveOne(&sqs.ReceiveMessageInput{
		QueueUrl:                    url,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	s.wantEqual("MessageId", got.MessageId, sent.MessageId)
	s.wantEqual("body", *got.Body, body)
	s.wantEqual("message attributes", got.MessageAttributes, messageAttributes)
	s.wantEqual("MD5OfMessageAttributes when received", got.MD5OfMessageAttributes, sent.MD5OfMessageAttributes)
	s.wantEqual("ApproximateReceiveCount", got.Attributes["ApproximateReceiveCount"], "1")
	if got.Attributes["SenderId"] == "" {
		s.Error("SenderId: got none")
	}
	for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
		ms, err := strconv.ParseInt(got.Attributes[name], 10, 64)
		if away := time.Since(time.UnixMilli(ms)).Abs(); err != nil || away > time.Minute {
			s.Errorf("%s: got %q, %v away from our clock (%v)", name, got.Attributes[name], away, err)
		}
	}
	for range 2 { // the second one finds nothing to do, which is no error
		s.delete(url, got.ReceiptHandle)
	}
	s.wantCounts(url, counts{}, "after the delete")
}

func (s *session) attributeFilters() {
	url := s.create("", map[string]string{"VisibilityTimeout": "0"})
	must(s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("x"), MessageAttributes: messageAttributes,
	}))(s.T)
	all := []string{"Count", "Raw", "Scan", "Stone.Kind", "StoneWeight"}
	for _, tt := range []struct{ filter, want []string }{
		{[]string{"All"}, all},
		{[]string{".*"}, all},
		{[]string{"Stone.Kind"}, []string{"Stone.Kind"}},
		// SQS takes what stands before ".*" as the prefix, without the dot.
		{[]string{"Stone.*", "Raw"}, []string{"Raw", "Stone.Kind", "StoneWeight"}},
		{[]string{"Missing", "Count"}, []string{"Count"}},
		{[]string{"Missing"}, nil},
		{nil, nil},
	} {
		got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url, MessageAttributeNames: tt.filter})
		want := make(map[string]types.MessageAttributeValue)
		for _, name := range tt.want {
			want[name] = messageAttributes[name]
		}
		s.wantEqual("attributes for the filter "+strings.Join(tt.filter, " "), got.MessageAttributes, want)
		// The digest is over what is returned, and absent when that is nothing.
		var sum string
		if len(want) > 0 {
			sum = attributesMD5(want)
		}
		s.wantEqual("MD5 for the filter "+strings.Join(tt.filter, " "), aws.ToString(got.MD5OfMessageAttributes), sum)
		s.wantEqual("system attributes that nobody asked for", got.Attributes, map[string]string{})
	}
}

// bodies of all kinds of characters, and of 1 MiB, the largest that SQS takes,
// counted in bytes of UTF-8.
func (s *session) bodies() {
	url := s.create("", nil)
	for _, body := range []string{
		"Grüße, мир, 世界, \U0001f680, e\u0301",
		"\t tab \n newline \r return \u2028 \u2029 <a href=\"x\">&amp;</a> \\ / %41 +",
		"\x20\x7f\u0085\ud7ff\ue000\ufffd\U00010000\U0010ffff",
		strings.Repeat("<", 1<<20),
		strings.Repeat("世", 1<<20/3) + "x",
	} {
		s.send(url, body)
		got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url})
		if *got.Body != body {
			s.Errorf("body of %d bytes that begins with %.40q was changed: got %d bytes that begin with %.40q",
				len(body), body, len(*got.Body), *got.Body)
		}
		s.delete(url, got.ReceiptHandle)
	}
}

func (s *session) longPoll() {
	url := s.create("", nil)
	start := time.Now()
	if got := s.receive(&sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 1}); len(got) != 0 {
		s.Errorf("messages of an empty queue: got %d", len(got))
	}
	if took := time.Since(start); took < 950*time.Millisecond {
		s.Errorf("a long poll of 1 s on an empty queue took %v", took)
	}

	type answer struct {
		out *sqs.ReceiveMessageOutput
		err error
		at  time.Time
	}
	written := make(chan struct{}, 1) // gets a value when the request has left
	answered := make(chan answer, 1)
	ctx := httptrace.WithClientTrace(s.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { written <- struct{}{} },
	})
	go func() {
		out, err := s.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 10})
		answered <- answer{out, err, time.Now()}
	}()
	select {
	case <-written:
	case <-time.After(10 * time.Second):
		s.Fatal("the request of the long poll did not leave within 10 s")
	}
	sent := time.Now()
	s.send(url, "wake up")
	got := <-answered
	if got.err != nil {
		s.Fatal(got.err)
	}
	if len(got.out.Messages) != 1 || *got.out.Messages[0].Body != "wake up" {
		s.Fatalf("messages of the long poll: got %d, want the one that was sent", len(got.out.Messages))
	}
	if took := got.at.Sub(sent); took > time.Second {
		s.Errorf("the long poll ended %v after the send, want less than 1 s", took)
	}
}

func (s *session) visibility() {
	url := s.create("", map[string]string{"VisibilityTimeout": "60"})
	s.send(url, "x")
	in := func(wait, timeout int32) *sqs.ReceiveMessageInput {
		return &sqs.ReceiveMessageInput{
			QueueUrl: url, WaitTimeSeconds: wait, VisibilityTimeout: timeout,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
		}
	}
	first := s.receiveOne(in(5, 60))
	s.wantEqual("ApproximateReceiveCount at first", first.Attributes["ApproximateReceiveCount"], "1")
	if got := s.receive(in(0, 60)); len(got) != 0 {
		s.Errorf("messages while the only one is in flight: got %d", len(got))
	}
	s.changeVisibility(url, first.ReceiptHandle, 0)
	got := s.receive(in(0, 1))
	if len(got) != 1 {
		s.Fatalf("messages after a change to 0: got %d, want 1", len(got))
	}
	s.wantEqual("ApproximateReceiveCount after a change to 0", got[0].Attributes["ApproximateReceiveCount"], "2")

	// The timeout of the second receive ends while the third one waits for it.
	start := time.Now()
	third := s.receiveOne(in(10, 60))
	if took := time.Since(start); took < 700*time.Millisecond || took > 3*time.Second {
		s.Errorf("a message with a timeout of 1 s came back after %v", took)
	}
	s.wantEqual("ApproximateReceiveCount after the timeout", third.Attributes["ApproximateReceiveCount"], "3")
}

func (s *session) delay() {
	url := s.create("", map[string]string{"DelaySeconds": "600"})
	start := time.Now()
	must(s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("late"), DelaySeconds: 1,
	}))(s.T)
	if got := s.receive(&sqs.ReceiveMessageInput{QueueUrl: url}); len(got) != 0 {
		s.Errorf("messages before the delay is over: got %d", len(got))
	}
	s.wantCounts(url, counts{delayed: 1}, "before the delay is over")
	s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 10})
	if took := time.Since(start); took < 950*time.Millisecond || took > 3*time.Second {
		s.Errorf("a message with a delay of 1 s came after %v", took)
	}
}

func (s *session) messageErrors() {
	ctx, url := s.Context(), s.create("", map[string]string{"MaximumMessageSize": "1024"})
	send := func(body string, delay int32, attributes map[string]types.MessageAttributeValue) error {
		_, err := s.sqs.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: url, MessageBody: &body, DelaySeconds: delay, MessageAttributes: attributes,
		})
		return err
	}
	for _, bad := range []string{"\x00", "\x01", "\x0b", "\x1f", "\ufffe", "\uffff"} {
		refusedAs[*types.InvalidMessageContents](s, send("bad "+bad, 0, nil), "InvalidMessageContents")
	}
	s.refused(send("", 0, nil), "MissingParameter")
	s.refused(send(strings.Repeat("x", 1025), 0, nil), "InvalidParameterValue")
	s.refused(send(strings.Repeat("é", 513), 0, nil), "InvalidParameterValue")
	s.refused(send("x", 901, nil), "InvalidParameterValue")
	for _, a := range []types.MessageAttributeValue{
		{DataType: aws.String("String"), StringValue: aws.String("")},
		{DataType: aws.String("Text"), StringValue: aws.String("x")},
		{DataType: aws.String("Number"), StringValue: aws.String("twelve")},
	} {
		s.refused(send("x", 0, map[string]types.MessageAttributeValue{"Key": a}), "InvalidParameterValue")
	}
	s.wantCounts(url, counts{}, "after messages that were refused")

	for _, in := range []*sqs.ReceiveMessageInput{
		{QueueUrl: url, MaxNumberOfMessages: 11},
		{QueueUrl: url, WaitTimeSeconds: 21},
		{QueueUrl: url, VisibilityTimeout: 43201},
	} {
		_, err := s.sqs.ReceiveMessage(ctx, in)
		s.refused(err, "InvalidParameterValue")
	}
	garbage := aws.String("not a receipt handle")
	_, err := s.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: garbage})
	refusedAs[*types.ReceiptHandleIsInvalid](s, err, "ReceiptHandleIsInvalid", http.StatusBadRequest, http.StatusNotFound)
	_, err = s.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: garbage})
	refusedAs[*types.ReceiptHandleIsInvalid](s, err, "ReceiptHandleIsInvalid", http.StatusBadRequest, http.StatusNotFound)
	s.send(url, "x")
	handle := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url}).ReceiptHandle
	_, err = s.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: handle, VisibilityTimeout: 43201,
	})
	s.refused(err, "InvalidParameterValue")
}
