// Package slipway runs the binary under test.
package slipway

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// patience is how long a run may take before it is killed and its test fails: a guard against a hang, not a measure.
const patience = 90 * time.Second

// Command is one run of slipway to be made.
type Command struct {
	Args   []string // global options, then the chain or command
	Env    []string // all of the environment besides PATH
	Dir    string   // the working directory; empty is the test's
	Stdin  string
	Prefix []string // a program that runs slipway, such as strace with its options
	Binary string   // empty is the binary under test; a test that changes the root names its copy
	// Report is where the report goes; empty is a file of the test's own.
	Report string
	// SysProcAttr is for credentials and namespaces; nil is none.
	SysProcAttr *syscall.SysProcAttr
}

// Result is what became of a run.
type Result struct {
	Exit    int // the exit code; 128+n when signal n ended the process
	Stdout  string
	Stderr  string
	Report  string // the termination message; "" when there is none
	Elapsed time.Duration
}

// Run runs slipway with the given arguments to its end.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	return Command{Args: args}.Run(t)
}

// Run runs the command to its end.
func (c Command) Run(t testing.TB) Result {
	t.Helper()
	return c.Start(t).Wait(t)
}

// Process is a run of slipway that may not have ended yet.
type Process struct {
	*os.Process

	cmd            *exec.Cmd
	stdout, stderr *output
	report         string
	began, ended   time.Time
	err            error         // of cmd.Wait
	exited         chan struct{} // closed when ended and err are set
	cancel         context.CancelFunc
}

// Start starts the command. It is killed when the test ends.
func (c Command) Start(t testing.TB) *Process {
	t.Helper()
	report := c.Report
	if report == "" {
		report = filepath.Join(t.TempDir(), "report")
	}
	binary := c.Binary
	if binary == "" {
		binary = tools.Slipway(t)
	}
	args := append(append(append([]string{}, c.Prefix...), binary, "--report", report), c.Args...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &Process{
		cmd: exec.CommandContext(ctx, args[0], args[1:]...), stdout: newOutput(), stderr: newOutput(), report: report, cancel: cancel,
		exited: make(chan struct{}),
	}
	p.cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, c.Env...)
	p.cmd.Dir = c.Dir
	p.cmd.Stdin = strings.NewReader(c.Stdin)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.SysProcAttr = c.SysProcAttr
	// A child that outlives slipway holds the pipes; the tests that look for one find it in /proc.
	p.cmd.WaitDelay = 5 * time.Second
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Process = p.cmd.Process
	go func() {
		p.err = p.cmd.Wait()
		p.ended = time.Now()
		close(p.exited)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.exited
	})
	return p
}

// Wait waits for the end of the run.
func (p *Process) Wait(t testing.TB) Result {
	t.Helper()
	<-p.exited
	elapsed := p.ended.Sub(p.began)
	if exit := (*exec.ExitError)(nil); p.err != nil && !errors.As(p.err, &exit) {
		t.Fatalf("%.500q: %v\n%s", p.cmd.Args, p.err, p.stderr)
	}
	if elapsed >= patience {
		t.Fatalf("%.500q did not end within %s\n%s", p.cmd.Args, patience, p.stderr)
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	exit := status.ExitStatus()
	if status.Signaled() {
		exit = 128 + int(status.Signal())
	}
	report, err := os.ReadFile(p.report)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return Result{Exit: exit, Stdout: p.stdout.String(), Stderr: p.stderr.String(), Report: string(report), Elapsed: elapsed}
}

// AwaitStderr waits until the run has written a text to its standard error.
func (p *Process) AwaitStderr(t testing.TB, text string) {
	t.Helper()
	p.stderr.await(t, text, p.exited)
}

// AwaitStdout waits until the run has written a text to its standard output.
func (p *Process) AwaitStdout(t testing.TB, text string) {
	t.Helper()
	p.stdout.await(t, text, p.exited)
}

// output keeps what a process writes and wakes those who wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and renewed by each write
}

func newOutput() *output { return &output{written: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.written)
	o.written = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) await(t testing.TB, text string, exited <-chan struct{}) {
	t.Helper()
	for ended := false; ; {
		o.mu.Lock()
		have, written := o.text.String(), o.written
		o.mu.Unlock()
		if strings.Contains(have, text) {
			return
		}
		if ended {
			t.Fatalf("the run ended without %q; got:\n%s", text, have)
		}
		select {
		case <-written:
		case <-exited: // after patience at the latest
			ended = true
		}
	}
}
