package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newFunctionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "function",
		Short: "Build, list, publish and name the versions of a function",
	}
	cmd.AddCommand(newFunctionBuildCommand(), newFunctionVersionsCommand(), newFunctionPublishCommand(), newFunctionAliasCommand(), newFunctionRemoveCommand(), newRollbackCommand())
	return cmd
}

// functionVersion is what these commands read of the API's answer about a
// version.
type functionVersion struct {
	Version   string    `json:"version"`
	Created   time.Time `json:"created"`
	Runtime   string    `json:"runtime"`
	Semantic  string    `json:"semantic_version"`
	Public    bool      `json:"public"`
	Published time.Time `json:"published"`
	By        string    `json:"published_by"`
	Live      bool      `json:"live"`
	Aliases   []string  `json:"aliases"`

	Stats *struct {
		Calls      uint64    `json:"calls"`
		Errors     uint64    `json:"errors"`
		Run        durations `json:"run"`
		PeakMemory int64     `json:"peak_memory"`
	} `json:"stats"` // nil: it had no workers
}

// row is the cells that tables of versions have.
func (v functionVersion) row() []string {
	access := ""
	if v.Semantic != "" {
		access = "private"
		if v.Public {
			access = "public"
		}
	}
	names := v.Aliases
	if v.Live {
		names = append([]string{"live"}, names...)
	}
	return []string{v.Version, when(v.Created), v.Runtime, v.Semantic, access, strings.Join(names, ",")}
}

// onFunction makes a call on a function and reads the answer.
func onFunction(ctx context.Context, c *client, name, method, rest string, in, out any) error {
	full, err := c.functionName(ctx, name)
	if err != nil {
		return err
	}
	path, err := c.path(ctx, functionKind, full)
	if err != nil {
		return err
	}
	if err := c.do(ctx, method, path+rest, in, out); err != nil {
		return c.suggest(ctx, functionKind, full, err) // it may be the version that is missing
	}
	return nil
}

func newFunctionBuildCommand() *cobra.Command {
	var runtime, handler string
	cmd := &cobra.Command{
		Use:   "build NAME SOURCE",
		Short: "Make a version of a directory or file, without making it live",
		Long: `Upload SOURCE, a directory or a file, build it as a version of the function NAME,
and prove that it loads. Nothing else changes: NAME@HASH calls it, and runnel
function alias set, publish, and rollback --to take the hash. Runtime and handler
are those of the live version, unless said; the settings are the function's. The
first version of a new function is live, since every function has a live one.`,
		Example: `  runnel function build resize ./resize
  runnel invoke resize@$(runnel function build -o json resize ./resize | jq -r .version) '{}'`,
		Args: cobra.ExactArgs(2),
	}
	output := addOutputFlag(cmd, "text or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inJSON, err := asJSON(*output, "text")
		if err != nil {
			return err
		}
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		archive, err := pack(args[1])
		if err != nil {
			return err
		}
		if len(archive) > maxUpload {
			return fmt.Errorf("the packed source is over %d MiB: leave out what is no code", maxUpload>>20)
		}
		definition := map[string]any{"source": args[1]}
		name := args[0]
		if runtime == "" || !strings.Contains(name, "/") {
			var f functionInfo
			if err := onFunction(cmd.Context(), c, name, "GET", "", nil, &f); err != nil {
				return err
			}
			name = f.Name
			if runtime == "" {
				for _, field := range []string{"runtime", "handler", "transport"} {
					if v, ok := f.Definition[field]; ok {
						definition[field] = v
					}
				}
			}
		}
		if runtime != "" {
			definition["runtime"] = runtime
		}
		if handler != "" {
			definition["handler"] = handler
		}
		path, err := c.path(cmd.Context(), functionKind, name)
		if err != nil {
			return err
		}
		var f functionInfo
		in := map[string]any{"definition": definition, "archive": archive}
		if err := c.do(cmd.Context(), "PUT", path+"?live=false", in, &f); err != nil {
			return err
		}
		if len(f.Versions) == 0 {
			return fmt.Errorf("read the answer: there is no version of %s", name)
		}
		v := f.Versions[0]
		if inJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"function": f.Name, "version": v.Version, "live": v.Version == f.Live})
		}
		text := "is not live"
		if v.Version == f.Live {
			text = "is live"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "built %s of %s, which %s\n", v.Version, f.Name, text)
		return err
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&runtime, "runtime", "", "`runtime` of the version: python, node, exec, go or wasm")
	cmd.Flags().StringVar(&handler, "handler", "", "`handler` of the version")
	return cmd
}

func newFunctionVersionsCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:   "versions NAME [V]",
		Short: "List the versions of a function, or print one",
		Long: `List the versions of a function that are kept, the last built first: its hash,
when it was built, its runtime, the number that it is published under, for whom,
and its names. With V, which is a hash or its beginning, a number or its
beginning, or a name, print that one with its notes and samples.`,
		Example: `  runnel function versions resize
  runnel function versions resize 1.2 -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(*output, "text")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				return showVersion(cmd, c, args[0], args[1], inJSON)
			}
			var answer struct{ Versions []json.RawMessage }
			if err := onFunction(cmd.Context(), c, args[0], "GET", "/versions", nil, &answer); err != nil {
				return err
			}
			if inJSON {
				return writeLines(cmd.OutOrStdout(), answer.Versions)
			}
			all, err := decodeAll[functionVersion](answer.Versions)
			if err != nil {
				return err
			}
			var t table
			t.row("version", "built", "runtime", "number", "for", "names")
			for _, v := range all {
				cells := v.row()
				cells[1] = strings.ReplaceAll(cells[1], " ", "T")
				t.row(cells...)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "text or json")
	return cmd
}

func showVersion(cmd *cobra.Command, c *client, name, version string, inJSON bool) error {
	var raw json.RawMessage
	if err := onFunction(cmd.Context(), c, name, "GET", "/versions/"+url.PathEscape(version), nil, &raw); err != nil {
		return err
	}
	if inJSON {
		text, err := indented(raw)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	var v struct {
		functionVersion
		Notes  string `json:"release_notes"`
		Input  string `json:"sample_input"`
		Output string `json:"sample_output"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	cells := v.row()
	var s sheet
	s.line("version", v.Version)
	s.line("built", cells[1])
	s.line("runtime", v.Runtime)
	s.line("number", v.Semantic)
	s.line("for", cells[4])
	s.line("published", when(v.Published))
	s.line("by", v.By)
	s.line("names", strings.Join(strings.Split(cells[5], ","), ", "))
	s.block("notes", v.Notes)
	s.block("sample input", v.Input)
	s.block("sample output", v.Output)
	return s.write(cmd.OutOrStdout())
}

// publication is what the API is sent.
type publication struct {
	Version string `json:"version,omitempty"`
	Type    string `json:"version_type,omitempty"`
	Private bool   `json:"private,omitempty"`
	Notes   string `json:"release_notes,omitempty"`
	Input   string `json:"sample_input,omitempty"`
	Output  string `json:"sample_output,omitempty"`
}

func newFunctionPublishCommand() *cobra.Command {
	var p publication
	var major, minor, revision bool
	var input, output string
	cmd := &cobra.Command{
		Use:   "publish NAME [V] --major|--minor|--revision",
		Short: "Publish a version: give it a number",
		Long: `Give a version of a function a number, MAJOR.MINOR.REVISION: the next one after
the highest that the function ever had. The first is 1.0.0, 0.1.0 or 0.0.1. V is
the version to publish, by default the newest build. Which version is live does
not change.

What is published stays until it is removed by runnel function remove. A version
has one number; publishing it again is refused, but for a private one that
becomes public: it keeps its number, and needs no --major, --minor or --revision.`,
		Example: `  runnel function publish resize --minor --notes "keeps the colours"
  runnel function publish resize 3f9c21 --revision --private
  runnel function publish resize 1.2.1`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			for bump, set := range map[string]bool{"major": major, "minor": minor, "revision": revision} {
				if set && p.Type != "" {
					return &usageError{"want one of --major, --minor and --revision"}
				}
				if set {
					p.Type = bump
				}
			}
			if len(args) == 2 {
				p.Version = args[1]
			}
			var err error
			if p.Input, err = sampleOf(cmd, input); err != nil {
				return err
			}
			if p.Output, err = sampleOf(cmd, output); err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var v functionVersion
			if err := onFunction(cmd.Context(), c, args[0], "POST", "/versions", p, &v); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "published %s of %s as %s, %s\n", v.Version, args[0], v.Semantic, v.row()[4])
			return err
		},
	}
	addClientFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&major, "major", false, "raise the first number")
	flags.BoolVar(&minor, "minor", false, "raise the second number")
	flags.BoolVar(&revision, "revision", false, "raise the third number")
	flags.BoolVar(&p.Private, "private", false, "only for calls that say the number, the hash or latestPrivate")
	flags.StringVar(&p.Notes, "notes", "", "what is new, as `text`")
	flags.StringVar(&input, "sample-input", "", "`file` with a payload, - is standard input")
	flags.StringVar(&output, "sample-output", "", "`file` with what is returned for it")
	return cmd
}

