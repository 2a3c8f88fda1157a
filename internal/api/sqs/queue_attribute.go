package sqs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel/internal/queue"
)

// maxAttributeValue is the longest value of a queue's attribute, in bytes.
const maxAttributeValue = 64 << 10

// queueAttribute is one attribute of queues.
type queueAttribute struct {
	name string
	// set changes the settings of queue q by a value that a client gave; nil
	// on attributes that only the server sets.
	set func(s *queue.Settings, q site, value string) error
	// get returns the value, empty if the queue has none. What set changes is
	// read from v.settings alone.
	get func(v *view) string
}

// site is where a queue is, or will be.
type site struct {
	door      *Door
	name      queue.Name
	accountID string
}

func (q site) arn() string { return q.door.arn(q.accountID, q.name.Queue) }

// view is what there is to tell of a queue.
type view struct {
	site
	*queue.Queue // nil in a comparison of settings
	settings     queue.Settings
	modified     time.Time
}

// queueAttributes are all attributes of queues, in the order in which
// they are returned.
var queueAttributes = append([]queueAttribute{
	{name: "QueueArn", get: func(v *view) string { return v.arn() }},
	{name: "ApproximateNumberOfMessages", get: func(v *view) string { return strconv.FormatInt(v.Depth().Visible, 10) }},
	{name: "ApproximateNumberOfMessagesNotVisible", get: func(v *view) string { return strconv.FormatInt(v.Depth().InFlight, 10) }},
	{name: "ApproximateNumberOfMessagesDelayed", get: func(v *view) string { return strconv.FormatInt(v.Depth().Delayed, 10) }},
	{name: "CreatedTimestamp", get: func(v *view) string { return strconv.FormatInt(v.Created().Unix(), 10) }},
	{name: "LastModifiedTimestamp", get: func(v *view) string { return strconv.FormatInt(v.modified.Unix(), 10) }},
	seconds("VisibilityTimeout", 0, queue.MaxVisibilityTimeout, func(s *queue.Settings) *time.Duration { return &s.VisibilityTimeout }),
	seconds("DelaySeconds", 0, queue.MaxDelay, func(s *queue.Settings) *time.Duration { return &s.Delay }),
	seconds("MessageRetentionPeriod", queue.MinRetention, queue.MaxRetention, func(s *queue.Settings) *time.Duration { return &s.Retention }),
	seconds("ReceiveMessageWaitTimeSeconds", 0, queue.MaxReceiveWait, func(s *queue.Settings) *time.Duration { return &s.ReceiveWait }),
	{
		name: "MaximumMessageSize",
		set: func(s *queue.Settings, _ site, value string) (err error) {
			s.MaxMessageBytes, err = integer("MaximumMessageSize", value, queue.MinMessageBytes, queue.MaxMessageBytes)
			return err
		},
		get: func(v *view) string { return strconv.Itoa(v.settings.MaxMessageBytes) },
	},
	{name: "RedrivePolicy", set: setRedrivePolicy, get: redrivePolicy},
	kept("RedriveAllowPolicy", checkRedriveAllowPolicy),
	kept("Policy", func(value string) error {
		if !json.Valid([]byte(value)) {
			return wrongValue("Policy", "It is not valid JSON.")
		}
		return nil
	}),
	kept("KmsMasterKeyId", func(string) error { return nil }),
	kept("KmsDataKeyReusePeriodSeconds", func(value string) error {
		_, err := integer("KmsDataKeyReusePeriodSeconds", value, 60, 86400)
		return err
	}).or(func(s *queue.Settings) string {
		if s.Kept["KmsMasterKeyId"] == "" {
			return ""
		}
		return "300"
	}),
	kept("SqsManagedSseEnabled", func(value string) error {
		if value != "true" && value != "false" {
			return wrongValue("SqsManagedSseEnabled", "Must be true or false.")
		}
		return nil
	}).or(func(s *queue.Settings) string { return strconv.FormatBool(s.Kept["KmsMasterKeyId"] == "") }),
}, fifoAttributes...)

// or gives an attribute that was not set a value.
func (a queueAttribute) or(value func(s *queue.Settings) string) queueAttribute {
	get := a.get
	a.get = func(v *view) string { return cmp.Or(get(v), value(&v.settings)) }
	return a
}

