package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// Limits of what is published.
const (
	maxNotes    = 64 << 10
	maxSample   = 1 << 20
	maxReleases = 500
)

// Publication asks for a version to be published.
type Publication struct {
	// Version is a reference, without the name. Empty: the newest build.
	Version string
	// Bump is BumpMajor, BumpMinor or BumpRevision: what the new number is
	// higher by than the highest that the function ever had. The first is
	// 1.0.0, 0.1.0 or 0.0.1. It does not matter for a version that has a
	// number.
	Bump string
	// Private versions are not what latest, or the beginning of a number,
	// means.
	Private bool
	Notes
}

// Notes are what a published version comes with, texts in UTF-8.
type Notes struct {
	Release string `json:"release_notes,omitempty"` // to 64 KiB
	// Samples of a payload and of what is returned for it, to 1 MiB each.
	SampleInput  string `json:"sample_input,omitempty"`
	SampleOutput string `json:"sample_output,omitempty"`
}

// VersionInfo describes one version of a function.
type VersionInfo struct {
	Version
	Live bool
	// Aliases are its names, sorted.
	Aliases []string
	// Notes are empty unless it is published.
	Notes Notes
}

// validate returns all faults at once.
func (p *Publication) validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, &runnel.FieldError{Path: path, Err: fmt.Errorf(format, args...)})
	}
	if _, ok := (Semantic{}).next(p.Bump); !ok && p.Bump != "" {
		fault("version_type", "%q: want %s, %s or %s", p.Bump, BumpMajor, BumpMinor, BumpRevision)
	}
	for _, text := range []struct {
		path, value string
		most        int
	}{{"release_notes", p.Release, maxNotes}, {"sample_input", p.SampleInput, maxSample}, {"sample_output", p.SampleOutput, maxSample}} {
		switch {
		case len(text.value) > text.most:
			fault(text.path, "is over %d KiB", text.most>>10)
		case !utf8.ValidString(text.value):
			fault(text.path, "is not text in UTF-8")
		}
	}
	return errors.Join(faults...)
}

// Publish gives a version a semantic version, notes and samples. It stays until
// the function is deleted, and calls by latest, or by the beginning of its
// number, may go to it from then on, under the promise about live.
//
// A version has one number. One that is published is CodeConflict, but for a
// private one that becomes public: it keeps its number, and the texts for which
// nothing new is said.
func (s *Set) Publish(ctx context.Context, name string, p Publication) (VersionInfo, error) {
	if err := p.validate(); err != nil {
		return VersionInfo{}, err
	}
	name = fullName(name)
	var hash string
	err := s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		before := e.stored()
		hash = before.newest()
		if p.Version != "" {
			var err error
			if hash, err = before.resolve(p.Version); err != nil {
				return err
			}
		}
		if !before.has(hash) {
			return runnel.Errorf(runnel.CodeNotFound, "version %s of %s is not kept", hash, name)
		}
		release, err := before.release(hash, p)
		if err != nil {
			return err
		}
		release.Published, release.By = s.opts.Now(), by(ctx)
		after := before
		after.Versions = slices.Clone(before.Versions)
		after.version(hash).Release = &release
		if release.Version.compare(after.Numbered) > 0 {
			after.Numbered = release.Version
		}
		return s.release(ctx, e, before, after, hash, p.Notes)
	})
	if err != nil {
		return VersionInfo{}, err
	}
	info, err := s.Version(name, hash)
	if err == nil {
		s.opts.Log.Info("version published", "function", name, "version", hash, "number", info.Release.Version, "public", info.Release.Public)
	}
	return info, err
}

// release returns what a version is published as.
func (r *Record) release(hash string, p Publication) (Release, error) {
	if have := r.version(hash).Release; have != nil {
		if have.Public || p.Private {
			how := "publicly"
			if !have.Public {
				how = "privately"
			}
			return Release{}, runnel.Errorf(runnel.CodeConflict, "version %s of %s is published %s already, as %s", hash, r.Name, how, have.Version)
		}
		return Release{Version: have.Version, Public: true}, nil
	}
	count := 0
	for _, v := range r.Versions {
		if v.Release != nil {
			count++
		}
	}
	if count >= maxReleases {
		return Release{}, runnel.Errorf(runnel.CodeLimit, "function %s has %d published versions, which is the most: remove one", r.Name, maxReleases)
	}
	next, ok := r.Numbered.next(p.Bump)
	if !ok {
		return Release{}, &runnel.FieldError{Path: "version_type", Err: fmt.Errorf("is missing: want %s, %s or %s", BumpMajor, BumpMinor, BumpRevision)}
	}
	return Release{Version: next, Public: !p.Private}, nil
}

