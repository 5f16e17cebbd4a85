package run_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// stepFunc is a step that is its Run.
type stepFunc func(ctx context.Context, env *step.Env) error

func (stepFunc) Flags(*pflag.FlagSet)                           {}
func (stepFunc) Effects() ([]step.Effect, error)                { return nil, nil }
func (f stepFunc) Run(ctx context.Context, env *step.Env) error { return f(ctx, env) }

// task returns a task called id that runs f.
func task(id string, policy step.Policy, f stepFunc) *plan.Task {
	return &plan.Task{ID: id, Kind: step.Kind{Name: id}, Step: f, Policy: policy}
}

// always returns a step that returns err at once.
func always(err error) stepFunc {
	return func(context.Context, *step.Env) error { return err }
}

// untilEnd waits for the end of its context.
func untilEnd(ctx context.Context, _ *step.Env) error {
	<-ctx.Done()
	return ctx.Err()
}

// events is an observer that remembers.
type events struct {
	mu    sync.Mutex
	lines []string
}

func (e *events) add(words ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, strings.Join(words, " "))
}

func (e *events) Start(t *plan.Task) { e.add("start", t.ID) }
func (e *events) Retry(t *plan.Task, r run.Retry) {
	e.add("retry", t.ID+r.Part, r.Err.Error())
}
func (e *events) Progress(t *plan.Task, done, total int64) { e.add("progress", t.ID) }
func (e *events) End(t *plan.Task, r run.TaskResult)       { e.add("end", t.ID, string(r.State)) }

// What ends a plan between two tasks is told as what it is, and not as a bug.
func TestEndBetweenTasksHasItsKind(t *testing.T) {
	never := &plan.Plan{Root: plan.Sequence{task("never", step.Policy{}, always(nil))}}
	for name, c := range map[string]struct {
		plan  *plan.Plan
		cause error
		want  int
	}{
		"deadline": {&plan.Plan{Deadline: time.Nanosecond, Root: never.Root}, nil, 69},
		"signal":   {never, &fault.Signal{Signal: syscall.SIGTERM}, 143},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.cause != nil {
				cancel(c.cause)
			}
			result := (&run.Runner{}).Run(ctx, c.plan)
			if got := fault.ExitCode(result.Err); got != c.want || fault.KindOf(result.Err) != fault.Unavailable || result.Task != nil {
				t.Errorf("got exit code %d and %s of %v, want %d and unavailable of no task", got, fault.KindOf(result.Err), result.Err, c.want)
			}
		})
	}
}

func TestSequenceStopsAtTheFirstFailure(t *testing.T) {
	observer := &events{}
	first, second, third := task("first", step.Policy{}, always(nil)), task("second", step.Policy{}, always(fault.New(fault.Data, "wrong digest"))), task("third", step.Policy{}, always(nil))
	result := (&run.Runner{Observer: observer}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{first, second, third}})
	if got, want := result.Err.Error(), "second: wrong digest"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if result.Task != second || fault.ExitCode(result.Err) != 65 {
		t.Errorf("got task %v, exit %d", result.Task.ID, fault.ExitCode(result.Err))
	}
	if diff := cmp.Diff(observer.lines, []string{"start first", "end first done", "start second", "end second failed"}); diff != "" {
		t.Error(diff)
	}
	if got := result.Tasks[third].State; got != run.Pending {
		t.Errorf("third: %s", got)
	}
}

func TestFirstFailureCancelsNeighboursAndWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := task("slow", step.Policy{}, func(ctx context.Context, _ *step.Env) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond) // within its grace
			return ctx.Err()
		})
		failing := task("failing", step.Policy{}, func(context.Context, *step.Env) error {
			time.Sleep(time.Second)
			return fault.New(fault.Permission, "no")
		})
		began := time.Now()
		result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{plan.Parallel{slow, plan.Sequence{failing}}}})
		if got := time.Since(began); got != 1500*time.Millisecond {
			t.Errorf("took %s", got)
		}
		if got, want := result.Err.Error(), "failing: no"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := result.Tasks[slow]; got.State != run.Cancelled || got.Err.Error() != "cancelled because failing failed" {
			t.Errorf("slow: %s, %v", got.State, got.Err)
		}
	})
}

