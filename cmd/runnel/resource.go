package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// kind is a kind of resources.
type kind struct {
	name, plural string
	field        string // of the answer that lists them
}

// The kinds.
var (
	functionKind   = kind{"function", "functions", "functions"}
	flowKind       = kind{"flow", "flows", "flows"}
	queueKind      = kind{"queue", "queues", "queues"}
	deadLetterKind = kind{"dead-letter", "dead-letters", "queues"}
)

// kindOf returns the kind of this name, which may be its plural.
func kindOf(word string, kinds ...kind) (kind, error) {
	var names []string
	for _, k := range kinds {
		if word == k.name || word == k.plural {
			return k, nil
		}
		names = append(names, k.name)
	}
	hint := ": want " + strings.Join(names, ", ")
	if name := closest(word, names); name != "" {
		hint = ", did you mean " + name + "?"
	}
	return kind{}, &usageError{fmt.Sprintf("there is no kind %q%s", word, hint)}
}

// kindAndName reads the arguments KIND NAME, or KIND/NAME.
func kindAndName(args []string) (kind, string, error) {
	word, name := args[0], ""
	if len(args) == 2 {
		name = args[1]
	} else if word, name, _ = strings.Cut(args[0], "/"); name == "" {
		return kind{}, "", &usageError{fmt.Sprintf("%s of which name? Want for example %s images", args[0], args[0])}
	}
	k, err := kindOf(word, functionKind, flowKind, queueKind)
	return k, name, err
}

// list returns the resources of a kind.
func (c *client) list(ctx context.Context, k kind) ([]json.RawMessage, error) {
	var answer map[string]json.RawMessage
	path := "/api/v1/" + k.plural
	if err := c.do(ctx, "GET", path, nil, &answer); err != nil {
		return nil, err
	}
	var out []json.RawMessage
	if raw, ok := answer[k.field]; !ok || json.Unmarshal(raw, &out) != nil {
		return nil, fmt.Errorf("read the answer to GET %s: it has no list %q", path, k.field)
	}
	return out, nil
}

// names returns the names of the resources of a kind.
func (c *client) names(ctx context.Context, k kind) ([]string, error) {
	all, err := c.list(ctx, k)
	if err != nil {
		return nil, err
	}
	named, err := decodeAll[struct{ Name, Queue string }](all)
	var out []string
	for _, n := range named {
		out = append(out, cmp.Or(n.Name, n.Queue))
	}
	return out, err
}

// decodeAll reads each value of a list.
func decodeAll[T any](raw []json.RawMessage) ([]T, error) {
	out := make([]T, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &out[i]); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
	}
	return out, nil
}

// path returns the path of a resource. A function without an owner is looked
// for.
func (c *client) path(ctx context.Context, k kind, name string) (string, error) {
	if k == functionKind {
		full, err := c.functionName(ctx, name)
		if err != nil {
			return "", err
		}
		owner, bare, _ := strings.Cut(full, "/")
		return "/api/v1/functions/" + url.PathEscape(owner) + "/" + url.PathEscape(bare), nil
	}
	return "/api/v1/" + k.plural + "/" + url.PathEscape(name), nil
}

// functionName completes the name of a function.
func (c *client) functionName(ctx context.Context, name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	all, err := c.names(ctx, functionKind)
	if err != nil {
		return "", err
	}
	var fits []string
	for _, full := range all {
		if strings.HasSuffix(full, "/"+name) {
			fits = append(fits, full)
		}
	}
	switch len(fits) {
	case 0:
		return "", c.noSuch(functionKind, name, all)
	case 1:
		return fits[0], nil
	}
	return "", fmt.Errorf("there are several functions %s: say which, %s", name, strings.Join(fits, " or "))
}

// noSuch says that there is no resource of this name, and which was perhaps
// meant.
func (c *client) noSuch(k kind, name string, names []string) error {
	hint := fmt.Sprintf(": runnel get %s lists them", k.plural)
	bare := make(map[string]string, len(names)) // functions are called by the part behind the owner, too
	all := names
	for _, n := range names {
		if _, after, ok := strings.Cut(n, "/"); ok && !strings.Contains(name, "/") {
			bare[after] = n
			all = append(all, after)
		}
	}
	if got := closest(name, all); got != "" {
		hint = fmt.Sprintf(", did you mean %s?", cmp.Or(bare[got], got))
	}
	return runnel.Errorf(runnel.CodeNotFound, "there is no %s %s at %s%s", k.name, name, c.base, hint)
}

