package filetree

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// Remove removes path and everything below it, as long as ctx lasts; a path that does not exist is removed already.
// A directory that its owner may not write or search is made so first. Unlike os.RemoveAll it ends with ctx, which
// matters for a tree of a million files.
func Remove(ctx context.Context, path string) error {
	e, err := Find(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.remove(ctx)
}

func (e *Entry) remove(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.Dir {
		return e.unlink(0)
	}
	for {
		if err := e.empty(ctx); err != nil {
			return err
		}
		// Some file systems do not list all entries of a directory that shrinks meanwhile; then there are more.
		if err := e.unlink(unix.AT_REMOVEDIR); !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

// empty removes what is in the directory e.
func (e *Entry) empty(ctx context.Context) error {
	const all = 0o700
	if e.Bits&all != all {
		if _, err := e.Chmod(func(bits uint32, _ bool) uint32 { return bits | all }); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	dir, err := e.open()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return unreadable(e, "open", err)
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			child := &Entry{parent: e, dir: int(dir.Fd()), name: name}
			if err := child.look(); gone(child, err) {
				continue
			} else if err != nil {
				return err
			}
			if err := child.remove(ctx); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return e.failed("read", errors.Unwrap(err))
		}
	}
}

// unlink removes e, which may be gone already.
func (e *Entry) unlink(flags int) error {
	err := ignoringEINTR(func() error { return unix.Unlinkat(e.dir, e.name, flags) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return e.failed("remove", err)
}