func TestTimeoutKeepsTheLastCause(t *testing.T) {
	refused := fault.Hint(fault.New(fault.Unavailable, "dial tcp db:5432: %w", syscall.ECONNREFUSED), "is it up?")
	tests := []struct {
		name   string
		plan   time.Duration
		policy step.Policy
		step   stepFunc
		want   string
		code   int
	}{
		{"retries", 0, step.Policy{Timeout: 2 * time.Second, Retries: step.Forever, Backoff: 100 * time.Millisecond}, always(refused), "x: timed out after 2s: dial tcp db:5432: connection refused", 69},
		{"hanging", 0, step.Policy{Timeout: 2 * time.Second}, untilEnd, "x: timed out after 2s", 69},
		{"hanging dial", 0, step.Policy{Timeout: 2 * time.Second}, func(ctx context.Context, _ *step.Env) error {
			<-ctx.Done()
			return fmt.Errorf("dial tcp db:5432: %w", ctx.Err())
		}, "x: timed out after 2s: dial tcp db:5432: context deadline exceeded", 69},
		{"hanging request", 0, step.Policy{Timeout: 2 * time.Second}, func(ctx context.Context, _ *step.Env) error {
			<-ctx.Done()
			return fmt.Errorf("ask web:443: %w", context.Cause(ctx)) // as net/http tells it
		}, "x: ask web:443: timed out after 2s", 69},
		{"deadline", time.Second, step.Policy{Timeout: 2 * time.Second, Retries: step.Forever, Backoff: 100 * time.Millisecond}, always(refused), "x: the plan's deadline of 1s has passed: dial tcp db:5432: connection refused", 69},
		{"hanging at last", 0, step.Policy{Timeout: 2 * time.Second, Retries: 1, Backoff: time.Second}, failThen(refused, untilEnd), "x: timed out after 2s: dial tcp db:5432: connection refused", 69},
		{"ahead of the timer", 0, step.Policy{Timeout: 2 * time.Second, Retries: 2, Backoff: time.Second}, failThen(refused, always(context.DeadlineExceeded)), "x: timed out after 2s: dial tcp db:5432: connection refused", 69},
		{"final", 0, step.Policy{Timeout: 2 * time.Second, Retries: 5, Backoff: time.Second}, always(fault.New(fault.Data, "wrong")), "x: wrong", 65},
		{"used up", 0, step.Policy{Timeout: time.Minute, Retries: 2, Backoff: time.Second}, always(refused), "x: dial tcp db:5432: connection refused", 69},
		{"deaf", 0, step.Policy{Timeout: 2 * time.Second}, func(context.Context, *step.Env) error { time.Sleep(time.Hour); return nil }, "x: timed out after 2s: did not stop within 1s", 69},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := task("x", test.policy, test.step)
				result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Deadline: test.plan, Root: plan.Sequence{x}})
				if result.Err == nil || result.Err.Error() != test.want {
					t.Fatalf("got  %v\nwant %s", result.Err, test.want)
				}
				if got := fault.ExitCode(result.Err); got != test.code {
					t.Errorf("exit: got %d, want %d", got, test.code)
				}
				if strings.Contains(test.want, "refused") && fault.HintOf(result.Err) != "is it up?" {
					t.Errorf("the hint is lost: %q", fault.HintOf(result.Err))
				}
				time.Sleep(2 * time.Hour) // the deaf step ends within the bubble
			})
		})
	}
}

// failThen fails once and then does something else.
func failThen(err error, then stepFunc) stepFunc {
	tried := false
	return func(ctx context.Context, env *step.Env) error {
		if !tried {
			tried = true
			return err
		}
		return then(ctx, env)
	}
}

func TestSignalDecidesTheExitCode(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	x := task("x", step.Policy{}, func(ctx context.Context, env *step.Env) error {
		cancel(&fault.Signal{Signal: syscall.SIGTERM})
		return untilEnd(ctx, env)
	})
	y := task("y", step.Policy{}, always(nil))
	result := (&run.Runner{}).Run(ctx, &plan.Plan{Root: plan.Sequence{x, y}})
	if got := fault.ExitCode(result.Err); got != 143 {
		t.Errorf("exit: got %d, want 143: %v", got, result.Err)
	}
	if got, want := result.Err.Error(), "x: ended by SIGTERM"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := result.Tasks[y].State; got != run.Pending {
		t.Errorf("y: %s", got)
	}
}

func TestSignalBeforeTheFirstStep(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&fault.Signal{Signal: syscall.SIGINT})
	result := (&run.Runner{}).Run(ctx, &plan.Plan{Root: plan.Sequence{task("x", step.Policy{}, always(nil))}})
	if got := fault.ExitCode(result.Err); got != 130 {
		t.Errorf("exit: got %d, want 130: %v", got, result.Err)
	}
}

func TestPanicIsABugWithItsStack(t *testing.T) {
	for name, f := range map[string]stepFunc{
		"step": func(context.Context, *step.Env) error { panic("boom") },
		"part": func(ctx context.Context, env *step.Env) error {
			return env.Retry(ctx, "part", func(context.Context) error { panic("boom") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{task("x", step.Policy{Retries: 3}, f)}})
			if got, want := result.Err.Error(), "x: panic: boom"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := fault.ExitCode(result.Err); got != 70 {
				t.Errorf("exit: got %d, want 70", got)
			}
			if stack := string(run.Stack(result.Err)); !strings.Contains(stack, "runner_test.go") {
				t.Errorf("the stack does not lead here:\n%s", stack)
			}
		})
	}
}

func TestPartsAreRetriedEachOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := &events{}
		x := task("x", step.Policy{Parts: true, Retries: step.Forever, Backoff: time.Second}, func(ctx context.Context, env *step.Env) error {
			for _, part := range []string{"/a", "/b"} {
				left := 1
				err := env.Retry(ctx, part, func(context.Context) error {
					if left--; left >= 0 {
						return fault.New(fault.Temporary, "503")
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		result := (&run.Runner{Observer: observer}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		if got := result.Tasks[x].Attempts; got != 4 {
			t.Errorf("attempts: got %d, want 4", got)
		}
		if diff := cmp.Diff(observer.lines, []string{"start x", "retry x/a 503", "retry x/b 503", "end x done"}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBackoffDoublesWithJitterUpToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		x := task("x", step.Policy{Retries: 6, Backoff: time.Second, MaxBackoff: 5 * time.Second}, func(context.Context, *step.Env) error {
			times = append(times, time.Now())
			return fault.New(fault.Temporary, "503")
		})
		(&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
		for i, want := range []time.Duration{1, 2, 4, 5, 5, 5} {
			want *= time.Second
			if got := times[i+1].Sub(times[i]); got < want || got > want+want/4 {
				t.Errorf("delay %d: got %s, want %s to %s", i+1, got, want, want+want/4)
			}
		}
	})
}

func TestTheOtherSideIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	for _, test := range []struct {
		name        string
		after       time.Duration
		backoff     time.Duration
		least, most time.Duration
	}{
		{"longer than the policy's delay", time.Minute, time.Second, time.Minute, time.Minute},
		{"shorter than it", time.Second, 8 * time.Second, 8 * time.Second, 10 * time.Second},
		{"beyond the policy's longest delay", time.Minute, 4 * time.Second, time.Minute, time.Minute},
		{"absurdly long", 100 * time.Hour, time.Second, 5 * time.Minute, 5 * time.Minute},
		{"nothing", 0, time.Second, time.Second, 1250 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times []time.Time
				busy := fmt.Errorf("fetch x: %w", fault.RetryAfter(fault.New(fault.Temporary, "503"), test.after))
				for _, parts := range []bool{false, true} {
					times = nil
					attempt := func(context.Context) error {
						if times = append(times, time.Now()); len(times) > 1 {
							return nil
						}
						return busy
					}
					x := task("x", step.Policy{Retries: 1, Backoff: test.backoff, MaxBackoff: 10 * time.Second, Parts: parts}, func(ctx context.Context, env *step.Env) error {
						if parts {
							return env.Retry(ctx, "part", attempt)
						}
						return attempt(ctx)
					})
					if result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}}); result.Err != nil {
						t.Fatal(result.Err)
					}
					if got := times[1].Sub(times[0]); got < test.least || got > test.most {
						t.Errorf("parts %v: got %s, want %s to %s", parts, got, test.least, test.most)
					}
				}
			})
		})
	}
}

func TestWaitingForTheOtherSideEndsWithTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		x := task("x", step.Policy{Timeout: 3 * time.Second, Retries: 9}, always(fault.RetryAfter(fault.New(fault.Temporary, "503"), time.Minute)))
		result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
		if took := time.Since(began); took != 3*time.Second || !strings.Contains(fmt.Sprint(result.Err), "503") {
			t.Errorf("got %v after %s, want the 503 after 3s", result.Err, took)
		}
	})
}

func TestAbsurdBackoffIsNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := task("x", step.Policy{Timeout: time.Hour, Retries: step.Forever, Backoff: 1<<63 - 1}, always(fault.New(fault.Temporary, "503")))
		result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
		if got := result.Tasks[x].Attempts; got != 1 {
			t.Errorf("%d attempts within an hour, want 1", got)
		}
	})
}

func TestOutputsAreKept(t *testing.T) {
	x := task("x", step.Policy{}, func(_ context.Context, env *step.Env) error {
		env.Output("commit", "abc")
		env.Output("bytes", "1")
		env.Output("bytes", "2")
		return nil
	})
	result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
	want := []run.Output{{Key: "commit", Value: "abc"}, {Key: "bytes", Value: "2"}}
	if diff := cmp.Diff(result.Tasks[x].Outputs, want); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsKeepTheirTree(t *testing.T) {
	cause := errors.New("cause")
	x := task("x", step.Policy{Timeout: time.Millisecond, Retries: step.Forever}, always(fault.New(fault.Unavailable, "wrapped: %w", cause)))
	result := (&run.Runner{}).Run(t.Context(), &plan.Plan{Root: plan.Sequence{x}})
	if !errors.Is(result.Err, cause) {
		t.Errorf("%v does not wrap its cause", result.Err)
	}
}
