package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
)

// planVariable holds a whole plan, so that a pod needs no ConfigMap for it.
const planVariable = "SLIPWAY_PLAN"

// runCommand returns the command that runs a plan file.
func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run [FILE|-]",
		Short: "Run a plan from a file, from standard input (-), or from " + planVariable,
		Long: `Run a plan in YAML or JSON.

    deadline: 5m
    steps:
    - wait-for: {target: [tcp://db:5432]}
    - parallel:
      - mkdir: {path: /var/log/app}
      - write-file: {path: /etc/app/node, content: "1"}

"slipway schema" prints the JSON Schema of the file. All faults are told at once, with file, line and column, before
anything runs.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, data, err := a.readPlan(args)
			if err != nil {
				return err
			}
			return a.runFile(cmd.Context(), name, data)
		},
	}
}

// readPlan returns the plan's text and the name that stands before positions.
func (a *app) readPlan(args []string) (string, []byte, error) {
	if len(args) == 0 {
		if text := a.getenv(planVariable); text != "" {
			return planVariable, []byte(text), nil
		}
		return "", nil, usage(fmt.Errorf("no FILE and no %s", planVariable))
	}
	name, source := args[0], a.Stdin
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return "", nil, fault.New(fault.KindOf(err), "read the plan: %w", err)
		}
		defer f.Close()
		source = f
	}
	data, err := io.ReadAll(io.LimitReader(source, plan.MaxFile+1))
	if err != nil {
		return "", nil, fault.New(fault.KindOf(err), "read the plan from %s: %w", name, err)
	}
	return name, data, nil
}

// runFile builds the plan of a file and executes it.
func (a *app) runFile(ctx context.Context, name string, data []byte) error {
	p, err := plan.ParseFile(a.Kinds, name, data)
	if err != nil {
		return err
	}
	return a.execute(ctx, p)
}
