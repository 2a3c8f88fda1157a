package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

// buildInfo is what is read of a build.
type buildInfo struct {
	ID       string    `json:"id"`
	For      string    `json:"for"`
	Status   string    `json:"status"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Version  string    `json:"version"`
	Error    string    `json:"error"`
}

func newBuildsCommand() *cobra.Command {
	var log, follow bool
	var output *string
	cmd := &cobra.Command{
		Use:   "builds FUNCTION [BUILD]",
		Short: "Show the builds of a function, or the log of one",
		Long: `Show the builds of a function that the server keeps, the last 20, the newest
first: of each deploy that changed something or failed, and of what had to be
built again.

With --log the log of a build is printed, of the newest one where none is named.
With -f it goes on until the build ends; the exit status is 1 if it failed.`,
		Example: `  runnel builds resize
  runnel builds resize --log
  runnel builds resize 01932b6f1c02a3f9 --log -f`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			if log = log || follow; log && lines {
				return &usageError{"--log prints text: leave out -o json"}
			}
			b := buildReader{out: cmd.OutOrStdout()}
			if b.client, err = newClient(cmd); err != nil {
				return err
			}
			if b.path, err = b.client.buildsPath(cmd.Context(), args[0]); err != nil {
				return err
			}
			id := ""
			if len(args) == 2 {
				id = args[1]
			}
			if !log {
				return b.list(cmd.Context(), id, lines)
			}
			if id == "" {
				if id, err = b.newest(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			if follow {
				return b.follow(cmd.Context(), id)
			}
			return b.log(cmd.Context(), id)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&log, "log", false, "print the log of the build")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "print the log until the build ends")
	output = addOutputFlag(cmd, "table or json")
	return cmd
}

// buildsPath is the path of a function's builds. One that could never be
// deployed may have some, and is in no list: without an owner it is default's.
func (c *client) buildsPath(ctx context.Context, name string) (string, error) {
	path, err := c.path(ctx, functionKind, name)
	if err == nil {
		return path + "/builds", nil
	}
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		path := "/api/v1/functions/default/" + url.PathEscape(name) + "/builds"
		if c.do(ctx, "GET", path, nil, nil) == nil {
			return path, nil
		}
	}
	return "", err
}

// buildReader prints the builds of one function.
type buildReader struct {
	client *client
	path   string
	out    io.Writer
}

// builds returns all, or the one called id.
func (b *buildReader) builds(ctx context.Context, id string) ([]json.RawMessage, error) {
	if id != "" {
		var one json.RawMessage
		err := b.client.do(ctx, "GET", b.path+"/"+url.PathEscape(id), nil, &one)
		return []json.RawMessage{one}, err
	}
	var answer struct{ Builds []json.RawMessage }
	err := b.client.do(ctx, "GET", b.path, nil, &answer)
	return answer.Builds, err
}

func (b *buildReader) list(ctx context.Context, id string, lines bool) error {
	raw, err := b.builds(ctx, id)
	if err != nil {
		return err
	}
	if lines {
		return writeLines(b.out, raw)
	}
	all, err := decodeAll[buildInfo](raw)
	if err != nil {
		return err
	}
	var t table
	t.row("build", "for", "status", "started", "took", "version", "error")
	for _, one := range all {
		took := ""
		if !one.Finished.IsZero() {
			took = one.Finished.Sub(one.Started).Round(10 * time.Millisecond).String()
		}
		t.row(one.ID, one.For, one.Status, strings.ReplaceAll(when(one.Started), " ", "T"), took, shortVersion(one.Version), oneLine(one.Error))
	}
	return t.write(b.out)
}

// newest returns the id of the newest build.
func (b *buildReader) newest(ctx context.Context, name string) (string, error) {
	raw, err := b.builds(ctx, "")
	if err != nil {
		return "", err
	}
	all, err := decodeAll[buildInfo](raw)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no build of %s is kept", name)
	}
	if err != nil {
		return "", err
	}
	return all[0].ID, nil
}

// log prints a log as far as it is.
func (b *buildReader) log(ctx context.Context, id string) error {
	text, err := b.client.stream(ctx, "GET", b.path+"/"+url.PathEscape(id)+"/log")
	if err != nil {
		return err
	}
	defer text.Close()
	all, err := io.ReadAll(text)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	_, err = io.WriteString(b.out, printable(string(all)))
	return err
}

// follow prints a log until the build ends.
func (b *buildReader) follow(ctx context.Context, id string) error {
	resp, err := b.client.request(ctx, http.MethodGet, b.path+"/"+url.PathEscape(id)+"/log?follow=true", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var end *buildInfo
	err = readEvents(resp.Body, func(event, _, data string) error {
		switch event {
		case "log":
			var line struct{ Text string }
			if err := json.Unmarshal([]byte(data), &line); err != nil {
				return fmt.Errorf("read a line of the log: %w", err)
			}
			_, err := fmt.Fprintln(b.out, printable(line.Text))
			return err
		case "build":
			end = new(buildInfo)
			if err := json.Unmarshal([]byte(data), end); err != nil {
				return fmt.Errorf("read the build: %w", err)
			}
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil // the interrupt is how it ends
	case err != nil:
		return err
	case end == nil:
		return fmt.Errorf("the connection to %s is lost: runnel builds says how it went on", b.client.base)
	case end.Status != "succeeded":
		return fmt.Errorf("the build %s failed: %s", id, printable(end.Error))
	}
	return nil
}
