package server

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/queue"
)

// declared returns the settings of a declared queue. Attributes that cannot be
// declared stay, and so do tags where none are, and a pause about which nothing
// is said. arn makes the ARN of a queue of
// the same account; it is needed only for a queue with a RedriveAllow.
func declared(q runnel.Queue, now queue.Settings, arn func(name string) string) queue.Settings {
	s := queue.Defaults()
	s.Kept, s.Tags = keptOf(q.RedriveAllow, now.Kept, arn), now.Tags
	s.Paused = now.Paused
	s.Delivery, s.Duplicate = q.Delivery, q.Duplicate
	if len(q.Tags) > 0 {
		s.Tags = q.Tags
	}
	if q.Paused != nil {
		s.Paused = *q.Paused
	}
	if q.VisibilityTimeout != nil {
		s.VisibilityTimeout = *q.VisibilityTimeout
	}
	if q.Delay != nil {
		s.Delay = *q.Delay
	}
	if q.Retention != nil {
		s.Retention = *q.Retention
	}
	if q.ReceiveWait != nil {
		s.ReceiveWait = *q.ReceiveWait
	}
	if q.MaxMessage != 0 {
		s.MaxMessageBytes = int(q.MaxMessage)
	}
	if q.DeadLetter != nil {
		s.DeadLetter = &queue.Redrive{Queue: q.DeadLetter.Queue, MaxReceives: q.DeadLetter.MaxReceives}
		if s.DeadLetter.MaxReceives == 0 {
			s.DeadLetter.MaxReceives = 10
		}
	}
	if runnel.IsFIFO(q.Name) {
		s.FIFO = &queue.FIFO{
			ContentDedup: q.ContentBasedDeduplication,
			DedupByGroup: q.DeduplicationScope == "messageGroup",
			LimitByGroup: q.FIFOThroughputLimit == "perMessageGroupId",
		}
	}
	return s
}

// redriveAllowAttribute is where the SQS door keeps a RedriveAllowPolicy, in
// this form.
const redriveAllowAttribute = "RedriveAllowPolicy"

type redriveAllowPolicy struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns,omitempty"`
}

func keptOf(allow *runnel.RedriveAllow, kept map[string]string, arn func(string) string) map[string]string {
	kept = maps.Clone(kept)
	delete(kept, redriveAllowAttribute)
	if allow == nil {
		return kept
	}
	p := redriveAllowPolicy{Permission: allow.Permission}
	for _, name := range allow.SourceQueues {
		p.Sources = append(p.Sources, arn(name))
	}
	text, _ := json.Marshal(p) // strings never fail
	if kept == nil {
		kept = make(map[string]string)
	}
	kept[redriveAllowAttribute] = string(text)
	return kept
}

// settingsOf is settings as the native API shows them.
func settingsOf(s queue.Settings) admin.Settings {
	out := admin.Settings{
		VisibilityTimeout: admin.Duration(s.VisibilityTimeout),
		Delay:             admin.Duration(s.Delay),
		Retention:         admin.Duration(s.Retention),
		ReceiveWait:       admin.Duration(s.ReceiveWait),
		MaxMessageBytes:   s.MaxMessageBytes,
		Tags:              s.Tags,
		Delivery:          s.Delivery,
		Duplicate:         s.Duplicate,
	}
	if s.DeadLetter != nil {
		out.DeadLetter = &admin.DeadLetter{Queue: s.DeadLetter.Queue, MaxReceives: s.DeadLetter.MaxReceives}
	}
	if f := s.FIFO; f != nil {
		out.FIFO = &admin.FIFO{ContentBasedDeduplication: f.ContentDedup, DeduplicationScope: "queue", FIFOThroughputLimit: "perQueue"}
		if f.DedupByGroup {
			out.FIFO.DeduplicationScope = "messageGroup"
		}
		if f.LimitByGroup {
			out.FIFO.FIFOThroughputLimit = "perMessageGroupId"
		}
	}
	var p redriveAllowPolicy
	if json.Unmarshal([]byte(s.Kept[redriveAllowAttribute]), &p) == nil {
		out.RedriveAllow = &admin.RedriveAllow{Permission: p.Permission}
		for _, arn := range p.Sources {
			out.RedriveAllow.SourceQueues = append(out.RedriveAllow.SourceQueues, arn[strings.LastIndexByte(arn, ':')+1:])
		}
	}
	return out
}
