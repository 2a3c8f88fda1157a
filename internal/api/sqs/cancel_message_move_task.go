package sqs

// CancelMessageMoveTask
//
// Parameters: TaskHandle, of a task that is RUNNING. What was moved stays
// where it is.
//
// Differences: none known.

type cancelMessageMoveTaskInput struct{ TaskHandle string }

func (in *cancelMessageMoveTaskInput) parameter(d *decoder, name []byte) bool {
	if string(name) != "TaskHandle" {
		return false
	}
	in.TaskHandle = d.string()
	return true
}

type cancelMessageMoveTaskOutput struct{ Moved int64 }

func (out cancelMessageMoveTaskOutput) encode(e *encoder) {
	e.number("ApproximateNumberOfMessagesMoved", out.Moved)
}

func (c *call) cancelMessageMoveTask(in *cancelMessageMoveTaskInput) (out cancelMessageMoveTaskOutput, err error) {
	if in.TaskHandle == "" {
		return out, missing("TaskHandle")
	}
	handle, ok := parseTaskHandle(in.TaskHandle)
	if !ok {
		return out, invalidParameterValue.says("Value for parameter TaskHandle is invalid.")
	}
	source, err := c.queueAtARN("SourceArn", handle.SourceARN)
	if err != nil {
		return out, err
	}

	task, err := c.door.queues.CancelMove(source.Name(), handle.TaskID)
	if err != nil {
		return out, moveError(err)
	}
	return cancelMessageMoveTaskOutput{task.Moved}, nil
}
