package function

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// Refresh makes the workers of the function called name, OWNER/NAME, those of
// its secrets as they are now. It is as a deploy: the new workers are ready
// before the old ones drain, and no call fails. Where the code does not load
// with them, the old workers go on, and the error says why.
func (s *Set) Refresh(ctx context.Context, name string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	e := s.entry(name, false)
	if e == nil {
		return notFound(name)
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	e.mu.Lock()
	if e.record.Live == "" {
		e.mu.Unlock()
		return notFound(name)
	}
	// Starts that are under way may have read the old ones.
	e.refreshed++
	record := e.record
	versions := slices.Sorted(maps.Keys(e.pools))
	e.mu.Unlock()

	// All of them, before one is replaced: those that aliases and flows name,
	// too.
	fresh := make(map[string]*pool, len(versions))
	for _, version := range versions {
		p, err := s.reopen(ctx, e, &record, version)
		if err != nil {
			s.retire(e, slices.Collect(maps.Values(fresh))...)
			if version != record.Live {
				err = fmt.Errorf("version %s: %w", version, err)
			}
			return err
		}
		fresh[version] = p
	}
	e.mu.Lock()
	closed := e.closed
	old := e.takePools()
	for version, p := range fresh {
		if closed {
			old = append(old, p)
			continue
		}
		e.pools[version] = p
	}
	e.mu.Unlock()
	s.retire(e, old...)
	if workers := record.workers(record.Live); fresh[record.Live] == nil && !closed && workers.Min > 0 {
		s.warm(e)
	}
	return nil
}

// reopen starts another pool of a version, with as many workers as there are.
func (s *Set) reopen(ctx context.Context, e *entry, r *Record, version string) (*pool, error) {
	def := r.definition(version)
	j := s.builds.start(def, BuildForRestore)
	j.made(version)
	p, err := s.openWarm(ctx, def, version, r.workers(version), e.size(version), j)
	j.end(err, true)
	return p, err
}

// merged returns env with secrets over it.
func merged(env, secrets map[string]string) map[string]string {
	if len(secrets) == 0 {
		return env
	}
	out := make(map[string]string, len(env)+len(secrets))
	maps.Copy(out, env)
	maps.Copy(out, secrets)
	return out
}

// minMasked is the shortest value that is masked, in bytes. Shorter ones would
// take words apart, and are no secrets.
const minMasked = 8

// masked replaces the values of env in text, the longest first: one may be part
// of another.
func masked(text string, env map[string]string) string {
	values := slices.SortedFunc(maps.Values(env), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, value := range values {
		if len(value) >= minMasked {
			text = strings.ReplaceAll(text, value, "***")
		}
	}
	return text
}

// maskedError is err without the values of env in its text.
func maskedError(err error, env map[string]string) error {
	text := masked(err.Error(), env)
	var coded *runnel.Error
	switch {
	case text == err.Error():
		return err
	case errors.As(err, &coded):
		return &runnel.Error{Code: coded.Code, Message: masked(coded.Message, env)}
	}
	return errors.New(text)
}
