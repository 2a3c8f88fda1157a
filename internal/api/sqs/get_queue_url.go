package sqs

import "errors"

// GetQueueUrl
//
// Parameters: QueueName, QueueOwnerAWSAccountId. Only an admin may ask for the
// queues of another account; for others there are none, as at Amazon. All other
// actions refuse the URL of such a queue with AccessDenied.
//
// The URL has the host of the request, or the server's public URL.

type getQueueURLInput struct {
	QueueName              string
	QueueOwnerAWSAccountID string
}

func (in *getQueueURLInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueName":
		in.QueueName = d.string()
	case "QueueOwnerAWSAccountId":
		in.QueueOwnerAWSAccountID = d.string()
	default:
		return false
	}
	return true
}

func (c *call) getQueueURL(in *getQueueURLInput) (out queueURLOutput, err error) {
	if in.QueueName == "" {
		return out, invalidParameterValue.says("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")
	}

	q, err := c.useOf(in.QueueOwnerAWSAccountID, in.QueueName)
	if f := (*failure)(nil); errors.As(err, &f) && f.kind == accessDenied {
		err = queueDoesNotExist.says("The specified queue does not exist or you do not have access to it.")
	}
	if err != nil {
		return out, err
	}

	return queueURLOutput{c.url(q.accountID, in.QueueName)}, nil
}
