package sqs

import (
	"github.com/runnel-io/runnel/internal/queue"
)

const maxEntries = 10

// entryIDs are what a batch is first checked by: the ids of its first entries,
// and how many entries it has.
type entryIDs struct {
	ids   []string
	count int
}

// entries reads the entries of a batch: entry reads one, and returns its id.
// What is beyond the limit is only counted.
func (d *decoder) entries(entry func() (id string)) (e entryIDs) {
	e.ids = make([]string, 0, maxEntries)
	d.list(func() {
		if e.count++; e.count > maxEntries {
			d.skip()
			return
		}
		e.ids = append(e.ids, entry())
	})
	return e
}

// check refuses a batch as a whole. shape is the name of its entries' type.
func (e *entryIDs) check(shape string) error {
	if e.count == 0 {
		return emptyBatchRequest.says("There should be at least one %s in the request.", shape)
	}
	if e.count > maxEntries {
		return tooManyEntriesInBatchRequest.says("Maximum number of entries per request are %d. You have sent %d.", maxEntries, e.count)
	}
	for _, id := range e.ids {
		if !isEntryID(id) {
			return invalidBatchEntryID.says("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
	}
	for i, id := range e.ids {
		for _, other := range e.ids[:i] {
			if id == other {
				return batchEntryIDsNotDistinct.says("Id %s repeated.", id)
			}
		}
	}
	return nil
}

// isEntryID says whether s has 1 to 80 letters, digits, hyphens and
// underscores: the rule of queue names.
func isEntryID(s string) bool { return queue.Name{Queue: s}.Validate() == nil }

// failedEntry is an entry of a batch that failed.
type failedEntry struct {
	ID string
	*failure
}

// fail returns a failed entry. What is not the caller's fault fails the whole
// call, which the caller will repeat, and comes back as err.
func fail(id string, err error) (failedEntry, error) {
	f, known := failureOf(err)
	if !known || !f.sender() {
		return failedEntry{}, err
	}
	return failedEntry{id, f}, nil
}

// batchOutput is what DeleteMessageBatch and ChangeMessageVisibilityBatch
// return.
type batchOutput struct {
	each       string // what an entry of Successful is called in XML
	Successful []string
	Failed     []failedEntry
}

func (out *batchOutput) encode(e *encoder) {
	e.list("Successful", out.each, len(out.Successful), func(i int) { e.field("Id", out.Successful[i]) })
	e.failed(out.Failed)
}

// failed writes the entries of a batch that failed.
func (e *encoder) failed(failed []failedEntry) {
	e.list("Failed", "BatchResultErrorEntry", len(failed), func(i int) {
		f := &failed[i]
		e.field("Id", f.ID)
		e.field("Code", f.query)
		e.field("Message", f.message)
		e.truth("SenderFault", true)
	})
}

// settleEntries runs a batch over receipt handles. handles are those of the
// entries; run does the good ones at once and returns an error or nil for each
// of them, in their order. each is what a good entry is called in XML.
func settleEntries(each string, ids, handles []string, check func(i int) error, run func(entries []int, receipts []queue.Receipt) []error) (*batchOutput, error) {
	errs := make([]error, len(ids))
	entries := make([]int, 0, len(ids))
	receipts := make([]queue.Receipt, 0, len(ids))
	for i := range ids {
		var r queue.Receipt
		if errs[i] = check(i); errs[i] == nil {
			r, errs[i] = parseReceipt(handles[i])
		}
		if errs[i] == nil {
			entries, receipts = append(entries, i), append(receipts, r)
		}
	}
	if len(entries) > 0 {
		for n, err := range run(entries, receipts) {
			errs[entries[n]] = err
		}
	}
	out := &batchOutput{each: each, Successful: make([]string, 0, len(ids))}
	for i, err := range errs {
		if err == nil {
			out.Successful = append(out.Successful, ids[i])
			continue
		}
		f, err := fail(ids[i], err)
		if err != nil {
			return nil, err
		}
		out.Failed = append(out.Failed, f)
	}
	return out, nil
}
