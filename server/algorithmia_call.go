package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/worker"
)

var _ algorithmia.Calls = callAPI{}

// callAPI makes calls for Algorithmia's clients.
type callAPI struct {
	*applier
	algorithms algorithmAPI
	printed    *printed
	background *background
}

// Named implements algorithmia.Calls.
func (a callAPI) Named(ctx context.Context, id string) (string, error) {
	name, ok, err := a.algorithms.Named(ctx, strings.ToLower(id))
	if err == nil && !ok {
		err = runnel.Errorf(runnel.CodeNotFound, "there is no algorithm with the id %s", id)
	}
	return name, err
}

// Call implements algorithmia.Calls.
func (a callAPI) Call(ctx context.Context, caller auth.Caller, in algorithmia.CallRequest) (out algorithmia.CallAnswer, err error) {
	c, err := a.call(caller, in)
	if err != nil {
		return out, err
	}
	release, err := c.begin(a.flows)
	if err != nil {
		return out, err
	}
	defer release()
	c.wait = min(invokeWait, in.Timeout)
	if in.Stdout && caller.Owns(ownerOf(in.Algorithm)) {
		end := a.printed.collect(c.id)
		defer func() {
			text := end()
			out.Stdout = &text
		}()
	}
	got, err := c.make(ctx, a.functions)
	out = algorithmia.CallAnswer{Format: got.format, Payload: got.payload, Duration: got.run}
	var coded *runnel.Error
	switch {
	case errors.Is(err, worker.ErrNotBegun):
		err = runnel.Errorf(runnel.CodeUnavailable, "the workers of %s end before they are called: %w", in.Algorithm, err)
	case ctx.Err() != nil && !errors.As(err, &coded):
		err = runnel.Errorf(runnel.CodeUnavailable, "the client has left: %w", err)
	}
	return out, err
}

// Begin implements algorithmia.Calls. The call is held in memory only, and its
// place among its account's calls with it.
func (a callAPI) Begin(ctx context.Context, caller auth.Caller, in algorithmia.CallRequest) error {
	c, err := a.call(caller, in)
	if err != nil {
		return err
	}
	release, err := c.begin(a.flows)
	if err != nil {
		return err
	}
	c.wait = in.Timeout // nobody waits for it, and to come again nobody can be told
	ctx = context.WithoutCancel(ctx)
	err = a.background.begin(func() {
		defer release()
		if _, err := c.make(ctx, a.functions); err != nil {
			a.flows.logs.add(ownerOf(in.Algorithm), admin.LogLine{
				Time: time.Now(), Level: "error", Function: in.Algorithm, Invocation: c.id, Text: "a call that nobody waits for failed: " + failureText(err),
			})
		}
	})
	if err != nil {
		release()
	}
	return err
}

// failureText is an error as the owner of a function is told it.
func failureText(err error) string {
	var failed *runnel.FunctionError
	if errors.As(err, &failed) {
		return failed.Error()
	}
	return err.Error()
}

// call returns the call that a caller asks for, if it may make it.
func (a callAPI) call(caller auth.Caller, in algorithmia.CallRequest) (*call, error) {
	ref, err := a.callee(caller, in.Algorithm, in.Version)
	if err != nil {
		return nil, err
	}
	return &call{
		id: in.ID, ref: ref, caller: caller.Principal(), payload: in.Payload, format: in.Format, trace: in.Trace, timeout: in.Timeout,
	}, nil
}

// callee returns the version that a reference of Algorithmia's names, if the
// caller may call it.
//
// What is published publicly may be called by every account, the rest by who owns
// the algorithm, and by algorithms of the same owner: that is code of the
// owner's, whoever called it. To others the rest is not there.
func (a callAPI) callee(caller auth.Caller, name, version string) (ref string, err error) {
	owner := ownerOf(name)
	own := caller.Owns(owner) || caller.Function != "" && ownerOf(caller.Function) == owner
	none := runnel.Errorf(runnel.CodeNotFound, "algorithm algo://%s not found", algorithmPath(name, version))
	if !unmarked(name) || !unmarked(version) {
		return "", none
	}
	if !caller.Calls(name) && (own || a.public(name)) {
		return "", runnel.Errorf(runnel.CodeDenied, "the key may not call %s: its permissions (algo_acl) do not name it", name)
	}
	if a.functions.goHandler(name) != nil {
		if !own {
			return "", none
		}
		return name, nil
	}
	want := version
	switch {
	case want == "":
		want = "latest"
	case isGitHash(want):
		want = want[:hashDigits]
	}
	_, v, err := a.functions.set.Find(name + "@" + want)
	switch {
	case err == nil && (own || v.Release != nil && v.Release.Public && !hashLike(want)):
		return name + "@" + v.Hash, nil
	case err == nil, !own:
		return "", none
	case want == "latest" && a.functions.exists(name):
		return "", runnel.Errorf(runnel.CodeNotFound,
			"algorithm algo://%s is not published for all: say which version to call, by its number as in 1.2.3, by the hash of a build, or latestPrivate for the newest that is published privately", name)
	case runnel.CodeOf(err) == runnel.CodeInvalid: // a hash that several begin with
		return "", runnel.Errorf(runnel.CodeNotFound, "%v", err)
	}
	return "", none
}

// public says whether an algorithm has a version for all.
func (a callAPI) public(name string) bool {
	_, _, err := a.functions.set.Find(name + "@latest")
	return err == nil
}

// unmarked says whether a name or a version has nothing that would make it another
// in a reference.
func unmarked(text string) bool {
	for _, c := range text {
		if c == '@' || c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// algorithmPath is an algorithm as its clients write it.
func algorithmPath(name, version string) string {
	if version == "" {
		return name
	}
	return name + "/" + version
}

// hashDigits is how many digits the hash of a version has; the 40 of a hash of
// git begin with them.
const (
	hashDigits = 16
	gitDigits  = 40
)

func isGitHash(text string) bool { return len(text) == gitDigits && isHex(text) }

func hashLike(text string) bool { return len(text) == hashDigits && isHex(text) }

func isHex(text string) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
