package spec_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
)

// head declares what the flows of a test may refer to, on two lines.
const head = "functions: {f: {runtime: exec, source: s, handler: run}}\nqueues: {in: {}, out: {}}\n"

// TestFaults has one kind of fault after the other: exact text, every line.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       string
	}{
		// The YAML.
		{"syntax", "server:\n  addr: [1\n", `f:2: sequence end token ']' not found`},
		{"syntax, windows lines", "# c\r\n\r\nserver:\r\n  addr: [1\r\n", `f:4: sequence end token ']' not found`},
		{"a tab", "queues:\n\ta: {}\n", "f:2: found character '\t' that cannot start any token"},
		{"a reference without quotes", "server: {addr: ${env:N}}\n", `f:1: ',' or '}' must be specified: between { } and [ ] a value with ${...} needs quotes, "${...}"`},
		{"a list", "- a\n", "f:1: the file is not a mapping: want section: ..."},
		{"text", "hello", "f:1: the file is not a mapping: want section: ..."},
		{"two documents", "queues: {}\n---\n# more\nflows: {}\n", "f:2: a second document begins here: a file has one"},
		{"no anchor", "queues:\n  a: *q\n", "f:2: queues.a: there is no anchor &q before this alias"},
		{"an anchor that holds itself", "queues:\n  a: &q {delay: *q}\n", "f:2: queues.a.delay: there is no anchor &q before this alias"},
		{"a foreign tag", "queues: {a: !q {}}\n", "f:1: queues.a: the tag !q has no meaning here"},
		{"merge of a text", "x-a: &a text\nqueues:\n  a:\n    <<: *a\n", "f:4: queues.a: <<: want a mapping to merge, or a list of them, not text"},
		{"two merges", "queues:\n  a: &a {}\n  b:\n    <<: *a\n    <<: *a\n", "f:5: queues.b: << stands twice, first on line 4: merge several with <<: [*a, *b]"},
		{"a key that is nothing", "queues:\n  ~: {}\n", "f:2: queues: a key is nothing: want text"},
		{"too deep", "x-a: " + strings.Repeat("[", 65) + strings.Repeat("]", 65), "f:1: is nested deeper than 64 levels"},
		{"duplicate keys", "queues:\n  a: {}\n  b: {delay: 1s, delay: 2s}\n  a: {}\nserver:\n  dir: a\n  dir: b\nqueues: {}\n", `
f:3: queues.b.delay: stands twice, first on line 3
f:4: queues.a: stands twice, first on line 2
f:7: server.dir: stands twice, first on line 6
f:8: queues: stands twice, first on line 1`},

		// Sections and keys.
		{"sections", "servers: {}\nkyues: {}\nbrokers: {}\npipelines:\nx-y: 5\n", `
f:1: there is no section "servers", did you mean server?
f:2: there is no section "kyues": this release has server, account, functions, queues, queue_templates, flows
f:3: the section brokers is not in this release
f:4: the section pipelines is not in this release`},
		{"sections of a wrong kind", "server: 5\naccount: [a]\nfunctions: f\nqueues: [a]\nflows: true\n", `
f:1: server: want a mapping such as {addr: 127.0.0.1:7070}, not the number 5
f:2: account: want text, not a list
f:3: functions: want a mapping such as resize: {runtime: python, source: ./resize}, not text
f:4: queues: want a mapping such as images: {}, not a list
f:5: flows: want a mapping such as resize-images: {from: queue:images, call: resize}, not true`},
		{"server", "server:\n  addr: [x]\n  dir:\n  url: ${env:NO}\n", `
f:2: server.addr: want a plain value, not a list
f:3: server.dir: want a plain value, not nothing
f:4: server.url: the environment variable NO is not set`},
		{"account", "account: a/b\n", `f:1: account: "a/b" is not a name: want 1 to 64 letters, digits, hyphens and underscores`},
		{"unknown keys", head + "flows:\n  x:\n    form: queue:in\n    call: f\n    retry: {atempts: 3, jitter: 1}\n", `
f:5: flows.x.form: there is no such key, did you mean from?
f:7: flows.x.retry.atempts: there is no such key: the keys are max_attempts, initial, max
f:7: flows.x.retry.jitter: there is no such key: the keys are max_attempts, initial, max`},
		{"a name is a key", "queues:\n  a:\n    name: b\n", "f:3: queues.a.name: there is no such key: the keys are visibility_timeout, delay, retention, receive_wait, max_message, content_based_deduplication, deduplication_scope, fifo_throughput_limit, dead_letter, redrive_allow, tags, delivery, duplicate, paused"},

		// Types.
		{"types", head + `flows:
  x:
    from: [queue:in]
    call: {f: live}
    to: queue:out
    split: yes
    concurrency: "8"
    batch: 10
    retry:
      initial: [1s]
      max: 5
    requeue_delay: soon
    max_steps: 2.5
  y: queue:in
`, `
f:5: flows.x.from: want text, not a list
f:6: flows.x.call: want text, not a mapping
f:7: flows.x.to: want a list such as [queue:images], not text
f:8: flows.x.split: want true or false, not text
f:9: flows.x.concurrency: want a whole number, not text
f:10: flows.x.batch: want a mapping such as {size: ...}, not the number 10
f:12: flows.x.retry.initial: want a duration such as 30s, not a list
f:13: flows.x.retry.max: want a duration such as 30s, not the number 5
f:14: flows.x.requeue_delay: "soon" is not a duration such as 30s, 1m30s or 7d
f:15: flows.x.max_steps: want a whole number, not the number 2.5
f:16: flows.y: want a mapping such as {from: ...}, not text`},
		{"sizes and durations", `queues:
  a: {max_message: 64m}
  b: {max_message: [1]}
  c: {max_message: 2.5}
  d: {max_message: 0.3kB}
  e: {max_message: "99999999TiB"}
  g: {retention: 99999999999d}
  h: {retention: 1d2d}
  i: {max_message: 18446744073709551615}
  j: {retention: 1d-1h}
  k: {max_message: true}
`, `
f:2: queues.a.max_message: "64m" is not a size such as 64MiB, 1GB or 1048576
f:3: queues.b.max_message: want a size such as 64MiB, not a list
f:4: queues.c.max_message: want a size such as 64MiB, not the number 2.5
f:5: queues.d.max_message: 300 bytes is not between 1KiB and 1MiB
f:6: queues.e.max_message: "99999999TiB" is larger than any size
f:7: queues.g.retention: "99999999999d" is longer than any duration
f:8: queues.h.retention: "1d2d" is not a duration such as 30s, 1m30s or 7d
f:9: queues.i.max_message: 18446744073709551615 is too large
f:10: queues.j.retention: "1d-1h" is not a duration such as 30s, 1m30s or 7d
f:11: queues.k.max_message: want a size such as 64MiB, not true`},
		{"lists and environments", "functions:\n  f: {runtime: exec, source: s, handler: r, env: {A: , B: [1], \"C=\": 1, D: \"\\0\"}}\nqueues: {q: }\nflows:\n  x:\n    from: queue:q\n    call: f\n    to:\n      -\n      - [a]\n", `
f:2: functions.f.env.A: is empty: want a value, or "" for an empty one
f:2: functions.f.env.B: want text, not a list
f:2: functions.f.env.D: has a zero byte, which no environment can hold
f:2: functions.f.env.C=: is not the name of an environment variable
f:9: flows.x.to[0]: is empty
f:10: flows.x.to[1]: want text, not a list`},

		// Ranges.
		{"queues out of range", `queues:
  a b: {}
  a:
    visibility_timeout: 13h
    delay: -1s
    retention: 30s
    receive_wait: 21s
    max_message: 2MiB
    dead_letter: {queue: a, max_receives: 1001}
  b: {dead_letter: {max_receives: 0}}
`, `
f:2: queues.a b: "a b" is not a name: want 1 to 80 letters, digits, hyphens and underscores, and at the end .fifo for a FIFO queue
f:4: queues.a.visibility_timeout: 13h0m0s is not between 0s and 12h
f:5: queues.a.delay: -1s is not between 0s and 15m
f:6: queues.a.retention: 30s is not between 1m and 14d
f:7: queues.a.receive_wait: 21s is not between 0s and 20s
f:8: queues.a.max_message: 2097152 bytes is not between 1KiB and 1MiB
f:9: queues.a.dead_letter.queue: is the queue itself
f:9: queues.a.dead_letter.max_receives: 1001 is not between 1 and 1000
f:10: queues.b.dead_letter.max_receives: 0 is not a value that it can have: leave it out for the default
f:10: queues.b.dead_letter.queue: is missing: want the name of a queue, as in images-dead`},
		{"fifo queues", `queues:
  .fifo: {}
  a.b: {}
  std:
    content_based_deduplication: true
    dead_letter: {queue: dead.fifo}
  a.fifo:
    deduplication_scope: group
    fifo_throughput_limit: perMessageGroupId
    dead_letter: {queue: std}
  b.fifo: {dead_letter: {queue: dead.fifo}}
  dead.fifo: {redrive_allow: {permission: byQueue, source_queues: [a.fifo]}}
  c: {redrive_allow: {source_queues: [x y]}, tags: {"": v}}
  d: {redrive_allow: {permission: byQueue}}
  e: {redrive_allow: {permission: some}}
`, `
f:2: queues..fifo: ".fifo" is not a name: want 1 to 80 letters, digits, hyphens and underscores, and at the end .fifo for a FIFO queue
f:3: queues.a.b: "a.b" is not a name: want 1 to 80 letters, digits, hyphens and underscores, and at the end .fifo for a FIFO queue
f:5: queues.std.content_based_deduplication: is for FIFO queues, whose names end in .fifo. The kind of a queue cannot change: declare another one, and remove this one when it is empty
f:6: queues.std.dead_letter.queue: dead.fifo is a FIFO queue: that of a standard queue is one too
f:6: queues.std.dead_letter.queue: the redrive_allow of dead.fifo does not allow it
f:8: queues.a.fifo.deduplication_scope: "group" is not one of queue, messageGroup
f:9: queues.a.fifo.fifo_throughput_limit: perMessageGroupId needs deduplication_scope: messageGroup
f:10: queues.a.fifo.dead_letter.queue: std is a standard queue: that of a FIFO queue is one too, and its name ends in .fifo
f:11: queues.b.fifo.dead_letter.queue: the redrive_allow of dead.fifo does not allow it
f:13: queues.c.redrive_allow.permission: is missing: want allowAll, denyAll or byQueue
f:13: queues.c.redrive_allow.source_queues: is for permission: byQueue
f:13: queues.c.redrive_allow.source_queues: "x y" is not the name of a queue
f:13: queues.c.tags: "": want a key of 1 to 128 characters, and a value of at most 256
f:14: queues.d.redrive_allow.source_queues: 0 are not between 1 and 10, as byQueue needs
f:15: queues.e.redrive_allow.permission: "some" is not one of allowAll, denyAll, byQueue`},
		{"queue templates", `queue_templates:
  - {delay: 1h}
  - match: "a[*"
    content_based_deduplication: true
    dead_letter: {queue: nowhere}
  - {match: b*, name: x, macth: c}
  - five
`, `
f:2: queue_templates[0].match: is missing: want a pattern of names, as in celery*
f:2: queue_templates[0].delay: 1h0m0s is not between 0s and 15m
f:3: queue_templates[1].match: "a[*" is not a pattern: want characters of names, * for any, ? for one, [a-z] for one of these
f:5: queue_templates[1].dead_letter.queue: nowhere is a standard queue: that of a FIFO queue is one too, and its name ends in .fifo
f:5: queue_templates[1].dead_letter.queue: there is no queue nowhere: declare it in the section queues
f:6: queue_templates[2].name: there is no such key: the keys are match, visibility_timeout, delay, retention, receive_wait, max_message, content_based_deduplication, deduplication_scope, fifo_throughput_limit, dead_letter, redrive_allow, tags, delivery, duplicate, paused
f:6: queue_templates[2].macth: there is no such key, did you mean match?
f:7: queue_templates[3]: want a mapping such as {match: ...}, not text`},
		{"functions out of range", `functions:
  a: {runtime: ruby, source: s, timeout: 13h, workers: {min: 5, max: 4}}
  b: {source: s, memory: 1MiB, max_output: 1GiB}
  c: {runtime: python, source: s, handler: main, timeout: 0s}
  d/e/f: {runtime: node}
  default/a: {}
  g:
`, `
f:2: functions.a.runtime: "ruby" is not one of python, node, exec, go, wasm, http
f:2: functions.a.timeout: 13h0m0s is not between 0s and 12h0m0s
f:2: functions.a.workers.min: 5 is more than workers.max, 4
f:3: functions.b.runtime: is missing: want python, node, exec, go, wasm or http
f:3: functions.b.memory: 1048576 bytes are too few for any runtime: want at least 32MiB
f:3: functions.b.max_output: 1GiB is not between 1 and 64MiB
f:4: functions.c.timeout: 0s is not a value that it can have: leave it out for the default
f:4: functions.c.handler: "main" is not of the form MODULE.FUNCTION, as in main.handler
f:5: functions.d/e/f: "e/f" is not a name: want 1 to 64 letters, digits, hyphens and underscores
f:5: functions.d/e/f.source: is missing: want the directory of the code, its only file or an archive, as in ./resize, or else inline: the code itself
f:6: functions.default/a: is default/a, which stands already on line 2
f:7: functions.g.runtime: is missing: want python, node, exec, go, wasm or http
f:7: functions.g.source: is missing: want the directory of the code, its only file or an archive, as in ./resize, or else inline: the code itself`},
		{"flows out of range", head + `flows:
  x:
    from: queue:in
    call: f
    concurrency: 1001
    batch:
      size: 0
      window: 6m
    retry: &r
      initial: 10m
      max: 1m
    when_busy: panic
    split: true
  y:
    from: queue:in
    call: f
    to: [queue:out]
    payload: sqs-event
    retry: *r
`, `
f:7: flows.x.concurrency: 1001 is not between 1 and 1000
f:9: flows.x.batch.size: 0 is not a value that it can have: leave it out for the default
f:10: flows.x.batch.window: 6m0s is not between 0s and 5m0s
f:13: flows.x.retry.max: 1m0s is shorter than retry.initial, 10m0s
f:13: flows.y.retry.max: 1m0s is shorter than retry.initial, 10m0s
f:14: flows.x.when_busy: "panic" is not one of wait, requeue
f:15: flows.x.split: there is nothing to split without to
f:19: flows.y.to: what a handler of events returns is never published: leave it out with payload: sqs-event`},

		// References.
		{"dangling", `functions:
  resize: {runtime: exec, source: s, handler: r}
queues:
  images: {dead_letter: {queue: images-ded}}
  images-dead:
flows:
  a: {from: queue:imges, call: resise, to: [queue:thumbnails, queue:a-dead]}
  b: {from: queue:images, call: demo/resize@live, dead_letter: queue:nowhere-at-all}
  c: {}
  d: {from: images, call: "resize@", to: ['queue:']}
  e: {from: "queue:a b", call: a b}
`, `
f:4: queues.images.dead_letter.queue: there is no queue images-ded, did you mean images-dead?
f:7: flows.a.from: there is no queue imges, did you mean images?
f:7: flows.a.to[0]: there is no queue thumbnails: declare it in the section queues
f:7: flows.a.call: there is no function default/resise, did you mean resize?
f:8: flows.b.call: there is no function demo/resize, did you mean resize?
f:8: flows.b.dead_letter: there is no queue nowhere-at-all: declare it in the section queues
f:9: flows.c.from: is missing: want KIND:NAME, for example queue:images
f:9: flows.c.call: names no function: want for example call: resize or call: demo/resize@live
f:10: flows.d.from: reference "images": want KIND:NAME, for example queue:images
f:10: flows.d.to[0]: reference "queue:": want KIND:NAME, for example queue:images
f:10: flows.d.call: "resize@" is not a function: want NAME or OWNER/NAME, then perhaps @VERSION, as in demo/resize@live
f:11: flows.e.from: "a b" is not the name of a queue: want 1 to 80 letters, digits, hyphens and underscores, and perhaps .fifo
f:11: flows.e.call: "a b" is not a function: want NAME or OWNER/NAME, then perhaps @VERSION, as in demo/resize@live`},
		{"kinds", head + "flows:\n  x: {from: 'kafka:main/t?group=g', call: f, to: [topic:a, queue:out]}\n", `
f:4: flows.x.from: kafka is not in this release, which has queue:NAME; kafka, sqs, redis, servicebus and eventhubs are to come
f:4: flows.x.to[0]: there is no kind "topic": this release has queue:NAME; kafka, sqs, redis, servicebus and eventhubs are to come`},
		{"dead letters that come back", "functions: {f: {runtime: exec, source: s, handler: r}}\nqueues: {in: , x-dead: }\nflows:\n  a:\n    from: queue:in\n    call: f\n    dead_letter: queue:in\n  x: {from: queue:x-dead, call: f}\n", `
f:7: flows.a.dead_letter: queue:in is the flow's own source: its dead letters would come back for ever
f:8: flows.x.dead_letter: is missing: where its dead letters went else, queue:x-dead, is the flow's own source`},
		{"a filter", head + "flows:\n  x:\n    from: queue:in\n    call: f\n    filter: body. ==\n", "f:7: flows.x.filter: does not compile"},

		// References to the outside.
		{"environment and files", "functions:\n  f:\n    runtime: exec\n    source: s\n    handler: ${N} ${env:N\n    env:\n      A: ${env:NO} ${file:no.txt} ${env:}\n    timeout: ${env:N}\n    workers: {max: '${env:BUCKET_TOKEN}'}\n", `
f:5: functions.f.handler: ${N} means nothing: want ${env:NAME} or ${file:PATH}, or $${ for ${ itself
f:5: functions.f.handler: "${env:N" has no }: $${ stands for ${ itself
f:7: functions.f.env.A: the environment variable NO is not set
f:7: functions.f.env.A: ${file:no.txt}: open testdata/no.txt: no such file or directory
f:7: functions.f.env.A: ${env:} means nothing: want ${env:NAME} or ${file:PATH}, or $${ for ${ itself
f:8: functions.f.timeout: want a duration such as 30s: what ${env:N} stands for is none
f:9: functions.f.workers.max: want a whole number: what ${env:BUCKET_TOKEN} stands for is none`},
	} {
		opt := options("testdata")
		opt.Stat = nil
		opt.CheckFilter = func(text string) error {
			if text == "body. ==" {
				return runnel.Errorf(runnel.CodeUnsupported, "does not compile")
			}
			return nil
		}
		f, err := spec.Parse("f", []byte(test.text), opt)
		if f == nil || err == nil {
			t.Errorf("%s: got %v, %v; want a file and an error", test.name, f, err)
			continue
		}
		if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if got, want := len(spec.Faults(err)), strings.Count(err.Error(), "\n")+1; got != want {
			t.Errorf("%s: got %d faults, want %d", test.name, got, want)
		}
		if code := runnel.CodeOf(err); code != runnel.CodeInvalid {
			t.Errorf("%s: got code %s", test.name, code)
		}
	}
}

