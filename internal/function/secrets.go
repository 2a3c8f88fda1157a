package function

import (
	"cmp"
	"context"
	"errors"
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
	def, live, workers := e.record.Definition, e.record.Live, e.record.workers(e.record.Live)
	running := e.pools[live] != nil
	e.mu.Unlock()

	var p *pool
	if running {
		if p, err = s.open(ctx, def, live, workers); err != nil {
			return err
		}
	}
	e.mu.Lock()
	closed := e.closed
	old := e.takePools()
	switch {
	case p == nil:
	case closed:
		old = append(old, p)
	default:
		e.pools[live] = p
	}
	e.mu.Unlock()
	s.retire(e, old...)
	if !running && !closed && workers.Min > 0 {
		s.warm(e)
	}
	return nil
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

// buildBegins notes that a function is being built, and returns what notes the
// end.
func (s *Set) buildBegins(def runnel.Function) (built func()) {
	if len(def.Env) == 0 {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	env := &def.Env
	// Lists are replaced, not changed: buildLine reads them without the lock.
	s.building[def.Name] = append(slices.Clone(s.building[def.Name]), env)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(s.building[def.Name]), func(e *map[string]string) bool { return e == env })
		if s.building[def.Name] = left; len(left) == 0 {
			delete(s.building, def.Name)
		}
	}
}

// buildLine hands a line of a build on.
func (s *Set) buildLine(function, line string) {
	s.mu.RLock()
	environments := s.building[function]
	s.mu.RUnlock()
	for _, env := range environments {
		line = masked(line, *env)
	}
	s.opts.BuildLog(function, line)
}
