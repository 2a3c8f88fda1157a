package worker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	m := newMask([]string{"hunter2-hunter2", "hunter2-hunter2-long", "short", "er2-hunter2-longer", "-----BEGIN KEY-----\r\nMIIEvQIBADAN\nab\n"})
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"nothing to hide here", "nothing to hide here"},
		{"short", "short"},
		{"hunter2-hunter", "hunter2-hunter"},
		{"hunter2-hunter2", "***"},
		{"<hunter2-hunter2>", "<***>"},
		{"<hunter2-hunter2-long>", "<***>"},
		{"<hunter2-hunter2-longer>", "<***>"}, // two that overlap
		{"hunter2-hunter2hunter2-hunter2", "******"},
		{"a hunter2-hunter2 b hunter2-hunter2-lon", "a *** b ***-lon"},
		{"key MIIEvQIBADAN, ab", "key ***, ab"},
		{"-----BEGIN KEY-----", "***"},
	} {
		if got := m.text(test.text); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
	if m := newMask([]string{"short", ""}); m != nil {
		t.Errorf("got %v for values that are too short, want nil", m)
	}
}

// TestMaskAgainstSearch compares with the slow way, on texts of two letters,
// in which values overlap all the time.
func TestMaskAgainstSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[random.IntN(2)]
		}
		return string(b)
	}
	for range 3000 {
		var values []string
		for range 1 + random.IntN(5) {
			values = append(values, letters(minMasked+random.IntN(4)))
		}
		text := letters(random.IntN(120))
		hidden := make([]bool, len(text))
		begins := make([]bool, len(text)) // of a run that is not within another
		end := 0
		for at := range text {
			for _, v := range values {
				if !strings.HasPrefix(text[at:], v) {
					continue
				}
				begins[at] = begins[at] || at >= end
				for i := at; i < at+len(v); i++ {
					hidden[i] = true
				}
			}
			for end < len(text) && hidden[end] || end < at {
				end++
			}
		}
		var want strings.Builder
		for i := range text {
			if begins[i] {
				want.WriteString(masked)
			}
			if !hidden[i] {
				want.WriteByte(text[i])
			}
		}
		if got := newMask(values).text(text); got != want.String() {
			t.Fatalf("%q without %q: got %q, want %q", text, values, got, want.String())
		}
	}
}

// BenchmarkMask is a line of 120 bytes without a value in it.
func BenchmarkMask(b *testing.B) {
	line := strings.Repeat("2026-01-31 level=info a line", 5)[:120]
	for _, n := range []int{0, 1, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var values []string
			for i := range n {
				values = append(values, fmt.Sprintf("%08d-secret", i*7919))
			}
			m := newMask(values)
			b.ReportAllocs()
			for b.Loop() {
				m.text(line)
			}
		})
	}
}
