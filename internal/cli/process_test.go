package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// stepFunc is a step that is its Run and that may replace the process.
type stepFunc func(ctx context.Context, env *step.Env) error

func (stepFunc) Flags(*pflag.FlagSet) {}
func (stepFunc) Effects() ([]step.Effect, error) {
	return []step.Effect{{Verb: step.Replace, Object: "app"}}, nil
}
func (f stepFunc) Run(ctx context.Context, env *step.Env) error { return f(ctx, env) }

// A signal that comes when the last step is done, while traces are being sent, is not lost: the application would
// never hear of it.
func TestSignalBeforeTheReplacementIsHeeded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	file := t.TempDir() + "/report"
	var stderr bytes.Buffer
	became := false
	code := cli.Main(ctx, cli.Process{
		Args: []string{"--report", file, "become"}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr,
		Kinds: []step.Kind{{Name: "become", New: func() step.Step {
			return stepFunc(func(_ context.Context, env *step.Env) error {
				defer cancel(&fault.Signal{Signal: syscall.SIGTERM})
				return env.Replace(&exec.Cmd{Path: "/bin/sh", Args: []string{"sh"}})
			})
		}}},
		Become: func(string, []string, []string, string) error { became = true; return nil },
	})
	if code != 143 || became {
		t.Errorf("got exit code %d, became: %v; want 143 and no application\n%s", code, became, &stderr)
	}
	report, err := os.ReadFile(file)
	if want := "ended by SIGTERM\nexit=143\nreason=unavailable\n"; err != nil || string(report) != want {
		t.Errorf("report: got %q, %v, want %q", report, err, want)
	}
}

// A plan that never comes does not keep the process from its end.
func TestSignalWhileThePlanIsReadIsHeeded(t *testing.T) {
	fifo := t.TempDir() + "/plan"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, writer := io.Pipe()
	defer writer.Close()
	for _, name := range []string{"-", fifo} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(&fault.Signal{Signal: syscall.SIGTERM})
		var stderr bytes.Buffer
		code := cli.Main(ctx, cli.Process{
			Args: []string{"--report=", "run", name}, Stdin: silent, Stdout: io.Discard, Stderr: &stderr,
		})
		if got, want := stderr.String(), "ended by SIGTERM"; code != 143 || !strings.Contains(got, want) {
			t.Errorf("%s: got exit code %d and %q, want 143 and %q", name, code, got, want)
		}
	}
	// Lets go of the goroutine that waits for a writer.
	if w, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil {
		w.Close()
	}
}