// oneEncryption lets a key of KMS and the encryption of SQS take each other's
// place: a queue has one of them.
func oneEncryption(s *queue.Settings, given []pair) error {
	kms, sqs := false, false
	for _, g := range given {
		kms = kms || g.name == "KmsMasterKeyId" && g.value != ""
		sqs = sqs || g.name == "SqsManagedSseEnabled" && g.value == "true"
	}
	switch {
	case kms && sqs:
		return invalidAttributeValue.says("You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.")
	case kms && s.Kept["SqsManagedSseEnabled"] == "true":
		delete(s.Kept, "SqsManagedSseEnabled")
	case sqs:
		delete(s.Kept, "KmsMasterKeyId")
		delete(s.Kept, "KmsDataKeyReusePeriodSeconds")
	}
	return nil
}

// attributeNamed returns the attribute of a name, or refuses it.
func attributeNamed(name string) (*queueAttribute, error) {
	for i := range queueAttributes {
		if queueAttributes[i].name == name {
			return &queueAttributes[i], nil
		}
	}
	return nil, unknownAttribute(name)
}

func unknownAttribute(name string) error {
	return invalidAttributeName.says("Unknown Attribute %.80s.", name)
}

func wrongValue(name, reason string) error {
	return invalidAttributeValue.says("Invalid value for the parameter %s. Reason: %s", name, reason)
}

// apply changes settings by the attributes that a client gave. It sorts them
// by name.
func (q site) apply(s *queue.Settings, given []pair) error {
	slices.SortStableFunc(given, func(a, b pair) int { return cmp.Compare(a.name, b.name) })
	s.Kept = maps.Clone(s.Kept)
	for _, g := range given {
		a, err := attributeNamed(g.name)
		if err != nil {
			return err
		}
		if a.set == nil {
			return unknownAttribute(g.name)
		}
		if len(g.value) > maxAttributeValue || !utf8.ValidString(g.value) {
			return wrongValue(g.name, fmt.Sprintf("Must be text of at most %d bytes.", maxAttributeValue))
		}
		if err := a.set(s, q, g.value); err != nil {
			return err
		}
	}
	if err := oneEncryption(s, given); err != nil {
		return err
	}
	return checkFIFO(s)
}

// integer reads a number between two limits.
func integer(name, value string, lo, hi int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < lo || n > hi {
		return 0, wrongValue(name, fmt.Sprintf("Must be an integer from %d to %d.", lo, hi))
	}
	return n, nil
}

// seconds is an attribute that is a duration.
func seconds(name string, lo, hi time.Duration, field func(*queue.Settings) *time.Duration) queueAttribute {
	return queueAttribute{
		name: name,
		set: func(s *queue.Settings, _ site, value string) error {
			n, err := integer(name, value, int(lo/time.Second), int(hi/time.Second))
			*field(s) = time.Duration(n) * time.Second
			return err
		},
		get: func(v *view) string { return strconv.Itoa(int(*field(&v.settings) / time.Second)) },
	}
}

// kept is an attribute that is returned as it was given, and has no effect on
// messages. An empty value takes it away.
func kept(name string, check func(value string) error) queueAttribute {
	return queueAttribute{
		name: name,
		set: func(s *queue.Settings, _ site, value string) error {
			if value == "" {
				delete(s.Kept, name)
				return nil
			}
			if err := check(value); err != nil {
				return err
			}
			if s.Kept == nil {
				s.Kept = make(map[string]string)
			}
			s.Kept[name] = value
			return nil
		},
		get: func(v *view) string { return v.settings.Kept[name] },
	}
}

// policyMembers reads a policy, which is a JSON object with no other members
// than these, or says what is wrong with it. Unlike those of package json, the
// names of members have one spelling.
func policyMembers(what, value string, names ...string) (members map[string]json.RawMessage, wrong string) {
	if json.Unmarshal([]byte(value), &members) != nil || members == nil {
		return nil, what + " is not a valid JSON map."
	}
	for name, member := range members {
		if !slices.Contains(names, name) {
			return nil, "Only following attributes are supported: [" + strings.Join(names, ", ") + "]."
		}
		if string(member) == "null" {
			delete(members, name)
		}
	}
	return members, ""
}

