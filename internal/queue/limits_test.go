package queue_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

func TestSettings(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	for _, test := range []struct {
		name   string
		change func(*queue.Settings)
		path   string
	}{
		{"visibility", func(s *queue.Settings) { s.VisibilityTimeout = 13 * time.Hour }, "visibility_timeout"},
		{"delay", func(s *queue.Settings) { s.Delay = -1 }, "delay"},
		{"retention", func(s *queue.Settings) { s.Retention = time.Second }, "retention"},
		{"wait", func(s *queue.Settings) { s.ReceiveWait = 21 * time.Second }, "receive_wait"},
		{"size", func(s *queue.Settings) { s.MaxMessageBytes = 1 << 21 }, "max_message_bytes"},
		{"receives", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "x", MaxReceives: 1001} }, "dead_letter.max_receives"},
	} {
		err := q.Configure(func(s *queue.Settings) error { test.change(s); return nil })
		var field *runnel.FieldError
		if !errors.As(err, &field) || field.Path != test.path {
			t.Errorf("%s: got %v, want a fault of %s", test.name, err, test.path)
		}
	}
	if s, _ := q.Settings(); !cmp.Equal(s, queue.Defaults()) {
		t.Errorf("a refused change changed %+v", s)
	}
	for _, name := range []string{"", "a/b", "ä", strings.Repeat("x", 81), "orders.fifo"} {
		if _, _, err := h.set.Create(queue.Name{Account: "default", Queue: name}, queue.Defaults()); runnel.CodeOf(err) != runnel.CodeInvalid {
			t.Errorf("queue name %q: got %v, want CodeInvalid", name, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	h := newHome(t)
	q := h.create("q", func(s *queue.Settings) { s.MaxMessageBytes = 1024 })
	big := runnel.Message{Body: make([]byte, 1000), Attributes: []runnel.Attribute{{Name: "name", Type: "String", Value: make([]byte, 15)}}}
	_, err := q.Send([]runnel.Message{{Body: []byte("fits")}, big})
	var refused *runnel.SendError
	if !errors.As(err, &refused) || len(refused.Failed) != 1 || runnel.CodeOf(refused.Failed[1]) != runnel.CodeTooLarge {
		t.Fatalf("got %v, want message 1 refused as too large", err)
	}
	wantBodies(t, receive(t, q, runnel.Limits{}), "fits")
}

func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a", "b")
		h.fs.SetFree(1 << 20)
		time.Sleep(time.Second)
		held := receive(t, q, runnel.Limits{Messages: 1}) // its commit makes the writer look
		time.Sleep(time.Second)
		remove(t, q, held)
		if _, err := q.Send([]runnel.Message{{Body: []byte("c")}}); runnel.CodeOf(err) != runnel.CodeUnavailable || !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("send on a full disk: got %v", err)
		}
		remove(t, q, receive(t, q, runnel.Limits{})) // deletes go on
		wantDepth(t, q, 0, 0, 0)
		h.fs.SetFree(1 << 30)
		time.Sleep(time.Second)
		send(t, q, "d")
	})
}

func TestReceipt(t *testing.T) {
	h := newHome(t)
	q, other := h.create("q", nil), h.create("other", nil)
	send(t, q, "a")
	d := receive(t, q, runnel.Limits{})[0]
	handle := d.Handle.(queue.Receipt).String()
	if r, err := queue.ParseReceipt(handle); err != nil || r != d.Handle {
		t.Errorf("parse what was given: %v, %v", r, err)
	}
	for i := range handle {
		garbled := handle[:i] + string('A'+(handle[i]-'A'+1)%26) + handle[i+1:]
		if _, err := queue.ParseReceipt(garbled); garbled != handle && !errors.Is(err, queue.ErrBadReceipt) {
			t.Errorf("character %d changed: got %v, want ErrBadReceipt", i, err)
		}
	}
	if err := other.Delete([]queue.Receipt{d.Handle.(queue.Receipt)})[0]; !errors.Is(err, queue.ErrBadReceipt) {
		t.Errorf("receipt of another queue: got %v, want ErrBadReceipt", err)
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add("")
	f.Add("AQAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := queue.ParseReceipt(s); err == nil && r.String() != s {
			t.Errorf("%q parses as %q", s, r.String())
		}
	})
}
