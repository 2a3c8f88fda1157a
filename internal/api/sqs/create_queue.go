package sqs

import "github.com/runnel-io/runnel/internal/queue"

// CreateQueue
//
// Parameters: QueueName, Attributes, tags (or Tags). All attributes of queues are
// taken; see queue_attribute.go and fifo.go. For tags see TagQueue.
//
// A queue that exists already, with the same values of the attributes that are
// given, is returned; with others, it is QueueNameExists.
//
// Differences: the name of a deleted queue can be used at once, at Amazon after
// 60 s. The tags of a queue that exists are not compared.

type createQueueInput struct {
	QueueName  string
	Attributes []pair
	Tags       []pair
}

func (in *createQueueInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueName":
		in.QueueName = d.string()
	case "Attributes":
		in.Attributes, _ = d.pairs()
	case "tags", "Tags":
		in.Tags, _ = d.pairs()
	default:
		return false
	}
	return true
}

// queueURLOutput is what CreateQueue and GetQueueUrl return.
type queueURLOutput struct{ QueueURL string }

func (out queueURLOutput) encode(e *encoder) { e.field("QueueUrl", out.QueueURL) }

func (c *call) createQueue(in *createQueueInput) (out queueURLOutput, err error) {
	if in.QueueName == "" {
		return out, invalidParameterValue.says("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
	}
	if err := checkQueueName(in.QueueName); err != nil {
		return out, err
	}

	q := site{c.door, queue.Name{Account: c.caller.Account, Queue: in.QueueName}, c.caller.AccountID}
	settings, err := q.newSettings(in.Attributes)
	if err != nil {
		return out, err
	}
	if err := q.apply(&settings, in.Attributes); err != nil {
		return out, err
	}
	if settings.Tags, err = addTags(nil, in.Tags); err != nil {
		return out, err
	}

	existing, created, err := c.door.queues.Create(q.name, settings)
	if err != nil {
		return out, err
	}
	if !created {
		if err := q.compare(existing, settings, in.Attributes); err != nil {
			return out, err
		}
	}
	return queueURLOutput{c.url(q.accountID, in.QueueName)}, nil
}

// compare refuses settings that differ from those of a queue in an attribute
// that was given.
func (q site) compare(existing *queue.Queue, settings queue.Settings, given []pair) error {
	has, wanted := view{site: q}, view{site: q, settings: settings}
	has.settings, _ = existing.Settings()
	for _, g := range given {
		a, err := attributeNamed(g.name)
		if err != nil {
			return err
		}
		if a.get(&has) != a.get(&wanted) {
			return queueNameExists.says("A queue already exists with the same name and a different value for attribute %s", g.name)
		}
	}
	return nil
}
