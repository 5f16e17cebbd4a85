// Package steptest runs steps in tests: Task binds options as a plan would, Run gives the task its life by the real
// runner over a temporary root, and Conform is the suite that every kind passes.
package steptest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// Options are options as a plan gives them, in order: "name=value", one entry for each item of a list.
type Options []string

// Task returns a task of the given kind with its options set and its effects computed. A fault in the options ends
// the test.
func Task(t testing.TB, kind step.Kind, options Options) *plan.Task {
	t.Helper()
	task, err := newTask(kind, options)
	if err != nil {
		t.Fatalf("%s %v: %v", kind.Name, options, err)
	}
	return task
}

// Fault returns the fault that the options or Effects give; it ends the test if there is none.
func Fault(t testing.TB, kind step.Kind, options Options) error {
	t.Helper()
	_, err := newTask(kind, options)
	if err == nil {
		t.Fatalf("%s %v: want a fault, got none", kind.Name, options)
	}
	return err
}

func newTask(kind step.Kind, options Options) (*plan.Task, error) {
	s := kind.New()
	fs := pflag.NewFlagSet(kind.Name, pflag.ContinueOnError)
	s.Flags(fs)
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		flag := fs.Lookup(name)
		if flag == nil {
			return nil, fmt.Errorf("no option %q", name)
		}
		if list, ok := flag.Value.(pflag.SliceValue); ok && flag.Changed {
			if err := list.Append(value); err != nil {
				return nil, err
			}
			continue
		} else if ok {
			// Set marks the option as set, which Replace does not; what it makes of the text is replaced.
			if err := fs.Set(name, "x"); err != nil {
				if err := fs.Set(name, value); err != nil {
					return nil, err
				}
			}
			if err := list.Replace([]string{value}); err != nil {
				return nil, err
			}
			continue
		}
		if err := fs.Set(name, value); err != nil {
			return nil, err
		}
	}
	effects, err := s.Effects()
	if err != nil {
		return nil, err
	}
	policy := kind.Policy
	if tuner, ok := s.(step.Tuner); ok {
		tuner.Tune(&policy)
	}
	return &plan.Task{ID: kind.Name, Kind: kind, Step: s, Policy: policy, Options: fs, Effects: effects}, nil
}

// Runner returns the real runner over root, with the given environment and no traces.
func Runner(root string, environ ...string) *run.Runner {
	return &run.Runner{World: run.World{
		Root:    root,
		Environ: environ,
		// Tests rarely run as root: owners are recorded by nobody and changed for nobody else.
		Chown: func(name string, uid, gid int) error {
			if os.Geteuid() == 0 {
				return os.Lchown(name, uid, gid)
			}
			_, err := os.Lstat(name)
			return err
		},
		ChownAt: func(dir int, name string, uid, gid int) error {
			if os.Geteuid() == 0 {
				return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
			}
			return unix.Fstatat(dir, name, new(unix.Stat_t), unix.AT_SYMLINK_NOFOLLOW)
		},
		Streams: run.Streams{Out: os.Stderr, Err: os.Stderr},
	}}
}

// Run runs one task over root through the real runner and returns what became of it.
func Run(ctx context.Context, task *plan.Task, root string, environ ...string) run.TaskResult {
	result := Runner(root, environ...).Run(ctx, &plan.Plan{Root: plan.Sequence{task}})
	return result.Tasks[task]
}

// Outputs returns a result's outputs by key.
func Outputs(result run.TaskResult) map[string]string {
	outputs := make(map[string]string)
	for _, o := range result.Outputs {
		outputs[o.Key] = o.Value
	}
	return outputs
}
