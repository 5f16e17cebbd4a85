package run_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/report"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// TestChaosLeavesNothingBehind runs 200 parallel tasks that fail, panic, dial, run commands and hang at random, while
// a signal may come at any moment, and looks for goroutines, descriptors and children afterwards.
func TestChaosLeavesNothingBehind(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	chaos(t, listener.Addr().String(), 0) // whatever is opened once is open now
	before := openFiles(t)
	for seed := range uint64(25) {
		chaos(t, listener.Addr().String(), seed)
	}
	listener.Close()
	<-served
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	goleak.VerifyNone(t)
}

func chaos(t *testing.T, addr string, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	codes := map[int]bool{0: true}
	var group plan.Parallel
	for i := range 200 {
		x := task(fmt.Sprintf("t%d", i), step.Policy{Retries: random.IntN(3), Backoff: time.Millisecond, Timeout: time.Second}, nil)
		var code int
		x.Step, code = mischief(random, addr)
		codes[code] = true
		group = append(group, x)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var signalled *time.Timer
	if seed%2 == 1 {
		codes[143] = true
		signalled = time.AfterFunc(time.Duration(random.IntN(10_000))*time.Microsecond, func() { cancel(&fault.Signal{Signal: syscall.SIGTERM}) })
		defer signalled.Stop()
	}
	p := &plan.Plan{Root: plan.Sequence{group}}
	result := (&run.Runner{Observer: &events{}, World: run.World{Streams: run.Streams{Out: os.Stderr, Err: os.Stderr}}}).Run(ctx, p)
	code := fault.ExitCode(result.Err)
	if !codes[code] {
		t.Errorf("seed %d: exit %d: %v", seed, code, result.Err)
	}
	if result.Task != nil {
		failed := result.Tasks[result.Task]
		if failed.State != run.Failed || fault.ExitCode(failed.Err) != code {
			t.Errorf("seed %d: exit %d, but %s is %s with %v", seed, code, result.Task.ID, failed.State, failed.Err)
		}
	}
	pending := 0
	for _, n := range group {
		if result.Tasks[n.(*plan.Task)].State == run.Pending {
			pending++
		}
	}
	if early := pending == len(group) && code == 143; pending > 0 && !early { // a signal may come before the first step
		t.Errorf("seed %d: %d tasks were never run", seed, pending)
	}
	content := report.Compose(p, result, "")
	if len(content) > report.Max || !utf8.Valid(content) || len(content) == 0 {
		t.Errorf("seed %d: a report of %d bytes: %q", seed, len(content), content)
	}
}

// mischief returns a step of a random kind of trouble and the exit code that it may bring.
func mischief(random *rand.Rand, addr string) (stepFunc, int) {
	delay := time.Duration(random.IntN(5_000)) * time.Microsecond
	wait := func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
			return nil
		}
	}
	switch n := random.IntN(100); {
	case n < 2:
		return func(ctx context.Context, _ *step.Env) error { _ = wait(ctx); panic(n) }, 70
	case n < 4:
		kind := fault.Kinds()[random.IntN(len(fault.Kinds()))]
		return func(ctx context.Context, _ *step.Env) error {
			if err := wait(ctx); err != nil {
				return err
			}
			return fault.New(kind, "mischief")
		}, kind.Code()
	case n < 6:
		return untilEnd, 69
	case n < 12:
		return func(ctx context.Context, env *step.Env) error {
			return env.Exec(ctx, exec.Command("/bin/sleep", "0.002"))
		}, 0
	case n < 14: // a command that is deaf to SIGTERM, with a child of its own
		return func(ctx context.Context, env *step.Env) error {
			return env.Exec(ctx, exec.Command("/bin/sh", "-c", "trap '' TERM; sleep 0.01"))
		}, 0
	case n < 40:
		return func(ctx context.Context, env *step.Env) error {
			conn, err := env.Dial(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			return conn.Close()
		}, 0
	}
	return func(ctx context.Context, env *step.Env) error {
		env.Report(1, 2)
		env.Output("key", "value")
		return wait(ctx)
	}, 0
}

// openFiles counts the process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
