package run

import (
	"context"
	"sync"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
)

// sequence runs the nodes one after the other and stops at the first failure.
func (e *execution) sequence(ctx context.Context, nodes []plan.Node) error {
	for _, n := range nodes {
		if ctx.Err() != nil {
			// The cause says nothing of its kind, and would pass for a bug.
			return fault.As(fault.Unavailable, context.Cause(ctx))
		}
		if err := e.node(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// parallel runs the nodes side by side. The first failure cancels the others; all are waited for.
func (e *execution) parallel(ctx context.Context, nodes []plan.Node) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wait  sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, n := range nodes {
		wait.Go(func() {
			if err := e.node(ctx, n); err != nil {
				once.Do(func() {
					first = err
					cancel(&cancelled{by: e.culprit()})
				})
			}
		})
	}
	wait.Wait()
	return first
}

// culprit names the task that failed first.
func (e *execution) culprit() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.result.Task == nil {
		return "a neighbour"
	}
	return e.result.Task.ID
}

func (e *execution) node(ctx context.Context, n plan.Node) error {
	switch n := n.(type) {
	case plan.Sequence:
		return e.sequence(ctx, n)
	case plan.Parallel:
		return e.parallel(ctx, n)
	default:
		return e.task(ctx, n.(*plan.Task))
	}
}
