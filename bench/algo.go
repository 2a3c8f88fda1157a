package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// algoScenario measures what a call of an algorithm costs over HTTP: a warm one
// in Python that does nothing, called by POST /v1/algo with a few bytes of JSON;
// as many calls as there can be, and 100 a second by a schedule. Client, server
// and workers share the cores.
//
// The bare side is the same client against a net/http server that sends back
// what it gets: no keys, functions, processes or limits.
func algoScenario(ctx context.Context, b *bench) (err error) {
	bare, err := b.start(ctx, "bare echo", b.self, "algo", "-echo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if err := srv.deployNothing(ctx); err != nil {
		return err
	}
	type side struct {
		name, rate, connections string
		at                      *server
		runs                    []figures
	}
	sides := []*side{
		{name: "algorithm", at: srv, connections: "4"}, {name: "bare", at: bare, connections: "4"},
		{name: "algorithm", at: srv, connections: "16"}, {name: "bare", at: bare, connections: "16"},
		{name: "algorithm", at: srv, connections: "4", rate: "100"}, {name: "bare", at: bare, connections: "4", rate: "100"},
	}
	for run := 1; run <= b.pairs; run++ {
		for _, s := range sides {
			f, err := b.childIn(ctx, append(os.Environ(), "RUNNEL_KEY="+s.at.key), strings.TrimSpace(s.name+", "+s.connections+" connections "+s.rate), run, b.self, "algo",
				"-url", s.at.url, "-pid", strconv.Itoa(s.at.cmd.Process.Pid), "-connections", s.connections, "-rate", cmp.Or(s.rate, "0"), "-seconds", b.seconds(3))
			if err != nil {
				return err
			}
			s.runs = append(s.runs, f)
		}
	}
	rows := [][]string{{"", "connections", "calls/s wanted", "calls/s, median", "p50 / p99 ms", "CPU us/call: client", "server", "workers", "each run, calls/s"}}
	for _, s := range sides {
		median := func(pick func(*figures) float64) float64 { return of(s.runs, pick).median() }
		wanted := s.rate
		if wanted == "" {
			wanted = "all"
		}
		rows = append(rows, []string{
			s.name, s.connections, wanted,
			fmt.Sprintf("%.0f", median(func(f *figures) float64 { return f.Rate })),
			fmt.Sprintf("%.2f / %.2f", median(func(f *figures) float64 { return f.Wake.P50 }), median(func(f *figures) float64 { return f.Wake.P99 })),
			fmt.Sprintf("%.0f", median(func(f *figures) float64 { return f.CPU })),
			fmt.Sprintf("%.0f", median(func(f *figures) float64 { return f.ServerCPU })),
			fmt.Sprintf("%.0f", median(func(f *figures) float64 { return f.WorkerCPU })),
			of(s.runs, func(f *figures) float64 { return f.Rate }).list("%.0f"),
		})
	}
	b.table(rows...)
	most := max(of(sides[0].runs, func(f *figures) float64 { return f.Rate }).median(), of(sides[2].runs, func(f *figures) float64 { return f.Rate }).median())
	p50 := of(sides[4].runs, func(f *figures) float64 { return f.Wake.P50 }).median()
	spent := func(f *figures) float64 { return f.CPU + f.ServerCPU + f.WorkerCPU }
	all := min(of(sides[0].runs, spent).median(), of(sides[2].runs, spent).median())
	b.printf("Client, server and workers together use %.0f us of processor time a call: two cores that do nothing else have room for about %.0f calls/s.\n\n", all, 2e6/all)
	b.printf("Goal, at least 4,000 calls/s: %.0f: %s. Goal, p50 under 2 ms at 100 calls/s: %.2f: %s.\n\n", most, verdict(most >= 4000), p50, verdict(p50 < 2))
	return nil
}

