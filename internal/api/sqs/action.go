package sqs

// handler decodes a request, does its action, and returns what is to be
// encoded.
type handler func(c *call) (output, error)

// input is the parameters of an action.
type input interface {
	// parameter reads the value of one parameter, and says whether there is
	// one of this name. Others are ignored, as at AWS.
	parameter(d *decoder, name []byte) bool
}

// output is what an action returns.
type output interface {
	// encode writes the members of the answer.
	encode(e *encoder)
}

// none is the output of actions that only succeed: an empty body.
type none struct{}

func (none) encode(*encoder) {}

// actions are the 23 actions of Amazon SQS.
var actions = map[string]handler{
	"AddPermission":                on((*call).addPermission),
	"CancelMessageMoveTask":        on((*call).cancelMessageMoveTask),
	"ChangeMessageVisibility":      on((*call).changeMessageVisibility),
	"ChangeMessageVisibilityBatch": on((*call).changeMessageVisibilityBatch),
	"CreateQueue":                  on((*call).createQueue),
	"DeleteMessage":                on((*call).deleteMessage),
	"DeleteMessageBatch":           on((*call).deleteMessageBatch),
	"DeleteQueue":                  on((*call).deleteQueue),
	"GetQueueAttributes":           on((*call).getQueueAttributes),
	"GetQueueUrl":                  on((*call).getQueueURL),
	"ListDeadLetterSourceQueues":   on((*call).listDeadLetterSourceQueues),
	"ListMessageMoveTasks":         on((*call).listMessageMoveTasks),
	"ListQueueTags":                on((*call).listQueueTags),
	"ListQueues":                   on((*call).listQueues),
	"PurgeQueue":                   on((*call).purgeQueue),
	"ReceiveMessage":               on((*call).receiveMessage),
	"RemovePermission":             on((*call).removePermission),
	"SendMessage":                  on((*call).sendMessage),
	"SendMessageBatch":             on((*call).sendMessageBatch),
	"SetQueueAttributes":           on((*call).setQueueAttributes),
	"StartMessageMoveTask":         on((*call).startMessageMoveTask),
	"TagQueue":                     on((*call).tagQueue),
	"UntagQueue":                   on((*call).untagQueue),
}

// inputOf is a pointer to an In, and an input.
type inputOf[In any] interface {
	*In
	input
}

// on makes a handler of an action's method.
func on[In any, P inputOf[In], Out output](run func(*call, P) (Out, error)) handler {
	return func(c *call) (output, error) {
		in := P(new(In))
		if err := c.decode(in); err != nil {
			return nil, err
		}
		return run(c, in)
	}
}
