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
			name, data, err := a.readPlan(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.runFile(cmd.Context(), name, data)
		},
	}
}

// readPlan returns the plan's text and the name that stands before positions. It does not wait beyond ctx's end for a
// pipe that nobody writes to.
func (a *app) readPlan(ctx context.Context, args []string) (string, []byte, error) {
	if len(args) == 0 {
		if text := a.getenv(planVariable); text != "" {
			return planVariable, []byte(text), nil
		}
		return "", nil, usage(fmt.Errorf("no FILE and no %s", planVariable))
	}
	name := args[0]
	if name == "-" {
		name = "standard input"
	}
	type text struct {
		data []byte
		err  error
	}
	read := make(chan text, 1)
	go func() {
		data, err := a.readSource(args[0])
		read <- text{data, err}
	}()
	select {
	case <-ctx.Done():
		return "", nil, ended(ctx)
	case text := <-read:
		if text.err != nil {
			return "", nil, fault.New(fault.KindOf(text.err), "read the plan: %w", text.err)
		}
		return name, text.data, nil
	}
}

// readSource reads a file, or standard input for "-", up to a byte more than a plan may have.
func (a *app) readSource(name string) ([]byte, error) {
	source := a.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		source = f
	}
	return io.ReadAll(io.LimitReader(source, plan.MaxFile+1))
}

// runFile builds the plan of a file and executes it.
func (a *app) runFile(ctx context.Context, name string, data []byte) error {
	p, err := plan.ParseFile(a.Kinds, name, data)
	if err != nil {
		return err
	}
	return a.execute(ctx, p)
}
