package runnel

import (
	"path"
	"strings"
	"time"
)

// Queue declares one of Runnel's own queues. Zero fields mean the defaults of
// Amazon SQS; the tags are their names in a spec file.
type Queue struct {
	// Name: 1 to 80 letters, digits, hyphens and underscores. One that ends in
	// ".fifo" is that of a FIFO queue.
	Name string `json:"name"`
	// VisibilityTimeout, to 12h. Default 30s.
	VisibilityTimeout *time.Duration `json:"visibility_timeout,omitempty"`
	// Delay, to 15m. Default 0s.
	Delay *time.Duration `json:"delay,omitempty"`
	// Retention, 1m to 14d. Default 4d.
	Retention *time.Duration `json:"retention,omitempty"`
	// ReceiveWait, to 20s. Default 0s.
	ReceiveWait *time.Duration `json:"receive_wait,omitempty"`
	// MaxMessage is the largest message, 1KiB to 1MiB. Default 1MiB.
	MaxMessage Size `json:"max_message,omitempty"`
	// ContentBasedDeduplication gives a message without a deduplication id the
	// SHA-256 of its body for one. FIFO queues only.
	ContentBasedDeduplication bool `json:"content_based_deduplication,omitempty"`
	// DeduplicationScope is within what a deduplication id counts: "queue"
	// (default) or "messageGroup". FIFO queues only.
	DeduplicationScope string `json:"deduplication_scope,omitempty"`
	// FIFOThroughputLimit is kept and has no effect: "perQueue" (default) or
	// "perMessageGroupId", which needs the scope messageGroup. FIFO queues only.
	FIFOThroughputLimit string `json:"fifo_throughput_limit,omitempty"`
	// DeadLetter is where SQS clients' messages go, and those of flows that
	// have no dead_letter of their own.
	DeadLetter *QueueDeadLetter `json:"dead_letter,omitempty"`
	// RedriveAllow says which queues may name this one as their dead-letter
	// queue. Default: all.
	RedriveAllow *RedriveAllow `json:"redrive_allow,omitempty"`
	// Tags are labels, at most 50: keys of 1 to 128 characters, values to 256.
	// None: those that the queue has stay.
	Tags map[string]string `json:"tags,omitempty"`
	// Delivery: "shuffle" hands out messages in random order, within a small
	// window. Default: those that were sent first come first. Standard queues
	// only.
	Delivery string `json:"delivery,omitempty"`
	// Duplicate is the share of deliveries to SQS clients after which the message
	// is delivered again, 0 to 1. Default 0. Standard queues only.
	Duplicate float64 `json:"duplicate,omitempty"`
	// Paused says whether receives find nothing. nil: it stays as it is.
	Paused *bool `json:"paused,omitempty"`
}

// QueueDeadLetter names a dead-letter queue, which is a FIFO queue if the queue
// is one. MaxReceives (1 to 1000, default 10) binds SQS clients only: a flow
// counts failures.
type QueueDeadLetter struct {
	Queue       string `json:"queue"`
	MaxReceives int    `json:"max_receives,omitempty"`
}

// RedriveAllow is asked when an SQS client names the queue as a dead-letter
// queue. Permission is "allowAll", "denyAll", or "byQueue" with 1 to 10 queues
// of the same account.
type RedriveAllow struct {
	Permission   string   `json:"permission"`
	SourceQueues []string `json:"source_queues,omitempty"`
}

// QueueTemplate declares queues that are made when a client first uses them. The
// name of a queue is not in it.
type QueueTemplate struct {
	// Match is a pattern of names: * stands for any characters, ? for one,
	// [a-z] for one of these.
	Match string `json:"match"`
	Queue
}

// For returns the queue of this name as the template makes it. ok is false if
// its pattern does not match, or its settings are not for this kind of queue:
// those of FIFO queues, or a dead-letter queue of the other kind.
func (t QueueTemplate) For(name string) (q Queue, ok bool) {
	q = t.Queue
	q.Name = name
	matches, err := path.Match(t.Match, name)
	return q, err == nil && matches && q.Validate() == nil
}

// Validate returns every fault, joined; each is a *FieldError.
func (t QueueTemplate) Validate() error {
	var v faults
	if t.Match == "" {
		v.add("match", "is missing: want a pattern of names, as in celery*")
	} else if _, err := path.Match(t.Match, ""); err != nil {
		v.add("match", "%q is not a pattern: want characters of names, * for any, ? for one, [a-z] for one of these", t.Match)
	}
	q := t.Queue
	q.settings(&v, q.onlyFIFO() != "" || q.DeadLetter != nil && IsFIFO(q.DeadLetter.Queue))
	return v.err()
}

// FIFOSuffix is how the names of FIFO queues end, and no others.
const FIFOSuffix = ".fifo"

// IsFIFO says whether the name of a queue is that of a FIFO queue.
func IsFIFO(queue string) bool { return strings.HasSuffix(queue, FIFOSuffix) }

// IsQueueName says whether a queue can have this name.
func IsQueueName(name string) bool {
	base := strings.TrimSuffix(name, FIFOSuffix)
	return base != "" && len(name) <= 80 && strings.Trim(base, nameBytes) == ""
}

