package atomicfile

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/step"
)

// partial ends the name of a file that Continue found or made: the one temporary file of its target that outlives its
// writer, so that a later run goes on where a killed one stopped.
const partial = "partial"

// Continue is Create for a file that takes so long that the next run shall not begin again: what is there of it is kept
// by Keep, and by a kill, and is found again. Found says so; whether it is of any use is for the caller to know. Where a
// neighbour is at work on the same target just now, the file is an ordinary temporary one that nobody finds again.
func Continue(env *step.Env, path string, a Attributes) (f *File, found bool, err error) {
	t, err := open(path)
	if err != nil {
		return nil, false, err
	}
	t.sweep()
	file, found, err := t.partial()
	if errors.Is(err, unix.EWOULDBLOCK) {
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
	return &File{target: t, env: env, attributes: a, file: file, temporary: t.prefix() + partial}, found, nil
}

// partial opens and locks the target's partial file, or makes it. Its error is EWOULDBLOCK when another process has it.
func (t *target) partial() (f *os.File, found bool, err error) {
	name := t.prefix() + partial
	for range attempts {
		f, err = t.dir.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		found = err == nil
		if !found {
			f, err = t.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
		if errors.Is(err, os.ErrExist) {
			// A neighbour was quicker, or what stands there is a link or may not be written: in both cases not ours.
			return nil, false, unix.EWOULDBLOCK
		}
		if err != nil {
			return nil, false, err
		}
		if err := lock(f); errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, false, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && t.has(name, f) {
			return f, found, nil
		}
		f.Close() // renamed or removed between the opening and the lock
	}
	return nil, false, unix.EWOULDBLOCK
}

// Keep ends the work on a file of Continue for now, and leaves it for a later run. Of any other file it is Abort.
func (f *File) Keep() {
	if f.temporary == f.prefix()+partial {
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
