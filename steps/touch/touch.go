// Package touch is the step that creates empty files.
package touch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
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
	New:  func() step.Step { return &filetree.Making{What: "file", Mode: 0o644, Create: create} },
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
