package server_test

import (
	"net/http"
	"path/filepath"
	"testing"
)

// A worker of the Runtime API that ends a while after its answer, without a
// word, is given the next call as well. Whoever waits for the answer gets it.
const shortLived = `functions:
  brief:
    runtime: exec
    transport: runtime-api
    handler: ./brief
    workers: {max: 1}
    inline: |
      #!/usr/bin/env python3
      import os, time
      from http.client import HTTPConnection

      api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
      path = "/2018-06-01/runtime/invocation/"
      api.request("GET", path + "next")
      event = api.getresponse()
      body = event.read()
      api.request("POST", path + event.getheader("Lambda-Runtime-Aws-Request-Id") + "/response", body)
      api.getresponse().read()
      time.sleep(0.1)
`

func TestInvokeAfterALastAnswer(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	cfg := config(t)
	cfg.SpecFile = filepath.Join(t.TempDir(), "runnel.yaml")
	write(t, cfg.SpecFile, shortLived)
	r := start(t, cfg)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"1", "2", "3", "4", "5"} {
		status, got := r.call(t, "POST", "/api/v1/functions/default/brief/invoke", http.Header{"Content-Type": {"application/json"}}, payload)
		if status != 200 || got != payload {
			t.Errorf("call %s: got %d %s, want the same", payload, status, got)
		}
	}
}
