package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Limits of a document.
const (
	// MaxName is the most bytes of a name.
	MaxName = 256
	// MaxValue is the most bytes of a value.
	MaxValue = 1 << 20
)

// space is the key space of the catalog.
const space store.Space = 'c'

// counter is the store's key of the last version that was given: an empty
// kind, which no document has.
var counter = []byte{0}

// Document is one versioned document.
type Document struct {
	Kind, Name string
	// Version is when the document was last changed, in changes of the whole
	// catalog; at least 1.
	Version uint64
	// Value is JSON. It must not be changed.
	Value json.RawMessage
}

// stored is how a document is kept in the store.
type stored struct {
	Version uint64          `json:"version"`
	Value   json.RawMessage `json:"value"`
}

// Options configure a catalog. The zero value is the default.
type Options struct {
	// Now is the clock of the Created fields. Default time.Now.
	Now func() time.Time
}

// Catalog is all documents. Its methods may be called by several goroutines at
// once.
type Catalog struct {
	store *store.Store
	opt   Options

	// changing is held from the check of a change until it can be seen.
	changing sync.Mutex
	version  uint64 // the last one given; guarded by changing

	// mu guards what can be seen. It is never held while the store is asked.
	mu        sync.RWMutex
	documents map[string]map[string]Document // by kind and name
	accounts  map[string]Account             // by name
	names     map[string]string              // of accounts, by id
	uuids     map[string]string              // the same, by UUID
	memberOf  map[string][]string            // organisations, by user
	keys      map[string]Key                 // by id
}

