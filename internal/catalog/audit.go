package catalog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// auditSpace is the key space of the audit log. A key is the number of a block
// and that of the entry, 4 and 8 bytes, so that a block can be read, and removed,
// without touching those before it. auditHead is the key of the first block that
// is kept and the number of the next entry, 8 bytes each.
const auditSpace store.Space = 'u'

var auditHead = []byte{0xff}

// Limits of the audit log.
const (
	auditBlock = 1000 // entries
	// AuditEntries and AuditAge are how much is kept: older entries go, a block
	// of them at a time.
	AuditEntries = 100_000
	AuditAge     = 400 * 24 * time.Hour
	// maxAuditValue is the most bytes that are kept of a value.
	maxAuditValue = 16 << 10
	// MaxAuditPage is the most entries that are returned at once.
	MaxAuditPage = 1000
	maxAuditText = 512 // of a name, and of who
)

// Actor is who changes something.
type Actor struct {
	// Key is the id of the key, Account the name of its account; empty without
	// keys.
	Key     string `json:"key,omitempty"`
	Account string `json:"account,omitempty"`
	// Address is where the request came from.
	Address string `json:"address,omitempty"`
	// By is what changed it where no request did, or what the request had done:
	// "server", "spec file NAME".
	By string `json:"by,omitempty"`
}

// Entry is one change in the audit log.
type Entry struct {
	// Number is greater than those of all entries before.
	Number uint64 `json:"-"`
	Time   time.Time
	Actor
	// Owner is the account that what was changed belongs to.
	Owner string `json:",omitempty"`
	// Kind and Name are those of the document; Action is create, change, delete,
	// or a word of who noted it.
	Kind, Name, Action string
	// Before and After are JSON, without what is secret. What is longer than is
	// kept is a JSON string of its beginning.
	Before, After json.RawMessage `json:",omitempty"`
}

type byKey struct{}

// By notes what makes the changes of a context: "spec file NAME".
func By(ctx context.Context, what string) context.Context {
	return context.WithValue(ctx, byKey{}, what)
}

// actor returns who makes the changes of a context.
func (c *Catalog) actor(ctx context.Context) Actor {
	var a Actor
	if c.opt.Who != nil {
		a = c.opt.Who(ctx)
	}
	if by, ok := ctx.Value(byKey{}).(string); ok {
		a.By = cut(by)
	}
	if a == (Actor{}) {
		a.By = "server"
	}
	return a
}

// openAudit reads where the audit log begins and ends.
func (c *Catalog) openAudit() error {
	head, err := c.store.Get(auditSpace, auditHead)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("open the audit log: %w", err)
	case len(head) != 16:
		return fmt.Errorf("open the audit log: its head has %d bytes", len(head))
	}
	c.audit.first, c.audit.next = binary.BigEndian.Uint64(head), binary.BigEndian.Uint64(head[8:])
	return nil
}

// auditLog is where the audit log begins, in blocks, and ends, in entries.
type auditLog struct{ first, next uint64 }

func auditKey(block, number uint64) []byte {
	key := binary.BigEndian.AppendUint32(nil, uint32(block)) //nolint:gosec // no server makes 4 million million changes
	return binary.BigEndian.AppendUint64(key, number)
}

func auditPrefix(block uint64) []byte { return auditKey(block, 0)[:4] }

// record adds entries to a batch, and returns what the log is once that is
// stored. The caller holds c.changing.
func (c *Catalog) record(b *store.Batch, entries ...Entry) (auditLog, error) {
	log := c.audit
	for _, e := range entries {
		value, err := json.Marshal(e)
		if err != nil {
			return log, fmt.Errorf("write an audit entry of %s %q: %w", e.Kind, e.Name, err)
		}
		if log.next%auditBlock == 0 {
			if err := c.trimAudit(b, &log); err != nil {
				return log, err
			}
		}
		b.Set(auditSpace, auditKey(log.next/auditBlock, log.next), value)
		log.next++
	}
	if len(entries) > 0 {
		head := binary.BigEndian.AppendUint64(nil, log.first)
		b.Set(auditSpace, auditHead, binary.BigEndian.AppendUint64(head, log.next))
	}
	return log, nil
}

// trimAudit removes the blocks that are too old or too many, as a new one begins.
func (c *Catalog) trimAudit(b *store.Batch, log *auditLog) error {
	first := log.first
	for ; first < c.audit.next/auditBlock; first++ { // what the batch itself adds is not in the store yet
		if log.next-first*auditBlock > AuditEntries {
			continue
		}
		block, err := c.auditEntries(first)
		if err != nil {
			return err
		}
		if len(block) > 0 && c.now().Sub(block[len(block)-1].Time) < AuditAge {
			break
		}
	}
	if first > log.first {
		b.DeleteRange(auditSpace, auditPrefix(log.first), auditPrefix(first))
		log.first = first
	}
	return nil
}

