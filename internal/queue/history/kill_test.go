package history_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel/internal/queue/history"
)

// TestHistory has clients work on queues over HTTP, while the server is killed
// with SIGKILL at random moments and its wall clock jumps by up to six hours,
// while it runs and while it does not. Then everything is received, and the
// history of all calls is checked. RUNNEL_HISTORY is for how long clients work,
// as in "20m"; 12 s without it.
func TestHistory(t *testing.T) {
	lasts := 12 * time.Second
	if text := os.Getenv("RUNNEL_HISTORY"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("RUNNEL_HISTORY: %v", err)
		}
	}
	queues := map[string]history.Queue{
		"q": {Dead: "dead", MaxReceives: 4}, "dead": {},
		"q.fifo": {FIFO: true, Dead: "dead.fifo", MaxReceives: 4}, "dead.fifo": {FIFO: true},
	}
	s := newServers(t)
	r := newRecorder(s)
	s.start(0)
	for _, name := range []string{"dead", "dead.fifo", "q", "q.fifo"} {
		create(t, r, name, queues[name])
	}

	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var clients sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		clients.Go(func() { r.sendAll(ctx, "q", name) })
		clients.Go(func() { r.sendOrdered(ctx, "q.fifo", name) })
		clients.Go(func() { r.work(ctx, "q") })
		clients.Go(func() { r.work(ctx, "q.fifo") })
	}
	for _, name := range []string{"q", "q.fifo", "dead", "dead.fifo"} {
		clients.Go(func() { r.work(ctx, name) })
	}
	ahead, jumps := disturb(ctx, s)
	clients.Wait()

	// Thirteen hours later no visibility timeout and no delay is left.
	kills := len(s.past)
	s.kill()
	s.start(ahead + 13*time.Hour)
	for name := range queues {
		drain(t, r, name)
	}
	s.kill()

	h := history.History{Queues: queues, Processes: s.past, Calls: r.calls}
	violations := history.Check(&h)
	count := make(map[history.Kind]int)
	unknown, received := 0, 0
	for _, c := range h.Calls {
		count[c.Kind]++
		received += len(c.Received)
		if c.Outcome == history.Unknown {
			unknown++
		}
	}
	t.Logf("%v: %d kills, %d jumps of the wall clock; %d sends, %d receives of %d messages, %d deletes, %d changes of visibility, %d of all with unknown outcome; refused: %v; %d violations",
		lasts, kills, jumps, count[history.Send], count[history.Receive], received, count[history.Delete], count[history.Change], unknown, r.refused, len(violations))
	for i, v := range violations {
		if i == 30 {
			break
		}
		t.Error(v)
	}
	if seconds := int(lasts / time.Second); kills < seconds/3 || jumps < seconds/4 || received < 20*seconds || unknown < kills {
		t.Error("the test did not do what it is for")
	}
}

// disturb kills servers and starts others, until ctx ends, and lets their wall
// clocks jump. It returns the most that a clock was ahead.
func disturb(ctx context.Context, s *servers) (most time.Duration, jumps int) {
	var ahead time.Duration
	places := []time.Duration{0, 0, time.Minute, -time.Minute, 20 * time.Minute, -20 * time.Minute, 6 * time.Hour, -6 * time.Hour}
	next := func() bool {
		if rand.IntN(2) == 0 {
			return false
		}
		before := ahead
		ahead = places[rand.IntN(len(places))] + time.Duration(rand.IntN(20_000))*time.Millisecond
		most = max(most, ahead)
		if before != ahead {
			jumps++
		}
		return true
	}
	for {
		for range 3 {
			select {
			case <-ctx.Done():
				return most, jumps
			case <-time.After(time.Duration(50+rand.IntN(500)) * time.Millisecond):
			}
			if next() {
				s.jump(ahead)
			}
		}
		s.kill()
		next()
		s.start(ahead)
	}
}

func create(t *testing.T, r *recorder, name string, q history.Queue) {
	t.Helper()
	attributes := map[string]string{"MessageRetentionPeriod": strconv.Itoa(14 * 24 * 3600)}
	if q.FIFO {
		attributes["FifoQueue"] = "true"
	}
	if q.Dead != "" {
		attributes["RedrivePolicy"] = `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:` + q.Dead + `","maxReceiveCount":` + strconv.Itoa(q.MaxReceives) + `}`
	}
	if c := r.call(r.current(t.Context()), "CreateQueue", object{"QueueName": name, "Attributes": attributes}, nil); c.Outcome != history.OK {
		t.Fatalf("create %s: %v", name, r.refused)
	}
}

// drain receives and deletes everything, which for some is to go to the dead
// letters.
func drain(t *testing.T, r *recorder, name string) {
	t.Helper()
	url := r.current(t.Context())
	for {
		got := r.receive(url, name, 10, 30, 0)
		if len(got) > 0 {
			receipts := make([]string, len(got))
			for i, m := range got {
				receipts[i] = m.Receipt
			}
			r.remove(url, name, receipts...)
			continue
		}
		var out struct{ Attributes map[string]string }
		if c := r.call(url, "GetQueueAttributes", object{"QueueUrl": queueURL(name), "AttributeNames": []string{"All"}}, &out); c.Outcome != history.OK {
			t.Fatalf("look at %s: %v", name, r.refused)
		}
		for _, depth := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
			if n := out.Attributes[depth]; n != "0" {
				t.Errorf("%s is drained, and %s is %s", name, depth, n)
			}
		}
		return
	}
}
