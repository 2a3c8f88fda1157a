package server_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// durations is what the API says of a histogram.
type durations struct {
	Count uint64
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
}

// ordered says whether the parts of something that was counted fit together.
func (d durations) ordered() bool {
	return d.Mean > 0 && d.P50 > 0 && d.P50 <= d.P95 && d.P95 <= d.P99 && d.P99 <= 60_000
}

// did is what the tests read of the stats of a function, or of a version.
type did struct {
	Calls, Errors, Interrupted uint64
	Waiting                    int
	Wait, Start, Run           durations
	Peak                       int64 `json:"peak_memory"`
}

// TestStatsOfVersions: real workers of two versions side by side, and of one
// that was replaced, are told apart.
func TestStatsOfVersions(t *testing.T) {
	t.Parallel()
	needPerl(t)
	cfg := config(t)
	r := start(t, cfg)
	one := r.put(t, "", "one").Live
	two := r.put(t, "?live=false", "two").Versions[0].Version
	call := func(ref string) {
		t.Helper()
		resp, err := r.http.Post(r.URL()+"/api/v1/functions/default/echo/invoke?version="+ref, "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("@%s: got %s", ref, resp.Status)
		}
		for _, header := range []string{"Runnel-Wait-Ms", "Runnel-Run-Ms"} {
			if ms, err := strconv.ParseFloat(resp.Header.Get(header), 64); err != nil || ms < 0 || ms > 30_000 {
				t.Errorf("@%s: got %s: %q, %v; want milliseconds", ref, header, resp.Header.Get(header), err)
			}
		}
	}
	look := func() (all did, by map[string]did) {
		t.Helper()
		status, text := r.call(t, "GET", "/api/v1/functions/default/echo", nil, "")
		var f struct {
			Stats    did
			Versions []struct {
				Version string
				Stats   *did
			}
		}
		if err := json.Unmarshal([]byte(text), &f); err != nil || status != 200 {
			t.Fatalf("got %d, %v in %s", status, err, text)
		}
		by = make(map[string]did)
		for _, v := range f.Versions {
			if v.Stats != nil {
				by[v.Version] = *v.Stats
			}
		}
		return f.Stats, by
	}
	check := func(starts uint64, want map[string]uint64) {
		t.Helper()
		all, by := look()
		got, sum, peak := make(map[string]uint64), uint64(0), int64(0)
		for version, s := range by {
			got[version] = s.Calls
			sum += s.Calls
			peak = max(peak, s.Peak)
			if s.Errors != 0 || s.Run.Count != s.Calls || s.Calls > 0 && !s.Run.ordered() || runtime.GOOS == "linux" && s.Peak < 1<<20 {
				t.Errorf("version %s: got %+v", version, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls by version (-want +got):\n%s", diff)
		}
		if all.Calls != sum || all.Run.Count != sum || all.Wait.Count != sum || all.Start.Count != starts || all.Peak != peak || all.Waiting != 0 || all.Interrupted != 0 {
			t.Errorf("got %+v of the function, want %d calls, %d starts, and a peak of %d", all, sum, starts, peak)
		}
		if !all.Run.ordered() || !all.Start.ordered() {
			t.Errorf("got %+v and %+v, want durations", all.Run, all.Start)
		}
	}
	for range 2 {
		call("live")
	}
	for range 3 {
		call(two)
	}
	check(2, map[string]uint64{one: 2, two: 3})

	// The workers of the first end, and it is not forgotten.
	three := r.put(t, "", "three").Live
	call("live")
	_, text := r.call(t, "GET", "/api/v1/functions/default/echo/versions/"+one, nil, "")
	var detail struct{ Stats did }
	if err := json.Unmarshal([]byte(text), &detail); err != nil || detail.Stats.Calls != 2 {
		t.Errorf("got %v, %s; want two calls", err, text)
	}
	check(3, map[string]uint64{one: 2, two: 3, three: 1})

	// A restart begins anew.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	if all, by := look(); all.Calls != 0 || all.Peak != 0 || len(by) != 0 {
		t.Errorf("got %+v, %+v after a restart, want nothing", all, by)
	}
}
