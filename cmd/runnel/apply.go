package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/internal/spec"
	"github.com/runnel-io/runnel/server"
)

// maxUpload is how many bytes of packed sources one apply carries: the
// server's limit for a request, less what base64 and the rest of it take.
const maxUpload = 46 << 20

func newApplyCommand() *cobra.Command {
	a := applier{}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make a server what a file says: its functions, queues and flows",
		Long: `Make a server what a file says. Functions are uploaded with their code and
deployed, queues and flows made or changed, and what the file declared when it
was last applied and no longer does is removed. Calls that have begun end on the
version that they began on; a queue that holds messages is not removed.

All is checked first: a file with faults changes nothing, each is printed with
its line, and the exit status is 2. What is printed is one line for each change.

The server knows a file by its name, without the directory: applying another one
of the same name replaces what the first declared. --name tells them apart.
What ${env:NAME} and ${file:PATH} stand for is looked up here, and sent along.`,
		Example: `  runnel apply -f runnel.yaml
  runnel apply -f runnel.yaml --dry-run
  runnel apply -f teams/images/runnel.yaml --name images.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.path == "" {
				return &usageError{"which file? Want runnel apply -f runnel.yaml"}
			}
			var err error
			if a.client, err = newClient(cmd); err != nil {
				return err
			}
			return a.run(cmd)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVarP(&a.path, "file", "f", "", "`file` to apply")
	cmd.Flags().StringVar(&a.name, "name", "", "what the server calls the file (default: its name without the directory)")
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "say what would change, and change nothing")
	return cmd
}

// applier applies one file.
type applier struct {
	client     *client
	path, name string
	dryRun     bool
}

// change is what the API says of one resource.
type change struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action"`
	Detail string `json:"detail"`
}

// applyRequest is a file with the sources that it names.
type applyRequest struct {
	Name     string            `json:"name"`
	Spec     string            `json:"spec"`
	Archives map[string][]byte `json:"archives"`
	Env      map[string]string `json:"env,omitempty"`
	Files    map[string]string `json:"files,omitempty"`
	DryRun   bool              `json:"dry_run"`
}

func (a *applier) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	text, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("read the file of -f: %w", err)
	}
	there, unreachable := a.client.whatIsThere(ctx)
	in := applyRequest{Name: a.name, Spec: string(text), DryRun: a.dryRun, Env: make(map[string]string), Files: make(map[string]string)}
	if in.Name == "" {
		in.Name = filepath.Base(a.path)
	}
	dir := filepath.Dir(a.path)
	file, err := spec.Parse(a.path, text, spec.Options{
		CheckFilter: server.CheckFilter,
		// Without Dir paths are asked for as they are written, which is how
		// the server asks.
		Env: func(name string) (string, bool) {
			value, ok := os.LookupEnv(name)
			if ok {
				in.Env[name] = value
			}
			return value, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			text, err := os.ReadFile(below(dir, path))
			if err == nil {
				in.Files[path] = string(text)
			}
			return text, err
		},
		Stat:      func(path string) (fs.FileInfo, error) { return os.Stat(below(dir, path)) },
		Open:      func(path string) (fs.File, error) { return os.Open(below(dir, path)) },
		Functions: there.hasFunction, Queues: there.hasQueue, DeadLetters: there.deadLetters,
	})
	if err != nil {
		return fileFaults(err)
	}
	if unreachable != nil {
		return unreachable
	}
	if in.Archives, err = packAll(file, dir); err != nil {
		return err
	}
	var answer struct{ Changes []change }
	if err := a.client.do(ctx, "POST", "/api/v1/apply", in, &answer); err != nil {
		return err
	}
	return report(cmd, answer.Changes, a.dryRun)
}

// below is a path relative to dir, unless it is absolute.
func below(dir, path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// packAll packs the sources of all functions, by their names. dir is where
// relative paths begin.
func packAll(file *spec.File, dir string) (map[string][]byte, error) {
	out := make(map[string][]byte, len(file.Functions))
	var faults []error
	total := 0
	for _, f := range file.Functions {
		if f.Source == "" {
			continue // the file says all
		}
		archive, err := pack(below(dir, f.Source))
		if err == nil && total+len(archive) > maxUpload {
			err = fmt.Errorf("the packed sources are over %d MiB, with %d KiB of %s: leave out what is no code, or deploy with runnel serve -f", maxUpload>>20, len(archive)>>10, f.Source)
		}
		if err != nil {
			faults = append(faults, file.Fault("functions."+f.Name+".source", err))
			continue
		}
		total += len(archive)
		out[f.Name] = archive
	}
	return out, fileFaults(errors.Join(faults...))
}

// report prints the changes, one in a line.
func report(cmd *cobra.Command, changes []change, dryRun bool) error {
	var t table
	done, same := 0, 0
	for _, c := range changes {
		if c.Action == "unchanged" {
			same++
			if c.Detail == "" {
				continue // else it says why not
			}
		} else {
			done++
		}
		row := []string{c.Kind, c.Name, c.Action}
		if c.Detail != "" {
			row = append(row, c.Detail)
		}
		t.row(row...)
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	summary := fmt.Sprintf("%d changed, %d unchanged", done, same)
	if dryRun {
		summary = fmt.Sprintf("%d would change, %d unchanged: nothing was done", done, same)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), summary)
	return nil
}

// existing is what a file may refer to beside itself.
type existing struct {
	known      bool // false: the server did not say, and everything is taken for there
	functions  []string
	queues     []string
	deadLetter map[string]string
}

// whatIsThere asks the server for what it has. With an error everything is
// taken for there, so that the faults of a file can be told without a server.
func (c *client) whatIsThere(ctx context.Context) (existing, error) {
	functions, err := c.names(ctx, functionKind)
	if err != nil {
		return existing{}, err
	}
	raw, err := c.list(ctx, queueKind)
	if err != nil {
		return existing{}, err
	}
	out := existing{known: true, functions: functions, deadLetter: make(map[string]string)}
	for _, text := range raw {
		var q struct {
			Name     string
			Settings struct {
				DeadLetter struct{ Queue string } `json:"dead_letter"`
			}
		}
		if err := json.Unmarshal(text, &q); err != nil {
			return existing{}, fmt.Errorf("read the answer: %w", err)
		}
		out.queues = append(out.queues, q.Name)
		out.deadLetter[q.Name] = q.Settings.DeadLetter.Queue
	}
	return out, nil
}

func (e existing) hasFunction(name string) bool {
	return !e.known || slices.Contains(e.functions, name)
}

func (e existing) hasQueue(name string) bool { return !e.known || slices.Contains(e.queues, name) }

func (e existing) deadLetters(queue string) string { return e.deadLetter[queue] }