// TestSource looks for the code of functions.
func TestSource(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"py/main.py": 0o600, "py/deep/mod.py": 0o600, "py/pack/__init__.py": 0o600, "js/index.mjs": 0o600, "js/lib/a.cjs": 0o600, "js/lib/index.js": 0o600,
		"bin/run": 0o700, "bin/data": 0o600, "bin/dir/x": 0o600, "empty/x": 0o600, "one.py": 0o600,
		"algo/algorithmia.conf": 0o600, "algo/src/Algorithm.py": 0o600,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for function, want := range map[string]string{
		"runtime: python, source: ./py":                                        "",
		"runtime: python, source: py, handler: deep.mod.handle":                "",
		"runtime: python, source: py, handler: pack.handle":                    "",
		"runtime: python, source: one.py":                                      "source: the handler is in main.py, and the source is one.py alone: want handler: one.FUNCTION",
		"runtime: python, source: py/main.py":                                  "",
		"runtime: node, source: js, handler: lib.a":                            "",
		"runtime: exec, source: bin/run, handler: ./run -v":                    "",
		"runtime: exec, source: bin/run, handler: ./data":                      "handler: ./data is outside the source",
		"runtime: exec, source: bin, handler: ../bin/run":                      "handler: ../bin/run is outside the source",
		"runtime: exec, source: bin, handler: '\"./no\" x'":                    "",
		"runtime: python, source: one.py, handler: one.handle":                 "",
		"runtime: node, source: js/":                                           "",
		"runtime: node, source: js, handler: lib/a.handle":                     "",
		"runtime: exec, source: bin, handler: ./run --fast":                    "",
		"runtime: exec, source: bin, handler: bash run":                        "",
		"runtime: python, source: " + filepath.Join(dir, "py"):                 "",
		"runtime: python, source: algo":                                        "",
		"runtime: node, source: js, handler: index.handlers.create":            "",
		"runtime: node, source: js, handler: lib/a.handlers.create":            "",
		"runtime: python, source: nowhere":                                     "source: there is no nowhere",
		"runtime: python, source: one.py/x":                                    "source: look at one.py/x: not a directory",
		"runtime: python, source: ./empty":                                     "source: there is no empty/main.py",
		"runtime: node, source: empty":                                         "source: there is no empty/index.js",
		"runtime: python, source: py, handler: mian.handler":                   "handler: there is no py/mian.py",
		"runtime: python, source: py, handler: deep.handler":                   "handler: there is no py/deep.py",
		"runtime: python, source: one.py, handler: main.handle":                "handler: the handler is in main.py, and the source is one.py alone: want handler: one.FUNCTION",
		"runtime: exec, source: bin, handler: ./no":                            "handler: there is no bin/no",
		"runtime: exec, source: bin, handler: ./data":                          "handler: bin/data is not executable: chmod +x makes it so",
		"runtime: exec, source: bin, handler: ./dir x":                         "handler: bin/dir is a directory, not a program",
		"runtime: python, source: [py]":                                        "source: want text, not a list",
		"runtime: python, source: \"${env:NO}\", handler: main.handler, env: ": "source: the environment variable NO is not set",
	} {
		_, err := spec.Parse("f", []byte("functions: {f: {"+function+"}}"), options(dir))
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "f:1: functions.f.")
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", function, got, want)
		}
	}
}

