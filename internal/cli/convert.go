package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-init/slipway/internal/convert"
	"github.com/slipway-init/slipway/internal/fault"
)

// convertCommand returns the command that makes plans of what others do.
func (a *app) convertCommand() *cobra.Command {
	from, chain, strict := convert.Auto, false, false
	command := &cobra.Command{
		Use:   "convert [option]... FILE|- | --from SOURCE -- ARGUMENT...",
		Short: "Make a plan of what other init containers do",
		Long: `Make a plan of what a manifest's pods do before they start: gitRepo volumes, annotations of Vault's injector, istio-init and
linkerd-init, git-sync, wait4x, and the usual lines of shell: until nc -z, until curl -f, mkdir && chown.

    slipway convert deployment.yaml > plan.yaml
    slipway convert --from shell wait.sh
    slipway convert --chain --from istio-init -- -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020

What it cannot carry over, or not exactly, is a comment at the top of the plan, with its place; it never guesses. Read them:
the plan is a beginning. docs/convert.md lists what is known.

Exit codes: 0 with a plan; 65 if nothing could be carried over, or with --strict if anything could not.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := a.convert(cmd, from, args)
			if err != nil {
				return err
			}
			if result.Plan == nil {
				for _, n := range result.Notes {
					fmt.Fprintln(a.Stderr, n)
				}
				return fault.New(fault.Data, "convert: nothing could be carried over")
			}
			write := result.YAML
			if chain {
				write = result.Chain
			}
			text, err := write()
			if err != nil {
				return err
			}
			if _, err := a.Stdout.Write(text); err != nil {
				return err
			}
			if strict && len(result.Notes) > 0 {
				return fault.New(fault.Data, "convert: %d notes, and --strict", len(result.Notes))
			}
			return nil
		},
	}
	fs := command.Flags()
	fs.SortFlags = false
	fs.StringVar(&from, "from", from, "what it is: "+strings.Join(convert.Sources(), ", "))
	fs.BoolVar(&chain, "chain", false, "print a chain for a shell instead of a plan file")
	fs.BoolVar(&strict, "strict", false, "end with 65 if there is a note")
	return command
}

// convert converts a file, or the arguments behind "--".
func (a *app) convert(cmd *cobra.Command, from string, args []string) (*convert.Result, error) {
	if !slices.Contains(convert.Sources(), from) {
		return nil, usage(fmt.Errorf("--from: %q is none of %s", from, strings.Join(convert.Sources(), ", ")))
	}
	if cmd.ArgsLenAtDash() == 0 {
		return convert.Words(a.Kinds, from, args)
	}
	if len(args) != 1 {
		return nil, usage(fmt.Errorf("one FILE, or - for standard input, or arguments behind --"))
	}
	name, data, err := a.readText(cmd.Context(), args[0])
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{convert.Auto, convert.Manifest, convert.Shell}, from) {
		return nil, usage(fmt.Errorf("--from %s takes arguments behind --, not a FILE; a manifest's containers are found by themselves", from))
	}
	return convert.Text(a.Kinds, from, name, data)
}
