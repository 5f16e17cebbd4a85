// Package cli is slipway's command line: it reads the words, builds the plan, and wires the runner to console, trace
// and report. It alone knows cobra.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-init/slipway/internal/console"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/report"
	"github.com/slipway-init/slipway/internal/step"
)

// Process is what the command line needs of its process.
type Process struct {
	Args           []string // without the program's name
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Kinds          []step.Kind // the catalogue
	Version        string
	// Become replaces the process by execve(2), or returns why it could not.
	Become func(path string, args, environ []string, dir string) error
}

// Main runs one command line and returns the exit code. ctx ends with a *fault.Signal as its cause when a signal came.
func Main(ctx context.Context, process Process) int {
	app := &app{Process: process}
	root := app.root()
	root.SetArgs(process.Args)
	root.SetIn(process.Stdin)
	root.SetOut(process.Stdout)
	root.SetErr(process.Stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		if !app.read {
			err = usage(err) // it comes from cobra, which knows no kinds
		}
		if !app.ran {
			app.refuse(err)
		}
		return fault.ExitCode(err)
	}
	return 0
}

// Command returns the command tree for documents made from it, such as man pages.
func Command(kinds []step.Kind, version string) *cobra.Command {
	return (&app{Process: Process{Kinds: kinds, Version: version}}).root()
}

// app is one command line with its global options.
type app struct {
	Process
	options options
	read    bool // the command line has been read; what fails from here on is no fault of it
	ran     bool // a plan ran; its error has been told and reported
}

// refuse tells an error that ended the command before anything ran, and reports it.
func (a *app) refuse(err error) {
	a.tell(err)
	if !a.options.dryRun && a.options.report != "" {
		_ = report.Write(a.options.report, report.Fault(err)) // best effort, by its contract
	}
}

// tell shows an error on standard error.
func (a *app) tell(err error) {
	if a.options.logFormat != string(console.JSON) {
		fmt.Fprintf(a.Stderr, "slipway: %s\n", fault.Describe(err))
		return
	}
	log := slog.New(slog.NewJSONHandler(a.Stderr, nil))
	var faults plan.Faults
	if !errors.As(err, &faults) {
		log.Error("failed", "error", err.Error(), "hint", fault.HintOf(err), "reason", fault.KindOf(err).String())
		return
	}
	for _, f := range faults {
		log.Error("fault", "position", f.Pos.String(), "error", f.Message, "hint", f.Hint, "reason", fault.Usage.String())
	}
}

// getenv looks a variable up in the process's environment.
func (a *app) getenv(name string) string {
	for i := len(a.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(a.Environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// usage returns err as a fault of usage.
func usage(err error) error {
	return fault.Hint(fault.As(fault.Usage, err), `see "slipway help"`)
}