// auditEntries returns the entries of a block, the oldest first.
func (c *Catalog) auditEntries(block uint64) ([]Entry, error) {
	var out []Entry
	var failed error
	err := c.store.Scan(auditSpace, auditPrefix(block), func(key, value []byte) bool {
		var e Entry
		if failed = json.Unmarshal(value, &e); failed != nil {
			return false
		}
		e.Number = binary.BigEndian.Uint64(key[4:])
		out = append(out, e)
		return true
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return out, nil
}

// entryOf is the change of one document; ok is false if nothing changed but what
// is not shown and has no date: how it is sealed.
func (c *Catalog) entryOf(ctx context.Context, before, after Document) (e Entry, ok bool) {
	d := after
	e.Action = "change"
	switch {
	case before.Kind == "":
		e.Action = "create"
	case after.Value == nil:
		e.Action, d = "delete", before
	}
	e.Time, e.Actor = c.now(), c.actor(ctx)
	e.Kind, e.Name, e.Owner = d.Kind, cut(d.Name), ownerOf(d)
	e.Before, e.After = shown(before.Value), shown(after.Value)
	return e, e.Action != "change" || !bytes.Equal(e.Before, e.After)
}

// ownerOf returns the account that a document belongs to.
func ownerOf(d Document) string {
	switch d.Kind {
	case kindKey:
		var v keyDocument
		_ = json.Unmarshal(d.Value, &v) // was read before
		return v.Account
	case "owner": // notes of spec files
		return ""
	}
	owner, _, _ := strings.Cut(d.Name, "/")
	return owner
}

// Note adds an entry about something that is not in the catalog. before and
// after are JSON, or nil.
func (c *Catalog) Note(ctx context.Context, owner, kind, name, action string, before, after json.RawMessage) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	e := Entry{
		Time: c.now(), Actor: c.actor(ctx), Owner: owner, Kind: kind, Name: cut(name), Action: action,
		Before: shown(before), After: shown(after),
	}
	var b store.Batch
	log, err := c.record(&b, e)
	if err != nil {
		return err
	}
	if err := c.store.Commit(&b); err != nil {
		return runnel.Errorf(runnel.CodeUnavailable, "the audit log takes no entries now: %w", err)
	}
	c.audit = log
	return nil
}

// secretFields are the fields whose values are never in the audit log.
var secretFields = []string{"secret", "sealed", "sealed_env", "env", "password", "credentials", "token"}

const hiddenValue = "***"

// shown returns JSON without what is secret, and not more of it than is kept.
func shown(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return json.RawMessage(`"not JSON"`)
	}
	hide(v)
	text, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"not JSON"`)
	}
	if len(text) <= maxAuditValue {
		return text
	}
	text, _ = json.Marshal(strings.ToValidUTF8(string(text[:maxAuditValue]), "") + fmt.Sprintf("... (the first of %d bytes)", len(text)))
	return text
}

func hide(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if !slices.Contains(secretFields, strings.ToLower(name)) {
				hide(value)
			} else if of, ok := value.(map[string]any); ok {
				for name := range of {
					of[name] = hiddenValue
				}
			} else {
				v[name] = hiddenValue
			}
		}
	case []any:
		for _, value := range v {
			hide(value)
		}
	}
}

func cut(text string) string {
	if len(text) > maxAuditText {
		text = strings.ToValidUTF8(text[:maxAuditText], "") + "..."
	}
	return text
}

// AuditQuery says which entries are wanted. Zero fields do not count.
type AuditQuery struct {
	Owner, Kind, Name string
	// Who is the id of a key, an account, or what By was given.
	Who string
	// Since and Until bound the time; Until is not in it.
	Since, Until time.Time
	// Before is the number of an entry: only older ones.
	Before uint64
	// Limit is how many; 0 and more than MaxAuditPage: MaxAuditPage.
	Limit int
}

func (q *AuditQuery) matches(e *Entry) bool {
	return (q.Owner == "" || q.Owner == e.Owner) && (q.Kind == "" || q.Kind == e.Kind) && (q.Name == "" || q.Name == e.Name) &&
		(q.Who == "" || q.Who == e.Key || q.Who == e.Account || q.Who == e.By) &&
		!e.Time.Before(q.Since) && (q.Until.IsZero() || e.Time.Before(q.Until)) &&
		(q.Before == 0 || e.Number < q.Before)
}

// Audit returns entries, the newest first, and whether there may be older ones.
func (c *Catalog) Audit(ctx context.Context, q AuditQuery) (entries []Entry, more bool, err error) {
	c.changing.Lock()
	log := c.audit
	c.changing.Unlock()
	limit := min(cmp.Or(q.Limit, MaxAuditPage), MaxAuditPage)
	oldest := c.now().Add(-AuditAge)
	if log.next == 0 {
		return nil, false, nil
	}
	last := (log.next - 1) / auditBlock
	if q.Before > 0 {
		last = min(last, (q.Before-1)/auditBlock)
	}
	for n := last + 1; n > log.first; n-- {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		block, err := c.auditEntries(n - 1)
		if err != nil {
			return nil, false, err
		}
		for i := len(block) - 1; i >= 0; i-- {
			e := &block[i]
			if e.Time.Before(oldest) || e.Time.Before(q.Since) {
				return entries, false, nil
			}
			if !q.matches(e) {
				continue
			}
			if len(entries) == limit {
				return entries, true, nil
			}
			entries = append(entries, *e)
		}
	}
	return entries, false, nil
}
