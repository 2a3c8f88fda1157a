package journal_test

import (
	"fmt"
	"math"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/journal"
)

// TestFull has the operating system take only a part of a write, as a full disk
// does: no line is lost or there twice when it takes more again.
func TestFull(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		now := before
		now.Cur = min(n, before.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now); err != nil {
			t.Error(err)
		}
	}
	defer limit(before.Cur)
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), new(buffer)
		j := journal.Open(dir, quiet(log))
		var want []string
		add := func(n int) {
			for range n {
				text := fmt.Sprint(len(want), strings.Repeat(".", 300))
				// A series that takes all, and one that does not.
				if len(want)%10 == 0 {
					j.Add(line("small", text))
				} else {
					j.Add(line("large", text))
				}
				want = append(want, text)
			}
			time.Sleep(2 * journal.Gather) //nolint:forbidigo // the bubble's clock
		}
		add(20)
		limit(20 << 10)
		add(200)
		if st := j.Stats(); !st.Failing || strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("got %+v, and it was logged:\n%s", st, log)
		}
		add(10)
		if diff := cmp.Diff(want, all(t, j, journal.Query{})); diff != "" {
			t.Errorf("while it is full (-want +got):\n%s", diff)
		}
		limit(math.MaxUint64)
		time.Sleep(2 * journal.RetryEvery) //nolint:forbidigo // the bubble's clock
		add(20)
		j.Close()
		j = journal.Open(dir, quiet(log))
		defer j.Close()
		if diff := cmp.Diff(want, all(t, j, journal.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
