package atomicdir

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/sibling"
)

// Sweep removes what runs that were killed left of path, for a run that finds path untouched and so makes nothing. Create
// does it by itself. It does what it can, as long as ctx lasts.
func Sweep(ctx context.Context, path string) {
	path = filepath.Clean(path)
	place, name := filepath.Split(path)
	if sibling.Inside(path) {
		place, name = path, sibling.Within
	}
	root, err := os.OpenRoot(filepath.Clean(place))
	if err != nil {
		return
	}
	defer root.Close()
	_ = sweep(ctx, root, name)
}

// sweep removes the temporary directories of killed runs: those whose lock can be had, and those whose lock is gone,
// because atomicfile has swept it away. A lock is made before its directory and removed after it.
func sweep(ctx context.Context, place *os.Root, name string) error {
	for _, found := range sibling.Temporaries(place, name) {
		lock, _, isDir := strings.Cut(found[1:], ".")
		lock = found[:1] + lock
		if !isDir {
			sibling.Reclaim(place, lock, func() error { return removeOf(ctx, place, lock) })
		} else if _, err := place.Lstat(lock); os.IsNotExist(err) {
			_ = removeOf(ctx, place, lock)
		}
	}
	return ctx.Err()
}

// removeOf removes the directories that belong to a lock.
func removeOf(ctx context.Context, place *os.Root, lock string) error {
	for _, suffix := range []string{stagedSuffix, oldSuffix} {
		if err := filetree.Remove(ctx, filepath.Join(place.Name(), lock+suffix)); err != nil {
			return err
		}
	}
	return nil
}
