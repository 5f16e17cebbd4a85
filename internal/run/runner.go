// Package run gives every task of a plan the same life. One file holds each layer:
//
//	task = traced(observed(limited(retrying(recovering(attempt)))))
//
// and tree.go runs tasks one after the other or side by side. What a step may touch is an Env, which env.go fills.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
)

// Runner runs plans. The zero value is not useful; fill World and leave the rest empty for no traces and no observer.
type Runner struct {
	World    World        // what tasks may touch
	Tracer   trace.Tracer // nil makes no spans
	Observer Observer     // nil observes nothing
}

// Observer is told of each event in the life of a task. Calls come from many goroutines at once.
type Observer interface {
	Start(t *plan.Task)
	Retry(t *plan.Task, retry Retry)
	Progress(t *plan.Task, done, total int64) // total is 0 when it is not known
	End(t *plan.Task, result TaskResult)
}

// State is how a task stands.
type State string

// The states of a task.
const (
	Pending   State = "pending"   // never begun
	Done      State = "done"      // done, or verified as already done
	Failed    State = "failed"    // failed by itself
	Cancelled State = "cancelled" // stopped because something else failed or ended
)

// TaskResult is what became of one task.
type TaskResult struct {
	State    State
	Err      error // nil when Done or Pending
	Start    time.Time
	Duration time.Duration
	Attempts int // of the step, or of its parts together
	Outputs  []Output
}

// Output is one fact that a step found worth keeping.
type Output struct{ Key, Value string }

// Result is what became of a plan.
type Result struct {
	Err     error      // the failure that came first, nil when all is done
	Task    *plan.Task // the task that failed first, nil when none did
	Start   time.Time
	Elapsed time.Duration
	Tasks   map[*plan.Task]TaskResult
	Replace *Replacement // what the process shall become, nil for nothing
}

// cancelled is the cause of a context that ended because a neighbour failed.
type cancelled struct{ by string }

func (c *cancelled) Error() string { return "cancelled because " + c.by + " failed" }

// timedOut is the cause of a context that ended because its time was up.
type timedOut struct {
	after time.Duration
	plan  bool // the whole plan's deadline, not the task's own
}

func (t *timedOut) Error() string {
	if t.plan {
		return fmt.Sprintf("the plan's deadline of %s has passed", t.after)
	}
	return fmt.Sprintf("timed out after %s", t.after)
}

// execution is one run of a plan.
type execution struct {
	*Runner
	mu      sync.Mutex
	result  Result
	replace *Replacement
	undos   []undo
}

// Run runs p and waits for all that it started. It returns early only from a task that does not stop within its
// grace after the end of its context.
func (r *Runner) Run(ctx context.Context, p *plan.Plan) Result {
	e := &execution{Runner: r, result: Result{Start: time.Now(), Tasks: make(map[*plan.Task]TaskResult)}}
	for t := range p.Tasks() {
		e.result.Tasks[t] = TaskResult{State: Pending}
	}
	if p.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.Deadline, &timedOut{after: p.Deadline, plan: true})
		defer cancel()
	}
	err := e.sequence(ctx, p.Root)
	if err != nil {
		e.undoAll(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.result.Err == nil {
		e.result.Err = err
	}
	if e.result.Err == nil {
		e.result.Replace = e.replace
	}
	e.result.Elapsed = time.Since(e.result.Start)
	return e.result
}

// ended keeps a task's result, and the first failure as the plan's.
func (e *execution) ended(t *plan.Task, result TaskResult) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.result.Tasks[t] = result
	if result.State == Failed && e.result.Task == nil {
		e.result.Err, e.result.Task = result.Err, t
	}
}

// explain turns what a task returned into what became of it. When its context ended first, the reason for that end
// leads and the last cause is kept beside it.
func explain(ctx context.Context, t *plan.Task, err error) (State, error) {
	if err == nil {
		return Done, nil
	}
	if ctx.Err() != nil && (fault.KindOf(err).Transient() || isContextError(err) || errors.Is(err, context.Cause(ctx))) {
		switch cause := context.Cause(ctx).(type) {
		case *cancelled:
			return Cancelled, cause
		case *timedOut:
			return Failed, fault.Hint(fault.New(fault.Unavailable, "%s: %w", t.ID, joined(cause, err)), "%s", fault.HintOf(err))
		case *fault.Signal:
			return Failed, fault.New(fault.Unavailable, "%s: %w", t.ID, joined(cause, err))
		default:
			return Cancelled, fmt.Errorf("%s: %w", t.ID, err)
		}
	}
	return Failed, fmt.Errorf("%s: %w", t.ID, err)
}

// joined puts the last cause behind the reason for the end, unless it says no more than that the context ended. One that
// wraps that, such as a dial that timed out, says what was being done; and one that wraps the reason itself, as
// net/http's do, says both.
func joined(reason, last error) error {
	switch {
	case last == context.Canceled, last == context.DeadlineExceeded:
		return reason
	case errors.Is(last, reason):
		return last
	}
	return fmt.Errorf("%w: %w", reason, last)
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
