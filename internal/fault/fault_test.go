package fault_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestKindOf(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}
	tests := []struct {
		err  error
		want fault.Kind
	}{
		{fault.New(fault.Data, "x"), fault.Data},
		{fmt.Errorf("a: %w", fault.New(fault.Data, "x")), fault.Data},
		{fault.As(fault.Conflict, fault.New(fault.Data, "x")), fault.Conflict},
		{fault.Hint(path, "look"), fault.NoInput},
		{errors.Join(errors.New("x"), fault.New(fault.IO, "y")), fault.IO},
		{path, fault.NoInput},
		{fault.Output(path), fault.CantCreate},
		{fault.Output(fault.New(fault.NoInput, "marked")), fault.NoInput},
		{&os.LinkError{Op: "rename", Err: syscall.EROFS}, fault.CantCreate},
		{syscall.ENOSPC, fault.CantCreate},
		{syscall.EACCES, fault.Permission},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, fault.Unavailable},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, fault.IO},
		{&net.DNSError{Name: "db", IsNotFound: true}, fault.Unavailable},
		{syscall.EIO, fault.IO},
		{io.ErrUnexpectedEOF, fault.IO},
		{context.DeadlineExceeded, fault.Unavailable},
		{x509.UnknownAuthorityError{}, fault.Permission},
		{x509.CertificateInvalidError{Reason: x509.Expired}, fault.Unavailable},
		{syscall.ENOSYS, fault.Unsupported},
		{errors.New("nobody classified it"), fault.Internal},
	}
	for _, test := range tests {
		if got := fault.KindOf(test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fault.New(fault.Usage, "x"), 64},
		{&fault.Signal{Signal: syscall.SIGTERM}, 143},
		{fault.New(fault.Unavailable, "x: %w", &fault.Signal{Signal: syscall.SIGINT}), 130},
		{fault.Exit(137, errors.New("killed")), 137},
		{fault.Hint(fault.Exit(137, errors.New("killed")), "hint"), 137},
		{fault.As(fault.Unavailable, fault.Exit(137, errors.New("killed"))), 69},
	}
	for _, test := range tests {
		if got := fault.ExitCode(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}

func TestTransientKinds(t *testing.T) {
	var transient []int
	for _, kind := range fault.Kinds() {
		if kind.Transient() {
			transient = append(transient, kind.Code())
		}
	}
	if got, want := fmt.Sprint(transient), "[69 74 75]"; got != want {
		t.Errorf("got %s, want %s: examples and docs name these codes", got, want)
	}
}

func TestHintIsTheOutermostOne(t *testing.T) {
	err := fault.Hint(fault.New(fault.Data, "x"), "inner")
	if got := fault.HintOf(fmt.Errorf("a: %w", err)); got != "inner" {
		t.Errorf("got %q", got)
	}
	err = fault.Hint(err, "outer")
	if got, want := fault.Describe(err), "x\n  hint: outer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if fault.Hint(nil, "x") != nil || fault.As(fault.Data, nil) != nil || fault.Output(nil) != nil || fault.Exit(1, nil) != nil {
		t.Error("nil did not stay nil")
	}
}

func TestAfterIsTheLongestOfTheTree(t *testing.T) {
	busy := fault.New(fault.Temporary, "503")
	short, long := fault.RetryAfter(busy, time.Second), fault.RetryAfter(fault.New(fault.Temporary, "429"), time.Minute)
	for _, test := range []struct {
		name string
		err  error
		want time.Duration
	}{
		{"none", nil, 0},
		{"not said", busy, 0},
		{"nobody classified it", errors.New("x"), 0},
		{"said", short, time.Second},
		{"wrapped", fmt.Errorf("fetch: %w", short), time.Second},
		{"with a hint", fault.Hint(short, "wait"), time.Second},
		{"marked anew", fault.As(fault.IO, short), time.Second},
		{"said twice", fault.RetryAfter(long, time.Second), time.Minute},
		{"of two", errors.Join(short, fmt.Errorf("and: %w", long)), time.Minute},
		{"of two, none of which says it first", errors.Join(errors.New("x"), busy, long), time.Minute},
		{"below zero", fault.RetryAfter(busy, -time.Second), 0},
	} {
		if got := fault.AfterOf(test.err); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestRetryAfterKeepsTheRest(t *testing.T) {
	if fault.RetryAfter(nil, time.Second) != nil {
		t.Error("nil is an error now")
	}
	err := fault.Exit(99, fault.Hint(fault.New(fault.Temporary, "503"), "wait"))
	after := fault.RetryAfter(err, time.Second)
	if fault.KindOf(after) != fault.Temporary || fault.HintOf(after) != "wait" || fault.ExitCode(after) != 99 || after.Error() != "503" || !errors.Is(after, err) {
		t.Errorf("got %v, %v, %q, %d", after, fault.KindOf(after), fault.HintOf(after), fault.ExitCode(after))
	}
	if fault.RetryAfter(err, 0) != err {
		t.Error("nothing said is another error")
	}
}

func TestCause(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct{ err, want error }{
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, syscall.ENOENT},
		{fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}), syscall.EACCES},
		{&os.LinkError{Op: "rename", Old: "/x", New: "/y", Err: syscall.EXDEV}, syscall.EXDEV},
		{other, other},
		{nil, nil},
	} {
		if got := fault.Cause(c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}
