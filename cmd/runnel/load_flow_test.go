package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoadFlow(t *testing.T) {
	for _, test := range []struct {
		flow, program string
		args          []string
	}{
		{"go", "", nil},
		{"go", "", []string{"--batch", "7", "--concurrency", "3", "--send-batch", "4"}},
		{"go", "", []string{"--rate", "2000"}},
		{"none", "", []string{"--batch", "5"}},
		{"python", "python3", []string{"--batch", "10", "--workers", "1"}},
		{"node", "node", []string{"--batch", "10", "--workers", "1"}},
	} {
		t.Run(strings.Join(append([]string{test.flow}, test.args...), " "), func(t *testing.T) {
			if _, err := exec.LookPath(test.program); test.program != "" && err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%s is missing", test.program)
				}
				t.Skipf("%s is missing", test.program)
			}
			f := load(t, append([]string{"--flow", test.flow, "--messages", "300", "--dir", t.TempDir()}, test.args...)...)
			checkFigures(t, f, 300)
			got := f.Flow
			if got == nil || got.Function != test.flow {
				t.Fatalf("figures of the flow: %+v", got)
			}
			const all = flowWarmUp + 300
			want, have := flowTotals{sent: all, results: all}, flowTotals{got.Sent, got.Results, got.Dead, got.Duplicates}
			if have != want || got.Lost != 0 || got.Retried != 0 {
				t.Errorf("%+v, %d lost, %d retried, want %+v", have, got.Lost, got.Retried, want)
			}
			if got.Result == nil || got.Result.P50 <= 0 || f.Allocs == nil {
				t.Errorf("figures that are missing: %+v", f)
			}
			if calls := got.Calls; (test.flow == "none") != (calls == 0) {
				t.Errorf("%d calls", calls)
			}
			if (test.flow == "go") != (got.Handler != nil) {
				t.Errorf("from send to handler: %+v", got.Handler)
			}
			if (test.program != "") != (got.Workers == 1) || childrenCPU() >= 0 && (test.program != "") != (got.WorkerCPU != nil) {
				t.Errorf("%d workers, of which the CPU is %v", got.Workers, got.WorkerCPU)
			}
			if rate := strings.Contains(strings.Join(test.args, " "), "--rate"); rate != (got.Ahead == 0) || rate && f.Seconds < 0.14 {
				t.Errorf("%d ahead, %v s", got.Ahead, f.Seconds)
			}
		})
	}
}

func TestLoadFlowProfiles(t *testing.T) {
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu.prof"), filepath.Join(dir, "mem.prof")
	load(t, "--flow", "go", "--messages", "100", "--cpuprofile", cpu, "--memprofile", mem)
	for _, file := range []string{cpu, mem} {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

func TestLoadFlowRefusals(t *testing.T) {
	noEnvironment(t)
	for _, test := range []struct{ args, want string }{
		{"--flow rust", "want go, python, node or none"},
		{"--flow go --mode send", "--mode is not for --flow"},
		{"--flow go --in-process", "--in-process is not for --flow"},
		{"--flow go --size 63", "--size 63"},
		{"--flow go --batch 0", "--batch 0"},
		{"--flow go --concurrency 1001", "--concurrency 1001"},
		{"--flow go --workers 0", "--workers 0"},
		{"--flow go --ahead -1", "--ahead -1"},
		{"--flow go --send-batch -1", "--send-batch -1"},
		{"--flow go --duration 0s", "how long"},
	} {
		if got := mustFail(t, "", append([]string{"load"}, strings.Fields(test.args)...)...); !strings.Contains(got, test.want) {
			t.Errorf("load %s: %q, want %q", test.args, got, test.want)
		}
	}
}

func TestFlowBody(t *testing.T) {
	filler := newLoadRun(&loadOptions{size: 1024}, nil).filler
	for _, n := range []int64{0, 7, 1 << 40} {
		for _, size := range []int{flowBodyMin, 1024} {
			body := appendFlowBody(nil, n, 3*time.Second, filler, size)
			got, due, err := readFlowBody(body)
			if err != nil || got != n || due != 3*time.Second || len(body) != size {
				t.Errorf("%d in %d bytes: read %d, %v (%v) from %d bytes", n, size, got, due, err, len(body))
			}
		}
	}
	for _, body := range []string{"", `{}`, `{"n":1}`, `{"n":,"due":1,"text":""}`, `{"n":-1,"due":1,"text":""}`, `{"n":1,"due":x,"text":""}`, `{"m":1,"due":1,"text":""}`} {
		if n, _, err := readFlowBody([]byte(body)); err == nil {
			t.Errorf("%s was read as number %d", body, n)
		}
	}
}

func TestFlowAccount(t *testing.T) {
	a := newFlowAccount()
	a.seen([]int64{2}) // a result can be faster than the confirmation
	a.confirm(0, 5)
	if fresh := a.seen([]int64{0, 1, 1}); fresh != 2 {
		t.Errorf("%d were new, want 2", fresh)
	}
	if !a.died(3) || a.died(3) || a.died(0) {
		t.Error("a message died twice, or after its result")
	}
	got := a.totals()
	if want := (flowTotals{sent: 5, results: 3, dead: 1, duplicates: 1}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	var f flowFigures
	f.add(got)
	if err := f.loss(); f.Lost != 1 || err == nil || err.Error() != "1 of 5 messages were lost" {
		t.Errorf("%d lost: %v", f.Lost, err)
	}
	a.seen([]int64{4})
	f.add(a.totals())
	if err := f.loss(); err != nil {
		t.Error(err)
	}
}

// TestFlowAccountWaits has a minute of patience.
func TestFlowAccountWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFlowAccount()
		a.confirm(0, 2)
		begin := time.Now()
		time.AfterFunc(50*time.Second, func() { a.seen([]int64{1}) })
		if err := a.wait(t.Context(), time.Minute); !errors.Is(err, errFlowStuck) {
			t.Errorf("a message is missing: %v", err)
		}
		if waited := time.Since(begin); waited < 110*time.Second || waited > 115*time.Second {
			t.Errorf("waited %v since the begin, want a minute since the last result", waited)
		}
		stuck := false
		a.watch(t.Context(), time.Minute, func() { stuck = true })
		if !stuck {
			t.Error("who watches was not told")
		}
		time.AfterFunc(time.Second, func() { a.died(0) })
		begin = time.Now()
		a.seen(nil)
		if err := a.wait(t.Context(), time.Minute); err != nil || time.Since(begin) != time.Second {
			t.Errorf("all is accounted for, after %v: %v", time.Since(begin), err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		a.confirm(2, 1)
		if err := a.wait(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
	})
}
