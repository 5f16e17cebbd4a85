// Package touch is the step that creates empty files.
package touch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is touch.
var Kind = step.Kind{
	Name:  "touch",
	Short: "create empty files",
	Long: `Creates each file that is missing, empty. The directory that it is to lie in must be there.

    slipway touch /data/app.log --owner 1000:1000
    slipway mkdir /data/logs then touch /data/logs/access.log /data/logs/error.log --mode 0640

In a plan:

    - touch: {path: [/data/app.log], mode: "0640", owner: "1000:1000"}

The mode is exact: the umask takes nothing away.

**A second run** changes nothing. A file that is there already keeps its content and, unlike with touch(1), its times;
it is mended if --mode or --owner is given and differs. A symbolic link to a file is as good as a file, but its target
is not mended: that is a fault, since whoever may write to the volume could point it anywhere.

**Exit codes**: 73 if a file cannot be created, for example because a directory has its name or the file system is
read-only; 77 if that is not permitted; 78 if a symbolic link was to be mended.

**Privileges**: the right to write to the directory. --owner with another user needs the capability CHOWN; a pod's
securityContext.fsGroup often makes it unnecessary.
`,
	Args: []string{"path..."},
	New:  func() step.Step { return &files{mode: 0o644} },
}

type files struct {
	paths []string
	mode  opt.Mode
	given *pflag.Flag // --mode, to tell a mode that was asked for from the default
	owner opt.Owner
}

func (s *files) Flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&s.paths, "path", nil, "file to create")
	s.given = fs.VarPF(&s.mode, "mode", "", "mode of the files, in octal")
	fs.Var(&s.owner, "owner", "numeric owner of the files, UID:GID, UID or :GID")
}

func (s *files) Effects() ([]step.Effect, error) {
	effects, err := filetree.Effects(step.Write, s.paths, false)
	if err != nil || !s.owner.Given() {
		return effects, err
	}
	owned, err := filetree.Effects(step.Own, s.paths, false)
	return append(effects, owned...), err
}

func (s *files) Run(ctx context.Context, env *step.Env) error {
	tally := filetree.Tally{Env: env}
	for _, path := range s.paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		path = filepath.Clean(env.Path(path))
		created, err := create(path, s.mode.FileMode())
		if err != nil {
			return err
		}
		mended, err := s.mend(env, path, created)
		if err != nil {
			return err
		}
		tally.Count(created || mended)
	}
	tally.Output()
	return nil
}

// create makes an empty file and reports whether it was missing. It never opens one that is there: a FIFO would block.
func create(path string, mode fs.FileMode) (created bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, file(path)
	case errors.Is(err, fs.ErrNotExist):
		return false, fault.Hint(fault.Output(err), "create its directory first: mkdir %s then touch …", filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		return false, fault.Hint(err, "run as the owner of %s, or let the pod's securityContext.fsGroup give the volume "+
			"a group that may write to it", filepath.Dir(path))
	case err != nil:
		return false, fault.Output(err)
	}
	return true, fault.Output(f.Close())
}

// file returns nil if path, which exists, is anything but a directory or a link to one or to nothing.
func file(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.CantCreate, "create %s: it is a symbolic link to nothing", path)
	case err != nil:
		return fault.Output(err)
	case info.IsDir():
		return fault.New(fault.CantCreate, "create %s: it is a directory", path)
	}
	return nil
}

// mend gives a file the owner and mode that were asked for, and a new one the default mode in spite of the umask.
func (s *files) mend(env *step.Env, path string, created bool) (mended bool, err error) {
	if !created && !s.given.Changed && !s.owner.Given() {
		return false, nil
	}
	var want func(bits uint32, dir bool) uint32
	if created || s.given.Changed {
		want = func(uint32, bool) uint32 { return s.mode.Bits() }
	}
	mended, err = filetree.Mend(env, path, s.owner, want)
	return mended, fault.Output(err)
}
