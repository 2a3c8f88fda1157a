package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

// maxPayload is how much of standard input is sent: the server's limit.
const maxPayload = 16 << 20

func newInvokeCommand() *cobra.Command {
	var contentType string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "invoke NAME[@VERSION] [PAYLOAD|-]",
		Short: "Call a function, and print what it returns",
		Long: `Call a function and print what it returns, or nothing where it returns none.
NAME is OWNER/NAME, or NAME alone where only one function is called so. Without
a version the live one answers.

PAYLOAD is JSON unless --content-type says text or bytes; - reads it from
standard input; without one the function gets null. Nothing is retried, and no
flow is involved.

Where the function fails, its stack and a line with the kind of the failure and
its message go to standard error, and the exit status is 1.`,
		Example: `  runnel invoke resize '{"url": "cat.png"}'
  runnel invoke demo/resize@3f9c21 - < event.json
  runnel invoke resize --verbose '{"url": "cat.png"}'
  runnel invoke shout --content-type text hello`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			media, err := mediaType(contentType)
			if err != nil {
				return err
			}
			var payload []byte
			switch {
			case len(args) < 2 && media == mediaJSON:
				payload = []byte("null")
			case len(args) == 2 && args[1] == "-":
				if payload, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxPayload+1)); err != nil {
					return fmt.Errorf("read the payload: %w", err)
				}
			case len(args) == 2:
				payload = []byte(args[1])
			}
			if len(payload) > maxPayload {
				return runnel.Errorf(runnel.CodeTooLarge, "the payload is over %d MiB", maxPayload>>20)
			}
			if media == mediaJSON && !json.Valid(payload) {
				return &usageError{fmt.Sprintf("the payload %s is not JSON: mind the shell's quotes, or say --content-type text", cut(oneLine(string(payload)), 60))}
			}
			return invoke(cmd, args[0], media, payload, verbose)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&contentType, "content-type", "json", "what PAYLOAD is: json, text or bytes, or the media `type` of one of them")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "tell on standard error what answered, under which id of the logs, and how long it took")
	return cmd
}

const mediaJSON = "application/json"

// mediaType returns the media type for a word.
func mediaType(word string) (string, error) {
	media, _, err := mime.ParseMediaType(word)
	if err != nil {
		media = word
	}
	switch media {
	case "json", mediaJSON:
		return mediaJSON, nil
	case "text", "text/plain":
		return "text/plain", nil
	case "bytes", "application/octet-stream":
		return "application/octet-stream", nil
	}
	return "", &usageError{fmt.Sprintf("--content-type is json, text or bytes, not %q", word)}
}

// invoke calls a function and prints the answer.
func invoke(cmd *cobra.Command, ref, media string, payload []byte, verbose bool) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	name, version, _ := strings.Cut(ref, "@")
	path, err := c.path(ctx, functionKind, name)
	if err != nil {
		return err
	}
	path += "/invoke"
	if version != "" {
		path += "?version=" + url.QueryEscape(version)
	}
	resp, err := c.request(ctx, "POST", path, media, payload)
	var failed *functionFailure
	if errors.As(err, &failed) {
		failed.name = name
		if verbose {
			tellCall(cmd.ErrOrStderr(), failed.header)
		}
		if stack := strings.TrimRight(printable(failed.what.Stack), "\n"); stack != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), stack)
		}
		return failed
	}
	if err != nil && version != "" {
		return err // the version may be what is missing
	}
	if err != nil {
		return c.suggest(ctx, functionKind, name, err)
	}
	defer resp.Body.Close()
	if verbose {
		tellCall(cmd.ErrOrStderr(), resp.Header)
	}
	value, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", c.unreachable(ctx, err))
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	// A line, unless it is bytes, which stay as they are.
	if got, err := mediaType(resp.Header.Get("Content-Type")); err == nil && got != "application/octet-stream" && !strings.HasSuffix(string(value), "\n") {
		value = append(value, '\n')
	}
	_, err = cmd.OutOrStdout().Write(value)
	return err
}

// tellCall prints what the headers of an answer say of the call.
func tellCall(out io.Writer, header http.Header) {
	var parts []string
	for _, h := range []struct{ name, text, unit string }{
		{"Runnel-Version", "version ", ""}, {"Runnel-Invocation", "call ", ""}, {"Runnel-Wait-Ms", "waited ", "ms"}, {"Runnel-Run-Ms", "ran ", "ms"},
	} {
		if v := header.Get(h.name); v != "" {
			parts = append(parts, h.text+printable(v)+h.unit)
		}
	}
	fmt.Fprintln(out, strings.Join(parts, ", "))
}

// functionFailure is a call that the function failed.
type functionFailure struct {
	name   string
	coded  *runnel.Error
	what   *runnel.FunctionError
	header http.Header // of the answer
}

// Error returns the kind and the message.
func (e *functionFailure) Error() string {
	text := e.what.Message
	if e.what.Name != "" {
		text = e.what.Name + ": " + text
	}
	return printable(fmt.Sprintf("%s failed (%s): %s", e.name, e.what.Kind, text))
}

// Unwrap returns the error of the answer, with its code.
func (e *functionFailure) Unwrap() error { return e.coded }
