package plan_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// kinds are small kinds with every form of option: a list that takes commas, one that does not, a boolean, arguments
// by position, and one that takes the rest of the chain.
var kinds = []step.Kind{
	{Name: "copy", Args: []string{"from", "to"}, New: func() step.Step { return &testStep{kind: "copy"} }},
	{Name: "make", Args: []string{"path..."}, New: func() step.Step { return &testStep{kind: "make"} }},
	{Name: "do", Args: []string{"--", "command..."}, New: func() step.Step { return &testStep{kind: "do"} }},
}

type testStep struct {
	kind     string
	from, to string
	path     []string
	command  []string
	header   []string
	whole    bool
	replace  bool
	size     int
}

func (s *testStep) Flags(fs *pflag.FlagSet) {
	switch s.kind {
	case "copy":
		fs.StringVar(&s.from, "from", "", "source")
		fs.StringVar(&s.to, "to", "", "target")
		fs.StringArrayVar(&s.header, "header", nil, "header")
		fs.IntVar(&s.size, "size", 1, "size")
	case "make":
		fs.StringSliceVar(&s.path, "path", nil, "paths")
		fs.BoolVar(&s.whole, "recursive", false, "everything below")
	case "do":
		fs.StringArrayVar(&s.command, "command", nil, "command")
		fs.BoolVar(&s.replace, "replace", false, "become the command")
	}
}

func (s *testStep) Effects() ([]step.Effect, error) {
	var effects []step.Effect
	switch s.kind {
	case "copy":
		var faults []error
		if s.from == "" {
			faults = append(faults, fault.New(fault.Usage, "from is missing"))
		}
		if s.to == "" {
			faults = append(faults, fault.Hint(fault.New(fault.Usage, "to is missing"), "say where to"))
		}
		if faults != nil {
			return nil, errors.Join(faults...)
		}
		effects = append(effects, step.Effect{Verb: step.Read, Object: s.from}, step.Effect{Verb: step.Write, Object: s.to})
	case "make":
		for _, p := range s.path {
			if s.whole {
				p += "/..."
			}
			effects = append(effects, step.Effect{Verb: step.Write, Object: p})
		}
	case "do":
		verb := step.Execute
		if s.replace {
			verb = step.Replace
		}
		effects = append(effects, step.Effect{Verb: verb, Object: "command"})
	}
	return effects, nil
}

func (s *testStep) Run(context.Context, *step.Env) error { return nil }

// wantFaults compares the faults of err with want: "position: message" and, behind a bar, the hint.
func wantFaults(t *testing.T, err error, want []string) {
	t.Helper()
	var got []string
	if err != nil {
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("kind: got %v, want usage", fault.KindOf(err))
		}
		var faults plan.Faults
		if !errors.As(err, &faults) {
			t.Fatalf("got %T, want Faults: %v", err, err)
		}
		for _, f := range faults {
			line := f.Pos.String() + ": " + f.Message
			if f.Hint != "" {
				line += " | " + f.Hint
			}
			got = append(got, line)
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("faults (- got, + want):\n%s", diff)
	}
}
