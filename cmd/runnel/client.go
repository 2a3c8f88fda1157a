package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

const (
	defaultURL = "http://127.0.0.1:7070"
	// sqsRegion is what requests are signed for: the server takes any.
	sqsRegion = "us-east-1"
	// maxErrorBytes of an answer are read to find out what went wrong: it may
	// hold many faults, or a long stack.
	maxErrorBytes = 1 << 20
)

// client speaks to a server: its native API with the key as a bearer token,
// and the SQS API with the key as a signature.
type client struct {
	base string           // URL of the server, without a slash at the end
	key  auth.Credentials // zero: requests carry none, which runnel dev takes
	http *http.Client
}

// addClientFlags gives a command the flags that newClient reads.
func addClientFlags(cmd *cobra.Command) {
	cmd.Flags().String("url", "", "URL of the server (default $RUNNEL_URL, or "+defaultURL+")")
	cmd.Flags().String("key", "", "API key, ID.SECRET (default $RUNNEL_KEY, or $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY; runnel dev needs none)")
}

// newClient makes a client from the flags and the environment of a command.
func newClient(cmd *cobra.Command) (*client, error) {
	flag := func(name, env string) string {
		if f := cmd.Flags().Lookup(name); f != nil && f.Value.String() != "" {
			return f.Value.String()
		}
		return os.Getenv(env)
	}
	base := flag("url", "RUNNEL_URL")
	if base == "" {
		base = defaultURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the server's URL %q is not one: want for example %s", base, defaultURL)
	}
	var key auth.Credentials
	if token := flag("key", "RUNNEL_KEY"); token != "" {
		var ok bool
		if key.ID, key.Secret, ok = strings.Cut(token, "."); !ok || key.ID == "" || key.Secret == "" {
			return nil, errors.New("the key is not of the form ID.SECRET")
		}
	} else if id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		key = auth.Credentials{ID: id, Secret: secret}
	}
	return &client{
		base: strings.TrimRight(base, "/"),
		key:  key,
		// An answer elsewhere would be to a request that was signed for here.
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// do makes a call of the native API: in is sent as JSON unless it is nil, and
// the answer is decoded into out unless that is nil. An error answer is a
// *runnel.Error.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.native(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// stream makes a call of the native API whose answer is a stream. The caller
// closes it.
func (c *client) stream(ctx context.Context, method, path string) (io.ReadCloser, error) {
	resp, err := c.native(ctx, method, path, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (c *client) native(ctx context.Context, method, path string, in any) (*http.Response, error) {
	if in == nil {
		return c.request(ctx, method, path, "", nil)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	return c.request(ctx, method, path, "application/json", body)
}

// request makes a call of the native API with any body, of which contentType
// says what it is. The caller closes the body of the answer.
func (c *client) request(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.key.ID != "" {
		req.Header.Set("Authorization", "Bearer "+c.key.ID+"."+c.key.Secret)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	var answer struct{ Error refusal }
	if json.Unmarshal(text, &answer) == nil && answer.Error.Message != "" {
		if resp.StatusCode == http.StatusUnauthorized && c.key.ID == "" {
			return nil, runnel.Errorf(answer.Error.Code, "%s demands a key: set RUNNEL_KEY, or give --key", c.base)
		}
		err := answer.Error.err()
		var failed *functionFailure
		if errors.As(err, &failed) {
			failed.header = resp.Header
		}
		return nil, err
	}
	return nil, fmt.Errorf("%s %s: %s", method, c.base+path, statusLine(resp.Status, text))
}

// refusal is an error answer of the native API.
type refusal struct {
	Code    runnel.Code `json:"code"`
	Message string      `json:"message"`
	Faults  []struct {
		Path    string `json:"path"`
		File    string `json:"file"`
		Line    int    `json:"line"`
		Message string `json:"message"`
	} `json:"faults"`
	FunctionError *runnel.FunctionError `json:"function_error"`
}

// err returns what was refused: a *runnel.Error, within a *faultsError or a
// *functionFailure where the answer says more.
func (r refusal) err() error {
	coded := &runnel.Error{Code: r.Code, Message: r.Message}
	if r.FunctionError != nil {
		return &functionFailure{coded: coded, what: r.FunctionError}
	}
	if len(r.Faults) == 0 {
		return coded
	}
	out := &faultsError{cause: coded}
	for _, f := range r.Faults {
		line := f.Message
		if f.Path != "" {
			line = f.Path + ": " + line
		}
		switch {
		case f.File != "" && f.Line > 0:
			line = fmt.Sprintf("%s:%d: %s", f.File, f.Line, line)
		case f.File != "":
			line = f.File + ": " + line
		}
		out.lines = append(out.lines, line)
	}
	return out
}

// sqsError is an error answer of the SQS API.
type sqsError struct {
	Code, Message string
	Status        int
}

// Error returns the message and the code, which SQS users know.
func (e *sqsError) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Message + " (" + e.Code + ")"
}

// sqs makes a call of the SQS API, AWS JSON 1.0. An error answer is a
// *sqsError.
func (c *client) sqs(ctx context.Context, action string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", action, err)
	}
	req, err := c.sqsRequest(ctx, action, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
		return sqsFailure(action, resp, text)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer to %s: %w", action, err)
	}
	return nil
}

// sqsRequest makes a signed request of the SQS API.
func (c *client) sqsRequest(ctx context.Context, action string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/x-amz-json-1.0"}
	req.Header["X-Amz-Target"] = []string{"AmazonSQS." + action}
	if c.key.ID != "" {
		auth.Sign(req, body, c.key, sqsRegion, "sqs", time.Now())
	}
	return req, nil
}

// sqsFailure reads an error answer.
func sqsFailure(action string, resp *http.Response, text []byte) error {
	var answer struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Type == "" {
		return fmt.Errorf("%s: %s", action, statusLine(resp.Status, text))
	}
	code := answer.Type[strings.LastIndexByte(answer.Type, '#')+1:]
	return &sqsError{Code: code, Message: answer.Message, Status: resp.StatusCode}
}

// statusLine is a status and the first line of an answer that is not of the
// shape that was expected: somebody else's, perhaps.
func statusLine(status string, text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if len(line) > 200 {
		line = line[:200] + "..."
	}
	if line == "" {
		return status
	}
	return status + ": " + line
}

// unreachable is the error of a request that got no answer.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no server answers at %s: start one with runnel dev, or name another with --url", c.base)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("ask %s: %w", c.base, err)
}

// queueURL returns the URL of a queue, which is given by its name or, as other
// SQS tools have it, by its URL.
func (c *client) queueURL(ctx context.Context, queue string) (string, error) {
	if strings.Contains(queue, "://") {
		return queue, nil
	}
	var out struct{ QueueUrl string }
	err := c.sqs(ctx, "GetQueueUrl", map[string]string{"QueueName": queue}, &out)
	return out.QueueUrl, c.noQueue(queue, err)
}

// noQueue says what to do about the error that a queue does not exist, and
// leaves every other as it is.
func (c *client) noQueue(queue string, err error) error {
	var e *sqsError
	if errors.As(err, &e) && (e.Code == "QueueDoesNotExist" || e.Code == "AWS.SimpleQueueService.NonExistentQueue") {
		return fmt.Errorf("there is no queue %q at %s: runnel queue ls lists them, runnel send --create makes one", queue, c.base)
	}
	return err
}
