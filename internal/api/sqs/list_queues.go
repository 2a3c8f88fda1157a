package sqs

import (
	"encoding/base64"
)

// ListQueues
//
// Parameters: QueueNamePrefix, MaxResults (1 to 1000), NextToken. It lists the
// queues of the caller's account, by name.
//
// Differences: a NextToken is returned without MaxResults too, if there are
// more than 1000 queues. It does not expire.

const maxListed = 1000

type listQueuesInput struct {
	QueueNamePrefix string
	MaxResults      number
	NextToken       string
}

func (in *listQueuesInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueNamePrefix":
		in.QueueNamePrefix = d.string()
	case "MaxResults":
		in.MaxResults = d.number()
	case "NextToken":
		in.NextToken = d.string()
	default:
		return false
	}
	return true
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
	most := maxListed
	if in.MaxResults.given {
		most = in.MaxResults.n
	}
	if most < 1 || most > maxListed {
		return out, invalid("MaxResults", most, "Must be between 1 and 1000, if provided.")
	}

	// The token is the name behind which to go on.
	after, err := base64.RawURLEncoding.DecodeString(in.NextToken)
	if err != nil {
		return out, invalid("NextToken", in.NextToken, "Must be the NextToken of an answer to ListQueues.")
	}

	for i, q := range c.door.queues.List(c.caller.Account, in.QueueNamePrefix, string(after), most+1) {
		if i == most {
			out.NextToken = base64.RawURLEncoding.EncodeToString(after)
			break
		}
		after = []byte(q.Name().Queue)
		out.QueueURLs = append(out.QueueURLs, c.url(c.caller.AccountID, q.Name().Queue))
	}
	return out, nil
}
