package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// announced is a writer that closes up when it is first written to.
type announced struct {
	up   chan struct{}
	once sync.Once
	mu   sync.Mutex
	text bytes.Buffer
}

func newAnnounced() *announced { return &announced{up: make(chan struct{})} }

func (a *announced) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.once.Do(func() { close(a.up) })
	return a.text.Write(p)
}

func (a *announced) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// stopped runs a shell script that says when it is up, and ends its context with the given cause then.
func stopped(t *testing.T, script string, cause error, extra ...*os.File) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	out := newAnnounced()
	cmd := exec.Command("sh", "-c", script)
	cmd.ExtraFiles = extra
	go func() {
		<-out.up
		cancel(cause)
	}()
	err = execute(ctx, cmd, Streams{Out: out}, 0)
	return out.String(), err
}

// endedBy returns the signal that ended a command, 0 for none.
func endedBy(err error) syscall.Signal {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return status.Signal()
		}
	}
	return 0
}

func TestExecStreams(t *testing.T) {
	var out, errs bytes.Buffer
	streams := Streams{In: strings.NewReader("in"), Out: &out, Err: &errs}
	err := execute(t.Context(), exec.Command("sh", "-c", "cat; echo err >&2"), streams, 0)
	if got := out.String() + " " + errs.String(); err != nil || got != "in err\n" {
		t.Errorf("got %q, %v, want %q", got, err, "in err\n")
	}
	if err := execute(t.Context(), exec.Command("cat"), Streams{}, 0); err != nil {
		t.Errorf("without streams: %v", err)
	}
	own := exec.Command("sh", "-c", "echo own")
	var mine bytes.Buffer
	own.Stdout = &mine
	if err := execute(t.Context(), own, streams, 0); err != nil || mine.String() != "own\n" {
		t.Errorf("got %q, %v, want the command's own stream kept", mine.String(), err)
	}
}

func TestExecStatus(t *testing.T) {
	err := execute(t.Context(), exec.Command("sh", "-c", "exit 3"), Streams{}, 0)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
	if err := execute(t.Context(), exec.Command("/nonexistent/command"), Streams{}, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
}

func TestExecDoesNotStartAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&fault.Signal{Signal: syscall.SIGTERM})
	var out bytes.Buffer
	err := execute(ctx, exec.Command("echo", "started"), Streams{Out: &out}, 0)
	if !errors.Is(err, context.Canceled) || out.Len() != 0 {
		t.Errorf("got %q, %v, want nothing but the context's end", out.String(), err)
	}
}

func TestExecPassesTheEndOn(t *testing.T) {
	for want, cause := range map[syscall.Signal]error{
		syscall.SIGTERM: errors.New("a neighbour failed"),
		syscall.SIGINT:  &fault.Signal{Signal: syscall.SIGINT},
	} {
		if _, err := stopped(t, "echo up; exec sleep 1000", cause); endedBy(err) != want {
			t.Errorf("%v: got %v, want ended by %v", cause, err, want)
		}
	}
}

func TestExecLetsTheCommandCleanUp(t *testing.T) {
	script := `trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done`
	output, err := stopped(t, script, nil)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 9 || output != "up\nbye\n" {
		t.Errorf("got %q, %v, want its last words and its status", output, err)
	}
}

func TestExecThatEndsWellWhenToldIsNotDone(t *testing.T) {
	_, err := stopped(t, `trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

// pipe returns a pipe whose reader sees the end when no process has the writer any longer; the caller closes its own.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, w
}

func TestExecKillsWhatIgnoresTheEnd(t *testing.T) {
	r, w := pipe(t)
	_, err := stopped(t, `trap '' TERM; echo up; while :; do sleep 1000; done`, nil, w)
	_ = w.Close()
	if endedBy(err) != syscall.SIGKILL {
		t.Errorf("got %v, want killed", err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // returns when all that had the pipe are gone
		t.Error(err)
	}
}

func TestExecEndsWhatTheCommandHasStarted(t *testing.T) {
	for name, script := range map[string]string{
		"waited for":               `echo up; sleep 1000; true`,
		"in the background":        `sleep 1000 & echo up; wait`,
		"deaf, and left by a dead": `(trap '' TERM; sleep 1000) & echo up; exec sleep 1000`,
	} {
		r, w := pipe(t)
		_, err := stopped(t, script, nil, w)
		_ = w.Close()
		if endedBy(err) == 0 {
			t.Errorf("%s: got %v, want ended by a signal", name, err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // returns when all that had the pipe are gone
			t.Error(err)
		}
	}
}

func TestExecDoesNotWaitForWhatKeepsTheOutput(t *testing.T) {
	var out bytes.Buffer
	err := execute(t.Context(), exec.Command("sh", "-c", "sleep 1000 & echo $!"), Streams{Out: &out}, 0)
	pid, parseErr := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil || parseErr != nil {
		t.Fatalf("got %q, %v, want the pid of what runs on", out.String(), err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("got %v, want a process that its command left to run on still running", err)
	}
}

func TestExecForwardsSignals(t *testing.T) {
	out := newAnnounced()
	go func() {
		<-out.up
		_ = syscall.Kill(os.Getpid(), syscall.SIGHUP)
	}()
	script := `trap 'exit 7' HUP; echo up; while :; do sleep 0.01; done`
	err := execute(t.Context(), exec.Command("sh", "-c", script), Streams{Out: out}, 0)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
}

func TestExecPassesMuchOutput(t *testing.T) {
	const size = 32 << 20
	var got int
	count := writer(func(p []byte) (int, error) { got += len(p); return len(p), nil })
	err := execute(t.Context(), exec.Command("head", "-c", strconv.Itoa(size), "/dev/zero"), Streams{Out: count}, 0)
	if err != nil || got != size {
		t.Errorf("got %d bytes, %v, want %d", got, err, size)
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestExecLeaksNothing(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	path, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	once := func() {
		var out bytes.Buffer
		if err := execute(t.Context(), exec.Command(path), Streams{Out: &out, Err: &out}, 0); err != nil {
			t.Fatal(err)
		}
	}
	once() // the runtime opens what it keeps
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 1000 {
		once()
	}
	// A goroutine of os/exec may be a moment from its end when its command is done.
	for range 1000 {
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("got %d goroutines, want %d", got, goroutines)
	}
	if got := descriptors(); got > files {
		t.Errorf("got %d open files, want %d", got, files)
	}
}
