// Package selinuxlabel is the step that gives files and trees their SELinux label.
package selinuxlabel

import (
	"context"
	"errors"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/selinux"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is selinux-label.
var Kind = step.Kind{
	Name:  "selinux-label",
	Short: "give files and trees an SELinux label",
	Long: `Gives each path a label, as chcon(1) does. With --recursive, everything below it too.

    slipway selinux-label system_u:object_r:container_file_t:s0:c1,c2 /data --recursive

In a plan:

    - selinux-label: {context: "system_u:object_r:container_file_t:s0", path: [/data], recursive: true}

CONTEXT is USER:ROLE:TYPE, with :LEVEL behind it where the policy has levels. It is given as a whole; parts of the old label are
not kept.

Where SELinux is active, its policy is asked first whether it knows the context, because root may set any label, and nobody can
open a file whose label the policy does not know. The output "selinux" says whether SELinux is enforcing, permissive or off, and "checked"
whether the policy could be asked; a container usually cannot, because its /sys/fs/selinux may only be read. Where SELinux is off the labels
are written all the same, for a node that has it on, and a warning says that nothing looks at them here.

Kubernetes labels most volumes itself, by the pod's securityContext.seLinuxOptions; this step is for those that it leaves alone,
such as hostPath volumes and those of some CSI drivers. Links are labelled themselves and never followed. The directories above a path are
followed: name a path whose parents only trusted users may write to.

**A second run** changes nothing: an entry that has the label already is not touched. After a failure in the middle, the next run
does the rest.

**Exit codes**: 65 if the policy does not know the context; 66 if a path does not exist; 71 if the file system has no labels; 73 on a read-only one;
77 if it is not permitted.

**Privileges**: where SELinux is active, what its policy wants for relabelling (relabelfrom, relabelto), and to own the files or the
capability FOWNER; where it is off, SYS_ADMIN.
`,
	Args: []string{"context", "path..."},
	New:  func() step.Step { return &label{} },
}

type label struct {
	context   string
	paths     []string
	recursive bool
}

// Flags implements step.Step.
func (s *label) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.context, "context", "", "label, USER:ROLE:TYPE or USER:ROLE:TYPE:LEVEL")
	fs.StringSliceVar(&s.paths, "path", nil, "file or directory to label")
	fs.BoolVar(&s.recursive, "recursive", false, "label everything below each path too")
}

// Effects implements step.Step.
func (s *label) Effects() ([]step.Effect, error) {
	effects, err := filetree.Effects(step.Write, s.paths, s.recursive)
	if s.context == "" {
		return effects, errors.Join(fault.New(fault.Usage, "no context is given"), err)
	}
	return effects, errors.Join(selinux.Valid(s.context), err)
}

// Run implements step.Step.
func (s *label) Run(ctx context.Context, env *step.Env) error {
	state := selinux.StateOf(env)
	env.Output("selinux", string(state))
	if state == selinux.Off {
		env.Log.Warn("SELinux is off on this node: nothing looks at the labels here")
	} else {
		asked, err := selinux.Check(env, s.context)
		if err != nil {
			return err
		}
		env.Output("checked", map[bool]string{true: "yes", false: "no: the kernel could not be asked"}[asked])
	}
	tally := filetree.Tally{Env: env}
	value := append([]byte(s.context), 0)
	same := func(has []byte) bool { return string(has) == s.context || string(has) == string(value) }
	walker := filetree.Walker{
		Recursive: s.recursive,
		Visit: func(e *filetree.Entry) error {
			changed, err := e.SetXattr(selinux.Attribute, value, same)
			tally.Count(changed)
			return explain(err, state)
		},
	}
	for _, path := range s.paths {
		if err := walker.Walk(ctx, env.Path(path)); err != nil {
			return err
		}
	}
	tally.Output()
	return nil
}

// explain says why a label could not be set.
func explain(err error, state selinux.State) error {
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return fault.Hint(fault.As(fault.Unsupported, err), "this file system keeps no labels: mount it with context=… instead")
	case errors.Is(err, unix.EROFS):
		return fault.As(fault.CantCreate, err)
	case errors.Is(err, unix.EINVAL):
		return fault.Hint(fault.As(fault.Data, err), "does the policy of this node know the context?")
	case (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && state == selinux.Off:
		return fault.Hint(fault.As(fault.Permission, err), "where SELinux is off, a label takes the capability SYS_ADMIN")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fault.Hint(fault.As(fault.Permission, err),
			"the policy must let this container relabel (relabelfrom, relabelto), and it must own the files, or have the capability FOWNER")
	}
	return err
}
