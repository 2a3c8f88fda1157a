package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
)

// Limits of Amazon SQS, which hold for every door.
const (
	MaxDelay             = 15 * time.Minute
	MaxVisibilityTimeout = 12 * time.Hour // also in total, from the receive
	MinRetention         = time.Minute
	MaxRetention         = 14 * 24 * time.Hour
	MaxReceiveWait       = 20 * time.Second
	MinMessageBytes      = 1 << 10
	MaxMessageBytes      = 1 << 20
	MaxReceives          = 1000
	// MaxInFlight is how many messages SQS clients may hold of one queue.
	MaxInFlight = 120_000
)

// Settings are what can be set on a queue. Start from Defaults: zero means
// zero here.
type Settings struct {
	// VisibilityTimeout is how long a received message stays invisible, unless
	// the receive says otherwise. 0 to 12h, default 30s.
	VisibilityTimeout time.Duration `json:"visibility_timeout"`
	// Delay is how long a new message stays invisible, unless it says
	// otherwise itself. 0 to 15m, default 0.
	Delay time.Duration `json:"delay"`
	// Retention is how long after it was sent a message is kept. 1m to 14d,
	// default 4d.
	Retention time.Duration `json:"retention"`
	// ReceiveWait is how long a receive waits for a message, unless it says
	// otherwise itself. 0 to 20s, default 0.
	ReceiveWait time.Duration `json:"receive_wait"`
	// MaxMessageBytes is the largest message, body and attributes. 1 KiB to
	// 1 MiB, default 1 MiB.
	MaxMessageBytes int `json:"max_message_bytes"`
	// DeadLetter says when SQS clients get a message no more. It binds them
	// only: a flow has rules of its own. nil: never.
	DeadLetter *Redrive `json:"dead_letter,omitempty"`
	// FIFO makes the queue keep order; its name then ends in ".fifo", and no
	// other may. It cannot be given or taken later, only its fields change.
	FIFO *FIFO `json:"fifo,omitempty"`
	// Delivery is DeliveryShuffle, or empty: the message that was sent first is
	// received first, as far as it is visible. Duplicate is the share, 0 to 1, of
	// the deliveries to clients after which the message is delivered again, with
	// a receipt of its own, within the visibility timeout. Both are for teaching,
	// and to test consumers: a standard queue of Amazon SQS may do that at any
	// time. They are for standard queues.
	Delivery  string  `json:"delivery,omitempty"`
	Duplicate float64 `json:"duplicate,omitempty"`
	// Paused: receives find nothing; see Queue.Pause.
	Paused bool `json:"paused,omitempty"`
	// Kept are attributes that a door accepts and returns, and that have no
	// effect here (Policy, KmsMasterKeyId ...).
	Kept map[string]string `json:"kept,omitempty"`
	// Tags are free-form labels.
	Tags map[string]string `json:"tags,omitempty"`
}

// Redrive moves a message to Queue, of the same account, when a client would
// receive it for more than MaxReceives times (1 to 1000, 10 where not given).
type Redrive struct {
	Queue       string `json:"queue"`
	MaxReceives int    `json:"max_receives"`
}

// FIFO are the settings that only FIFO queues have.
type FIFO struct {
	// ContentDedup gives a message without a DedupID the SHA-256 of its body
	// for one. Without it such a message is refused.
	ContentDedup bool `json:"content_dedup,omitempty"`
	// DedupByGroup: a DedupID counts within its message group. Otherwise it
	// counts within the queue.
	DedupByGroup bool `json:"dedup_by_group,omitempty"`
	// LimitByGroup is FifoThroughputLimit perMessageGroupId, and needs
	// DedupByGroup. It is kept and has no effect: nothing is throttled. (SQS)
	LimitByGroup bool `json:"limit_by_group,omitempty"`
}

// Defaults are the settings of a queue about which nothing was said.
func Defaults() Settings {
	return Settings{
		VisibilityTimeout: 30 * time.Second,
		Retention:         4 * 24 * time.Hour,
		MaxMessageBytes:   MaxMessageBytes,
	}
}

// Validate returns every fault, joined; each is a *runnel.FieldError.
func (s Settings) Validate() error {
	var errs []error
	check := func(path string, v, lo, hi time.Duration) {
		if v < lo || v > hi {
			errs = append(errs, &runnel.FieldError{Path: path, Err: fmt.Errorf("%v is not between %v and %v", v, lo, hi)})
		}
	}
	check("visibility_timeout", s.VisibilityTimeout, 0, MaxVisibilityTimeout)
	check("delay", s.Delay, 0, MaxDelay)
	check("retention", s.Retention, MinRetention, MaxRetention)
	check("receive_wait", s.ReceiveWait, 0, MaxReceiveWait)
	if s.MaxMessageBytes < MinMessageBytes || s.MaxMessageBytes > MaxMessageBytes {
		errs = append(errs, &runnel.FieldError{
			Path: "max_message_bytes",
			Err:  fmt.Errorf("%d is not between %d and %d", s.MaxMessageBytes, MinMessageBytes, MaxMessageBytes),
		})
	}
	if s.FIFO != nil && s.FIFO.LimitByGroup && !s.FIFO.DedupByGroup {
		errs = append(errs, &runnel.FieldError{Path: "fifo.limit_by_group", Err: errors.New("needs dedup_by_group")})
	}
	if d := s.DeadLetter; d != nil {
		if d.Queue == "" {
			errs = append(errs, &runnel.FieldError{Path: "dead_letter.queue", Err: errors.New("is missing")})
		}
		if d.MaxReceives < 1 || d.MaxReceives > MaxReceives {
			errs = append(errs, &runnel.FieldError{
				Path: "dead_letter.max_receives",
				Err:  fmt.Errorf("%d is not between 1 and %d", d.MaxReceives, MaxReceives),
			})
		}
	}
	return errors.Join(append(errs, s.deliveryFaults()...)...)
}

// Name is the full name of a queue.
type Name struct {
	Account string `json:"account"` // the account's name, not its id
	Queue   string `json:"queue"`
}

// String returns "account/queue".
func (n Name) String() string { return n.Account + "/" + n.Queue }

// FIFO says whether the name is that of a FIFO queue.
func (n Name) FIFO() bool { return runnel.IsFIFO(n.Queue) }

// Validate says whether a queue can have this name: 1 to 80 letters, digits,
// hyphens and underscores; the last five may be ".fifo". (SQS)
func (n Name) Validate() error {
	if !runnel.IsQueueName(n.Queue) {
		return runnel.Errorf(runnel.CodeInvalid, "queue name %q: want 1 to 80 letters, digits, hyphens and underscores, the last five of which may be .fifo", n.Queue)
	}
	return nil
}
