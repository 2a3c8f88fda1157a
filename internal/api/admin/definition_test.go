package admin_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
)

// fill sets every field below v to something.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("A"), reflect.ValueOf("b"))
	case reflect.String:
		v.SetString("text")
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.SetInt(int64(*n))
	}
}

// roundTrip turns a definition into JSON and back, with every field set: one
// that is missing on the way is seen.
func roundTrip[R, W any](t *testing.T, to func(R) W, from func(W) R) {
	t.Helper()
	var want R
	fill(reflect.ValueOf(&want).Elem(), new(int))
	text, err := json.Marshal(to(want))
	if err != nil {
		t.Fatal(err)
	}
	var wire W
	if err := json.Unmarshal(text, &wire); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, from(wire)); diff != "" {
		t.Errorf("%s\n(-want +got):\n%s", text, diff)
	}
	// The names are the root's.
	names := func(v any) (out []string) {
		for i := range reflect.TypeOf(v).NumField() {
			out = append(out, reflect.TypeOf(v).Field(i).Tag.Get("json"))
		}
		return out
	}
	var zero W
	if diff := cmp.Diff(names(want), names(zero)); diff != "" {
		t.Errorf("names (-root +here):\n%s", diff)
	}
}

func TestDefinitions(t *testing.T) {
	t.Run("flow", func(t *testing.T) {
		roundTrip(t, admin.NewFlowDefinition, admin.FlowDefinition.Flow)
	})
	t.Run("function", func(t *testing.T) {
		roundTrip(t, admin.NewFunctionDefinition, admin.FunctionDefinition.Function)
	})
	t.Run("queue", func(t *testing.T) {
		roundTrip(t, admin.NewQueueDefinition, admin.QueueDefinition.Queue)
	})
	if diff := cmp.Diff(runnel.Queue{}, admin.QueueDefinition{}.Queue()); diff != "" {
		t.Errorf("nothing said (-want +got):\n%s", diff)
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{`"30s"`, 30 * time.Second},
		{`"1m30s"`, 90 * time.Second},
		{`"1.5h"`, 90 * time.Minute},
		{`"0s"`, 0},
		{`"0"`, 0},
		{`"14d"`, 14 * 24 * time.Hour},
		{`"1d12h"`, 36 * time.Hour},
		{`"0d"`, 0},
		{`30`, -1},
		{`"30"`, -1},
		{`""`, -1},
		{`"d"`, -1},
		{`"-1d"`, -1},
		{`"1h1d"`, -1},
		{`"99999999999h"`, -1},
		{`true`, -1},
		{`"soon"`, -1},
	} {
		got := admin.Duration(-1)
		err := json.Unmarshal([]byte(test.text), &got)
		if time.Duration(got) != test.want || (err != nil) != (test.want < 0) {
			t.Errorf("%s: got %s, %v", test.text, got, err)
		}
	}
	text, err := json.Marshal(struct{ D admin.Duration }{admin.Duration(90 * time.Second)})
	if string(text) != `{"D":"1m30s"}` {
		t.Errorf("got %s, %v", text, err)
	}
}
