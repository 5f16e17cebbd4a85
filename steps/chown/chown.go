// Package chown is the step that changes the owner of files and trees.
package chown

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is chown.
var Kind = step.Kind{
	Name:  "chown",
	Short: "change the owner of files and trees",
	Long: `Gives each path to an owner: UID:GID, UID or :GID. With --recursive, everything below it too.

    slipway chown 1000:1000 /data
    slipway chown :2000 /data /cache --recursive

In a plan:

    - chown: {owner: "1000:1000", path: [/data], recursive: true}

Owners are numbers: a name would mean what the image's /etc/passwd says, which is not what the volume says.

Symbolic links are never followed. A link gets the owner itself, whether it is named or lies in the tree, and a tree
may change while it is walked, links that take the place of directories included. The directories above a path are
followed: name a path whose parents only trusted users may write to, such as the volume's mount point. The walk goes
on into file systems that are mounted below the path.

As with chown(1), the kernel takes the set-user-ID and set-group-ID bits from a file whose owner changes; give them
back with a chmod after it.

**A second run** changes nothing: an entry that has the owner already is not touched, keeps its ctime and needs no
privilege. After a failure in the middle, the next run does the rest.

**Exit codes**: 66 if a path does not exist; 71 if the container's user namespace has no such id; 73 on a read-only
file system; 75 if the tree is deeper than the limit of open files; 77 if it is not permitted.

**Privileges**: the capability CHOWN, unless the group alone changes, to one that the files' owner is in. A user who
may not read all directories of the tree needs DAC_READ_SEARCH as well: that is so for root without capabilities too,
once the tree has another owner. A pod's securityContext.fsGroup often makes the step unnecessary.
`,
	Args: []string{"owner", "path..."},
	New:  func() step.Step { return &change{} },
}

type change struct {
	owner     opt.Owner
	paths     []string
	recursive bool
}

func (s *change) Flags(fs *pflag.FlagSet) {
	fs.Var(&s.owner, "owner", "numeric owner, UID:GID, UID or :GID")
	fs.StringSliceVar(&s.paths, "path", nil, "file or directory to change")
	fs.BoolVar(&s.recursive, "recursive", false, "change everything below each path too")
}

func (s *change) Effects() ([]step.Effect, error) {
	effects, err := filetree.Effects(step.Own, s.paths, s.recursive)
	if !s.owner.Given() {
		err = errors.Join(fault.New(fault.Usage, "no owner is given"), err)
	}
	return effects, err
}

func (s *change) Run(ctx context.Context, env *step.Env) error {
	tally := filetree.Tally{Env: env}
	walker := filetree.Walker{Recursive: s.recursive, Visit: func(e *filetree.Entry) error {
		changed, err := e.Chown(env, s.owner)
		tally.Count(changed)
		return err
	}}
	for _, path := range s.paths {
		if err := walker.Walk(ctx, env.Path(path)); err != nil {
			return err
		}
	}
	tally.Output()
	return nil
}
