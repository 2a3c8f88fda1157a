package sqs

import (
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/runnel-io/runnel/internal/queue"
)

// TagQueue
//
// Parameters: QueueUrl, Tags. A tag that is there is given the new value. A
// queue has at most 50 tags, of 1 to 128 and 0 to 256 characters; keys do not
// begin with "aws:".
//
// Differences: none known.

const maxTags = 50

type tagQueueInput struct {
	QueueURL string
	Tags     []pair
}

func (in *tagQueueInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Tags":
		in.Tags, _ = d.pairs()
	default:
		return false
	}
	return true
}

func (c *call) tagQueue(in *tagQueueInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if len(in.Tags) == 0 {
		return none{}, missing("Tags")
	}

	return none{}, q.Configure(func(s *queue.Settings) (err error) {
		s.Tags, err = addTags(s.Tags, in.Tags)
		return err
	})
}

// addTags returns tags and those given, or refuses the latter. It does not
// change the map.
func addTags(tags map[string]string, given []pair) (map[string]string, error) {
	if len(given) == 0 {
		return tags, nil
	}
	next := maps.Clone(tags)
	if next == nil {
		next = make(map[string]string, len(given))
	}
	for _, g := range given {
		n := utf8.RuneCountInString(g.name)
		if n < 1 || n > 128 || utf8.RuneCountInString(g.value) > 256 || !utf8.ValidString(g.name) || !utf8.ValidString(g.value) {
			return nil, invalidParameterValue.says("The tag %.128q is invalid: tag keys have 1 to 128 characters, tag values at most 256.", g.name)
		}
		if len(g.name) >= 4 && strings.EqualFold(g.name[:4], "aws:") {
			return nil, invalidParameterValue.says("The tag %.128q is invalid: keys that begin with aws: are reserved for system use.", g.name)
		}
		next[g.name] = g.value
	}
	if len(next) > maxTags {
		return nil, invalidParameterValue.says("A queue can have at most %d tags, this one would have %d.", maxTags, len(next))
	}
	return next, nil
}
