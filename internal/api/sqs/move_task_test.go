package sqs_test

import (
	"encoding/base64"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

const arnPrefix = "arn:aws:sqs:us-east-1:000000000000:"

func notFound(message string) refusal {
	return refusal{404, sqsType + "ResourceNotFoundException", "ResourceNotFoundException;Sender", message}
}

// TestMoveTasks redrives by both protocols. That a task ends is seen at what
// arrives.
func TestMoveTasks(t *testing.T) {
	e := newEnv(t, nil)
	dead := e.create("dead", nil)
	q := e.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
	e.create("to", nil)
	if _, err := q.Send([]runnel.Message{{Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	e.ok("ReceiveMessage", `{"QueueUrl":"q","VisibilityTimeout":0}`)
	e.visible(t, "q", 1)
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q"}`, `{}`) // dead-lettered

	handle := e.ok("StartMessageMoveTask", `{"SourceArn":"`+arnPrefix+`dead"}`).field(t, "TaskHandle")
	if text, err := base64.StdEncoding.DecodeString(handle); err != nil || !strings.HasSuffix(string(text), `","sourceArn":"`+arnPrefix+`dead"}`) {
		t.Errorf("handle: got %q, %v", text, err)
	}
	receive := func(name string) {
		t.Helper()
		got := e.ok("ReceiveMessage", `{"QueueUrl":"`+name+`","WaitTimeSeconds":20,"VisibilityTimeout":0}`)
		if body := got.field(t, "Messages", 0, "Body"); body != "x" {
			t.Errorf("%s: received %q", name, body)
		}
	}
	receive("q")
	ended := time.Now().Add(10 * time.Second)
	for e.ok("ListMessageMoveTasks", `{"SourceArn":"`+arnPrefix+`dead"}`).field(t, "Results", 0, "Status") != "COMPLETED" {
		if time.Now().After(ended) {
			t.Fatal("the task has not ended")
		}
	}

	// One message a second: the first is moved, the second waits.
	if _, err := dead.Send([]runnel.Message{{Body: []byte("x")}, {Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	_, text := e.post("/", "Action=StartMessageMoveTask&SourceArn="+arnPrefix+"dead&DestinationArn="+arnPrefix+"to&MaxNumberOfMessagesPerSecond=1")
	var started struct {
		Handle string `xml:"StartMessageMoveTaskResult>TaskHandle"`
	}
	if err := xml.Unmarshal([]byte(text), &started); err != nil || started.Handle == "" || started.Handle == handle {
		t.Fatalf("got %s, %v", text, err)
	}
	receive("to")
	const active = "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
	e.refuses(t, "StartMessageMoveTask", `{"SourceArn":"`+arnPrefix+`dead"}`, parameterValue(active))
	_, text = e.post("/", "Action=ListMessageMoveTasks&MaxResults=10&SourceArn="+arnPrefix+"dead")
	type entry struct {
		TaskHandle, Status, SourceArn, DestinationArn string
		Rate                                          int   `xml:"MaxNumberOfMessagesPerSecond"`
		ToMove                                        int   `xml:"ApproximateNumberOfMessagesToMove"`
		Started                                       int64 `xml:"StartedTimestamp"`
	}
	var list struct {
		Tasks []entry `xml:"ListMessageMoveTasksResult>ListMessageMoveTasksResultEntry"`
	}
	if err := xml.Unmarshal([]byte(text), &list); err != nil || len(list.Tasks) != 2 {
		t.Fatalf("got %s, %v", text, err)
	}
	for i := range list.Tasks {
		if ms := list.Tasks[i].Started; ms < 1e12 {
			t.Errorf("StartedTimestamp: got %d, want milliseconds", ms)
		}
		list.Tasks[i].Started = 0
	}
	want := []entry{
		{started.Handle, "RUNNING", arnPrefix + "dead", arnPrefix + "to", 1, 2, 0},
		{"", "COMPLETED", arnPrefix + "dead", "", 0, 1, 0},
	}
	if diff := cmp.Diff(want, list.Tasks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if a := e.ok("CancelMessageMoveTask", `{"TaskHandle":"`+started.Handle+`"}`); !strings.HasPrefix(a.body, `{"ApproximateNumberOfMessagesMoved":`) {
		t.Errorf("cancel: got %s", a.body)
	}
	const over = "Only active message movement tasks can be cancelled."
	e.refuses(t, "CancelMessageMoveTask", `{"TaskHandle":"`+started.Handle+`"}`, parameterValue(over))
	if status := e.ok("ListMessageMoveTasks", `{"SourceArn":"`+arnPrefix+`dead"}`).field(t, "Results", 0, "Status"); !strings.HasPrefix(status, "CANCELL") {
		t.Errorf("status: got %s", status)
	}
}

func TestMoveTaskRefusals(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
	e.create("dead", nil)
	handle := func(task, source string) string {
		return base64.StdEncoding.EncodeToString([]byte(`{"taskId":"` + task + `","sourceArn":"` + source + `"}`))
	}
	ordered := func(s *queue.Settings) { s.FIFO = &queue.FIFO{} }
	e.create("to.fifo", func(s *queue.Settings) {
		ordered(s)
		s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: 1}
	})
	e.create("dead.fifo", ordered)
	const kinds = "The source and destination queues must be of the same type: both standard queues, or both FIFO queues."
	none := func(parameter string) refusal {
		return notFound("The resource that you specified for the " + parameter + " parameter doesn't exist.")
	}
	const start, list, cancel = "StartMessageMoveTask", "ListMessageMoveTasks", "CancelMessageMoveTask"
	for _, test := range []struct {
		action, body string
		want         refusal
	}{
		{start, `{}`, missingParameter("SourceArn")},
		{start, `{"SourceArn":"dead"}`, parameterValue("Value dead for parameter SourceArn is invalid. Reason: Must be the ARN of a queue.")},
		{start, `{"SourceArn":"` + arnPrefix + `none"}`, none("SourceArn")},
		{start, `{"SourceArn":"` + arnPrefix + `q"}`, parameterValue("Source queue must be configured as a Dead Letter Queue.")},
		{start, `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"` + arnPrefix + `none"}`, none("DestinationArn")},
		{start, `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"` + arnPrefix + `dead"}`, parameterValue("Value " + arnPrefix + "dead for parameter DestinationArn is invalid. Reason: Source queue arn and destination queue arn cannot be the same.")},
		{start, `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":501}`, parameterValue("Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided.")},
		{start, `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":0}`, parameterValue("Value 0 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided.")},
		{start, `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"` + arnPrefix + `to.fifo"}`, parameterValue(kinds)},
		{start, `{"SourceArn":"` + arnPrefix + `dead.fifo","DestinationArn":"` + arnPrefix + `q"}`, parameterValue(kinds)},
		{list, `{}`, missingParameter("SourceArn")},
		{list, `{"SourceArn":"` + arnPrefix + `none"}`, none("SourceArn")},
		{list, `{"SourceArn":"` + arnPrefix + `dead","MaxResults":11}`, parameterValue("Value 11 for parameter MaxResults is invalid. Reason: Must be between 1 and 10, if provided.")},
		{cancel, `{}`, missingParameter("TaskHandle")},
		{cancel, `{"TaskHandle":"x"}`, parameterValue("Value for parameter TaskHandle is invalid.")},
		{cancel, `{"TaskHandle":"` + handle("t", arnPrefix+"dead") + `"}`, notFound("Task does not exist.")},
		{cancel, `{"TaskHandle":"` + handle("t", arnPrefix+"none") + `"}`, none("SourceArn")},
	} {
		e.refuses(t, test.action, test.body, test.want)
	}
	e.want(t, list, `{"SourceArn":"`+arnPrefix+`dead"}`, `{}`)
}

// TestMoveTaskFIFO: what a client's receives made a dead letter comes back with
// its group, and in order.
func TestMoveTaskFIFO(t *testing.T) {
	e := newEnv(t, nil)
	e.ok("CreateQueue", `{"QueueName":"dead.fifo","Attributes":{"FifoQueue":"true"}}`)
	e.ok("CreateQueue", `{"QueueName":"q.fifo","Attributes":{"FifoQueue":"true","RedrivePolicy":"{\"deadLetterTargetArn\":\"`+arnPrefix+`dead.fifo\",\"maxReceiveCount\":1}"}}`)
	var ids []string
	for _, body := range []string{"1", "2"} {
		ids = append(ids, e.ok("SendMessage", `{"QueueUrl":"q.fifo","MessageBody":"`+body+`","MessageGroupId":"g","MessageDeduplicationId":"d`+body+`"}`).field(t, "MessageId"))
	}
	e.ok("ReceiveMessage", `{"QueueUrl":"q.fifo","MaxNumberOfMessages":2,"VisibilityTimeout":0}`)
	e.visible(t, "q.fifo", 2)
	for range 2 { // dead-lettered
		e.want(t, "ReceiveMessage", `{"QueueUrl":"q.fifo"}`, `{}`)
	}
	e.ok("StartMessageMoveTask", `{"SourceArn":"`+arnPrefix+`dead.fifo"}`)
	for i, body := range []string{"1", "2"} {
		got := e.ok("ReceiveMessage", `{"QueueUrl":"q.fifo","WaitTimeSeconds":20,"MessageSystemAttributeNames":["All"]}`)
		if b := got.field(t, "Messages", 0, "Body"); b != body {
			t.Errorf("received %q, want %q", b, body)
		}
		if g, d := got.field(t, "Messages", 0, "Attributes", "MessageGroupId"), got.field(t, "Messages", 0, "Attributes", "MessageDeduplicationId"); g != "g" || d != ids[i] {
			t.Errorf("received group %q, deduplication id %q, want g and the message id %q", g, d, ids[i])
		}
		e.ok("DeleteMessage", `{"QueueUrl":"q.fifo","ReceiptHandle":"`+got.field(t, "Messages", 0, "ReceiptHandle")+`"}`)
	}
}
