package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/server"
)

func texts(lines []admin.LogLine) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = line.Text
	}
	return out
}

// TestLogsKeepTheLast fills the log twice over: by lines, and by bytes.
func TestLogsKeepTheLast(t *testing.T) {
	var l server.Logs
	for i := range 2*server.KeptLines + 7 {
		l.Add("default", admin.LogLine{Level: "info", Text: fmt.Sprint(i)})
	}
	last := 2*server.KeptLines + 6
	want := []string{fmt.Sprint(last - 2), fmt.Sprint(last - 1), fmt.Sprint(last)}
	if got := texts(l.Tail(t.Context(), admin.LogQuery{Tail: 3})); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if lines, _ := l.Held(); lines != server.KeptLines {
		t.Errorf("got %d lines, want %d", lines, server.KeptLines)
	}
	large := strings.Repeat("x", 1<<20) // is cut
	for range 2 * server.KeptBytes >> 16 {
		l.Add("default", admin.LogLine{Level: "info", Text: large})
	}
	lines, bytes := l.Held()
	if bytes > server.KeptBytes || lines < server.KeptBytes>>17 {
		t.Errorf("got %d lines of %d bytes, want at most %d bytes", lines, bytes, server.KeptBytes)
	}
	if got := l.Tail(t.Context(), admin.LogQuery{Tail: 1})[0].Text; len(got) > 66<<10 || !strings.HasSuffix(got, " [cut]") {
		t.Errorf("got a line of %d bytes, want it cut", len(got))
	}
}

func TestLogsOfAQuery(t *testing.T) {
	var l server.Logs
	l.Add("a", admin.LogLine{Level: "info", Function: "a/f", Text: "1"})
	l.Add("b", admin.LogLine{Level: "warn", Function: "b/f", Flow: "x", Text: "2"})
	l.Add("a", admin.LogLine{Level: "error", Function: "b/f", Flow: "x", Text: "3"})
	for _, test := range []struct {
		query admin.LogQuery
		want  []string
	}{
		{admin.LogQuery{}, []string{"1", "2", "3"}},
		{admin.LogQuery{Account: "a"}, []string{"1", "3"}},
		{admin.LogQuery{Account: "b"}, []string{"2"}},
		{admin.LogQuery{Account: "a", Function: "b/f"}, []string{"3"}},
		{admin.LogQuery{Flow: "x"}, []string{"2", "3"}},
		{admin.LogQuery{Level: slog.LevelError}, []string{"3"}},
		{admin.LogQuery{Account: "c"}, []string{}},
	} {
		test.query.Tail = 10
		if got := texts(l.Tail(t.Context(), test.query)); !cmp.Equal(got, test.want) {
			t.Errorf("%+v: got %v, want %v", test.query, got, test.want)
		}
	}
}

// TestLogsFollow adds lines while somebody follows: each comes once, in order.
func TestLogsFollow(t *testing.T) {
	var l server.Logs
	const past, all = 500, 5000
	for i := range past {
		l.Add("default", admin.LogLine{Level: "info", Text: fmt.Sprint(i)})
	}
	var got []string
	done := errors.New("enough")
	ended := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		ended <- l.Follow(t.Context(), admin.LogQuery{Tail: 100}, func(line admin.LogLine) error {
			if got = append(got, line.Text); len(got) == 1 {
				close(first)
			}
			if line.Text == fmt.Sprint(all-1) {
				return done
			}
			return nil
		})
	}()
	<-first
	for i := past; i < all; i++ {
		l.Add("default", admin.LogLine{Level: "info", Text: fmt.Sprint(i)})
	}
	if err := <-ended; !errors.Is(err, done) {
		t.Fatal(err)
	}
	for i, text := range got {
		if want := fmt.Sprint(past - 100 + i); text != want {
			t.Fatalf("line %d: got %s, want %s", i, text, want)
		}
	}
	if want := all - past + 100; len(got) != want {
		t.Errorf("got %d lines, want %d", len(got), want)
	}
}

// TestLogsTellTheSlow has a follower stand still while more lines come than are
// kept: he is told how many he wanted and missed.
func TestLogsTellTheSlow(t *testing.T) {
	var l server.Logs
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	standing, move := make(chan struct{}), make(chan struct{})
	var got []string
	ended := make(chan error, 1)
	go func() {
		ended <- l.Follow(ctx, admin.LogQuery{Function: "a/f"}, func(line admin.LogLine) error {
			got = append(got, line.Text)
			if len(got) == 1 {
				close(standing)
				<-move
			}
			if line.Text == "last" {
				cancel()
			}
			return nil
		})
	}()
	// He is not there at once: lines come until he stands.
	for stands := false; !stands; {
		l.Add("a", admin.LogLine{Level: "info", Function: "a/f", Text: "first"})
		select {
		case <-standing:
			stands = true
		default:
		}
	}
	// What he may have taken already together with the first, and what not,
	// depends on when he came: both are counted.
	for range server.KeptLines {
		l.Add("a", admin.LogLine{Level: "info", Function: "a/f", Text: "wanted"})
		l.Add("a", admin.LogLine{Level: "info", Function: "a/g", Text: "other"})
	}
	l.Add("a", admin.LogLine{Level: "info", Function: "a/f", Text: "last"})
	close(move)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var missed, wanted int
	for _, text := range got {
		if text == "wanted" {
			wanted++
		}
		if n, err := fmt.Sscanf(text, "%d lines are left out", &missed); err == nil && n == 1 {
			continue
		}
	}
	// Half of the lines that are kept are his; firsts may be among the missed.
	if missed < server.KeptLines/2 || wanted < server.KeptLines/2-1 || missed+wanted < server.KeptLines || got[len(got)-1] != "last" {
		t.Errorf("missed %d and got %d of %d, the last is %s", missed, wanted, server.KeptLines, got[len(got)-1])
	}
}
