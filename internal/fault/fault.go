// Package fault says what went wrong in terms that a caller can act on: every error that leaves a step has one Kind,
// and the kind decides whether it is tried again and which exit code the process ends with.
//
// The numbers are those of BSD's sysexits.h, narrowed to what an init container needs; they stay clear of 1, 2,
// 124 to 127 and 128+n, which shells, timeout(1) and signals use. Kubernetes acts on them through restartPolicyRules
// (KEP-5307) and a Job's podFailurePolicy.
package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// Kind is a class of failure. Its value is the exit code of a process that ends because of it.
type Kind int

// The kinds of failure, with their exit codes.
const (
	Usage       Kind = 64 // the chain or the plan is wrong
	Data        Kind = 65 // the data is wrong: a digest that differs, a missing key, a template error
	NoInput     Kind = 66 // the input does not exist: no such object, no such ref, 404
	Unavailable Kind = 69 // a dependency is unavailable: refused, timed out
	Internal    Kind = 70 // a bug in slipway, such as a panic
	Unsupported Kind = 71 // the kernel or the system lacks a feature
	CantCreate  Kind = 73 // the output cannot be created: read-only file system, no space
	IO          Kind = 74 // an I/O error: EIO, a reset in mid-body
	Temporary   Kind = 75 // a failure that the other side calls temporary: 429, 5xx
	Permission  Kind = 77 // not permitted: 401, 403, EPERM, a missing capability
	Conflict    Kind = 78 // the configuration conflicts with what is there
)

var names = map[Kind]string{
	Usage: "usage", Data: "data", NoInput: "no-input", Unavailable: "unavailable", Internal: "internal",
	Unsupported: "unsupported", CantCreate: "cant-create", IO: "io", Temporary: "temporary",
	Permission: "permission", Conflict: "conflict",
}

// Kinds returns every kind in the order of its exit code.
func Kinds() []Kind {
	return []Kind{Usage, Data, NoInput, Unavailable, Internal, Unsupported, CantCreate, IO, Temporary, Permission, Conflict}
}

// String returns the kind's name in kebab-case, as logs, spans and the report print it.
func (k Kind) String() string {
	if name, ok := names[k]; ok {
		return name
	}
	return fmt.Sprintf("fault(%d)", int(k))
}

// Code returns the exit code of a process that ends because of this kind.
func (k Kind) Code() int { return int(k) }

// Transient reports whether time may mend a failure of this kind, so that it is worth another attempt.
func (k Kind) Transient() bool { return k == Unavailable || k == IO || k == Temporary }

// Error is a failure with its kind and, where there is one, advice on what to do next.
type Error struct {
	Kind Kind
	Err  error  // what happened; never nil
	Hint string // what to do next, for people; a sentence without a full stop, or empty
	Code int    // the exit code where it is not the kind's, see Exit; 0 is the kind's
	// After is how long the other side asks to wait before the next attempt, see RetryAfter; 0 is nothing said.
	After time.Duration
}

// Error returns the message of the wrapped error alone. The hint is printed on a line of its own by whoever
// talks to people.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind. The format may wrap a cause with %w.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// As returns err marked with the given kind, whatever kind it had before; nil stays nil.
func As(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err, Hint: HintOf(err)}
}

// Hint returns err with advice on what to do next, keeping its kind; nil stays nil. A later hint replaces an earlier one.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: fmt.Sprintf(format, args...), Code: codeOf(err)}
}

// Exit returns err with an exit code of its own, keeping its kind; nil stays nil. It is for a command that slipway ran
// and that a signal ended: 128+n says so to those who would have seen it from the command itself. Whoever marks the
// error anew, because a timeout or a signal to slipway came first, takes the code away again.
func Exit(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: HintOf(err), Code: code}
}

// RetryAfter returns err with how long the other side asks to wait before the next attempt, as HTTP's Retry-After does,
// keeping its kind; nil stays nil. The runner waits that long, up to its longest delay.
func RetryAfter(err error, after time.Duration) error {
	if err == nil || after <= 0 {
		return err
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: HintOf(err), Code: codeOf(err), After: after}
}

// AfterOf returns the longest time in err's tree that the other side asks to wait, 0 if it does not ask.
func AfterOf(err error) time.Duration {
	var longest time.Duration
	if e, ok := err.(*Error); ok {
		longest = e.After
	}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		longest = max(longest, AfterOf(w.Unwrap()))
	case interface{ Unwrap() []error }:
		for _, sub := range w.Unwrap() {
			longest = max(longest, AfterOf(sub))
		}
	}
	return longest
}

// codeOf returns the exit code that Exit gave to err, or 0.
func codeOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

// HintOf returns the outermost hint in err's tree, or "".
func HintOf(err error) string {
	for err != nil {
		if e, ok := err.(*Error); ok && e.Hint != "" {
			return e.Hint
		}
		switch w := err.(type) {
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			for _, sub := range w.Unwrap() {
				if hint := HintOf(sub); hint != "" {
					return hint
				}
			}
			return ""
		default:
			return ""
		}
	}
	return ""
}

// KindOf returns the kind of err: the outermost one it was marked with, else one derived from what the standard
// library tells (see classify). It is Internal for an error that nobody classified, because that is a bug.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return classify(err)
}

// Cause returns what the system said, without the operation and the paths that package os puts before it: whoever tells
// it to people says those in his own words. Any other error is returned as it is.
func Cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// Signal is the cause of a context that a signal ended.
type Signal struct{ Signal syscall.Signal }

// Error names the signal, as in "ended by SIGTERM".
func (s *Signal) Error() string {
	switch s.Signal {
	case syscall.SIGTERM:
		return "ended by SIGTERM"
	case syscall.SIGINT:
		return "ended by SIGINT"
	}
	return "ended by signal: " + s.Signal.String()
}

// ExitCode returns the exit code of a process that ends with err: 0 for nil, the one that Exit gave, 128+n when a signal
// ended it, else the code of err's kind.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if code := codeOf(err); code != 0 {
		return code
	}
	if s, ok := errors.AsType[*Signal](err); ok {
		return 128 + int(s.Signal)
	}
	return KindOf(err).Code()
}

// Describe returns err as people read it: the message, and the hint on a line of its own.
func Describe(err error) string {
	var b strings.Builder
	b.WriteString(err.Error())
	if hint := HintOf(err); hint != "" {
		b.WriteString("\n  hint: " + hint)
	}
	return b.String()
}
