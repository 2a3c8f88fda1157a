package envelope_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/envelope"
)

// BenchmarkHandle: bodies of 1 KB through a function that echoes them at once,
// so that what is measured is the envelope. A call is one iteration.
func BenchmarkHandle(b *testing.B) {
	body := []byte(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	for _, payload := range []runnel.Payload{runnel.PayloadJSON, runnel.PayloadBytes, runnel.PayloadSQSEvent} {
		for _, batch := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/batch=%d", payload, batch), func(b *testing.B) {
				in := make([]runnel.Message, batch)
				attempts := make([]int, batch)
				for i := range in {
					in[i] = runnel.Message{ID: "4bdfcaa4-41ef-450c-ac59-945b09d0a53c", Body: body, Sent: time.Now()}
					attempts[i] = 1
				}
				answers := make([]runnel.Answer, batch)
				f := &function{answer: func(in *runnel.Invocation) ([]runnel.Answer, error) {
					for i := range in.Items {
						answers[i] = runnel.Answer{Format: in.Format, Payload: in.Items[i].Payload}
					}
					return answers[:len(in.Items)], nil
				}}
				h := envelope.New(envelope.Config{Payload: payload, Function: f})
				ctx := runnel.WithCall(context.Background(), &runnel.Call{Invocation: "i", Attempt: 1, Attempts: attempts})
				b.ReportAllocs()
				for b.Loop() {
					p, err := h.Acquire(ctx)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := p.Call.Handle(ctx, in); err != nil {
						b.Fatal(err)
					}
					p.Release()
				}
			})
		}
	}
}
