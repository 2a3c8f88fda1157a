package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// TestCrash looks at what a power loss would leave at every sync point while
// messages pass a flow, some fail and some die: each is in the source, or what
// came of it is in one sink or in the dead letters. Never in none of these
// places, and never in two.
func TestCrash(t *testing.T) {
	for _, size := range []int{1, 4} {
		t.Run(fmt.Sprint("batch=", size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 60
				h := newHome(t)
				cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
					call, _ := runnel.CallFrom(ctx)
					var i int
					if _, err := fmt.Sscan(string(m.Body), &i); err != nil {
						return runnel.Result{}, err
					}
					<-time.After(time.Duration(i%5) * time.Millisecond)
					switch {
					case i%7 == 0 && call.Attempts[0] < 3:
						return runnel.Result{}, errors.New("again")
					case i%11 == 0:
						return runnel.Result{}, runnel.Reject("never")
					}
					return runnel.Result{Out: []runnel.Message{{Body: m.Body}, {Body: m.Body}}}, nil
				}))
				cfg.Flow.Batch.Size, cfg.Flow.Retry.MaxAttempts = size, 10
				for i := range n {
					h.sendBodies("in", fmt.Sprint(i))
				}
				crashes := 0
				h.fs.AtSync = func() {
					crashes++
					lookAfterCrash(t, h.fs, crashes, n)
				}
				r := h.run(cfg)
				sleep(5 * time.Minute)
				r.stop()
				h.close()
				h.fs.AtSync = func() {}
				lookAfterCrash(t, h.fs, crashes, n)
				t.Logf("%d crashes looked at", crashes)
				if crashes < 30 {
					t.Errorf("only %d crashes were looked at", crashes)
				}
				h.open()
				h.wantDepth("in", 0, 0, 0)
				if got := len(h.all("out")) + 2*len(h.all("dead")); got != 2*n {
					t.Errorf("%d results, want %d", got, 2*n)
				}
				h.close()
			})
		})
	}
}

func lookAfterCrash(t *testing.T, fs *storetest.CrashFS, crash, n int) {
	t.Helper()
	s, err := store.Open("data", store.Options{FS: fs.Crash(), Log: quiet})
	if err != nil {
		t.Errorf("crash %d: %v", crash, err)
		return
	}
	defer func() { _ = s.Close() }()
	set, err := queue.Open(s, queue.Options{Log: quiet})
	if err != nil {
		t.Errorf("crash %d: %v", crash, err)
		return
	}
	defer func() { _ = set.Close(context.Background()) }()
	count := map[string]map[string]int{}
	for _, q := range set.List("default", "", "", 0) {
		ps, err := q.Peek(0, 1<<20)
		if err != nil {
			t.Errorf("crash %d: %v", crash, err)
			return
		}
		in := map[string]int{}
		for _, p := range ps {
			in[string(p.Body)]++
		}
		count[q.Name().Queue] = in
	}
	for i := range n {
		body := fmt.Sprint(i)
		in, out, dead := count["in"][body], count["out"][body], count["dead"][body]
		if in*2+out+dead*2 != 2 || out == 1 {
			t.Errorf("crash %d: message %s is %d times in the source, has %d of 2 results and is %d times dead", crash, body, in, out, dead)
		}
	}
}