// TestSourceOfNewKinds looks for code in archives, Go packages and modules, and
// at inline code.
func TestSourceOfNewKinds(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var zipped, tarred bytes.Buffer
	z := zip.NewWriter(&zipped)
	gz := gzip.NewWriter(&tarred)
	tw := tar.NewWriter(gz)
	for _, f := range []struct {
		name string
		mode fs.FileMode
	}{{"main.py", 0o644}, {"top/index.js", 0o644}, {"run", 0o755}, {"data", 0o644}, {"cmd/x/main.go", 0o644}, {"main.wasm", 0o644}} {
		h := &zip.FileHeader{Name: f.name}
		h.SetMode(f.mode)
		_, err := z.CreateHeader(h)
		err = errors.Join(err, tw.WriteHeader(&tar.Header{Name: "./" + f.name, Typeflag: tar.TypeReg, Mode: int64(f.mode)}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.zip", "under.TGZ"} {
		write(name, zipped.String())
	}
	write("a.tar.gz", tarred.String())
	write("half.zip", zipped.String()[:200])
	write("half.tgz", tarred.String()[:60])
	write("text.zip", "hello")
	write("one.wasm", "\x00asm\x01\x00\x00\x00")
	write("w/main.wasm", "hello")
	write("go/main.go", "package main\n")
	write("go/lib/lib.go", "package lib\n")
	write("go/lib/lib_test.go", "package main\n")
	write("go/odd/odd.go", "pakage main\n")
	write("one.go", "package main\n")
	write("none/x", "")
	opt := options(dir)
	opt.Open = func(path string) (fs.File, error) { return os.Open(path) }
	for function, want := range map[string]string{
		"runtime: python, source: a.zip":                                   "",
		"runtime: python, source: under.TGZ":                               "",
		"runtime: python, source: a.tar.gz":                                "",
		"runtime: node, source: a.zip":                                     "source: there is no index.js in a.zip",
		"runtime: node, source: a.tar.gz, handler: top/index.handler":      "",
		"runtime: node, source: a.tar.gz, handler: lib.handler":            "handler: there is no lib.js in a.tar.gz",
		"runtime: exec, source: a.zip, handler: ./run x":                   "",
		"runtime: exec, source: a.zip, handler: ./data":                    "handler: data in a.zip is not executable: chmod +x makes it so",
		"runtime: exec, source: a.zip, handler: ./no":                      "handler: there is no no in a.zip",
		"runtime: go, source: a.zip, handler: ./cmd/x":                     "",
		"runtime: go, source: a.zip":                                       "source: there is no Go file in . in a.zip",
		"runtime: wasm, source: a.tar.gz":                                  "",
		"runtime: python, source: half.zip":                                "source: half.zip: is not a whole zip: zip: not a valid zip file",
		"runtime: python, source: half.tgz":                                "source: half.tgz: is not a whole gzipped tar: unexpected EOF",
		"runtime: python, source: text.zip":                                "source: text.zip: is neither a zip nor a gzipped tar",
		"runtime: python, source: no.zip":                                  "source: there is no no.zip",
		"runtime: wasm, source: one.wasm":                                  "source: the module is main.wasm, and the source is one.wasm alone: want handler: one.wasm",
		"runtime: wasm, source: one.wasm, handler: one.wasm":               "",
		"runtime: wasm, source: go":                                        "source: there is no go/main.wasm",
		"runtime: wasm, source: w":                                         "source: w/main.wasm is not a WebAssembly module",
		"runtime: wasm, source: w, handler: ../x.wasm":                     "handler: the module ../x.wasm is outside the source",
		"runtime: go, source: go":                                          "",
		"runtime: go, source: one.go":                                      "",
		"runtime: go, source: go, handler: ./odd":                          "",
		"runtime: go, source: go, handler: ./lib":                          "handler: go/lib is package lib: want a package main",
		"runtime: go, source: go, handler: ./no":                           "handler: there is no package go/no",
		"runtime: go, source: none":                                        "source: there is no Go file in none",
		"runtime: go, source: go, handler: ../none":                        "handler: the package ../none is outside the source",
		"runtime: python, inline: 'def handler(e): return e'":              "",
		"runtime: python, inline: x, source: go":                           "inline: the code is in one place: there is a source, too",
		"runtime: python, inline: x, handler: app.handler":                 "handler: inline code is the file main.py: want main.FUNCTION",
		"runtime: node, inline: '`${x} ${env:NO}`', handler: index.handle": "",
		"runtime: go, inline: x, handler: ./cmd":                           "handler: ./cmd is not there: inline code is one file, of the package .",
		"runtime: exec, inline: 'echo', handler: ./worker":                 "inline: is the program ./worker, and begins with its interpreter, as in #!/bin/sh",
		"runtime: exec, inline: '#!/bin/sh', handler: ../worker":           "handler: ../worker cannot be the name of the inline program: want one such as ./worker",
		"runtime: exec, inline: '#!/bin/sh', handler: ./worker -v":         "",
		"runtime: http, url: 'https://x.example/'":                         "",
		"runtime: http": "url: is missing: want the endpoint, as in https://models.example.com/score",
		"runtime: http, url: 'http://x', source: go": "source: runtime http has no code here, only a url",
	} {
		_, err := spec.Parse("f", []byte("functions: {f: {"+function+"}}"), opt)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "f:1: functions.f.")
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", function, got, want)
		}
	}
}

