// Package apparmorcompile is the step that compiles AppArmor profiles, on a laptop or in CI, for apparmor-load to load them
// where there is no parser.
package apparmorcompile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/apparmor"
	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is apparmor-compile.
var Kind = step.Kind{
	Name:  "apparmor-compile",
	Short: "compile AppArmor profiles, on a laptop or in CI",
	Long: `Compiles a file of AppArmor profiles by apparmor_parser into the form that the kernel reads, for "apparmor-load" to load it where there
is no parser. It is for a laptop or for CI, and needs no AppArmor in the kernel there.

    slipway apparmor-compile web.profile web.aa
    slipway apparmor-compile web.profile web.aa --strict
    slipway apparmor-compile web.profile web.aa --features /etc/apparmor.d/abi/4.0

In a plan:

    - apparmor-compile: {profile: web.profile, dest: web.aa, strict: true}

**--features** is the file that says what the kernel will enforce. It decides what is compiled: rules that it does not know are left out, and
the profile loads without them and nothing is refused. Without the option it is the newest numbered one of /etc/apparmor.d/abi, such as
3.0, which kernels from 5.4 on can read; the output "features" says which. A kernel that knows less refuses the policy or ignores parts of it;
one that knows more enforces what was compiled.

Rules that were left out are warnings, each with its line; with --strict they are a fault. The output "profiles" has the profiles with their modes.

**A second run** changes nothing if the result is the same.

**Exit codes**: 65 if a profile is wrong, with its line, or with --strict if a rule was left out; 66 if there is no such file; 71 if
apparmor_parser is missing (apt-get install apparmor), or has no features; 73 if DEST cannot be written.

**Privileges**: none.
`,
	Args:   []string{"profile", "dest"},
	Policy: step.Policy{Timeout: 5 * time.Minute},
	New:    func() step.Step { return &compile{} },
}

type compile struct {
	profile, dest string
	features      string
	strict        bool
}

// Flags implements step.Step.
func (s *compile) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.profile, "profile", "", "file with the profiles, as text")
	fs.StringVar(&s.dest, "dest", "", "file to write the compiled policy to, by custom NAME.aa")
	fs.StringVar(&s.features, "features", "", "file of what the kernel will enforce (default the newest of "+abis+")")
	fs.BoolVar(&s.strict, "strict", false, "fail where a rule is left out because the features do not know it")
}

// abis is where Debian and others keep files of features.
const abis = "/etc/apparmor.d/abi"

// Effects implements step.Step.
func (s *compile) Effects() ([]step.Effect, error) {
	var faults []error
	for _, o := range []struct{ name, value string }{{"profile", s.profile}, {"dest", s.dest}} {
		if o.value == "" {
			faults = append(faults, fault.New(fault.Usage, "no %s is given", o.name))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	effects := []step.Effect{{Verb: step.Read, Object: filepath.Clean(s.profile)}}
	if s.features != "" {
		effects = append(effects, step.Effect{Verb: step.Read, Object: filepath.Clean(s.features)})
	}
	return append(effects, step.Effect{Verb: step.Execute, Object: apparmor.Parser}, step.Effect{Verb: step.Write, Object: filepath.Clean(s.dest)}), nil
}

// Run implements step.Step.
func (s *compile) Run(ctx context.Context, env *step.Env) error {
	features := s.features
	if features == "" {
		var err error
		if features, err = newest(env); err != nil {
			return err
		}
	}
	for _, file := range []string{s.profile, features} {
		if _, err := os.Stat(env.Path(file)); err != nil {
			return fmt.Errorf("read %s: %w", file, fault.Cause(err))
		}
	}
	env.Output("features", features)
	compiler := apparmor.Compiler{Env: env, Features: features}
	content, warnings, err := compiler.Compile(ctx, s.profile)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		env.Log.Warn("the parser warns", "file", s.profile, "warning", warning)
	}
	if s.strict && len(warnings) > 0 {
		return fault.Hint(fault.New(fault.Data, "compile %s: %s", s.profile, warnings[0]),
			"take --features of a kernel that enforces it, or take the rule away: as it is, nothing would enforce it")
	}
	policy, err := apparmor.Parse(content)
	if err != nil {
		return fmt.Errorf("compile %s: %w", s.profile, err)
	}
	changed, err := atomicfile.Write(ctx, env, env.Path(s.dest), bytes.NewReader(content), atomicfile.Attributes{Mode: 0o644})
	if err != nil {
		return err
	}
	env.Output("profiles", policy.String())
	if !changed {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}

// newest returns the file of features with the highest number as its name.
func newest(env *step.Env) (string, error) {
	entries, err := os.ReadDir(env.Path(abis))
	var numbered []string
	for _, entry := range entries {
		if len(number(entry.Name())) > 0 {
			numbered = append(numbered, entry.Name())
		}
	}
	if err != nil || len(numbered) == 0 {
		return "", fault.Hint(fault.New(fault.Unsupported, "%s has no file of features", abis), "install apparmor_parser with its files (apt-get install apparmor), or give --features")
	}
	return filepath.Join(abis, slices.MaxFunc(numbered, func(a, b string) int { return slices.Compare(number(a), number(b)) })), nil
}

// number returns a version such as 3.0, nil for what is none.
func number(text string) []int {
	var parts []int
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		parts = append(parts, n)
	}
	return parts
}
