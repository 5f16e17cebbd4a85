// Package atomicfile writes files that are whole or absent.
//
// New content goes into a hidden temporary file beside its target, is read back, synced, given its owner and mode, and
// renamed over the target; then the directory is synced. Whoever looks at the target, at any moment and after any
// crash, sees the old file, the new one or none.
//
// # Temporary files
//
// Package sibling names and locks them, so that those of a run that was killed are told from a living neighbour's: the
// next write of the same target removes them.
//
// # What is refused
//
// A target that is a directory or a device is a CantCreate, and one that is a symbolic link is a Conflict: to
// follow it would let whoever may write to the volume choose the file that is overwritten, and to replace it would
// destroy what somebody made on purpose, such as the links into ..data of a ConfigMap or /dev/stdout. Nothing has been
// written then. Parents are not created. A link among the parents is followed, as everywhere.
package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Attributes are what a file is given beside its content.
type Attributes struct {
	Mode  opt.Mode  // exact: the umask takes nothing away, and the zero value is 0000
	Owner opt.Owner // the zero value leaves a new file to the user that runs slipway, and an old one as it is
	// Unsynced leaves it to the kernel when the file reaches the disk: for one that must be there soon after a moment,
	// whatever becomes of the process, and is worth little after a crash of the machine, which may leave it empty.
	Unsynced bool
	Modified time.Time // when the content was made last; the zero value is now

	// Root, if not nil, is what the file's path is relative to, and what no link leads out of: for names that strangers give.
	Root *os.Root
	// Unswept leaves what killed runs left, for many files in one directory: to look for it takes longer than to write one.
	Unswept bool
}

// Write makes the file at path hold content, from its beginning to its end, with the given attributes, and reports
// whether it changed anything. A file that holds the content already is not written again; if its mode or owner differs
// it is mended in place. It returns ctx's error soon after ctx's end.
//
// Path is used as it is: a step has put it under the env's root. Errors of the target are classified as those of an
// output (see fault.Output) with advice; errors of content are passed on as they are.
func Write(ctx context.Context, env *step.Env, path string, content io.ReadSeeker, a Attributes) (changed bool, err error) {
	t, err := open(path, a.Root)
	if err != nil {
		return false, err
	}
	defer t.close()
	t.sweep(a)
	same, err := t.holds(ctx, content)
	if err != nil {
		return false, err
	}
	if same {
		return t.mend(env, a)
	}
	f, err := t.create(env, a)
	if err != nil {
		return false, err
	}
	defer f.Abort()
	if err := fill(ctx, f, content); err != nil {
		return false, err
	}
	return true, f.Commit()
}

// Mend gives the file at path, whose content is right, its owner and mode where they differ, and reports whether it did.
func Mend(env *step.Env, path string, a Attributes) (changed bool, err error) {
	t, err := open(path, a.Root)
	if err != nil {
		return false, err
	}
	defer t.close()
	t.sweep(a)
	return t.mend(env, a)
}

// mend gives the target, whose content is right, its owner and mode where they differ.
func (t *target) mend(env *step.Env, a Attributes) (changed bool, err error) {
	changed, err = filetree.Mend(env, t.path, a.Owner, func(uint32, bool) uint32 { return a.Mode.Bits() })
	return changed, fault.Output(err)
}

// fill copies content to f and reads it back.
func fill(ctx context.Context, f *File, content io.ReadSeeker) error {
	size, err := content.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := rewind(content); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(f, &reader{ctx, content}, make([]byte, portion(size))); err != nil {
		return err
	}
	if err := rewind(content); err != nil {
		return err
	}
	same, err := equal(&reader{ctx, content}, io.NewSectionReader(f, 0, math.MaxInt64), size)
	if err == nil && !same {
		return fault.New(fault.IO, "write %s: what was read back is not what was written", f.path)
	}
	return err
}

// holds reports whether the target is a regular file with just this content. A target that cannot be read is taken for
// one that differs: it may still be replaced.
func (t *target) holds(ctx context.Context, content io.ReadSeeker) (bool, error) {
	if t.absent {
		return false, nil
	}
	f, err := t.dir.OpenFile(t.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	size, err := content.Seek(0, io.SeekEnd)
	if err != nil || size != info.Size() {
		return false, err
	}
	if err := rewind(content); err != nil {
		return false, err
	}
	return equal(&reader{ctx, content}, f, size)
}

// portion returns how much of a file of that size is copied or compared at a time, in bytes. Most files are small, and
// there may be many.
func portion(size int64) int { return int(min(size+1, 64<<10)) }

// equal reports whether a and b hold the same bytes, of which there are about size.
func equal(a, b io.Reader, size int64) (bool, error) {
	left, right := make([]byte, portion(size)), make([]byte, portion(size))
	for {
		n, err := io.ReadFull(a, left)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		m, err := io.ReadFull(b, right)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		if n < len(left) {
			return true, nil
		}
	}
}

func rewind(content io.Seeker) error {
	_, err := content.Seek(0, io.SeekStart)
	return err
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// check returns a fault if info is that of something that may not be replaced by a file.
func (t *target) check(info fs.FileInfo, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.absent = true
		return nil
	case err != nil:
		return t.failed(err)
	case info.IsDir():
		return fault.New(fault.CantCreate, "write %s: it is a directory", t.path)
	case info.Mode()&fs.ModeSymlink != 0:
		return fault.Hint(fault.New(fault.Conflict, "write %s: it is a symbolic link, which is neither followed nor replaced", t.path),
			"name the file that it points to, or remove the link first")
	case !info.Mode().IsRegular():
		return fault.New(fault.CantCreate, "write %s: it is not a regular file", t.path)
	}
	return nil
}

// explain returns err, which came while path was written, in the words of the user: about the target and not about
// some temporary name, with the kind of an output's error and with advice.
func explain(path string, err error) error {
	err = fault.Cause(err)
	told := fault.Output(fmt.Errorf("write %s: %w", path, err))
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fault.Hint(told, "make the folder in an earlier step (mkdir DIR then …), or mount a volume there")
	case errors.Is(err, syscall.EROFS):
		return fault.Hint(told, "mount a writable volume, such as an emptyDir, at %s", dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Hint(told, "give the volume of %s more room, or inodes: an emptyDir has its sizeLimit", dir)
	case errors.Is(err, fs.ErrPermission):
		return fault.Hint(told, "run as the owner of %s, or let the pod's securityContext.fsGroup give the volume a group "+
			"that may write to it", dir)
	case errors.Is(err, syscall.EBUSY):
		return fault.Hint(fault.As(fault.CantCreate, told), "a file that is mounted by itself, as with subPath, cannot be "+
			"replaced: mount its directory")
	}
	return told
}