// maxSampleFile is how much of a sample is read; the server's limit is lower,
// and it says so.
const maxSampleFile = 2 << 20

func sampleOf(cmd *cobra.Command, name string) (string, error) {
	var in io.Reader
	switch name {
	case "":
		return "", nil
	case "-":
		in = cmd.InOrStdin()
	default:
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("read the sample: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSampleFile))
	if err != nil {
		return "", fmt.Errorf("read the sample: %w", err)
	}
	return string(text), nil
}

func newFunctionAliasCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alias",
		Short: "Name versions: NAME@ALIAS calls what the alias means then",
	}
	set := &cobra.Command{
		Use:   "set NAME ALIAS V",
		Short: "Make or move an alias",
		Long: `Make ALIAS a name of the version V, which is a hash or its beginning, a number or
its beginning, or a name, live and latest too: the version that it means now.
Calls by the alias that begin from then on go there, and none fails. ALIAS is 1
to 32 lower-case letters, digits and hyphens that do not read as a hash.`,
		Example: `  runnel function alias set resize stable live
  runnel function alias set resize canary 3f9c21`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var f functionInfo
			in := map[string]string{"version": args[2]}
			if err := onFunction(cmd.Context(), c, args[0], "PUT", "/aliases/"+url.PathEscape(args[1]), in, &f); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s@%s is %s\n", f.Name, args[1], f.Aliases[args[1]])
			return err
		},
	}
	remove := &cobra.Command{
		Use:     "rm NAME ALIAS",
		Aliases: []string{"remove"},
		Short:   "Remove an alias that no flow uses",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if err := onFunction(cmd.Context(), c, args[0], "DELETE", "/aliases/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed alias %s of %s\n", args[1], args[0])
			return err
		},
	}
	list := &cobra.Command{
		Use:     "ls NAME",
		Aliases: []string{"list"},
		Short:   "List the aliases of a function",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var f functionInfo
			if err := onFunction(cmd.Context(), c, args[0], "GET", "", nil, &f); err != nil {
				return err
			}
			var t table
			t.row("alias", "version", "number")
			t.row("live", f.Live, f.version(f.Live).Semantic)
			for _, alias := range slices.Sorted(maps.Keys(f.Aliases)) {
				t.row(alias, f.Aliases[alias], f.version(f.Aliases[alias]).Semantic)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	for _, sub := range []*cobra.Command{set, remove, list} {
		addClientFlags(sub)
		cmd.AddCommand(sub)
	}
	return cmd
}

// version returns a version of the function, a zero one if it is not kept.
func (f *functionInfo) version(hash string) functionVersion {
	for _, v := range f.Versions {
		if v.Version == hash {
			return v
		}
	}
	return functionVersion{}
}

func newFunctionRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME V",
		Aliases: []string{"rm"},
		Short:   "Remove a version that nothing names",
		Long: `Remove a version, published or not. The live one stays, and so does what an alias
or a flow names. The number of a published one is not given again.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if err := onFunction(cmd.Context(), c, args[0], "DELETE", "/versions/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed version %s of %s\n", args[1], args[0])
			return err
		},
	}
	addClientFlags(cmd)
	return cmd
}

func newRollbackCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Make the version that was live before live again",
		Long: `Make the version that was live before the present one live again, or with --to any
other: a hash or its beginning, a number, a name, also a build that never was
live. As many workers of it are ready as the present one has, and then calls go
there; those that have begun end where they are, and none fails. Settings stay as
they are. To roll back twice is to be where one was.

What a spec file declares is deployed again by the next apply of the file.`,
		Example: `  runnel rollback resize
  runnel rollback resize --to 1.2.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var out struct {
				Live     string       `json:"live"`
				Previous string       `json:"previous"`
				Changed  bool         `json:"changed"`
				Warning  string       `json:"warning"`
				Function functionInfo `json:"function"`
			}
			if err := onFunction(cmd.Context(), c, args[0], "POST", "/rollback", map[string]string{"to": to}, &out); err != nil {
				return err
			}
			name := cmp.Or(out.Function.Name, args[0])
			if !out.Changed {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is live already: %s\n", name, out.Live)
				return err
			}
			if out.Warning != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "runnel: "+oneLine(out.Warning))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "rolled back %s: %s -> %s\n", name, out.Previous, out.Live)
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `version` that shall be live")
	return cmd
}
