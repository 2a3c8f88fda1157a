package sqs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestFailureOf looks up the errors of the packages below, as they come:
// wrapped.
func TestFailureOf(t *testing.T) {
	cause := errors.New("secret path")
	for _, test := range []struct {
		err  error
		kind *kind
		text string
	}{
		{auth.ErrMissing, missingAuthentication, "o credentials"},
		{auth.ErrMalformed, incompleteSignature, "alformed"},
		{auth.ErrUnknownKey, unrecognizedClient, "nknown key"},
		{auth.ErrSignature, invalidSignature, "does not match"},
		{auth.ErrExpired, invalidSignature, "expired"},
		{auth.ErrSessionExpired, expiredToken, "ession expired"},
		{queue.ErrNotInFlight, messageNotInflight, "isn't in flight"},
		{queue.ErrOverLimit, overLimit, "the limit is 120000"},
		{runnel.ErrClosed, serviceUnavailable, "shutting down"},
		{runnel.Errorf(runnel.CodeInvalid, "bad: %w", cause), invalidParameterValue, "bad"},
		{runnel.Errorf(runnel.CodeNotFound, "there is no queue a/b"), queueDoesNotExist, "The specified queue does not exist."},
		{runnel.Errorf(runnel.CodeTooLarge, "too large"), invalidParameterValue, "too large"},
		{runnel.Errorf(runnel.CodeDenied, "not yours"), accessDenied, "not yours"},
		{runnel.Errorf(runnel.CodeUnavailable, "disk full: %w", cause), serviceUnavailable, "disk full"},
		{runnel.Errorf(runnel.CodeInternal, "broken: %w", cause), internalFailure, "log"},
		{cause, internalFailure, "log"},
		{&failure{tooLarge, "as it is"}, tooLarge, "as it is"},
	} {
		for _, err := range []error{test.err, fmt.Errorf("doing this: %w", test.err)} {
			f, known := failureOf(err)
			if f.kind != test.kind || !strings.Contains(f.message, test.text) || known != (test.kind != internalFailure) {
				t.Errorf("%v: got %v, known %v", err, f, known)
			}
			if strings.Contains(f.message, cause.Error()) {
				t.Errorf("%v: the cause got out: %s", err, f.message)
			}
		}
	}
	for code, k := range codes {
		if k == nil || k == internalFailure {
			t.Errorf("code %s: %v", code, k)
		}
	}
}

// TestReceiptErrors checks that a long handle is not repeated whole.
func TestReceiptErrors(t *testing.T) {
	long := strings.Repeat("h", 1<<20)
	_, parse := parseReceipt(long)
	for _, err := range []error{parse, receiptError(queue.ErrBadReceipt, long, 0), receiptError(queue.ErrNoMessage, long, 0)} {
		if n := len(err.Error()); n < maxEcho || n > 2*maxEcho {
			t.Errorf("an error of %d bytes: %.100s", n, err)
		}
	}
	if err := receiptError(nil, "h", 0); err != nil {
		t.Errorf("no error became %v", err)
	}
}
