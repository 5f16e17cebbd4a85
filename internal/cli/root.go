package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/console"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/report"
)

// options are the global options. They stand before the first step.
type options struct {
	dryRun          bool
	diff            bool
	deadline        time.Duration
	report          string
	logFormat       string
	logLevel        string
	telemetrySpool  string
	traceparentFile string
}

func (o *options) flags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.BoolVar(&o.dryRun, "dry-run", false, "show what would be done and what it needs; touch nothing")
	fs.BoolVar(&o.diff, "diff", false, "with --dry-run: look at this machine, and show what would change")
	fs.DurationVar(&o.deadline, "deadline", 0, "end everything after this long; overrides the plan's own")
	fs.StringVar(&o.report, "report", report.DefaultPath, "file for the termination message; empty writes none")
	fs.StringVar(&o.logFormat, "log-format", string(console.Auto), "text, json, or auto: text on a terminal, json elsewhere")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&o.telemetrySpool, "telemetry-spool", "", "folder that keeps what could not be sent to the collector, for the next run")
	fs.StringVar(&o.traceparentFile, "traceparent-file", "", "file that gets TRACEPARENT for the application")
}

// check looks at the options' values.
func (o *options) check() error {
	if !slices.Contains([]string{"auto", "text", "json"}, o.logFormat) {
		return usage(fmt.Errorf("--log-format: %q is not text, json or auto", o.logFormat))
	}
	if _, ok := levels[o.logLevel]; !ok {
		return usage(fmt.Errorf("--log-level: %q is not debug, info, warn or error", o.logLevel))
	}
	if o.diff && !o.dryRun {
		return usage(errors.New("--diff goes with --dry-run"))
	}
	if o.deadline < 0 {
		return usage(fmt.Errorf("--deadline: %s is less than nothing", o.deadline))
	}
	return nil
}

// The groups of commands in help.
const (
	groupSteps    = "steps"
	groupCommands = "commands"
)

// root returns the command tree: a command for each kind of step, and the commands beside them.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "slipway [global options] STEP [option | argument]... [and|then STEP ...]...",
		Short: "Do what a pod needs done before its application starts",
		Long: `slipway does what a Kubernetes pod needs done before its application starts: one static binary, many steps.

Steps joined by "then" run one after the other, steps joined by "and" side by side:

    slipway wait-for tcp://db:5432 and mkdir /var/log/app then chown 65532:65532 /var/log/app

Longer plans stand in a file (slipway run FILE) or in the environment variable ` + planVariable + `.

The exit code says what kind of failure it was, and the report, logs and spans name it. Those with "again" are worth
another try:

` + exitCodes(),
		Version:               a.Version,
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		TraverseChildren:      true, // global options are the root's own, and end at the first step
		Args:                  cobra.ArbitraryArgs,
		PersistentPreRunE:     a.begin,
		RunE:                  a.runRoot,
	}
	a.options.flags(root.Flags())
	root.Flags().SetInterspersed(false)
	root.SetVersionTemplate("slipway {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddGroup(&cobra.Group{ID: groupSteps, Title: "Steps:"}, &cobra.Group{ID: groupCommands, Title: "Commands:"})
	root.SetHelpCommand(helpCommand())
	root.SetCompletionCommandGroupID(groupCommands)
	for _, kind := range a.Kinds {
		root.AddCommand(a.stepCommand(kind))
	}
	for _, command := range []*cobra.Command{a.runCommand(), a.manifestCommand(), a.lintCommand(), a.convertCommand(), a.schemaCommand(), a.stepsCommand(), a.versionCommand()} {
		command.GroupID = groupCommands
		root.AddCommand(command)
	}
	return root
}

// exitCodes lists the kinds of failure by their exit codes.
func exitCodes() string {
	var b strings.Builder
	for _, kind := range fault.Kinds() {
		again := ""
		if kind.Transient() {
			again = ", again"
		}
		fmt.Fprintf(&b, "    %-5d  %s%s\n", kind.Code(), kind, again)
	}
	b.WriteString("    128+n  ended by signal n")
	return b.String()
}

// begin comes before every command, when its words and the global options have been read.
func (a *app) begin(*cobra.Command, []string) error {
	a.read = true
	return a.options.check()
}

// runRoot is slipway without a step: the plan may stand in the environment.
func (a *app) runRoot(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return a.runChain(cmd, args) // the first word is no step: the chain's grammar says so, and what else is wrong
	}
	if text := a.getenv(planVariable); text != "" {
		return a.runFile(cmd.Context(), planVariable, []byte(text))
	}
	_ = cmd.Usage()
	return usage(fmt.Errorf("no step and no %s", planVariable))
}

// stepsCommand returns the command that lists the steps.
func (a *app) stepsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "steps",
		Short: "List the steps",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			table := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, kind := range a.Kinds {
				fmt.Fprintf(table, "%s\t%s\n", kind.Name+argumentsUsage(kind), kind.Short)
			}
			return table.Flush()
		},
	}
}

// versionCommand returns the command that prints the version.
// helpCommand is cobra's, but for a name that is not there, which is no success.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [STEP|COMMAND]",
		Short:   "Show the page of a step or a command",
		GroupID: groupCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(fmt.Errorf("there is no help for %q", args))
			}
			return found.Help()
		},
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(*cobra.Command, []string) { fmt.Fprintf(a.Stdout, "slipway %s\n", a.Version) },
	}
}
