package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
)

// File is a file that is being written and that nobody sees yet. It can be read back before Commit. Parallel calls of
// WriteAt and ReadAt are safe; the other methods are for one goroutine at a time.
type File struct {
	*target
	env        *step.Env
	attributes Attributes
	file       *os.File
	temporary  string // the name of file in dir; "" once it is renamed or removed
	lasting    bool   // a later run finds it
}

// Create begins a new file that Commit will put at path. Until then it has the mode 0600. The caller must call Abort,
// which does nothing after a Commit.
//
// Path is used as it is: a step has put it under the env's root. Create removes what earlier runs that were killed left
// beside path.
func Create(env *step.Env, path string, a Attributes) (*File, error) {
	t, err := open(path, a.Root)
	if err != nil {
		return nil, err
	}
	t.sweep(a)
	f, err := t.create(env, a)
	if err != nil {
		t.close()
		return nil, err
	}
	return f, nil
}

// sweep removes what killed runs left of the target.
func (t *target) sweep(a Attributes) {
	if !a.Unswept {
		sibling.Sweep(t.dir, t.name)
	}
}

func (t *target) create(env *step.Env, a Attributes) (*File, error) {
	file, temporary, err := sibling.Create(t.dir, t.name)
	if err != nil {
		return nil, t.failed(err)
	}
	return &File{target: t, env: env, attributes: a, file: file, temporary: temporary}, nil
}

// Write appends p.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, f.failed(err)
}

// WriteAt writes p at an offset in bytes. What is never written below the file's end reads as zeros.
func (f *File) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.file.WriteAt(p, offset)
	return n, f.failed(err)
}

// ReadAt reads what has been written; its error at the end is io.EOF, as io.ReaderAt has it.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	return f.file.ReadAt(p, offset)
}

// Truncate sets the file's size in bytes.
func (f *File) Truncate(size int64) error {
	return f.failed(f.file.Truncate(size))
}

// Commit gives the file its owner and mode, makes it durable and puts it at its path, over an earlier file if there is
// one. After an error the path is as it was, unless only the last sync of the directory failed.
func (f *File) Commit() error {
	defer f.Abort()
	if err := f.finish(); err != nil {
		return err
	}
	return f.publish()
}

// finish gives the file its owner and mode and makes it durable, unless it need not be: what is left is the rename.
func (f *File) finish() error {
	if err := f.own(); err != nil {
		return err
	}
	if err := f.file.Chmod(f.attributes.Mode.FileMode()); err != nil {
		return f.failed(err)
	}
	if modified := f.attributes.Modified; !modified.IsZero() {
		if err := f.dir.Chtimes(f.temporary, modified, modified); err != nil {
			return f.failed(err)
		}
	}
	if f.attributes.Unsynced {
		return nil
	}
	return f.failed(f.file.Sync())
}

// publish puts the finished file at its path, for good.
func (f *File) publish() error {
	if err := f.rename(); err != nil {
		return err
	}
	return f.settle()
}

// rename puts the finished file at its path.
func (f *File) rename() error {
	if err := f.dir.Rename(f.temporary, f.name); err != nil {
		return f.failed(err)
	}
	f.temporary = ""
	// The lock has been held until here, so that no neighbour takes the file for an abandoned one.
	return f.failed(f.file.Close())
}

// settle makes the rename durable, unless it need not be.
func (f *File) settle() error {
	if f.attributes.Unsynced {
		return nil
	}
	return f.failed(f.syncDirectory())
}

// own gives the file its owner; before its mode, because the kernel takes set-ID bits from a file whose owner changes.
func (f *File) own() error {
	if !f.attributes.Owner.Given() {
		return nil
	}
	e, err := filetree.Find(filepath.Join(f.dir.Name(), f.temporary))
	if err != nil {
		return f.failed(err)
	}
	_, err = e.Chown(f.env, f.attributes.Owner)
	return err
}

// Abort removes the file, unless it has been committed.
func (f *File) Abort() {
	if f.temporary != "" {
		_ = f.dir.Remove(f.temporary) // the next write of the same path removes it otherwise
		f.temporary = ""
	}
	_ = f.file.Close()
	f.close()
}

// target is a path that is to be written: a name in an open directory, so that whoever swaps a parent meanwhile does
// not lead the write elsewhere.
type target struct {
	path     string
	name     string
	dir      *os.Root
	borrowed bool // dir is the caller's
	absent   bool // there was nothing when it was looked at first
}

// open opens the directory of path and refuses what may not be replaced. With a root, path is below it, and no link leads
// out of it.
func open(path string, root *os.Root) (*target, error) {
	path = filepath.Clean(path)
	t := &target{path: path, name: filepath.Base(path)}
	lstat, openRoot := os.Lstat, os.OpenRoot
	if root != nil {
		t.path = filepath.Join(root.Name(), path)
		lstat, openRoot = root.Lstat, root.OpenRoot
	}
	if err := t.check(lstat(path)); err != nil {
		return nil, err
	}
	if root != nil && path == t.name {
		t.dir, t.borrowed = root, true
		return t, nil
	}
	dir, err := openRoot(filepath.Dir(path))
	if err != nil {
		return nil, t.failed(err)
	}
	t.dir = dir
	return t, nil
}

func (t *target) close() {
	if !t.borrowed {
		_ = t.dir.Close()
	}
}

// failed returns err as explain has it; nil stays nil.
func (t *target) failed(err error) error {
	if err == nil {
		return nil
	}
	return explain(t.path, err)
}

// syncDirectory makes a rename durable. Some file systems cannot sync a directory, and one that may be written but not
// read cannot be opened for it: both are left as they are.
func (t *target) syncDirectory() error {
	d, err := t.dir.Open(".")
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
