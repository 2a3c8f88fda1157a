package shim_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// BenchmarkPython and BenchmarkNode measure one worker that echoes JSON of 1 KB
// and is never idle: the time of a message, both processes together, and the
// processor time of the worker (worker-us/msg).

func BenchmarkPython(b *testing.B) { benchmark(b, startPython) }

func BenchmarkNode(b *testing.B) { benchmark(b, startNode) }

func benchmark(b *testing.B, start func(testing.TB, string, ...string) *process) {
	payload := `{"id":123456,"name":"Grace Hopper","tags":["a","b","c"],"nested":{"x":1.5,"y":[1,2,3]},"text":"` +
		strings.Repeat("lorem ipsum ", 75) + `"}`
	for _, handler := range []string{"echo", "soon"} {
		for _, batch := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/batch=%d", handler, batch), func(b *testing.B) {
				p := start(b, "values."+handler).ready()
				if err := p.out.SetReadDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				payloads := make([]string, batch)
				for i := range payloads {
					payloads[i] = payload
				}
				request := []byte(invokeFrame("bench", "each", "json", testMeta, payloads...))
				call := func() {
					if _, err := p.in.Write(request); err != nil {
						b.Fatal(err)
					}
					skipResult(b, p.frames)
				}
				for range 2000 / batch {
					call()
				}
				before := processorTime(b, p)
				b.ResetTimer()
				calls := 0
				for n := 0; n < b.N; n += batch {
					call()
					calls++
				}
				b.StopTimer()
				used := processorTime(b, p) - before
				b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(calls*batch), "worker-us/msg")
			})
		}
	}
}

// skipResult reads a result without looking at its values.
func skipResult(b *testing.B, r *bufio.Reader) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		b.Fatal(err)
	}
	words := strings.Fields(string(line))
	total := 0
	for _, word := range words[3:] {
		var n int
		if _, err := fmt.Sscanf(word, "json:%d", &n); err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		total += n
	}
	if _, err := io.CopyN(io.Discard, r, int64(total)); err != nil {
		b.Fatal(err)
	}
}
