package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/queue"
)

// templates are the queue templates of all spec files. A queue that is made from
// one belongs to nobody, as if a client had created it: what becomes of the
// template later does not matter to it.
type templates struct {
	catalog *catalog.Catalog
	queues  *queue.Set
	arn     func(context.Context, queue.Name) string
	made    func() // is told that there is a new queue
	log     *slog.Logger

	changing sync.Mutex // held while templates are read to be changed
}

// kindTemplates is the catalog's kind of templates; names are accounts.
const kindTemplates = "queue-templates"

// fileTemplates are those of one file.
type fileTemplates struct {
	File      string                 `json:"file"`
	Templates []runnel.QueueTemplate `json:"templates"`
}

// use returns a queue, which is made if there is none and a template says how.
// Without that it is CodeNotFound.
func (t *templates) use(ctx context.Context, name queue.Name) (*queue.Queue, error) {
	q, missing := t.queues.Queue(name)
	if missing == nil {
		return q, nil
	}
	files, _, err := t.stored(ctx, name.Account)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		for _, template := range f.Templates {
			declaration, ok := template.For(name.Queue)
			if !ok {
				continue
			}
			q, isNew, err := t.queues.Create(name, declared(declaration, queue.Settings{}, t.arns(ctx, name.Account)))
			if isNew {
				t.log.Info("queue made on its first use", "queue", name.String(), "template", template.Match, "file", f.File)
				t.made()
			}
			return q, err
		}
	}
	return nil, missing
}

// arns returns what makes ARNs of the names of an account's queues.
func (t *templates) arns(ctx context.Context, account string) func(string) string {
	return func(name string) string { return t.arn(ctx, queue.Name{Account: account, Queue: name}) }
}

// stored returns the templates for an account, by the names of their files, and
// the version of the document; 0 if there is none.
func (t *templates) stored(ctx context.Context, account string) (files []fileTemplates, version uint64, err error) {
	d, err := t.catalog.Get(ctx, kindTemplates, account)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(d.Value, &files); err != nil {
		return nil, 0, fmt.Errorf("read the queue templates of the account %s: %w", account, err)
	}
	return files, d.Version, nil
}

// put makes the templates of a file those that it declares for an account, and
// says what that changes. dry: only that.
func (t *templates) put(ctx context.Context, account, owner string, declared []runnel.QueueTemplate, dry bool) ([]admin.Change, error) {
	t.changing.Lock()
	defer t.changing.Unlock()
	documents, err := t.catalog.List(ctx, kindTemplates)
	if err != nil {
		return nil, err
	}
	accounts := []string{account}
	for _, d := range documents { // the file may have been for another one before
		if d.Name != account {
			accounts = append(accounts, d.Name)
		}
	}
	var changes []admin.Change
	for i, name := range accounts {
		files, version, err := t.stored(ctx, name)
		if err != nil {
			return changes, err
		}
		var before, now []runnel.QueueTemplate
		others := slices.DeleteFunc(slices.Clone(files), func(f fileTemplates) bool {
			if sameOwner(f.File, owner) {
				before = f.Templates
				return true
			}
			return false
		})
		if i == 0 {
			now = declared
		}
		changes = append(changes, templateChanges(before, now)...)
		next := others
		if len(now) > 0 {
			next = append(next, fileTemplates{owner, now})
		}
		slices.SortFunc(next, func(a, b fileTemplates) int { return cmp.Compare(a.File, b.File) })
		if dry || same(files, next) || len(files)+len(next) == 0 {
			continue
		}
		if err := t.store(ctx, name, next, version); err != nil {
			return changes, err
		}
	}
	return changes, nil
}

func (t *templates) store(ctx context.Context, account string, files []fileTemplates, version uint64) error {
	if len(files) == 0 {
		return t.catalog.Delete(ctx, kindTemplates, account, version)
	}
	value, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("encode the queue templates of the account %s: %w", account, err)
	}
	_, err = t.catalog.Put(ctx, kindTemplates, account, value, version)
	return err
}

// templateChanges compares templates by their patterns.
func templateChanges(before, now []runnel.QueueTemplate) (changes []admin.Change) {
	find := func(in []runnel.QueueTemplate, match string) (runnel.QueueTemplate, bool) {
		i := slices.IndexFunc(in, func(t runnel.QueueTemplate) bool { return t.Match == match })
		if i < 0 {
			return runnel.QueueTemplate{}, false
		}
		return in[i], true
	}
	for _, t := range now {
		change := admin.Change{Kind: "queue template", Name: t.Match, Action: created}
		if was, ok := find(before, t.Match); ok {
			change.Action = changed
			if same(was, t) {
				change.Action = unchanged
			}
		}
		changes = append(changes, change)
	}
	for _, t := range before {
		if _, ok := find(now, t.Match); !ok {
			changes = append(changes, admin.Change{Kind: "queue template", Name: t.Match, Action: removed})
		}
	}
	return changes
}
