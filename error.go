package runnel

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code is the kind of an error, for programs. The list is closed: each door
// maps every code to its own wire names in one table, and treats an error
// without a code as CodeInternal, whose text goes to the log only.
type Code string

// The codes.
const (
	// CodeInvalid: the caller's input is wrong and stays wrong.
	CodeInvalid Code = "invalid"
	// CodeNotFound: what the caller named does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict: it exists already, and differently; or it was changed
	// meanwhile.
	CodeConflict Code = "conflict"
	// CodeDenied: the caller may not do this.
	CodeDenied Code = "denied"
	// CodeTooLarge: over a size limit.
	CodeTooLarge Code = "too_large"
	// CodeLimit: over a count or rate limit; may succeed later.
	CodeLimit Code = "limit"
	// CodeUnsupported: correct, and not built.
	CodeUnsupported Code = "unsupported"
	// CodeUnavailable: cannot be done now, may succeed later (disk full,
	// draining, broker away).
	CodeUnavailable Code = "unavailable"
	// CodeInternal: a fault of ours.
	CodeInternal Code = "internal"
)

// Error is an error with a code and a sentence for the caller. Err, if set,
// is the cause: it is for the log and does not reach the caller.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Error returns the sentence and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an *Error with a formatted sentence. A %w verb sets the
// cause as well.
func Errorf(code Code, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	if cause := errors.Unwrap(wrapped); cause != nil {
		msg := strings.TrimSuffix(strings.TrimSuffix(wrapped.Error(), cause.Error()), ": ")
		return &Error{Code: code, Message: msg, Err: cause}
	}
	return &Error{Code: code, Message: wrapped.Error()}
}

// CodeOf returns the code of the first *Error in err's chain, CodeInternal if
// there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// ErrClosed is returned by sources and sinks that were closed.
var ErrClosed = errors.New("closed")

// ErrLeaseLost says that a delivery's lease ended before it was settled: the
// message is, or will be, delivered to somebody else. What was done for it
// may be done again. It is never acked.
var ErrLeaseLost = errors.New("lease lost")

// ErrLaneLost says that a delivery's lane belongs to another process by now.
var ErrLaneLost = errors.New("lane lost")

// SettleError names the settlements, or extensions, that did not happen, by
// their index in the call. All others did.
type SettleError struct{ Failed map[int]error }

// Error lists the failures.
func (e *SettleError) Error() string { return failures("settle", e.Failed) }

// SendError names the messages that were not stored, by their index in the
// call. All others were.
type SendError struct{ Failed map[int]error }

// Error lists the failures.
func (e *SendError) Error() string { return failures("send", e.Failed) }

func failures(what string, failed map[int]error) string {
	first := -1
	for i := range failed {
		if first < 0 || i < first {
			first = i
		}
	}
	if first < 0 {
		return what + ": no failures"
	}
	return fmt.Sprintf("%s: %d failed, the first is number %d: %v", what, len(failed), first, failed[first])
}

// RetryError is a function's wish to see its message again later. Make one
// with RetryAfter.
type RetryError struct {
	After time.Duration
	// Reason is why, in the function's words; it may be empty.
	Reason string
}

// Error says when, and why.
func (e *RetryError) Error() string {
	if e.Reason == "" {
		return "retry after " + e.After.String()
	}
	return "retry after " + e.After.String() + ": " + e.Reason
}

// RetryAfter returns the error by which a handler asks for its message again
// after d. It counts as a failed attempt.
func RetryAfter(d time.Duration) error { return &RetryError{After: d} }

// RejectError is a function's word that its message can never succeed. Make
// one with Reject.
type RejectError struct{ Reason string }

// Error returns the reason.
func (e *RejectError) Error() string { return "rejected: " + e.Reason }

// Reject returns the error by which a handler gives a message up at once: it
// goes to the dead letters with this reason.
func Reject(reason string) error { return &RejectError{Reason: reason} }
