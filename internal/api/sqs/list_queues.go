package sqs

import "encoding/base64"

// ListQueues
//
// Parameters: QueueNamePrefix, MaxResults (1 to 1000), NextToken. It lists the
// queues of the caller's account, by name.
//
// Differences: a NextToken is returned without MaxResults too, if there are
// more than 1000 queues. It does not expire.

const maxListed = 1000

// paging is the parameters of actions that list queues.
type paging struct {
	MaxResults number
	NextToken  string
}

func (in *paging) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "MaxResults":
		in.MaxResults = d.number()
	case "NextToken":
		in.NextToken = d.string()
	default:
		return false
	}
	return true
}

// page returns how many queues are wanted, and the name behind which to go on.
func (in *paging) page() (most int, after string, err error) {
	most = maxListed
	if in.MaxResults.given {
		most = in.MaxResults.n
	}
	if most < 1 || most > maxListed {
		return 0, "", invalid("MaxResults", most, "Must be between 1 and 1000, if provided.")
	}
	raw, err := base64.RawURLEncoding.DecodeString(in.NextToken)
	if err != nil {
		return 0, "", invalid("NextToken", in.NextToken, "Must be the NextToken of the answer before.")
	}
	return most, string(raw), nil
}

// token is the NextToken to go on behind a name.
func token(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

type listQueuesInput struct {
	QueueNamePrefix string
	paging
}

func (in *listQueuesInput) parameter(d *decoder, name []byte) bool {
	if string(name) == "QueueNamePrefix" {
		in.QueueNamePrefix = d.string()
		return true
	}
	return in.paging.parameter(d, name)
}

type listQueuesOutput struct {
	QueueURLs []string
	NextToken string
}

func (out listQueuesOutput) encode(e *encoder) {
	e.strings("QueueUrls", "QueueUrl", out.QueueURLs)
	e.optional("NextToken", out.NextToken)
}

func (c *call) listQueues(in *listQueuesInput) (out listQueuesOutput, err error) {
	most, after, err := in.page()
	if err != nil {
		return out, err
	}

	for i, q := range c.door.queues.List(c.caller.Account, in.QueueNamePrefix, after, most+1) {
		if i == most {
			out.NextToken = token(after)
			break
		}
		after = q.Name().Queue
		out.QueueURLs = append(out.QueueURLs, c.url(c.caller.AccountID, after))
	}
	return out, nil
}
