package queue_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

const someID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

// TestRecordVersions: stored records stay readable. A message without a trace
// and a way is stored as it was before there were such.
func TestRecordVersions(t *testing.T) {
	plain := runnel.Message{ID: someID, Body: []byte("body"), Key: "k", Sent: time.UnixMilli(1)}
	traced := plain
	traced.Trace, traced.Hops, traced.Steps = "00-1-2-01", 300, 2
	const id = "6ba7b8109dad41d180b400c04fd430c8"
	for _, test := range []struct {
		name string
		m    runnel.Message
		want string
	}{
		{"version 1", plain, "0102" + "0000000000000001" + id + "016b" + "626f6479"},
		{"version 2", traced, "02c2" + "0000000000000001" + id + "016b" + "0930302d312d322d3031" + "ac02" + "02" + "626f6479"},
	} {
		t.Run(test.name, func(t *testing.T) {
			record, err := queue.EncodeRecord(&test.m)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(record); got != test.want {
				t.Errorf("record:\ngot  %s\nwant %s", got, test.want)
			}
			var got runnel.Message
			if err := queue.DecodeRecord(record, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.m, got); diff != "" {
				t.Errorf("message (-stored +read):\n%s", diff)
			}
		})
	}
	for _, bad := range []string{"0142" + "0000000000000001" + id, "0302" + "0000000000000001" + id, "0280" + "0000000000000001" + id + "ffffffffff0101"} {
		record, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if err := queue.DecodeRecord(record, new(runnel.Message)); err == nil {
			t.Errorf("the record %s was read", bad)
		}
	}
}

// TestRecordRoundTrip: any message is read as it was stored.
func TestRecordRoundTrip(t *testing.T) {
	text := rapid.String()
	some := rapid.SliceOfN(rapid.Byte(), 0, 40)
	rapid.Check(t, func(rt *rapid.T) {
		m := runnel.Message{
			ID:      runnel.MessageID(rapid.OneOf(rapid.Just(someID), rapid.StringN(1, 20, -1)).Draw(rt, "id")),
			Body:    some.Draw(rt, "body"),
			Key:     text.Draw(rt, "key"),
			DedupID: text.Draw(rt, "dedup"),
			Sent:    time.UnixMilli(rapid.Int64Range(0, 1<<45).Draw(rt, "sent")),
			Sender:  text.Draw(rt, "sender"),
			Trace:   text.Draw(rt, "trace"),
			Hops:    rapid.IntRange(0, 1<<20).Draw(rt, "hops"),
			Steps:   rapid.IntRange(0, 1<<20).Draw(rt, "steps"),
		}
		for range rapid.IntRange(0, 3).Draw(rt, "attributes") {
			m.Attributes = append(m.Attributes, runnel.Attribute{
				Name: text.Draw(rt, "name"), Type: text.Draw(rt, "type"), Value: some.Draw(rt, "value"),
			})
		}
		if rapid.Bool().Draw(rt, "dead") {
			m.DeadLetter = &runnel.DeadLetter{Type: "error", Message: "m"}
		}
		record, err := queue.EncodeRecord(&m)
		if err != nil {
			rt.Fatal(err)
		}
		var got runnel.Message
		if err := queue.DecodeRecord(record, &got); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			rt.Fatalf("message (-stored +read):\n%s", diff)
		}
	})
}

// FuzzDecodeRecord: a damaged record is an error or another message, and a
// message that was read is stored as one that reads the same.
func FuzzDecodeRecord(f *testing.F) {
	for _, m := range []runnel.Message{
		{ID: someID, Body: []byte("body")},
		{ID: "x", Key: "k", Sender: "s", DedupID: "d", Trace: "t", Hops: 1, Steps: 2, DeadLetter: &runnel.DeadLetter{Type: "error"}},
		{ID: someID, Attributes: []runnel.Attribute{{Name: "n", Type: "Number", Value: []byte("7")}}},
	} {
		record, err := queue.EncodeRecord(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var m, again runnel.Message
		if queue.DecodeRecord(record, &m) != nil {
			return
		}
		second, err := queue.EncodeRecord(&m)
		if err != nil {
			return // a time in a dead letter that JSON cannot say
		}
		if err := queue.DecodeRecord(second, &again); err != nil {
			t.Fatalf("%v: %x became %x", err, record, second)
		}
		third, err := queue.EncodeRecord(&again)
		if err != nil || !bytes.Equal(second, third) {
			t.Errorf("%x became %x, then %x, %v", record, second, third, err)
		}
	})
}
