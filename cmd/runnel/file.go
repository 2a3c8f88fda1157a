package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/internal/spec"
	"github.com/runnel-io/runnel/server"
)

// addFileFlag gives a server command the flag -f, the spec file. Whatever is a
// flag of the command is also a key of the file's section server, with
// underscores: there is no setting that only one of them knows.
func addFileFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "file", "f", "", "spec `file` with functions, queues and flows, and flags as keys of its section server (a flag goes before it)")
}

// applyFile sets the flags that the command line left alone from a file, and
// returns which entry each of them is from. It reports every fault at once.
func applyFile(cmd *cobra.Command, path string) (map[string]spec.Entry, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the file of -f: %w", err)
	}
	// Here for the section server; the server's own check has the faults of all.
	file, _ := spec.Parse(path, text, spec.Options{Dir: filepath.Dir(path), Env: os.LookupEnv, ReadFile: os.ReadFile})
	err = server.CheckSpec(path, nil)
	var keys []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "file" && f.Name != "help" {
			keys = append(keys, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	set := make(map[string]spec.Entry)
	faults := []error{err}
	for _, e := range file.Server {
		f := cmd.Flags().Lookup(strings.ReplaceAll(e.Key, "_", "-"))
		if f == nil || strings.Contains(e.Key, "-") || f.Name == "file" || f.Name == "help" {
			hint := ": " + cmd.CommandPath() + " --help lists the flags, which are the keys"
			if key := closest(e.Key, keys); key != "" {
				hint = ", did you mean " + key + "?"
			}
			faults = append(faults, e.Fault(fmt.Errorf("there is no key %q%s", e.Key, hint)))
			continue
		}
		if f.Changed {
			continue
		}
		if err := f.Value.Set(e.Value); err != nil {
			faults = append(faults, e.Fault(fmt.Errorf("%s: %q is not a %s%s", e.Key, e.Value, f.Value.Type(), examples[f.Value.Type()])))
			continue
		}
		set[e.Key] = e
	}
	if err := errors.Join(faults...); err != nil {
		return set, fileFaults(err)
	}
	return set, nil
}

// examples of values, by the type of their flag.
var examples = map[string]string{"duration": ", for example 30s", "bool": ": true or false", "size": ", for example 64MiB"}
