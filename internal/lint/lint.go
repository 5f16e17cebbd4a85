// Package lint looks for mistakes in plans and in the manifests of pods that run them: what the API server takes, and what
// then fails on a node, leaks a secret or grants too much.
//
// rules.go is the list of rules; plan.go checks plans, pod.go finds the pods of a manifest, container.go checks each slipway
// container in them against what its plan needs; format.go writes what was found.
package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// Finding is one thing that was found.
type Finding struct {
	Rule    Rule
	Pos     document.Pos
	Object  string // what it is in: "Pod shop, container prepare"; empty for a plan
	Message string
	Hint    string // what to write instead, or empty
}

// Options say what is checked, and how.
type Options struct {
	Kinds   []step.Kind
	Globals *pflag.FlagSet // the options that may stand before a chain
	Disable []string       // rules, by their ids
	// Level is the Pod Security level that pods must have: privileged, baseline or restricted. Namespaces in the manifest
	// that enforce a level come first.
	Level string
}

// Levels returns the Pod Security levels, from the widest.
func Levels() []string { return []string{"privileged", "baseline", "restricted"} }

// Check reads a plan or a manifest and returns what is wrong, in the order of the text, and how many plans and slipway
// containers it has seen. The error is of kind Data for text that is no YAML.
func Check(name string, data []byte, o Options) (findings []Finding, seen int, err error) {
	for _, id := range o.Disable {
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.ID == id }) {
			return nil, 0, fault.Hint(fault.New(fault.Usage, "--disable: there is no rule %q", id), "docs/lint.md lists them")
		}
	}
	if !slices.Contains(Levels(), o.Level) {
		return nil, 0, fault.New(fault.Usage, "--level: %q is none of %s", o.Level, strings.Join(Levels(), ", "))
	}
	objects, err := document.Read(name, data)
	if err != nil {
		return nil, 0, err
	}
	l := &linter{Options: o, name: name}
	if len(objects) == 1 && isPlan(objects[0]) {
		l.seen++
		l.planFile(data)
	} else {
		l.manifest(objects)
	}
	findings = slices.DeleteFunc(l.findings, func(f Finding) bool { return slices.Contains(o.Disable, f.Rule.ID) })
	slices.SortStableFunc(findings, func(a, b Finding) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	return findings, l.seen, nil
}

// isPlan reports whether an object is a plan.
func isPlan(n *document.Node) bool {
	return n.Get("steps") != nil && n.Get("kind") == nil
}

// Errors returns how many of the findings are errors.
func Errors(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Rule.Severity == Error {
			n++
		}
	}
	return n
}

// linter is one check.
type linter struct {
	Options
	name     string
	findings []Finding
	seen     int // plans, and containers that run slipway
	objects  []*document.Node
}

// add notes a finding.
func (l *linter) add(rule Rule, pos document.Pos, object, hint, format string, args ...any) {
	l.findings = append(l.findings, Finding{Rule: rule, Pos: pos, Object: object, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// planFile checks a text that is a plan.
func (l *linter) planFile(data []byte) {
	p, err := plan.ParseFile(l.Kinds, l.name, data)
	at := func(pos plan.Pos) document.Pos { return document.Pos{File: l.name, Line: pos.Line, Column: pos.Column} }
	l.faults(err, "", at)
	if p != nil {
		l.plan(p, "", at)
	}
}