// release makes a version in the record after a published one. Its texts are
// written first: without a record they are nothing, and removed.
func (s *Set) release(ctx context.Context, e *entry, before, after Record, hash string, notes Notes) error {
	defer s.cleanUp(e)
	dir := s.versionDir(e.name, hash)
	if _, err := verify(dir); err != nil {
		return err
	}
	if before.version(hash).Release != nil {
		refs, err := s.opts.Pinned(ctx, e.name)
		if err != nil {
			return fmt.Errorf("find the flows that call %s: %w", e.name, err)
		}
		if _, err := after.resolve(latestPrivate); err != nil && slices.Contains(refs, latestPrivate) {
			return runnel.Errorf(runnel.CodeConflict, "a flow calls %s@%s, and version %s is the only private one: change the flow first", e.name, latestPrivate, hash)
		}
		notes = notes.or(s.notes(e.name, hash))
	}
	if err := writeNotes(filepath.Join(s.home(e.name), notesFile(hash)), notes); err != nil {
		return fmt.Errorf("write the notes of the version: %w", err)
	}
	for _, ref := range []string{latest, latestPrivate} {
		from, _ := before.resolve(ref)
		to, _ := after.resolve(ref)
		if to == hash && from != hash {
			if err := s.prepare(ctx, e, hash, from); err != nil {
				return fmt.Errorf("publish version %s of %s: %w", hash, e.name, err)
			}
		}
	}
	if err := s.refer(ctx, e, after); err != nil {
		e.doubt(notesFile(hash))
		return err
	}
	return nil
}

// or returns n with the texts of m where it has none.
func (n Notes) or(m Notes) Notes {
	for _, text := range []struct{ own, other *string }{{&n.Release, &m.Release}, {&n.SampleInput, &m.SampleInput}, {&n.SampleOutput, &m.SampleOutput}} {
		if *text.own == "" {
			*text.own = *text.other
		}
	}
	return n
}

// notesFile is the name of the file with the notes of a published version, in
// the function's directory: the version's own may be written anew.
func notesFile(hash string) string { return hash + ".json" }

// writeNotes writes the file under another name, and renames it.
func writeNotes(name string, notes Notes) error {
	text, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(name), unfinished+filepath.Base(name))
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if err := errors.Join(syncFile(tmp), os.Rename(tmp, name)); err != nil {
		return err
	}
	return syncFile(filepath.Dir(name))
}

// notes reads the notes of a version. A loss is told to the operator: the
// version is no worse for it.
func (s *Set) notes(function, hash string) Notes {
	var notes Notes
	text, err := os.ReadFile(filepath.Join(s.home(function), notesFile(hash)))
	if err == nil {
		err = json.Unmarshal(text, &notes)
	}
	if err != nil {
		s.opts.Log.Warn("the notes of a version are lost", "function", function, "version", hash, "err", err)
	}
	return notes
}

// Version describes the version of a function that ref, a reference without
// the name, names now.
func (s *Set) Version(name, ref string) (VersionInfo, error) {
	name = fullName(name)
	e := s.entry(name, false)
	if e == nil {
		return VersionInfo{}, notFound(name)
	}
	r := e.stored()
	if r.Live == "" {
		return VersionInfo{}, notFound(name)
	}
	hash, err := r.resolve(ref)
	if err != nil {
		return VersionInfo{}, err
	}
	v := r.version(hash)
	if v == nil {
		return VersionInfo{}, runnel.Errorf(runnel.CodeNotFound, "version %s of %s is not kept", hash, name)
	}
	info := VersionInfo{Version: *v, Live: hash == r.Live}
	for _, alias := range slices.Sorted(maps.Keys(r.Aliases)) {
		if r.Aliases[alias] == hash {
			info.Aliases = append(info.Aliases, alias)
		}
	}
	if info.Release != nil {
		info.Notes = s.notes(name, hash)
	}
	return info, nil
}

// Remove forgets a version, also a published one, whose number is not given
// again. The live one, and those that an alias or a flow names, are
// CodeConflict.
func (s *Set) Remove(ctx context.Context, name, ref string) error {
	name = fullName(name)
	return s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		after := e.stored()
		hash, err := after.resolve(ref)
		if err != nil {
			return err
		}
		if hash == after.Live {
			return runnel.Errorf(runnel.CodeConflict, "version %s of %s is live: deploy or roll back to another one first", hash, name)
		}
		var names []string
		for _, alias := range slices.Sorted(maps.Keys(after.Aliases)) {
			if after.Aliases[alias] == hash {
				names = append(names, alias)
			}
		}
		if len(names) > 0 {
			return runnel.Errorf(runnel.CodeConflict, "version %s of %s has the aliases %s: move or delete them first", hash, name, strings.Join(names, ", "))
		}
		refs, err := s.opts.Pinned(ctx, name)
		if err != nil {
			return fmt.Errorf("find the flows that call %s: %w", name, err)
		}
		for _, ref := range refs {
			if pinned, err := after.resolve(ref); err == nil && pinned == hash {
				return runnel.Errorf(runnel.CodeConflict, "a flow calls %s@%s, which is version %s: change it first", name, ref, hash)
			}
		}
		after.Versions = slices.DeleteFunc(slices.Clone(after.Versions), func(v Version) bool { return v.Hash == hash })
		if err := s.refer(ctx, e, after); err != nil {
			return err
		}
		e.mu.Lock()
		old := e.forget()
		e.mu.Unlock()
		s.retire(e, old...)
		s.cleanUp(e)
		s.opts.Log.Info("version removed", "function", name, "version", hash)
		return nil
	})
}
