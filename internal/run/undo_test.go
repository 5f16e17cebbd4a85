package run_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

func TestUndoIsForPlansThatFailLater(t *testing.T) {
	for name, c := range map[string]struct {
		last error
		want []string
	}{
		"succeeded": {nil, nil},
		"failed":    {fault.New(fault.Data, "wrong"), []string{"second", "first"}},
	} {
		t.Run(name, func(t *testing.T) {
			var undone []string
			taking := func(what string, err error) stepFunc {
				return func(_ context.Context, env *step.Env) error {
					env.Undo(func(ctx context.Context) error {
						if ctx.Err() != nil {
							t.Errorf("the undo's context has ended: %v", ctx.Err())
						}
						undone = append(undone, what)
						return err
					})
					return nil
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			var log strings.Builder
			runner := &run.Runner{World: run.World{Log: slog.New(slog.NewTextHandler(&log, nil))}}
			result := runner.Run(ctx, &plan.Plan{Root: plan.Sequence{
				task("first", step.Policy{}, taking("first", errors.New("gone"))),
				task("second", step.Policy{}, taking("second", nil)),
				task("last", step.Policy{}, func(context.Context, *step.Env) error { cancel(); return c.last }),
			}})
			cancel()
			if diff := cmp.Diff(c.want, undone); diff != "" {
				t.Errorf("undone (-want +got):\n%s", diff)
			}
			if got, want := fault.KindOf(result.Err), fault.KindOf(c.last); c.last != nil && got != want {
				t.Errorf("got kind %s, want %s", got, want)
			}
			if got, want := strings.Contains(log.String(), "task=first error=gone"), c.want != nil; got != want {
				t.Errorf("got log %q", log.String())
			}
		})
	}
}
