package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
)

// Continue is Create for a file that takes so long that the next run shall not begin again: what is there of it is kept
// by Keep, and by a kill, and is found again. Found says so; whether it is of any use is for the caller to know. Where a
// neighbour is at work on the same target just now, the file is an ordinary temporary one that nobody finds again.
func Continue(env *step.Env, path string, a Attributes) (f *File, found bool, err error) {
	t, err := open(path, a.Root)
	if err != nil {
		return nil, false, err
	}
	return t.resume(env, a)
}

// Scratch is Continue for a file that is never committed: what is fetched of an archive that becomes the directory at
// path. It stands beside that directory, or inside where that must be so (see sibling.Inside).
func Scratch(env *step.Env, path string) (f *File, found bool, err error) {
	path = filepath.Clean(path)
	place, name := filepath.Dir(path), filepath.Base(path)
	if sibling.Inside(path) {
		place, name = path, sibling.Within
	}
	dir, err := os.OpenRoot(place)
	if err != nil {
		return nil, false, explain(path, err)
	}
	t := &target{path: path, name: name, dir: dir}
	return t.resume(env, Attributes{Mode: 0o600, Unsynced: true})
}

func (t *target) resume(env *step.Env, a Attributes) (f *File, found bool, err error) {
	t.sweep(a)
	file, temporary, found, err := sibling.Continue(t.dir, t.name)
	if errors.Is(err, sibling.ErrTaken) {
		f, err := t.create(env, a)
		if err != nil {
			t.close()
		}
		return f, false, err
	}
	if err != nil {
		t.close()
		return nil, false, t.failed(err)
	}
	return &File{target: t, env: env, attributes: a, file: file, temporary: temporary, lasting: true}, found, nil
}

// Keep ends the work on a file of Continue for now, and leaves it for a later run. Of any other file it is Abort.
func (f *File) Keep() {
	if f.lasting {
		f.temporary = ""
	}
	f.Abort()
}

// Size returns the file's size in bytes.
func (f *File) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, f.failed(err)
	}
	return info.Size(), nil
}

// Allocate gives the file room for size bytes now, so that a full disk is known before anything is written. Where the
// file system cannot do that, the file only gets its size.
func (f *File) Allocate(size int64) error {
	err := allocate(f.file, size)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return f.Truncate(size)
	}
	return f.failed(err)
}

// Writeback asks the kernel to bring the length bytes from offset on to the disk, without waiting for it, so that Commit has
// less to wait for. It is a hint, and does nothing for an Unsynced file.
func (f *File) Writeback(offset, length int64) {
	if !f.attributes.Unsynced {
		writeback(f.file, offset, length)
	}
}
