package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/server"
)

// The names of the guide, and the account of a server without keys.
const (
	fileDemoOwner      = "default"
	fileDemoAlgorithm  = "testSQSEventFlow"
	fileDemoCollection = "TestingSQSEventFlow"
	fileDemoQueue      = "demo-queue"
	fileDemoFile       = "some-new-file.txt"
	fileDemoText       = "file contents to store"
)

// fileDemoSource is the algorithm of Algorithmia's guide to Amazon SQS, as it is
// printed there, with owner and collection filled in as it says.
const fileDemoSource = `import Algorithmia
from Algorithmia import ADK

def apply(input):
    Algorithmia.client().file("data://` + fileDemoOwner + `/` + fileDemoCollection + `/" + input.get("filename")).put(input.get("data"))

algorithm = ADK(apply)
algorithm.init("Algorithmia")
`

// fileDemoPatience is how long the file may take to be there.
const fileDemoPatience = time.Minute

func newDemoSQSFileCommand() *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use:   "sqs-file",
		Short: "Do what Algorithmia's guide to Amazon SQS does: messages of a queue become files",
		Long: `Start a server as runnel dev does, on a free port and with a temporary directory,
and do by its HTTP API what Algorithmia's guide to Event Flows with Amazon SQS
does in the browser: create the algorithm with the source that is printed there,
build it, publish it, create the collection, connect the queue, send a message
with the official AWS SDK, and show the file that the algorithm made of it.

Then the server goes on until Ctrl-C. It wants Python 3.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demoSQSFile(cmd.Context(), exit, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "stop when the file is there")
	return cmd
}

// demoSQSFile runs the demonstration in a directory of its own, and removes it.
func demoSQSFile(ctx context.Context, exit bool, out, errOut io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "runnel-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return serveDemo(ctx, server.Config{
		Dir: filepath.Join(dir, "data"), Dev: true, Addr: "127.0.0.1:0", Version: thisBuild().version,
		Log: slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelError})),
	}, func(ctx context.Context, s *server.Server) error {
		d := &fileDemo{url: s.URL(), out: out}
		fmt.Fprintf(out, "listening on %s\n\n", d.url)
		if err := d.run(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if exit {
			return nil
		}
		d.next(os.Args[0])
		<-ctx.Done()
		return nil
	})
}

// fileDemo is the walk through the guide.
type fileDemo struct {
	url  string
	out  io.Writer
	step int
}

// run goes from nothing to the file.
func (d *fileDemo) run(ctx context.Context) error {
	const algorithm = "/v1/algorithms/" + fileDemoOwner + "/" + fileDemoAlgorithm
	if _, err := d.call(ctx, "create the algorithm", "POST", "/v1/algorithms/"+fileDemoOwner,
		map[string]any{"name": fileDemoAlgorithm, "details": map[string]string{"label": fileDemoAlgorithm}, "settings": map[string]string{"language": "python3"}}); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n%s\n", indent(fileDemoSource))
	if _, err := d.call(ctx, "save it", "PUT", algorithm+"/source/src/"+fileDemoAlgorithm+".py", fileDemoSource); err != nil {
		return err
	}
	var built struct {
		Compilation struct {
			Successful bool
			Output     string
		}
	}
	answer, err := d.call(ctx, "build it", "POST", algorithm+"/compile", map[string]any{})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &built); err != nil || !built.Compilation.Successful {
		return fmt.Errorf("the build failed: %s", built.Compilation.Output)
	}
	if _, err := d.call(ctx, "publish it", "POST", algorithm+"/versions",
		map[string]any{"version_info": map[string]string{"version_type": "minor"}, "settings": map[string]string{"algorithm_callability": "public"}}); err != nil {
		return err
	}
	if _, err := d.call(ctx, "create the collection", "POST", "/v1/data/"+fileDemoOwner, map[string]any{"name": fileDemoCollection}); err != nil {
		return err
	}
	sdk := sqs.New(sqs.Options{
		Region: sqsRegion, BaseEndpoint: aws.String(d.url), Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
	queue, err := sdk.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(fileDemoQueue)})
	if err != nil {
		return fmt.Errorf("create the queue: %w", err)
	}
	d.says("create the queue", aws.ToString(queue.QueueUrl))
	answer, err = d.call(ctx, "connect the queue", "POST", "/v1/users/"+fileDemoOwner+"/event-listeners", map[string]any{
		"sourceType": "AmazonSQS", "sourceURI": aws.ToString(queue.QueueUrl), "credentials": "",
		"algoOwner": fileDemoOwner, "algoName": fileDemoAlgorithm,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "     %s\n", answer)
	const body = `{"filename": "` + fileDemoFile + `", "data": "` + fileDemoText + `"}`
	sent, err := sdk.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String(body)})
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	d.says("send a message", aws.ToString(sent.MessageId)+" "+body)
	return d.file(ctx)
}

// file waits for the file, and prints it.
func (d *fileDemo) file(ctx context.Context) error {
	const path = "/v1/data/" + fileDemoOwner + "/" + fileDemoCollection + "/" + fileDemoFile
	begun := time.Now()
	for {
		status, text, err := d.request(ctx, "GET", path, nil)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK && string(text) != fileDemoText:
			return fmt.Errorf("the file has %q, want %q", text, fileDemoText)
		case status == http.StatusOK:
			d.says("the file, after "+time.Since(begun).Round(time.Millisecond).String(), string(text))
			return nil
		case status != http.StatusNotFound:
			return fmt.Errorf("read the file: %d %s", status, text)
		case time.Since(begun) > fileDemoPatience:
			return fmt.Errorf("after %s there is no file: runnel dlq ls says whether the message is a dead letter", fileDemoPatience)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// call makes one call of the walk, and tells of it.
func (d *fileDemo) call(ctx context.Context, what, method, path string, in any) ([]byte, error) {
	status, answer, err := d.request(ctx, method, path, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if status/100 != 2 {
		return nil, fmt.Errorf("%s: %s %s: %d %s", what, method, path, status, answer)
	}
	d.says(what, method+" "+path)
	return answer, nil
}

// request sends text as it is, and anything else as JSON.
func (d *fileDemo) request(ctx context.Context, method, path string, in any) (status int, answer []byte, err error) {
	body, kind := []byte(nil), "text/plain"
	switch in := in.(type) {
	case nil:
	case string:
		body = []byte(in)
	default:
		kind = "application/json"
		if body, err = json.Marshal(in); err != nil {
			return 0, nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Simple any")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}

func (d *fileDemo) says(what, how string) {
	d.step++
	fmt.Fprintf(d.out, "%2d. %-22s %s\n", d.step, what, how)
}

// next says what there is to try.
func (d *fileDemo) next(program string) {
	fmt.Fprintf(d.out, `
The server goes on until Ctrl-C. In another terminal:

  export RUNNEL_URL=%[1]s
  %[2]s send %[3]s '{"filename": "another.txt", "data": "hello"}'
  curl %[1]s/v1/data/%[4]s/%[5]s/another.txt
  %[2]s get flows
  curl %[1]s/v1/users/%[4]s/event-listeners
`, d.url, program, fileDemoQueue, fileDemoOwner, fileDemoCollection)
}

func indent(text string) string {
	var out bytes.Buffer
	for line := range bytes.Lines([]byte(text)) {
		if len(bytes.TrimSpace(line)) > 0 {
			out.WriteString("     ")
		}
		out.Write(line)
	}
	return out.String()
}
