package function

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/runnel-io/runnel"
)

// maxAliases is how many aliases a function may have.
const maxAliases = 100

// SetAlias makes alias a name of the version that ref names now, and returns
// that version. Calls by the alias go to it from then on: no call begins on a
// version that the alias does not name. Where workers of the version that it
// named run, as many of the new one are ready before.
func (s *Set) SetAlias(ctx context.Context, name, alias, ref string) (version string, err error) {
	if err := checkAlias(alias); err != nil {
		return "", err
	}
	name = fullName(name)
	err = s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		after := e.stored()
		if version, err = after.resolve(ref); err != nil {
			return err
		}
		before, taken := after.Aliases[alias]
		switch {
		case taken && before == version:
			return nil
		case !taken && len(after.Aliases) >= maxAliases:
			return runnel.Errorf(runnel.CodeLimit, "function %s has %d aliases, which is the most: delete one", name, maxAliases)
		}
		if err := s.prepare(ctx, e, version, before); err != nil {
			return fmt.Errorf("alias %s of %s: %w", alias, name, err)
		}
		after.Aliases = maps.Clone(after.Aliases)
		if after.Aliases == nil {
			after.Aliases = make(map[string]string)
		}
		after.Aliases[alias] = version
		if err := s.refer(ctx, e, after); err != nil {
			return err
		}
		s.opts.Log.Info("alias set", "function", name, "alias", alias, "version", version, "before", before)
		return nil
	})
	return version, err
}

// DeleteAlias removes an alias that no flow uses.
func (s *Set) DeleteAlias(ctx context.Context, name, alias string) error {
	name = fullName(name)
	return s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		after := e.stored()
		if _, ok := after.Aliases[alias]; !ok {
			return runnel.Errorf(runnel.CodeNotFound, "function %s has no alias %q", name, alias)
		}
		refs, err := s.opts.Pinned(ctx, name)
		if err != nil {
			return fmt.Errorf("find the flows that call %s: %w", name, err)
		}
		if slices.Contains(refs, alias) {
			return runnel.Errorf(runnel.CodeConflict, "a flow calls %s@%s: change it first", name, alias)
		}
		after.Aliases = maps.Clone(after.Aliases)
		delete(after.Aliases, alias)
		return s.refer(ctx, e, after)
	})
}

// refer stores a record in which references stand for other versions, and
// makes it so. The caller has the turn.
func (s *Set) refer(ctx context.Context, e *entry, after Record) error {
	err := s.put(ctx, after)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.record = after
		e.tell()
	}
	// What prepare has raised.
	e.adjust()
	return err
}

// prepare sees to it that a version can take the calls that another one,
// which may be "", answers now. Without calls it only looks whether the code is
// whole. The caller has the turn.
func (s *Set) prepare(ctx context.Context, e *entry, version, from string) error {
	size, own := e.size(from), e.size(version)
	e.mu.Lock()
	workers := e.record.workers(version)
	limit := startTimeout(e.record.Definition)
	var st *start
	if size > 0 && e.pools[version] == nil && !e.closed {
		st = s.start(e, version)
	}
	e.mu.Unlock()
	if _, err := verify(s.versionDir(e.name, version)); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if st != nil {
		select {
		case <-st.done:
			if st.err != nil {
				return st.err
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for the start of version %s: %w", version, context.Cause(ctx))
		}
	}
	e.mu.Lock()
	p, slots := e.pools[version], max(e.record.Definition.Concurrency, 1)
	e.mu.Unlock()
	if p == nil {
		return nil // it is being closed
	}
	size = min(size+own, workers.Max)
	workers.Min = max(workers.Min, size)
	p.Resize(workers)
	if own == 0 {
		s.fill(ctx, p, size, slots, limit)
	}
	return nil
}
