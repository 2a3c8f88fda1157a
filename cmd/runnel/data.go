package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "List, read, write and remove hosted files",
		Long: `List, read, write and remove hosted files. A path is OWNER/COLLECTION/FILE, with
data:// before it or not; .my is the account of the key.`,
	}
	cmd.AddCommand(newDataLsCommand(), newDataGetCommand(), newDataPutCommand(), newDataRmCommand(), newDataMkdirCommand())
	return cmd
}

// dataPath is a path of the data API, from one that a user has typed.
func dataPath(typed string) string {
	segments := strings.Split(strings.Trim(strings.TrimPrefix(typed, "data://"), "/"), "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/v1/data/" + strings.Join(segments, "/")
}

// data makes a call of the data API. The caller closes the body of the answer.
func (c *client) data(ctx context.Context, method, path string, query url.Values, body io.Reader, size int64) (*http.Response, error) {
	at := c.base + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if c.key.ID != "" {
		req.Header.Set("Authorization", "Bearer "+c.key.ID+"."+c.key.Secret)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	var answer struct{ Error struct{ Message string } }
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.key.ID == "":
		return nil, fmt.Errorf("%s demands a key: set RUNNEL_KEY, or give --key", c.base)
	case json.Unmarshal(text, &answer) == nil && answer.Error.Message != "":
		return nil, errors.New(answer.Error.Message)
	}
	return nil, fmt.Errorf("%s %s: %s", method, at, statusLine(resp.Status, text))
}

// dataPage is a page of a directory.
type dataPage struct {
	Folders []struct {
		Name string `json:"name"`
	} `json:"folders"`
	Files []struct {
		Name     string    `json:"filename"`
		Size     int64     `json:"size"`
		Modified time.Time `json:"last_modified"`
	} `json:"files"`
	Marker string `json:"marker"`
}

// dataEntry is one line of data ls.
type dataEntry struct {
	Name     string     `json:"name"`
	Kind     string     `json:"kind"` // file, or directory
	Size     *int64     `json:"size,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
}

func newDataLsCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:     "ls [PATH]",
		Aliases: []string{"list"},
		Short:   "List the collections of an account, or the files of a collection",
		Long: `List the collections of an account, or the files of a collection, in the order of
their names. The default is .my; / lists the accounts.`,
		Example: `  runnel data ls
  runnel data ls .my/photos -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			at := dataPath(".my")
			if len(args) == 1 {
				at = dataPath(args[0])
			}
			t := &table{}
			t.row("NAME", "KIND", "SIZE", "MODIFIED")
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetEscapeHTML(false)
			err = c.eachData(cmd.Context(), at, func(e dataEntry) error {
				if inJSON {
					return out.Encode(e)
				}
				size, modified := "", ""
				if e.Size != nil {
					size, modified = strconv.FormatInt(*e.Size, 10), e.Modified.Local().Format(time.DateTime)
				}
				t.row(e.Name, e.Kind, size, modified)
				return nil
			})
			if err != nil || inJSON {
				return err
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	return cmd
}

// eachData calls f with each entry of a directory.
func (c *client) eachData(ctx context.Context, at string, f func(dataEntry) error) error {
	for query := (url.Values{}); ; {
		resp, err := c.data(ctx, http.MethodGet, at, query, nil, 0)
		if err != nil {
			return err
		}
		if resp.Header.Get("X-Data-Type") != "directory" {
			return errors.Join(fmt.Errorf("%s is a file: runnel data get reads it", strings.TrimPrefix(at, "/v1/data/")), resp.Body.Close())
		}
		var page dataPage
		err = json.NewDecoder(resp.Body).Decode(&page)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return fmt.Errorf("read the listing: %w", err)
		}
		for _, d := range page.Folders {
			if err := f(dataEntry{Name: d.Name, Kind: "directory"}); err != nil {
				return err
			}
		}
		for _, file := range page.Files {
			if err := f(dataEntry{Name: file.Name, Kind: "file", Size: &file.Size, Modified: &file.Modified}); err != nil {
				return err
			}
		}
		if page.Marker == "" {
			return nil
		}
		query.Set("marker", page.Marker)
	}
}

func newDataGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get PATH [FILE]",
		Short: "Read a file, to standard output or into a file of this machine",
		Long: `Read a file, to standard output or into a file of this machine, which is there only
when it is whole.`,
		Example: `  runnel data get .my/photos/cat.jpg cat.jpg
  runnel data get data://team/reports/today.json | jq .`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			resp, err := c.data(cmd.Context(), http.MethodGet, dataPath(args[0]), nil, nil, 0)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.Header.Get("X-Data-Type") != "file" {
				return fmt.Errorf("%s is a directory: runnel data ls lists it", args[0])
			}
			if len(args) == 1 {
				_, err = io.Copy(cmd.OutOrStdout(), resp.Body)
				return err
			}
			return writeWhole(args[1], resp.Body)
		},
	}
	addClientFlags(cmd)
	return cmd
}

