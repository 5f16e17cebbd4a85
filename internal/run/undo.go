package run

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// undoing bounds what the undos of a plan take together.
const undoing = 5 * time.Second

// undo is one that a step has arranged for.
type undo struct {
	task string
	call func(ctx context.Context) error
}

// undo keeps what is to be done should the plan fail.
func (l *life) undo(call func(ctx context.Context) error) {
	l.execution.mu.Lock()
	defer l.execution.mu.Unlock()
	l.undos = append(l.undos, undo{task: l.task.ID, call: call})
}

// undoAll calls the undos of a plan that failed, the last first. The plan has failed with its own error: theirs are
// warnings. It works after the end of ctx, which is why most plans fail.
func (e *execution) undoAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoing)
	defer cancel()
	e.mu.Lock()
	undos := slices.Clone(e.undos)
	e.mu.Unlock()
	for _, u := range slices.Backward(undos) {
		if err := recovering(ctx, u.call); err != nil && e.World.Log != nil {
			e.World.Log.Warn("what the task took could not be given back", slog.String("task", u.task), slog.Any("error", err))
		}
	}
}