// deployNothing deploys and publishes default/nothing on two warm workers.
func (s *server) deployNothing(ctx context.Context) error {
	const code = "def handler(event):\n    return event\n"
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: "main.py", Mode: 0o644, Size: int64(len(code))})
	if err == nil {
		_, err = io.WriteString(w, code)
	}
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		return err
	}
	for _, step := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPut, "", map[string]any{
			"definition": map[string]any{"runtime": "python", "workers": map[string]int{"min": 2, "max": 2}},
			"archive":    archive.Bytes(),
		}},
		{http.MethodPost, "/versions", map[string]any{"version_type": "minor"}},
	} {
		body, err := json.Marshal(step.body)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, step.method, s.url+"/api/v1/functions/default/nothing"+step.path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all of it was read
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("deploy: %s: %s, %w", resp.Status, text, err)
		}
	}
	return nil
}

// algoCommand is the client, or the bare server.
func algoCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("algo", flag.ContinueOnError)
	echo := flags.Bool("echo", false, "be the bare server")
	url := flags.String("url", "", "the server")
	pid := flags.Int("pid", 0, "the process of the server")
	connections := flags.Int("connections", 1, "calls at once")
	rate := flags.Int("rate", 0, "calls a second; 0: as many as there can be")
	seconds := flags.Duration("seconds", time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *echo {
		return bareEcho(ctx, out)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *connections, DisableCompression: true}}
	one := func(ctx context.Context, _ string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, *url+"/v1/algo/default/nothing", strings.NewReader(`{"n":1}`))
		if err != nil {
			return err
		}
		req.Header["Content-Type"] = []string{"application/json"}
		req.Header["Authorization"] = []string{"Simple " + os.Getenv("RUNNEL_KEY")}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all of it was read
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`{"n":1}`)) {
			return fmt.Errorf("call: %s: %s: %w", resp.Status, text, err)
		}
		return nil
	}
	callers := make([]caller, *connections)
	for i := range callers {
		callers[i] = one
	}
	if _, err := drive(ctx, callers, *seconds/10); err != nil {
		return err
	}
	cpu, server, workers := ownCPU(), processCPU(*pid), childrenCPU(*pid)
	var took []time.Duration
	var err error
	if *rate == 0 {
		took, err = drive(ctx, callers, *seconds)
	} else {
		took, err = pace(ctx, one, *rate, *seconds)
	}
	if err != nil {
		return err
	}
	cpu, server, workers = ownCPU()-cpu, processCPU(*pid)-server, childrenCPU(*pid)-workers
	slices.Sort(took)
	n := float64(len(took))
	ms := func(q float64) float64 { return took[min(int(q*n), len(took)-1)].Seconds() * 1000 }
	f := figures{
		Mode: "algo", Messages: int64(len(took)), Seconds: seconds.Seconds(), Rate: n / seconds.Seconds(),
		CPU:        cpu.Seconds() * 1e6 / n,
		ServerCPU:  server.Seconds() * 1e6 / n,
		WorkerCPU:  workers.Seconds() * 1e6 / n,
		Wake:       &latency{P50: ms(0.5), P99: ms(0.99), P999: ms(0.999), Max: ms(1)},
		Durability: "none: nothing is stored",
		Commit:     commit(ctx),
	}
	f.Machine.CPU, f.Machine.Cores, f.Machine.Kernel, f.Machine.Go = cpuModel(), runtime.NumCPU(), kernel(), runtime.Version()
	return json.NewEncoder(out).Encode(f)
}

// pace makes so many calls a second. What each took counts from when it was due,
// also if the one before it was late.
func pace(ctx context.Context, one caller, rate int, long time.Duration) (took []time.Duration, err error) {
	type result struct {
		took time.Duration
		err  error
	}
	n := int(long.Seconds() * float64(rate))
	results := make(chan result, n) // never full
	begun := time.Now()
	for i := range n {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		go func() {
			err := one(ctx, strconv.Itoa(i))
			results <- result{time.Since(due), err}
		}()
	}
	for range n {
		r := <-results
		took, err = append(took, r.took), errors.Join(err, r.err)
	}
	return took, err
}

// bareEcho sends back what it gets.
func bareEcho(ctx context.Context, out io.Writer) error {
	return serveBare(ctx, out, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(text) // a client that left is not told
	}))
}
