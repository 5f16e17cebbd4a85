// Package chmod is the step that changes the mode of files and trees.
package chmod

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is chmod.
var Kind = step.Kind{
	Name:  "chmod",
	Short: "change the mode of files and trees",
	Long: `Gives each path a mode. With --recursive, everything below it too.

    slipway chmod 0640 /data/app.conf
    slipway chmod u=rwX,g=rX,o= /data --recursive

In a plan:

    - chmod: {mode: "u=rwX,g=rX,o=", path: [/data], recursive: true}

MODE is what chmod(1) takes: an octal number, or changes with commas between them. A change is any of u, g, o and a
(the user, group, others or all; none means all), then +, - or = (add, remove, set), then any of r, w, x, X, s and t,
or one of u, g and o to copy what those have. X is x for directories and for files that somebody may execute already.
Two things differ from chmod(1):

- the umask takes nothing away, so that +w is a+w wherever it runs;
- a mode that would give something else when applied again, such as g=u,u+x, is refused.

As with chmod(1), a directory keeps the set-user-ID and set-group-ID bits that MODE does not name; 00755, with five
digits, takes them away.

Symbolic links have no mode and are never followed. One in a tree is left alone; one that is named is a fault. A tree
may change while it is walked, links that take the place of directories included. The directories above a path are
followed: name a path whose parents only trusted users may write to, such as the volume's mount point. The walk goes
on into file systems that are mounted below the path.

**A second run** changes nothing: an entry that has the mode already is not touched, keeps its ctime and needs no
privilege. After a failure in the middle, the next run does the rest.

**Exit codes**: 66 if a path does not exist; 73 on a read-only file system; 75 if the tree is deeper than the limit of
open files; 77 if it is not permitted; 78 if a path is a symbolic link.

**Privileges**: to own the files, or the capability FOWNER. A user who may not read all directories of the tree needs
DAC_READ_SEARCH as well.
`,
	Args: []string{"mode", "path..."},
	New:  func() step.Step { return &change{} },
}

type change struct {
	mode      mode
	paths     []string
	recursive bool
}

func (s *change) Flags(fs *pflag.FlagSet) {
	fs.Var(&s.mode, "mode", "octal or symbolic mode, such as 0640 or u=rwX,go-w")
	fs.StringSliceVar(&s.paths, "path", nil, "file or directory to change")
	fs.BoolVar(&s.recursive, "recursive", false, "change everything below each path too")
}

func (s *change) Effects() ([]step.Effect, error) {
	effects, err := filetree.Effects(step.Write, s.paths, s.recursive)
	if s.mode.text == "" {
		err = errors.Join(fault.New(fault.Usage, "no mode is given"), err)
	}
	return effects, err
}

func (s *change) Run(ctx context.Context, env *step.Env) error {
	tally := filetree.Tally{Env: env}
	walker := filetree.Walker{
		Recursive: s.recursive,
		Early: func(e *filetree.Entry) bool {
			const readAndSearch = 0o500
			return s.mode.apply(e.Bits, true)&^e.Bits&readAndSearch != 0
		},
		Visit: func(e *filetree.Entry) error {
			changed, err := e.Chmod(s.mode.apply)
			tally.Count(changed)
			return err
		},
	}
	for _, path := range s.paths {
		root, err := filetree.Find(env.Path(path))
		if err != nil {
			return err
		}
		if err := root.NoLink(); err != nil {
			return err
		}
		if err := walker.Walk(ctx, env.Path(path)); err != nil {
			return err
		}
	}
	tally.Output()
	return nil
}
