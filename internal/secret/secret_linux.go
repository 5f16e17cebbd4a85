package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// NoCoreDump keeps the memory of this process out of core dumps, and of the reach of other processes of the same user,
// for as long as the process lives: see RLIMIT_CORE in setrlimit(2) and PR_SET_DUMPABLE in prctl(2). The soft limit
// alone is lowered, so that a process that replaces this one may raise its own again; execve(2) sets the other back by
// itself. Further calls do nothing.
func NoCoreDump() error { return noCoreDump() }

var noCoreDump = sync.OnceValue(func() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("read the limit of core dumps: %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("set the limit of core dumps to 0: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
})

// OnTmpfs reports whether a file at path is, or would be once it is created, on a file system that lives in memory: tmpfs
// or ramfs. Of a path that does not exist the nearest folder above it decides. Tmpfs may be swapped out; Kubernetes
// turns that off for the volumes of pods where the kernel can (noswap).
func OnTmpfs(path string) (bool, error) {
	path = filepath.Clean(path)
	for {
		var stat unix.Statfs_t
		err := unix.Statfs(path, &stat)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		if err != nil {
			return false, fmt.Errorf("ask for the file system of %s: %w", path, err)
		}
		return int64(stat.Type) == unix.TMPFS_MAGIC || int64(stat.Type) == unix.RAMFS_MAGIC, nil
	}
}
