package sqs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/internal/queue"
)

// AddPermission
//
// Parameters: QueueUrl, Label (1 to 80 letters, digits, hyphens and
// underscores), AWSAccountIds (12 digits each), Actions (1 to 7 of those that a
// queue can share, or *). It adds a statement, of which Label is the Sid, to the
// Policy of the queue, which has at most 20.
//
// Differences: policies have no effect here. Which accounts there are is not
// looked up.

const (
	maxPermitted  = 7
	maxStatements = 20
)

// permitted are the actions that a queue's owner can share.
var permitted = []string{
	"*", "ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues",
	"PurgeQueue", "ReceiveMessage", "SendMessage",
}

type addPermissionInput struct {
	QueueURL      string
	Label         string
	AWSAccountIDs []string
	Actions       []string
}

func (in *addPermissionInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Label":
		in.Label = d.string()
	case "AWSAccountIds":
		in.AWSAccountIDs = d.strings()
	case "Actions":
		in.Actions = d.strings()
	default:
		return false
	}
	return true
}

func (in *addPermissionInput) check() error {
	if err := checkLabel(in.Label); err != nil {
		return err
	}
	if len(in.AWSAccountIDs) == 0 {
		return missing("AWSAccountIds")
	}
	if len(in.Actions) == 0 {
		return missing("Actions")
	}
	if n := len(in.Actions); n > maxPermitted {
		return overLimit.says("%d Actions were found, maximum allowed is %d.", n, maxPermitted)
	}
	for _, a := range in.Actions {
		if !slices.Contains(permitted, a) {
			return invalid("ActionName", "SQS:"+a, "Only the queue owner is allowed to invoke this action.")
		}
	}
	for _, id := range in.AWSAccountIDs {
		if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
			return invalid("PrincipalId", id, "Unable to verify: want the 12 digits of an account.")
		}
	}
	return nil
}

func checkLabel(label string) error {
	if label == "" {
		return missing("Label")
	}
	if !isEntryID(label) {
		return invalid("Label", label, textQueueName)
	}
	return nil
}

// oneOrMore is a list of strings in a policy: one stands for itself.
type oneOrMore []string

// MarshalJSON implements json.Marshaler.
func (l oneOrMore) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

// statement is what AddPermission adds to a policy.
type statement struct {
	Sid       string
	Effect    string
	Principal struct{ AWS oneOrMore }
	Action    oneOrMore
	Resource  string
}

// policy is a Policy taken apart, as far as permissions need it.
type policy struct {
	members    map[string]json.RawMessage
	statements []json.RawMessage
}

// policyOf reads the Policy of a queue. One statement may stand for itself.
func policyOf(s *queue.Settings) (p policy, err error) {
	text := s.Kept["Policy"]
	if text == "" {
		return p, nil
	}
	wrong := func() error {
		return invalid("Policy", text, "The Policy of the queue has no list of statements: set it anew.")
	}
	if json.Unmarshal([]byte(text), &p.members) != nil {
		return p, wrong()
	}
	if raw := p.members["Statement"]; len(raw) > 0 && raw[0] == '{' {
		p.statements = []json.RawMessage{raw}
	} else if len(raw) > 0 && json.Unmarshal(raw, &p.statements) != nil {
		return p, wrong()
	}
	return p, nil
}

// find returns the place of the statement of a label, or -1.
func (p *policy) find(label string) int {
	return slices.IndexFunc(p.statements, func(raw json.RawMessage) bool {
		var s struct{ Sid string }
		return json.Unmarshal(raw, &s) == nil && s.Sid == label
	})
}

// keep makes the policy that of a queue. One without statements is none.
func (p *policy) keep(s *queue.Settings, arn string) error {
	s.Kept = maps.Clone(s.Kept)
	if len(p.statements) == 0 {
		delete(s.Kept, "Policy")
		return nil
	}
	all := map[string]any{"Version": "2008-10-17", "Id": arn + "/SQSDefaultPolicy"}
	for name, value := range p.members {
		all[name] = value
	}
	all["Statement"] = p.statements
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode a policy: %w", err)
	}
	if len(text) > maxAttributeValue {
		return overLimit.says("The Policy of the queue would have more than %d bytes.", maxAttributeValue)
	}
	if s.Kept == nil {
		s.Kept = make(map[string]string)
	}
	s.Kept["Policy"] = string(text)
	return nil
}

func (c *call) addPermission(in *addPermissionInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if err := in.check(); err != nil {
		return none{}, err
	}

	arn := site{c.door, q.Name(), q.accountID}.arn()
	add := statement{Sid: in.Label, Effect: "Allow", Resource: arn}
	for _, id := range in.AWSAccountIDs {
		add.Principal.AWS = append(add.Principal.AWS, "arn:aws:iam::"+id+":root")
	}
	for _, a := range in.Actions {
		add.Action = append(add.Action, "SQS:"+a)
	}
	raw, err := json.Marshal(add)
	if err != nil {
		return none{}, fmt.Errorf("encode a permission: %w", err)
	}

	return none{}, q.Configure(func(s *queue.Settings) error {
		p, err := policyOf(s)
		if err != nil {
			return err
		}
		if p.find(in.Label) >= 0 {
			return invalid("Label", in.Label, "Already exists.")
		}
		if len(p.statements) >= maxStatements {
			return overLimit.says("%d Statements were found, maximum allowed is %d.", len(p.statements)+1, maxStatements)
		}
		p.statements = append(p.statements, raw)
		return p.keep(s, arn)
	})
}
