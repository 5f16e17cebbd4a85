package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// stepCommand returns the command that begins a chain with a step of the given kind. Its words are the chain's, so
// cobra reads none of them; its flags are there for help and completion.
func (a *app) stepCommand(kind step.Kind) *cobra.Command {
	command := &cobra.Command{
		Use:                   kind.Name + argumentsUsage(kind) + " [option]...",
		Short:                 kind.Short,
		Long:                  kind.Long,
		GroupID:               groupSteps,
		DisableFlagParsing:    true,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runChain(cmd, append([]string{cmd.Name()}, args...))
		},
		ValidArgsFunction: a.completeChain,
	}
	plan.Options(kind).VisitAll(func(flag *pflag.Flag) { command.Flags().AddFlag(flag) })
	command.Flags().SortFlags = false
	return command
}

// argumentsUsage shows the arguments of a kind: " URL DIR".
func argumentsUsage(kind step.Kind) string {
	var b strings.Builder
	for _, arg := range kind.Args {
		b.WriteString(" " + strings.ToUpper(arg))
	}
	return b.String()
}

// runChain builds the plan of a chain and executes it.
func (a *app) runChain(cmd *cobra.Command, args []string) error {
	p, err := plan.ParseArgs(a.Kinds, args)
	if help, ok := errors.AsType[*plan.HelpWanted](err); ok {
		step, _, err := cmd.Root().Find([]string{help.Step})
		if err != nil {
			return err
		}
		return step.Help()
	}
	if faults, ok := errors.AsType[plan.Faults](err); ok {
		hintGlobals(faults, args, cmd.Root().Flags())
	}
	if err != nil {
		return err
	}
	return a.execute(cmd.Context(), p)
}

// hintGlobals tells of global options that stand behind a step's name.
func hintGlobals(faults plan.Faults, args []string, globals *pflag.FlagSet) {
	for i := range faults {
		n := faults[i].Pos.Arg
		if n < 1 || n > len(args) {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(args[n-1], "--"), "=")
		if strings.HasPrefix(args[n-1], "--") && globals.Lookup(name) != nil && strings.Contains(faults[i].Message, "has no option") {
			faults[i].Hint = fmt.Sprintf("--%s is a global option: write it before the first step", name)
		}
	}
}

// completeChain completes the word after a chain's beginning: options of the step that the word stands in, or the names
// of steps behind "then" and "and".
func (a *app) completeChain(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if slices.Contains(args, "--") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	current := cmd.Name()
	for i, arg := range args {
		if arg == "then" || arg == "and" {
			current = ""
			if i+1 < len(args) {
				current = args[i+1]
			}
		}
	}
	var words []string
	for _, kind := range a.Kinds {
		switch {
		case current == "":
			words = append(words, kind.Name+"\t"+kind.Short)
		case kind.Name == current && strings.HasPrefix(toComplete, "-"):
			plan.Options(kind).VisitAll(func(flag *pflag.Flag) { words = append(words, "--"+flag.Name+"\t"+flag.Usage) })
		}
	}
	if current == "" || strings.HasPrefix(toComplete, "-") {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
