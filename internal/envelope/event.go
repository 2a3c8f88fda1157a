package envelope

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/runnel-io/runnel"
)

// event calls the function once with all messages. What its context says of
// the message is of the first.
func (c *call) event(ctx context.Context, of runnel.Call, in []runnel.Message) ([]runnel.Result, error) {
	results := make([]runnel.Result, len(in))
	size, first := 16, -1
	for i := range in {
		if results[i].Err = validText(in[i].Body); results[i].Err != nil {
			continue
		}
		size += recordBytes(&in[i])
		if first < 0 {
			first = i
		}
	}
	if first < 0 {
		return results, nil
	}
	event := append(make([]byte, 0, size), `{"Records":[`...)
	for i := range in {
		if results[i].Err != nil {
			continue
		}
		if i > first {
			event = append(event, ',')
		}
		event = c.appendRecord(event, &of, i, &in[i])
	}
	event = append(event, "]}"...)
	m := &in[first]
	answers, err := c.invoke(ctx, of.Invocation, c.format, false, []runnel.Item{{
		Payload: event, Message: m.ID, Attempt: attempt(&of, first), Key: m.Key, Trace: m.Trace,
	}})
	if err != nil {
		return nil, err
	}
	c.settle(in, &answers[0], results)
	return results, nil
}

// settle gives the messages of an event that have no error yet the ones that
// follow from its answer.
func (c *call) settle(in []runnel.Message, a *runnel.Answer, results []runnel.Result) {
	if a.Err != nil {
		failAll(results, a.Err)
		return
	}
	if !c.cfg.ReportBatchItemFailures {
		return
	}
	failed, err := batchItemFailures(a)
	if err != nil {
		failAll(results, err)
		return
	}
	if len(failed) == 0 {
		return
	}
	known := make(map[runnel.MessageID]bool, len(in)) // whether it failed
	for i := range in {
		if results[i].Err == nil {
			known[in[i].ID] = false
		}
	}
	for _, id := range failed {
		if _, ok := known[id]; !ok {
			failAll(results, failure(runnel.KindError, "batchItemFailures names %.100q, which is none of the messages: all of them failed", id))
			return
		}
		known[id] = true
	}
	for i := range in {
		if results[i].Err == nil && known[in[i].ID] {
			results[i].Err = failure(runnel.KindError, "the function named this message in batchItemFailures")
		}
	}
}

func failAll(results []runnel.Result, err error) {
	for i := range results {
		if results[i].Err == nil {
			results[i].Err = err
		}
	}
}

// batchItemFailures reads which messages failed by the rules of AWS: an empty
// or null answer, or an empty or null list, or none, means that none did.
// Anything that does not clearly name messages is an error: all of them failed.
// It is of kind error, not output, since it is tried again.
//
// Names are told apart by case, as AWS does, so encoding/json's structs do not
// do.
func batchItemFailures(a *runnel.Answer) ([]runnel.MessageID, error) {
	answer := bytes.TrimSpace(a.Payload)
	if a.Format == runnel.FormatNone || len(answer) == 0 || a.Format == runnel.FormatJSON && isNull(answer) {
		return nil, nil
	}
	if a.Format != runnel.FormatJSON {
		return nil, failure(runnel.KindError, "the function returned %s instead of an object with batchItemFailures: all messages failed", a.Format)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(answer, &object); err != nil {
		return nil, failure(runnel.KindError, "the function returned %s instead of an object with batchItemFailures: all messages failed", kindOf(answer))
	}
	list, ok := object["batchItemFailures"]
	if !ok || isNull(list) {
		return nil, nil
	}
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, failure(runnel.KindError, `batchItemFailures is not a list of {"itemIdentifier": ID}: all messages failed`)
	}
	failed := make([]runnel.MessageID, len(items))
	for i, item := range items {
		var id *string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil || id == nil || *id == "" {
			return nil, failure(runnel.KindError, "batchItemFailures[%d] has no itemIdentifier that is the id of a message: all messages failed", i)
		}
		failed[i] = runnel.MessageID(*id)
	}
	return failed, nil
}
