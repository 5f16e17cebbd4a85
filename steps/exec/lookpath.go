package exec

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// defaultPath is where commands are looked for if PATH is not set: what container runtimes set it to.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath returns the file of a command: the name itself if it has a slash, relative to dir, else the first executable
// of that name in the directories of path. It differs from os/exec, which looks in slipway's own PATH, and from
// execvp(3) in that a relative directory in path is passed over.
func lookPath(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if dir != "" && !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	if path == "" {
		path = defaultPath
	}
	missing := fault.Hint(fault.New(fault.NoInput, "start %s: not found in PATH, %s", name, path),
		"name a program of this image; a distroless one has no shell")
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			continue
		}
		file := filepath.Join(folder, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			missing = err
		}
	}
	return "", missing
}

// executable returns nil if name is a file that this process may execute.
func executable(name string) error {
	var stat unix.Stat_t
	err := unix.Stat(name, &stat)
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.EACCES // as execve(2) says
	}
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, name, unix.X_OK, unix.AT_EACCESS)
	}
	switch {
	case errors.Is(err, unix.EACCES):
		return fault.Hint(fault.New(fault.Permission, "start %s: %w", name, err),
			"it must be a file with an execute bit, on a file system that is not mounted noexec")
	case err != nil:
		return fault.New(fault.KindOf(err), "start %s: %w", name, err)
	}
	return nil
}
