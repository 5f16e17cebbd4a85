// Package plan turns what a user wrote, a chain of arguments or a file, into one tree of tasks that has been checked
// as a whole. Both notations end in Set on the same flag set, so they cannot drift apart.
package plan

import (
	"fmt"
	"iter"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/step"
)

// Plan is a checked tree of tasks.
type Plan struct {
	Deadline time.Duration // for the whole plan; 0 is none
	Root     Sequence
}

// Node is a Sequence, a Parallel or a *Task.
type Node interface{ node() }

// Sequence runs its nodes one after the other.
type Sequence []Node

// Parallel runs its nodes side by side.
type Parallel []Node

// Task is one step with its options and its place in the plan.
type Task struct {
	ID      string // unique in the plan: the name, with "#2" from the second of its name on
	Kind    step.Kind
	Step    step.Step
	Policy  step.Policy    // the kind's, with the plan's options over it
	Options *pflag.FlagSet // all options, those of the policy included, as set
	Effects []step.Effect
	Pos     Pos // where the user wrote it
}

func (Sequence) node() {}
func (Parallel) node() {}
func (*Task) node()    {}

// Tasks yields every task in the order in which the user wrote them.
func (p *Plan) Tasks() iter.Seq[*Task] {
	return func(yield func(*Task) bool) { walk(p.Root, yield) }
}

// given yields the options that the user set, in the order in which help lists them.
func (t *Task) given() iter.Seq[*pflag.Flag] {
	return func(yield func(*pflag.Flag) bool) {
		more := true
		t.Options.VisitAll(func(flag *pflag.Flag) {
			more = more && (!flag.Changed || yield(flag))
		})
	}
}

func walk(n Node, yield func(*Task) bool) bool {
	switch n := n.(type) {
	case *Task:
		return yield(n)
	case Sequence:
		for _, child := range n {
			if !walk(child, yield) {
				return false
			}
		}
	case Parallel:
		for _, child := range n {
			if !walk(child, yield) {
				return false
			}
		}
	}
	return true
}

// Pos is a place in what the user wrote: a line and column of a file, or an argument of a chain.
type Pos struct {
	File         string
	Line, Column int // from 1; 0 in a chain
	Arg          int // the argument's number, from 1, counted from the first step; 0 in a file
}

// String returns "plan.yaml:4:13" or "argument 3".
func (p Pos) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	return fmt.Sprintf("argument %d", p.Arg)
}
