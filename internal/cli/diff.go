package cli

import (
	"context"

	"github.com/slipway-init/slipway/internal/console"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// changes asks the steps that can tell what they would change on this machine. They run as steps do, with the same env,
// limits and retries, but for what they do.
func (a *app) changes(ctx context.Context, p *plan.Plan) (map[*plan.Task][]string, error) {
	screen := console.New(a.Stderr, console.Format(a.options.logFormat), levels[a.options.logLevel])
	defer screen.Close()
	runner := &run.Runner{World: run.World{Log: screen.Log(), Environ: a.Environ}}
	changes := make(map[*plan.Task][]string)
	for t := range p.Tasks() {
		differ, ok := t.Step.(step.Differ)
		if !ok {
			continue
		}
		question := &asking{Step: t.Step, differ: differ}
		task := *t
		task.Step = question
		if result := runner.Run(ctx, &plan.Plan{Root: plan.Sequence{&task}}); result.Err != nil {
			return nil, result.Err
		}
		changes[t] = question.lines
	}
	return changes, nil
}

// asking is a step that asks another one instead of running it.
type asking struct {
	step.Step
	differ step.Differ
	lines  []string
}

// Run keeps what the step says.
func (s *asking) Run(ctx context.Context, env *step.Env) (err error) {
	s.lines, err = s.differ.Diff(ctx, env)
	return err
}
