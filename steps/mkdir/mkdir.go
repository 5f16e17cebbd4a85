// Package mkdir is the step that creates directories.
package mkdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is mkdir.
var Kind = step.Kind{
	Name:  "mkdir",
	Short: "create directories with their parents",
	Long: `Creates each directory that is missing, with the parents that it needs.

    slipway mkdir /data/logs /data/cache
    slipway mkdir /data/app/logs --mode 2770 --owner 1000:1000

In a plan:

    - mkdir: {path: [/data/app/logs], mode: "2770", owner: "1000:1000"}

The mode is exact: the umask takes nothing away. As with ` + "`install -d`" + `, mode and owner are those of the directories
that are named. Parents that had to be created get the mode 0755 and the owner of the process; name them too, before
the others, to give them more:

    slipway mkdir /data/app /data/app/logs --owner 1000:1000

A set-group-ID bit that a new directory inherits, as on a volume with an fsGroup, is kept.

**A second run** changes nothing. A directory that is there already is left as it is, unless --mode or --owner is given
and differs: then it is mended. A symbolic link to a directory is as good as a directory, but its target is not mended:
that is a fault, since whoever may write to the volume could point it anywhere.

**Exit codes**: 73 if a path cannot be created, for example because it is a file or the file system is read-only; 77 if
that is not permitted; 78 if a symbolic link was to be mended.

**Privileges**: the right to write to the parent. --owner with another user needs the capability CHOWN; a pod's
securityContext.fsGroup often makes it unnecessary.
`,
	Args: []string{"path..."},
	New: func() step.Step {
		return &filetree.Making{What: "directory", Mode: 0o755, Keep: filetree.SetID, Create: create}
	},
}

// parents is the mode of a directory that is created because one below it is wanted.
const parents fs.FileMode = 0o755

// create makes the directory and the parents that it needs, and reports whether it was missing.
func create(path string, mode fs.FileMode) (created bool, err error) {
	err = os.Mkdir(path, mode)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		if err := createParent(parent); err != nil {
			return false, err
		}
		err = os.Mkdir(path, mode)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, directory(path)
	case errors.Is(err, fs.ErrPermission):
		return false, fault.Hint(err, "run as the owner of %s, or let the pod's securityContext.fsGroup give the volume "+
			"a group that may write to it", filepath.Dir(path))
	}
	return err == nil, fault.Output(err)
}

// createParent makes a directory that nobody named.
func createParent(path string) error {
	created, err := create(path, parents)
	if err != nil || !created {
		return err
	}
	e, err := filetree.Find(path)
	if err != nil {
		return err
	}
	_, err = e.Chmod(func(bits uint32, _ bool) uint32 { return uint32(parents) | bits&filetree.SetID })
	return err
}

// directory returns nil if path, which exists, is a directory or a link to one.
func directory(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.CantCreate, "create %s: it is a symbolic link to nothing", path)
	case err != nil:
		return fault.Output(err)
	case !info.IsDir():
		return fault.New(fault.CantCreate, "create %s: it exists and is not a directory", path)
	}
	return nil
}