// Open reads the catalog of a store. There is one catalog to a store.
func Open(s *store.Store, opt Options) (*Catalog, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	c := &Catalog{
		store:     s,
		opt:       opt,
		documents: make(map[string]map[string]Document),
		accounts:  make(map[string]Account),
		names:     make(map[string]string),
		uuids:     make(map[string]string),
		memberOf:  make(map[string][]string),
		keys:      make(map[string]Key),
	}
	var failed error
	err := s.Scan(space, nil, func(key, value []byte) bool {
		failed = c.load(key, value)
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return c, nil
}

func (c *Catalog) load(key, value []byte) error {
	if bytes.Equal(key, counter) {
		if err := json.Unmarshal(value, &c.version); err != nil {
			return fmt.Errorf("read the counter of versions: %w", err)
		}
		return nil
	}
	kind, name, ok := strings.Cut(string(key), "\x00")
	if !ok {
		return fmt.Errorf("the key %q is not one of a document", key)
	}
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	return c.show(Document{Kind: kind, Name: name, Version: s.Version, Value: s.Value})
}

// Get, List, Put and Delete are for all kinds but accounts, members and keys,
// which have methods of their own.

// Get returns a document, or CodeNotFound.
func (c *Catalog) Get(ctx context.Context, kind, name string) (Document, error) {
	if err := errors.Join(ctx.Err(), general(kind)); err != nil {
		return Document{}, err
	}
	return c.document(kind, name)
}

func (c *Catalog) document(kind, name string) (Document, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d, ok := c.documents[kind][name]
	if !ok {
		return Document{}, runnel.Errorf(runnel.CodeNotFound, "there is no %s %q", kind, name)
	}
	return d, nil
}

// List returns the documents of a kind, in the order of their names.
func (c *Catalog) List(ctx context.Context, kind string) ([]Document, error) {
	if err := errors.Join(ctx.Err(), general(kind)); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	of := c.documents[kind]
	list := make([]Document, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		list = append(list, of[name])
	}
	return list, nil
}

// Put writes a document and returns its new version. expected is the version
// that the caller has seen, 0 for a document that must not exist yet;
// CodeConflict if the document has another.
func (c *Catalog) Put(ctx context.Context, kind, name string, value json.RawMessage, expected uint64) (uint64, error) {
	if err := general(kind); err != nil {
		return 0, err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.expect(kind, name, expected); err != nil {
		return 0, err
	}
	return c.commit(ctx, Document{Kind: kind, Name: name, Value: value})
}

// Delete removes a document: CodeNotFound if there is none, CodeConflict if
// its version is not the expected one.
func (c *Catalog) Delete(ctx context.Context, kind, name string, expected uint64) error {
	if err := general(kind); err != nil {
		return err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if _, err := c.document(kind, name); err != nil {
		return err
	}
	if err := c.expect(kind, name, expected); err != nil {
		return err
	}
	return c.remove(ctx, Document{Kind: kind, Name: name})
}

// general refuses the kinds that have methods of their own: these keep their
// rules, and do not let secrets out with the rest.
func general(kind string) error {
	if kind == kindAccount || kind == kindMember || kind == kindKey {
		return runnel.Errorf(runnel.CodeInvalid, "documents of the kind %s have methods of their own", kind)
	}
	return nil
}

// expect compares the version of a document. The caller holds c.changing.
func (c *Catalog) expect(kind, name string, expected uint64) error {
	switch d, err := c.document(kind, name); {
	case err != nil && expected == 0:
		return nil
	case err != nil:
		return runnel.Errorf(runnel.CodeConflict, "the %s %q was deleted meanwhile", kind, name)
	case expected == 0:
		return runnel.Errorf(runnel.CodeConflict, "the %s %q exists already", kind, name)
	case d.Version != expected:
		return runnel.Errorf(runnel.CodeConflict, "the %s %q was changed meanwhile: it has version %d, not %d; read it again", kind, name, d.Version, expected)
	}
	return nil
}

// commit writes documents together, under one new version, and shows them. The
// caller holds c.changing.
func (c *Catalog) commit(ctx context.Context, documents ...Document) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := c.store.Room(); err != nil {
		return 0, runnel.Errorf(runnel.CodeUnavailable, "the disk of the server is nearly full: %w", err)
	}
	version := c.version + 1
	var b store.Batch
	for i := range documents {
		d := &documents[i]
		if err := d.validate(); err != nil {
			return 0, err
		}
		d.Version = version
		value, err := json.Marshal(stored{Version: version, Value: d.Value})
		if err != nil {
			return 0, fmt.Errorf("write %s %q: %w", d.Kind, d.Name, err)
		}
		// The value as it is stored, so that it is the same after a restart.
		var s stored
		if err := json.Unmarshal(value, &s); err != nil {
			return 0, fmt.Errorf("write %s %q: %w", d.Kind, d.Name, err)
		}
		d.Value = s.Value
		b.Set(space, storeKey(d.Kind, d.Name), value)
	}
	if err := c.apply(&b, version); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range documents {
		if err := c.show(d); err != nil {
			return 0, err
		}
	}
	return version, nil
}

// remove deletes documents together, of which Kind and Name count. The caller
// holds c.changing.
func (c *Catalog) remove(ctx context.Context, documents ...Document) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var b store.Batch
	for _, d := range documents {
		b.Delete(space, storeKey(d.Kind, d.Name))
	}
	if err := c.apply(&b, c.version+1); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range documents {
		c.hide(d.Kind, d.Name)
	}
	return nil
}

// apply makes a change durable, with its version. It waits whatever becomes of
// the caller's context, so that what is seen is what is stored. The caller
// holds c.changing.
func (c *Catalog) apply(b *store.Batch, version uint64) error {
	value, err := json.Marshal(version)
	if err != nil {
		return fmt.Errorf("write the counter of versions: %w", err)
	}
	b.Set(space, counter, value)
	if err := c.store.Commit(b); err != nil {
		return runnel.Errorf(runnel.CodeUnavailable, "the catalog takes no changes now: %w", err)
	}
	c.version = version
	return nil
}

// show makes a document visible, also to its kind's own methods. The caller
// holds c.mu, or is Open.
func (c *Catalog) show(d Document) error {
	switch d.Kind {
	case kindAccount:
		if err := c.showAccount(d); err != nil {
			return err
		}
	case kindKey:
		if err := c.showKey(d); err != nil {
			return err
		}
	case kindMember:
		c.showMember(d.Name)
	}
	if c.documents[d.Kind] == nil {
		c.documents[d.Kind] = make(map[string]Document)
	}
	c.documents[d.Kind][d.Name] = d
	return nil
}

// hide is the reverse of show.
func (c *Catalog) hide(kind, name string) {
	switch kind {
	case kindAccount:
		c.hideAccount(name)
	case kindMember:
		c.hideMember(name)
	case kindKey:
		delete(c.keys, name)
	}
	delete(c.documents[kind], name)
}

func (d *Document) validate() error {
	if d.Kind == "" || len(d.Kind) > 32 || strings.Trim(d.Kind, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return runnel.Errorf(runnel.CodeInvalid, "the kind %.40q is not of 1 to 32 lower-case letters and hyphens", d.Kind)
	}
	if d.Name == "" || len(d.Name) > MaxName {
		return runnel.Errorf(runnel.CodeInvalid, "the name of a %s has %d bytes, want 1 to %d", d.Kind, len(d.Name), MaxName)
	}
	if !isPlain(d.Name) {
		return runnel.Errorf(runnel.CodeInvalid, "the name %.80q of a %s is not plain text", d.Name, d.Kind)
	}
	if len(d.Value) > MaxValue {
		return runnel.Errorf(runnel.CodeTooLarge, "the %s %q has %d bytes, at most %d are kept", d.Kind, d.Name, len(d.Value), MaxValue)
	}
	if !json.Valid(d.Value) {
		return runnel.Errorf(runnel.CodeInvalid, "the value of the %s %q is not JSON", d.Kind, d.Name)
	}
	return nil
}

// isPlain says whether text is one line of it.
func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

func storeKey(kind, name string) []byte { return []byte(kind + "\x00" + name) }