// suggest says more of an error that something does not exist, and leaves
// every other as it is.
func (c *client) suggest(ctx context.Context, k kind, name string, err error) error {
	if runnel.CodeOf(err) != runnel.CodeNotFound {
		return err
	}
	names, listErr := c.names(ctx, k)
	if listErr != nil {
		return err
	}
	for _, n := range names {
		if n == name {
			return err // something else is missing
		}
	}
	return c.noSuch(k, name, names)
}

// functionInfo is what these commands read of the API's answer about a
// function.
type functionInfo struct {
	Name       string         `json:"name"`
	OwnerFile  string         `json:"owner_file"`
	Definition map[string]any `json:"definition"`
	Live       string         `json:"live"`
	Deployed   time.Time      `json:"deployed"`

	Previous string            `json:"previous"`
	Versions []functionVersion `json:"versions"`
	Aliases  map[string]string `json:"aliases"`
	History  []struct {
		Version string    `json:"version"`
		Time    time.Time `json:"time"`
		By      string    `json:"by"`
		How     string    `json:"how"`
	} `json:"history"`
	State     string `json:"state"`
	LastError string `json:"last_error"`
	Workers   struct {
		Min      int `json:"min"`
		Max      int `json:"max"`
		Idle     int `json:"idle"`
		Busy     int `json:"busy"`
		Starting int `json:"starting"`
	} `json:"workers"`
	Stats struct {
		Calls       uint64 `json:"calls"`
		Errors      uint64 `json:"errors"`
		Timeouts    uint64 `json:"timeouts"`
		Crashes     uint64 `json:"crashes"`
		OutOfMemory uint64 `json:"out_of_memory"`
		Interrupted uint64 `json:"interrupted"`
		Starts      uint64 `json:"starts"`
		Waiting     int    `json:"waiting"`

		Wait       durations `json:"wait"`
		Start      durations `json:"start"`
		Run        durations `json:"run"`
		PeakMemory int64     `json:"peak_memory"`
	} `json:"stats"`
	Limits []struct {
		Name    string `json:"name"`
		Wanted  string `json:"wanted"`
		InForce bool   `json:"in_force"`
		How     string `json:"how"`
	} `json:"limits"`
}

// durations is how long something took, in milliseconds; all but the mean are
// upper bounds.
type durations struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
}

// flowInfo is what these commands read of the API's answer about a flow.
type flowInfo struct {
	Name       string   `json:"name"`
	From       string   `json:"from"`
	Call       string   `json:"call"`
	To         []string `json:"to"`
	DeadLetter string   `json:"dead_letter"`
	OwnerFile  string   `json:"owner_file"`
	State      string   `json:"state"`
	Error      string   `json:"error"`
	Version    string   `json:"version"`
	Backlog    struct {
		Visible  int64     `json:"visible"`
		InFlight int64     `json:"in_flight"`
		Delayed  int64     `json:"delayed"`
		Oldest   time.Time `json:"oldest"`
	} `json:"backlog"`
	Accepted *struct {
		Queue    string `json:"queue"`
		Total    uint64 `json:"total"`
		Visible  int64  `json:"visible"`
		InFlight int64  `json:"in_flight"`
		Delayed  int64  `json:"delayed"`
	} `json:"accepted"`
	Features []string `json:"features"`
	Stats    struct {
		Received     uint64 `json:"received"`
		Calls        uint64 `json:"calls"`
		Handled      uint64 `json:"handled"`
		Published    uint64 `json:"published"`
		Filtered     uint64 `json:"filtered"`
		Retried      uint64 `json:"retried"`
		Released     uint64 `json:"released"`
		DeadLettered uint64 `json:"dead_lettered"`
		LeaseLost    uint64 `json:"lease_lost"`
		InFlight     int    `json:"in_flight"`
		Parked       int    `json:"parked"`
		Waiting      int    `json:"waiting"`
	} `json:"stats"`
}

// deadLetterQueue is what these commands read of the API's answer about a
// dead-letter queue.
type deadLetterQueue struct {
	Queue    string    `json:"queue"`
	Visible  int64     `json:"visible"`
	InFlight int64     `json:"in_flight"`
	Flows    []string  `json:"flows"`
	Oldest   time.Time `json:"oldest"`
}