// writeWhole writes a file that is there when it is whole.
func writeWhole(name string, content io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".runnel-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

func newDataPutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put FILE|- PATH",
		Short: "Write a file of this machine, or standard input, to a hosted file",
		Long: `Write a file of this machine, or standard input, to a hosted file, whose collection
must exist. What is there is replaced when all has come and is on the server's
disk. A path that ends with a slash gets the name of the file.`,
		Example: `  runnel data put cat.jpg .my/photos/
  date | runnel data put - .my/notes/today`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			from, to := args[0], args[1]
			body, size := cmd.InOrStdin(), int64(-1)
			if from != "-" {
				f, err := os.Open(from)
				if err != nil {
					return err
				}
				defer f.Close()
				info, err := f.Stat()
				if err != nil {
					return err
				}
				if !info.Mode().IsRegular() {
					return &fs.PathError{Op: "put", Path: from, Err: errors.New("is not a regular file")}
				}
				body, size = f, info.Size()
				if size == 0 {
					body = http.NoBody // else the length is taken for unknown
				}
			}
			if strings.HasSuffix(to, "/") {
				if from == "-" {
					return &usageError{"standard input has no name: give the whole path of the file"}
				}
				to += filepath.Base(from)
			}
			return c.tell(cmd, "put", http.MethodPut, dataPath(to), body, size)
		},
	}
	addClientFlags(cmd)
	return cmd
}

// tell makes a call whose answer names what was made, and prints that.
func (c *client) tell(cmd *cobra.Command, what, method, at string, body io.Reader, size int64) error {
	resp, err := c.data(cmd.Context(), method, at, nil, body, size)
	if err != nil {
		return err
	}
	var answer struct{ Result string }
	err = json.NewDecoder(resp.Body).Decode(&answer)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", what, answer.Result)
	return err
}

func newDataRmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm PATH...",
		Short: "Remove files and collections",
		Long: `Remove files and collections, of which those that have files with --force only. It
ends at the first that cannot be removed.`,
		Example: `  runnel data rm .my/photos/cat.jpg
  runnel data rm --force .my/photos`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			for _, at := range args {
				resp, err := c.data(cmd.Context(), http.MethodDelete, dataPath(at), query, nil, 0)
				if err != nil {
					return err
				}
				if err := resp.Body.Close(); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", at); err != nil {
					return err
				}
			}
			return nil
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "remove collections with their files")
	return cmd
}

func newDataMkdirCommand() *cobra.Command {
	var read string
	cmd := &cobra.Command{
		Use:   "mkdir PATH",
		Short: "Make a collection",
		Long: `Make a collection. --read says who reads it besides its owner: nobody (private), the
owner's functions whoever calls them (algorithms), everybody with a key (public).`,
		Example: `  runnel data mkdir .my/photos --read public`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			acl, ok := map[string][]string{"private": {}, "algorithms": {"algo://.my/*"}, "public": {"user://*"}}[read]
			if !ok {
				return &usageError{fmt.Sprintf("--read is private, algorithms or public, not %q", read)}
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			owner, name := path.Split(strings.Trim(strings.TrimPrefix(args[0], "data://"), "/"))
			if owner == "" {
				owner = ".my"
			}
			body, err := json.Marshal(map[string]any{"name": name, "acl": map[string]any{"read": acl}})
			if err != nil {
				return err
			}
			return c.tell(cmd, "made", http.MethodPost, dataPath(owner), bytes.NewReader(body), int64(len(body)))
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&read, "read", "algorithms", "who reads it: private, algorithms or public")
	return cmd
}
