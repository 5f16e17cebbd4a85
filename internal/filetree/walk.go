package filetree

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// batch is the number of names that are read from a directory at once. Together with one open directory for each level
// of depth they are all that a walk keeps.
const batch = 64

// Walker visits a path and what is below it.
type Walker struct {
	Recursive bool
	// Visit is called once for each entry. An error ends the walk; one that says that an entry below the root is gone
	// does not, because others may be changing the tree.
	Visit func(e *Entry) error
	// Early reports whether a directory is visited before what is below it, because the visit makes it readable. Every
	// other one is visited after it, because the visit may make it unreadable. Nil is never.
	Early func(e *Entry) bool
}

// Walk visits path, which has to exist. It ends with ctx's error when that ends.
func (w *Walker) Walk(ctx context.Context, path string) error {
	root, err := Find(path)
	if err != nil {
		return err
	}
	return w.walk(ctx, root)
}

func (w *Walker) walk(ctx context.Context, e *Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.Dir || !w.Recursive {
		return w.visit(e)
	}
	if w.Early != nil && w.Early(e) {
		if err := w.visit(e); err != nil {
			return err
		}
		return w.below(ctx, e)
	}
	if err := w.below(ctx, e); err != nil {
		return err
	}
	return w.visit(e)
}

func (w *Walker) visit(e *Entry) error {
	if err := w.Visit(e); err != nil && !gone(e, err) {
		return err
	}
	return nil
}

// below walks what is in the directory e.
func (w *Walker) below(ctx context.Context, e *Entry) error {
	dir, err := e.open()
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || gone(e, err) {
		return nil // it was a directory a moment ago; its visit will see what it is now
	}
	if errors.Is(err, unix.EMFILE) {
		return fault.Hint(e.failed("open", err), "each level of a tree takes one open file: raise the limit (ulimit -n)")
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
			if err := w.walk(ctx, child); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || gone(e, err) {
			return nil
		}
		if err != nil {
			return e.failed("read", errors.Unwrap(err)) // of an *fs.PathError that knows the last name alone
		}
	}
}

// open opens the directory e and never what a link points to.
func (e *Entry) open() (*os.File, error) {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(e.dir, e.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), e.name), nil
}

// gone reports whether err says that e, which a directory listed, is there no longer.
func gone(e *Entry, err error) bool { return e.parent != nil && errors.Is(err, unix.ENOENT) }
