package run

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-init/slipway/internal/plan"
)

// task runs one task through all layers, the outermost first: traced, observed, limited, retrying, recovering.
func (e *execution) task(ctx context.Context, t *plan.Task) error {
	life := &life{task: t, execution: e}
	ctx, span := e.startSpan(ctx, t)
	life.span = span
	defer life.endSpan()

	life.start()
	err := limited(ctx, t.Policy, func(ctx context.Context) error {
		env := e.World.env(ctx, life)
		attempt := func(ctx context.Context) error {
			return recovering(ctx, func(ctx context.Context) error { return t.Step.Run(ctx, env) })
		}
		if t.Policy.Parts {
			return attempt(ctx)
		}
		return retrying(ctx, t.Policy, "", life.retry, life.counting(attempt))
	}, func(ctx context.Context, err error) error {
		state, err := explain(ctx, t, err)
		life.end(state, err)
		return err
	})
	return err
}

// life is what the layers know of one running task; it tells observer and span of every event.
type life struct {
	*execution
	task *plan.Task
	span taskSpan

	mu     sync.Mutex
	result TaskResult
}

// start tells that the task began.
func (l *life) start() {
	l.result.Start = time.Now()
	if l.Observer != nil {
		l.Observer.Start(l.task)
	}
}

// counting counts the attempts of the step, or of one of its parts.
func (l *life) counting(attempt func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		l.mu.Lock()
		l.result.Attempts++
		l.mu.Unlock()
		return attempt(ctx)
	}
}

// retry tells that an attempt failed and will be made again.
func (l *life) retry(r Retry) {
	l.span.retry(r)
	if l.Observer != nil {
		l.Observer.Retry(l.task, r)
	}
}

// progress tells how far the task is.
func (l *life) progress(done, total int64) {
	if l.Observer != nil {
		l.Observer.Progress(l.task, done, total)
	}
}

// output keeps a fact; a later value of the same key replaces the earlier one, since an attempt may be made again.
func (l *life) output(key, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.result.Outputs {
		if l.result.Outputs[i].Key == key {
			l.result.Outputs[i].Value = value
			return
		}
	}
	l.result.Outputs = append(l.result.Outputs, Output{key, value})
}

// end keeps the result and tells of it.
func (l *life) end(state State, err error) {
	l.mu.Lock()
	l.result.State, l.result.Err = state, err
	l.result.Duration = time.Since(l.result.Start)
	result := l.result
	result.Outputs = append([]Output(nil), l.result.Outputs...)
	l.mu.Unlock()
	l.ended(l.task, result)
	if l.Observer != nil {
		l.Observer.End(l.task, result)
	}
}

// endSpan ends the task's span with the task's result.
func (l *life) endSpan() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.span.end(l.result)
}