// TestNothingOutside has a caller that reads neither environment nor files.
func TestNothingOutside(t *testing.T) {
	_, err := spec.Parse("f", []byte("server: {a: '${env:HOME}', b: '${file:/etc/passwd}'}"), spec.Options{})
	const want = "f:1: server.a: ${env:HOME} cannot be used here: no environment is read\nf:1: server.b: ${file:/etc/passwd} cannot be used here: no files are read"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	big := spec.Options{ReadFile: func(string) ([]byte, error) { return make([]byte, 64<<10+1), nil }}
	if _, err = spec.Parse("f", []byte("server: {a: '${file:x}'}"), big); err == nil || !strings.HasSuffix(err.Error(), "the file has 65537 bytes, more than 64KiB") {
		t.Errorf("got %v", err)
	}
}

// TestLimits has texts that would take a simple reader very long, or all of
// the stack.
func TestLimits(t *testing.T) {
	const size = 256 << 10
	aliases := "x-a: &e {" + "A: v, "
	for i := range 4000 {
		aliases += "K" + strings.Repeat("x", i%3) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + ": v, "
	}
	aliases += "}\nfunctions:\n"
	for i := range 1000 {
		aliases += "  f" + strings.Repeat("x", i%10) + string(rune('a'+i/10%26)) + string(rune('a'+i/260)) + ": {runtime: exec, handler: r, source: s, env: *e}\n"
	}
	var stairs strings.Builder
	for i := range 200 {
		stairs.WriteString(strings.Repeat(" ", i) + "-\n")
	}
	for _, test := range []struct{ name, text, want string }{
		{"too long", strings.Repeat(" ", size+1), "f: the file has 262145 bytes, more than 256KiB"},
		{"brackets", strings.Repeat("[", size), "f:1: is nested deeper than 64 levels"},
		{"braces", strings.Repeat("{a: ", size/4), "f:1: is nested deeper than 64 levels"},
		{"dashes", strings.Repeat("- ", size/2), "f:1: is nested deeper than 64 levels"},
		{"questions", strings.Repeat("? ", size/2), "f:1: is nested deeper than 64 levels"},
		{"dashes, each on a line", stairs.String(), "f:130: is nested deeper than 64 levels"},
		{"keys", "queues:\r" + strings.Repeat("a:\r", 20_000), "f:20001: the file has more than 20000 keys"},
		{"aliases", aliases, "with its aliases the file has more than 200000 values"},
	} {
		_, err := spec.Parse("f", []byte(test.text), spec.Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			got := "no error"
			if err != nil {
				got = err.Error()[:min(len(err.Error()), 300)]
			}
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	if text, err := os.ReadFile("testdata/runnel.yaml"); err == nil {
		f.Add(text)
	}
	for _, seed := range []string{
		"server:\n  addr: :7070\n", "server: {a: [1, 2], b: &x y, c: *x}\n---\nserver:\n", "? [a]\n: b\n", "a: &a\n  <<: *a\n",
		"queues: {a: !!str {}, b: {<<: [{delay: 1s}, *x]}}", "flows: {x: {to: [a:b, 'c':d]}}\r\n", "functions: {a: {timeout: ${env:N}d, env: {A: |\n x\n}}}",
		"x: >-\n  a\n\n%YAML 1.2\n---\n", "a: 0x\n? ", "functions:\n  f:\n    env: {A: '$${a} ${file:x} ${'}\n    memory: 1.5TiB\n",
	} {
		f.Add([]byte(seed))
	}
	opt := options("testdata")
	opt.ReadFile = func(string) ([]byte, error) { return nil, errors.New("none") }
	opt.Stat = nil
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := spec.Parse("f", text, opt) // must neither panic nor hang
		if file == nil {
			t.Fatal("no file")
		}
		if err != nil && len(spec.Faults(err)) == 0 {
			t.Errorf("an error without faults: %v", err)
		}
		if err == nil {
			for _, flow := range file.Flows {
				if vErr := flow.Validate(); vErr != nil || flow.DeadLetter == "" {
					t.Errorf("flow %+v: %v", flow, vErr)
				}
			}
			for _, fn := range file.Functions {
				if vErr := fn.Validate(); vErr != nil {
					t.Errorf("function %+v: %v", fn, vErr)
				}
			}
		}
	})
}
