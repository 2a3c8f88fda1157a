// Command golambda is a Lambda function on AWS's own library, which does what
// its event asks for. An event with records is one of SQS; any other that asks
// for nothing comes back.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	lambda.Start(handle)
}

// ask is what an event asks for.
type ask struct {
	Do      string            `json:"do"`
	Text    string            `json:"text"`
	Records []json.RawMessage `json:"Records"`
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	var a ask
	if json.Unmarshal(event, &a) != nil { // not an object
		return event, nil
	}
	if a.Records != nil {
		return records(event)
	}
	switch a.Do {
	case "refuse":
		return nil, &refusedError{a.Text}
	case "panic":
		panic(a.Text)
	case "hang":
		<-ctx.Done() // at the deadline, after which it goes on
		select {}
	case "deadline":
		until, ok := ctx.Deadline()
		left := time.Until(until)
		return map[string]bool{"known": ok, "ahead": left > 0 && left <= 30*time.Second}, nil
	case "context":
		c, ok := lambdacontext.FromContext(ctx)
		return []any{
			ok && c.AwsRequestID != "", strings.HasPrefix(c.InvokedFunctionArn, "arn:aws:lambda:"), lambdacontext.FunctionName,
			lambdacontext.FunctionVersion != "", lambdacontext.MemoryLimitInMB, os.Getenv("GREETING"),
		}, nil
	case "print":
		fmt.Println("printed", a.Text)
		fmt.Fprintln(os.Stderr, "warned of", a.Text)
		return nil, nil
	case "stream":
		return io.MultiReader(strings.NewReader("one, "), strings.NewReader(a.Text)), nil
	case "break":
		return io.MultiReader(strings.NewReader("one, "), iotest.ErrReader(errors.New(a.Text))), nil
	case "meet":
		return meet(ctx)
	default:
		return event, nil
	}
}

// refusedError is an error of a type of its own, whose name is reported.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return "refused: " + e.what }

// records handles the messages of an event: those that say "bad" fail.
func records(text []byte) (events.SQSEventResponse, error) {
	var event events.SQSEvent
	var out events.SQSEventResponse
	if err := json.Unmarshal(text, &event); err != nil {
		return out, err
	}
	for _, r := range event.Records {
		fmt.Println("record", r.Body, r.Attributes["ApproximateReceiveCount"], r.EventSource)
		if r.Body == "bad" {
			out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: r.MessageId})
		}
	}
	return out, nil
}

// party is how many calls meet.
const party = 4

var meeting = struct {
	sync.Mutex
	here int
	all  chan struct{} // closed when all have come
}{all: make(chan struct{})}

// meet waits until all calls of the party are there, which one process has in
// flight at the same time or never, and returns the process.
func meet(ctx context.Context) (any, error) {
	meeting.Lock()
	meeting.here++
	if meeting.here == party {
		close(meeting.all)
	}
	meeting.Unlock()
	select {
	case <-meeting.all:
		return map[string]int{"process": os.Getpid()}, nil
	case <-ctx.Done():
		return nil, errors.New("nobody else came")
	}
}
