package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lint"
	"github.com/slipway-init/slipway/internal/manifest/document"
)

// lintCommand returns the command that checks plans and manifests.
func (a *app) lintCommand() *cobra.Command {
	checks := lint.Options{Kinds: a.Kinds, Globals: pflag.NewFlagSet("globals", pflag.ContinueOnError)}
	var globals options
	format := ""
	command := &cobra.Command{
		Use:   "lint [option]... FILE|-...",
		Short: "Check plans, and the manifests of pods that run them",
		Long: `Check plans, and the slipway containers in manifests: streams of YAML documents, Lists, what "kustomize build" or
"helm template" prints. A container is known by its image's name, its command or its arguments.

    slipway lint plan.yaml deploy.yaml
    kustomize build overlays/production | slipway lint -
    slipway lint --format sarif deploy.yaml > slipway.sarif

What each rule looks for: docs/lint.md.

Exit codes: 0 without errors, warnings and notes or not; 65 with errors; 66 if a file does not exist.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(fmt.Errorf("no FILE: write a name, or - for standard input"))
			}
			if !slices.Contains(lint.Formats(), format) {
				return usage(fmt.Errorf("--format: %q is none of %s", format, strings.Join(lint.Formats(), ", ")))
			}
			globals.flags(checks.Globals)
			var findings []lint.Finding
			seen := 0
			for _, arg := range args {
				name, data, err := a.readText(cmd.Context(), arg)
				if err != nil {
					return err
				}
				found, n, err := lint.Check(name, data, checks)
				if err != nil {
					return err
				}
				seen += n
				findings = append(findings, found...)
			}
			if seen == 0 {
				return fault.Hint(fault.New(fault.Data, "lint: no plan, and no container that runs slipway"),
					"a container is known by its image's name, its command or its arguments")
			}
			if err := lint.Write(a.Stdout, format, a.Version, findings); err != nil {
				return err
			}
			if errors := lint.Errors(findings); errors > 0 {
				return fault.New(fault.Data, "lint: %d errors", errors)
			}
			return nil
		},
	}
	fs := command.Flags()
	fs.SortFlags = false
	fs.StringVar(&format, "format", lint.Formats()[0], "form of the findings: "+strings.Join(lint.Formats(), ", "))
	fs.StringSliceVar(&checks.Disable, "disable", nil, "rule to leave out, by its id; repeats")
	fs.StringVar(&checks.Level, "level", "restricted", "Pod Security level that pods must have: "+strings.Join(lint.Levels(), ", "))
	return command
}

// readText returns the text of a file, or of standard input for "-", and the name that stands before positions.
func (a *app) readText(ctx context.Context, name string) (string, []byte, error) {
	shown := name
	if name == "-" {
		shown = "standard input"
	}
	type text struct {
		data []byte
		err  error
	}
	read := make(chan text, 1)
	go func() {
		source := a.Stdin
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				read <- text{nil, err}
				return
			}
			defer f.Close()
			source = f
		}
		data, err := io.ReadAll(io.LimitReader(source, document.Max+1))
		read <- text{data, err}
	}()
	select {
	case <-ctx.Done():
		return "", nil, ended(ctx)
	case text := <-read:
		if text.err != nil {
			return "", nil, fault.New(fault.KindOf(text.err), "read %s: %w", shown, text.err)
		}
		return shown, text.data, nil
	}
}