// Validate returns every fault, joined; each is a *FieldError. Whether the
// queues that it names exist is not looked at.
func (q Queue) Validate() error {
	var v faults
	if !IsQueueName(q.Name) {
		v.add("name", "%q is not a name: want 1 to 80 letters, digits, hyphens and underscores, and at the end .fifo for a FIFO queue", q.Name)
	}
	if d := q.DeadLetter; d != nil && d.Queue != "" && d.Queue == q.Name {
		v.add("dead_letter.queue", "is the queue itself")
	}
	q.settings(&v, IsFIFO(q.Name))
	return v.err()
}

// settings adds the faults of all but the name.
func (q *Queue) settings(v *faults, fifo bool) {
	between := func(path string, d *time.Duration, least, most time.Duration, words string) {
		if d != nil && (*d < least || *d > most) {
			v.add(path, "%s is not between %s", *d, words)
		}
	}
	between("visibility_timeout", q.VisibilityTimeout, 0, 12*time.Hour, "0s and 12h")
	between("delay", q.Delay, 0, 15*time.Minute, "0s and 15m")
	between("retention", q.Retention, time.Minute, 14*24*time.Hour, "1m and 14d")
	between("receive_wait", q.ReceiveWait, 0, 20*time.Second, "0s and 20s")
	if q.MaxMessage != 0 && (q.MaxMessage < 1<<10 || q.MaxMessage > 1<<20) {
		v.add("max_message", "%d bytes is not between 1KiB and 1MiB", q.MaxMessage)
	}
	if path := q.onlyFIFO(); path != "" && !fifo {
		v.add(path, "is for FIFO queues, whose names end in .fifo. The kind of a queue cannot change: declare another one, and remove this one when it is empty")
	}
	v.word("delivery", q.Delivery, "shuffle")
	if !(q.Duplicate >= 0 && q.Duplicate <= 1) {
		v.add("duplicate", "%v is not between 0 and 1", q.Duplicate)
	}
	switch {
	case fifo && q.Delivery != "":
		v.add("delivery", "is for standard queues: a FIFO queue keeps order")
	case fifo && q.Duplicate != 0:
		v.add("duplicate", "is for standard queues: a FIFO queue delivers a message to one holder at a time")
	}
	v.word("deduplication_scope", q.DeduplicationScope, "queue", "messageGroup")
	v.word("fifo_throughput_limit", q.FIFOThroughputLimit, "perQueue", "perMessageGroupId")
	if q.FIFOThroughputLimit == "perMessageGroupId" && q.DeduplicationScope != "messageGroup" {
		v.add("fifo_throughput_limit", "perMessageGroupId needs deduplication_scope: messageGroup")
	}
	if d := q.DeadLetter; d != nil {
		switch {
		case d.Queue == "":
			v.add("dead_letter.queue", "is missing: want the name of a queue, as in images-dead")
		case fifo && !IsFIFO(d.Queue):
			v.add("dead_letter.queue", "%s is a standard queue: that of a FIFO queue is one too, and its name ends in .fifo", d.Queue)
		case !fifo && IsFIFO(d.Queue):
			v.add("dead_letter.queue", "%s is a FIFO queue: that of a standard queue is one too", d.Queue)
		}
		v.number("dead_letter.max_receives", d.MaxReceives, 1, 1000)
	}
	q.RedriveAllow.check(v)
	if len(q.Tags) > 50 {
		v.add("tags", "%d are more than 50", len(q.Tags))
	}
	for key, value := range q.Tags {
		if n := len([]rune(key)); n < 1 || n > 128 || len([]rune(value)) > 256 {
			v.add("tags", "%.40q: want a key of 1 to 128 characters, and a value of at most 256", key)
		}
	}
}

// onlyFIFO returns the first field that says something which only FIFO queues
// have, or "".
func (q *Queue) onlyFIFO() string {
	switch {
	case q.ContentBasedDeduplication:
		return "content_based_deduplication"
	case q.DeduplicationScope != "":
		return "deduplication_scope"
	case q.FIFOThroughputLimit != "":
		return "fifo_throughput_limit"
	}
	return ""
}

func (r *RedriveAllow) check(v *faults) {
	if r == nil {
		return
	}
	if r.Permission == "" {
		v.add("redrive_allow.permission", "is missing: want allowAll, denyAll or byQueue")
	}
	v.word("redrive_allow.permission", r.Permission, "allowAll", "denyAll", "byQueue")
	switch n := len(r.SourceQueues); {
	case r.Permission == "byQueue" && (n < 1 || n > 10):
		v.add("redrive_allow.source_queues", "%d are not between 1 and 10, as byQueue needs", n)
	case r.Permission != "byQueue" && n > 0:
		v.add("redrive_allow.source_queues", "is for permission: byQueue")
	}
	for _, name := range r.SourceQueues {
		if !IsQueueName(name) {
			v.add("redrive_allow.source_queues", "%q is not the name of a queue", name)
		}
	}
}

// Allows says whether a queue may name this one as its dead-letter queue.
func (q *Queue) Allows(source string) bool {
	r := q.RedriveAllow
	if r == nil || r.Permission == "allowAll" {
		return true
	}
	for _, name := range r.SourceQueues {
		if name == source {
			return true
		}
	}
	return false
}