// setRedrivePolicy reads {"deadLetterTargetArn": ARN, "maxReceiveCount": 1 to
// 1000}, neither of which may be missing; the count may be a string. The dead-letter queue must exist, belong
// to the same account, and let this queue use it.
func setRedrivePolicy(s *queue.Settings, q site, value string) error {
	if value == "" {
		s.DeadLetter = nil
		return nil
	}
	wrong := func(reason string) error { return invalid("RedrivePolicy", value, reason) }
	members, reason := policyMembers("Redrive policy", value, "deadLetterTargetArn", "maxReceiveCount")
	switch {
	case reason != "":
		return wrong(reason)
	case members["maxReceiveCount"] == nil:
		return wrong("Redrive policy does not contain mandatory attribute: maxReceiveCount.")
	case members["deadLetterTargetArn"] == nil:
		return wrong("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
	}
	given := strings.Trim(string(members["maxReceiveCount"]), `"`)
	receives, err := strconv.Atoi(given)
	if err != nil || receives < 1 || receives > queue.MaxReceives {
		return wrong(fmt.Sprintf("Invalid value for maxReceiveCount: %s, valid values are from 1 to %d both inclusive.", given, queue.MaxReceives))
	}
	var arn string
	if json.Unmarshal(members["deadLetterTargetArn"], &arn) != nil {
		return wrong("Dead letter target does not exist.")
	}
	accountID, name, ok := splitARN(arn)
	if !ok || accountID != q.accountID {
		return wrong("Dead letter target does not exist.")
	}
	target, err := q.door.queues.Queue(queue.Name{Account: q.name.Account, Queue: name})
	if err != nil {
		return wrong("Dead letter target does not exist.")
	}
	settings, _ := target.Settings()
	if q.name.FIFO() != target.Name().FIFO() {
		return wrong("Dead-letter queue must be same type of queue as the source.")
	}
	if !allowsRedrive(settings, q.arn()) {
		return wrong("The RedriveAllowPolicy of the dead letter target does not allow this queue to use it.")
	}
	s.DeadLetter = &queue.Redrive{Queue: name, MaxReceives: receives}
	return nil
}

func redrivePolicy(v *view) string {
	d := v.settings.DeadLetter
	if d == nil {
		return ""
	}
	return fmt.Sprintf(`{"deadLetterTargetArn":"%s","maxReceiveCount":%d}`, v.door.arn(v.accountID, d.Queue), d.MaxReceives)
}

// redriveAllowPolicy says which queues may name a queue as their dead-letter
// queue. It is asked when they do; those that did so before may go on.
type redriveAllowPolicy struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns"`
}

// checkRedriveAllowPolicy takes allowAll, denyAll, and byQueue with 1 to 10
// ARNs.
func checkRedriveAllowPolicy(value string) error {
	wrong := func(reason string) error { return invalid("RedriveAllowPolicy", value, reason) }
	members, reason := policyMembers("Redrive allow policy", value, "redrivePermission", "sourceQueueArns")
	if reason != "" {
		return wrong(reason)
	}
	var p redriveAllowPolicy
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return wrong("Redrive allow policy is not a valid JSON map.")
	}
	if members["redrivePermission"] == nil {
		return wrong("Redrive allow policy does not contain mandatory attribute: redrivePermission.")
	}
	switch p.Permission {
	case "byQueue":
		if len(p.Sources) < 1 || len(p.Sources) > 10 {
			return wrong("sourceQueueArns must have 1 to 10 ARNs with the redrivePermission byQueue.")
		}
	case "allowAll", "denyAll":
		if len(p.Sources) > 0 {
			return wrong("sourceQueueArns is only for the redrivePermission byQueue.")
		}
	default:
		return wrong("redrivePermission must be allowAll, denyAll or byQueue.")
	}
	return nil
}

func allowsRedrive(s queue.Settings, source string) bool {
	var p redriveAllowPolicy
	if json.Unmarshal([]byte(s.Kept["RedriveAllowPolicy"]), &p) != nil {
		return true // there is none
	}
	return p.Permission != "denyAll" && (p.Permission != "byQueue" || slices.Contains(p.Sources, source))
}
