package server_test

import (
	"testing"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/server"
)

func TestSummary(t *testing.T) {
	reason := func(code, text string) []admin.Reason { return []admin.Reason{{Code: code, Text: text}} }
	for _, test := range []struct {
		name, state string
		stats       dispatch.Stats
		backlog     admin.Backlog
		reasons     []admin.Reason
		word, text  string
	}{
		{
			"idle", "running",
			dispatch.Stats{},
			admin.Backlog{},
			reason("empty", "there is nothing to receive"),
			"idle", "there is nothing to do",
		},
		{
			"idle while no worker starts", "running",
			dispatch.Stats{},
			admin.Backlog{},
			reason("breaker", "workers of a/f do not start: x"),
			"idle", "there is nothing to do",
		},
		{
			"back-off only", "running",
			dispatch.Stats{},
			admin.Backlog{InFlight: 3},
			nil,
			"idle", "nothing can be received yet: 3 in a back-off or received by others, 0 delayed",
		},
		{
			"delayed only", "running",
			dispatch.Stats{},
			admin.Backlog{Delayed: 2},
			nil,
			"idle", "nothing can be received yet: 2 delayed",
		},
		{
			"paused, and in trouble", "paused",
			dispatch.Stats{},
			admin.Backlog{Visible: 1},
			reason("sink", "sink queue:out: 3 failures"),
			"paused", "the flow is paused: 1 message waits in the source, 0 inside",
		},
		{
			"draining", "draining",
			dispatch.Stats{Calling: 1},
			admin.Backlog{Visible: 5},
			nil,
			"draining", "the flow is ending: 5 messages wait in the source, 1 inside",
		},
		{
			"no worker starts", "running",
			dispatch.Stats{Calling: 2, Waiting: 2},
			admin.Backlog{Visible: 5},
			reason("breaker", "workers of a/f do not start: x"),
			"stuck", "5 messages wait in the source, 2 inside; workers of a/f do not start: x",
		},
		{
			"the function is gone", "running",
			dispatch.Stats{},
			admin.Backlog{Visible: 5},
			reason("function", "function: 2 failures"),
			"stuck", "5 messages wait in the source, 0 inside; function: 2 failures",
		},
		{
			"workers are taken", "running",
			dispatch.Stats{Calling: 2, Waiting: 2},
			admin.Backlog{Visible: 5},
			reason("busy", "2 of 2 calls wait for a free worker"),
			"moving", "the flow waits for workers: 5 messages wait in the source, 2 inside, 2 calls without one",
		},
		{
			"moving", "running",
			dispatch.Stats{Calling: 2, Waiting: 1},
			admin.Backlog{Visible: 5},
			nil,
			"moving", "the flow is moving: 5 messages wait in the source, 2 inside, 1 call under way",
		},
		{
			"order", "running",
			dispatch.Stats{Parked: 4},
			admin.Backlog{InFlight: 4},
			reason("back_off", "1 keys wait"),
			"moving", "0 messages wait in the source, 4 inside; 1 keys wait",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			word, text := server.Summary(test.state, test.stats, test.backlog, test.reasons)
			if word != test.word || text != test.text {
				t.Errorf("got %s: %s\nwant %s: %s", word, text, test.word, test.text)
			}
		})
	}
}
