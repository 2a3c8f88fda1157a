package function

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// The bounds of what is kept of builds.
const (
	keptBuilds  = 20      // of each function
	maxBuildLog = 1 << 20 // bytes of each log
)

// States of a build.
const (
	BuildInProgress = "in-progress"
	BuildSucceeded  = "succeeded"
	BuildFailed     = "failed"
)

// What builds are made for.
const (
	BuildForDeploy  = "deploy"
	BuildForRestore = "restore" // what had been built was gone when it was needed
)

// Build is one time that a version was made of a function's source, or its
// dependencies were built again.
type Build struct {
	// ID orders the builds of a function by their start.
	ID       string    `json:"id"`
	Function string    `json:"function"`
	For      string    `json:"for"`
	Status   string    `json:"status"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	// Version is what was built, as soon as it is known.
	Version string `json:"version,omitempty"`
	// Error is one line that says why it failed.
	Error string `json:"error,omitempty"`
}

// builds keeps the records and logs of builds, as the files ID.json and ID.log
// of dir/OWNER/NAME. What cannot be kept is told to warn, and keeps no build
// up.
type builds struct {
	dir     string
	now     func() time.Time
	forward func(function, line string)
	warn    func(err error)

	mu      sync.Mutex // guards running
	running map[string]*job
}

// job is a build that runs.
type job struct {
	of *builds

	mu    sync.Mutex        // guards the fields below
	env   map[string]string // whose values are masked
	build Build
	// begun says whether there is a record. Until then lines wait: a build
	// that finds everything there is none.
	begun   bool
	waiting []string
	file    *os.File // nil: cannot be written
	size    int64
	ended   bool
	changed chan struct{} // closed, and replaced, with every line
}

// start returns a job for a build of def. A deploy has a record at once, a
// restore as soon as there is something to do.
func (b *builds) start(def runnel.Function, what string) *job {
	j := &job{of: b, env: def.Env, changed: make(chan struct{}), build: Build{
		Function: def.Name, For: what, Status: BuildInProgress, Started: b.now().UTC(),
	}}
	if what == BuildForDeploy {
		j.begin()
	}
	return j
}

// begin makes the record, unless there is one.
func (j *job) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.begun {
		return
	}
	j.begun = true
	j.build.ID = newBuildID(j.build.Started)
	dir := j.of.home(j.build.Function)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		j.of.trim(dir)
		j.file, err = os.OpenFile(filepath.Join(dir, j.build.ID+".log"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	if err == nil {
		err = j.of.write(j.build, false)
	}
	if err != nil {
		j.of.warn(fmt.Errorf("keep the build of %s: %w", j.build.Function, err))
	}
	j.of.mu.Lock()
	j.of.running[j.build.ID] = j
	j.of.mu.Unlock()
	for _, line := range j.waiting {
		j.add(line)
	}
	j.waiting = nil
}

// newBuildID returns 16 hexadecimal digits that grow with time.
func newBuildID(at time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%011x%05x", at.UnixMilli()&(1<<44-1), binary.BigEndian.Uint32(random[:])&(1<<20-1))
}

var buildID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// log adds a line, without the secrets of the environment.
func (j *job) log(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line = masked(line, j.env)
	if !j.begun {
		j.waiting = append(j.waiting, line)
		return
	}
	j.add(line)
}

// print adds a line of a step, which is forwarded too.
func (j *job) print(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line = masked(line, j.env)
	if j.size <= maxBuildLog {
		j.of.forward(j.build.Function, line)
	}
	j.add(line)
}

// add writes a line, up to the bound. The caller holds j.mu.
func (j *job) add(line string) {
	if j.ended || j.size > maxBuildLog {
		return
	}
	if j.size += int64(len(line)) + 1; j.size > maxBuildLog {
		line = "... the log ends here: it is over 1 MiB"
	}
	if j.file != nil {
		if _, err := j.file.WriteString(line + "\n"); err != nil {
			j.of.warn(fmt.Errorf("keep the log of a build: %w", err))
			_ = j.file.Close()
			j.file = nil
		}
	}
	j.tell()
}

// tell wakes who follows. The caller holds j.mu.
func (j *job) tell() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// hide masks the values of env, too, in what is said from now on.
func (j *job) hide(env map[string]string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.env = env
}

// made notes which version it is.
func (j *job) made(version string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.build.Version = version
}

// id is the build's, empty where there is no record.
func (j *job) id() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.build.ID
}

// end finishes the build. Without keep there was none, as nothing had to be
// done.
func (j *job) end(err error, keep bool) {
	if err != nil {
		j.log("failed: " + err.Error())
	} else {
		j.log("succeeded")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.begun {
		return
	}
	j.build.Status, j.build.Finished = BuildSucceeded, j.of.now().UTC()
	if err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(masked(err.Error(), j.env)), "\n")
		j.build.Status, j.build.Error = BuildFailed, line
	}
	var failed error
	if j.file != nil {
		failed = errors.Join(j.file.Sync(), j.file.Close())
		j.file = nil
	}
	if keep {
		// Who deletes the function takes the directory away.
		if err := j.of.write(j.build, true); !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	} else {
		j.of.remove(j.of.home(j.build.Function), j.build.ID)
	}
	if failed != nil {
		j.of.warn(fmt.Errorf("keep the build of %s: %w", j.build.Function, failed))
	}
	j.ended = true
	j.tell()
	j.of.mu.Lock()
	delete(j.of.running, j.build.ID)
	j.of.mu.Unlock()
}

func (b *builds) home(name string) string {
	return filepath.Join(b.dir, filepath.FromSlash(name))
}

// write stores a record.
func (b *builds) write(r Build, durable bool) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := b.home(r.Function)
	tmp := filepath.Join(dir, unfinished+r.ID)
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if durable {
		if err := syncFile(tmp); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, filepath.Join(dir, r.ID+".json")); err != nil || !durable {
		return err
	}
	return syncFile(dir)
}

// remove forgets a build.
func (b *builds) remove(dir, id string) {
	for _, end := range []string{".json", ".log"} {
		if err := os.Remove(filepath.Join(dir, id+end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.warn(fmt.Errorf("remove an old build: %w", err))
		}
	}
}

// trim makes room for one build more. One that runs stays.
func (b *builds) trim(dir string) {
	ids := ids(dir)
	for _, id := range ids[:max(len(ids)-keptBuilds+1, 0)] {
		b.mu.Lock()
		runs := b.running[id] != nil
		b.mu.Unlock()
		if !runs {
			b.remove(dir, id)
		}
	}
}

// ids returns the builds in a directory, the oldest first.
func ids(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && buildID.MatchString(id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// tidy ends what a process left that was killed, and forgets the failures of
// functions that there never were.
func (b *builds) tidy(exists func(name string) bool) error {
	homes, err := filepath.Glob(filepath.Join(globless(b.dir), "*", "*"))
	if err != nil {
		return err
	}
	for _, dir := range homes {
		name := filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
		recent := false
		for _, id := range ids(dir) {
			r, err := b.read(name, id)
			if err != nil {
				b.remove(dir, id)
				continue
			}
			recent = recent || b.now().Sub(r.Started) < unusedFor
			if r.Status != BuildInProgress {
				continue
			}
			r.Status, r.Error, r.Finished = BuildFailed, "the server stopped", b.now().UTC()
			if err := b.write(r, true); err != nil {
				return fmt.Errorf("end a build that was cut off: %w", err)
			}
		}
		if !recent && !exists(name) {
			if err := b.forget(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget removes the builds of a function.
func (b *builds) forget(name string) error {
	dir := b.home(name)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the builds of %s: %w", name, err)
	}
	_ = os.Remove(filepath.Dir(dir)) // the last one's
	return nil
}

func (b *builds) read(name, id string) (Build, error) {
	text, err := os.ReadFile(filepath.Join(b.home(name), id+".json"))
	if err != nil {
		return Build{}, err
	}
	var r Build
	if err := json.Unmarshal(text, &r); err != nil {
		return Build{}, err
	}
	// What it is called counts.
	r.ID, r.Function = id, name
	return r, nil
}

// Builds returns the builds of the function called name, OWNER/NAME, that are
// kept: the last 20, the newest first. There may be some of a function that
// could never be deployed.
func (s *Set) Builds(name string) ([]Build, error) {
	if _, err := functionName(name); err != nil {
		return nil, err
	}
	found := ids(s.builds.home(name))
	slices.Reverse(found)
	out := []Build{}
	for _, id := range found {
		r, err := s.FindBuild(name, id)
		if err == nil {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		if _, err := s.Get(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// functionName refuses what is not OWNER/NAME, which else would be a path.
func functionName(name string) (string, error) {
	owner, short, _ := strings.Cut(name, "/")
	for _, part := range []string{owner, short} {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return "", notFound(name)
		}
	}
	return name, nil
}

// FindBuild returns one build.
func (s *Set) FindBuild(name, id string) (Build, error) {
	none := runnel.Errorf(runnel.CodeNotFound, "function %s has no build %s: the last %d are kept", name, id, keptBuilds)
	if _, err := functionName(name); err != nil || !buildID.MatchString(id) {
		return Build{}, none
	}
	if j := s.builds.job(name, id); j != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.build, nil
	}
	r, err := s.builds.read(name, id)
	if errors.Is(err, fs.ErrNotExist) {
		return Build{}, none
	}
	if err != nil {
		return Build{}, fmt.Errorf("read build %s of %s: %w", id, name, err)
	}
	return r, nil
}

// job returns a build that runs, or nil.
func (b *builds) job(name, id string) *job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.running[id]; j != nil && j.build.Function == name {
		return j
	}
	return nil
}

// BuildLog calls fn with the lines of a build's log; with follow also with
// those that are still to come, until the build, or ctx, ends. A slow fn holds
// up no build.
func (s *Set) BuildLog(ctx context.Context, name, id string, follow bool, fn func(line string) error) error {
	j := s.builds.job(name, id)
	if _, err := s.FindBuild(name, id); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(s.builds.home(name), id+".log"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it could not be kept
	}
	if err != nil {
		return fmt.Errorf("read the log of build %s: %w", id, err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	rest := ""
	for {
		var changed chan struct{}
		if j != nil && follow { // looked at first, so that nothing is missed
			j.mu.Lock()
			if !j.ended {
				changed = j.changed
			}
			j.mu.Unlock()
		}
		for {
			text, err := in.ReadString('\n')
			rest += text
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read the log of build %s: %w", id, err)
			}
			if err := fn(strings.TrimSuffix(rest, "\n")); err != nil {
				return err
			}
			rest = ""
		}
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
