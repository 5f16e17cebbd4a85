package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
)

// portion is how much of a file is copied at a time, in bytes.
const portion = 256 << 10

// tree is what is being unpacked into.
type tree struct {
	meter
	unique bool // an entry may not take the place of one that came before
	// inherited is the set-group-ID bit, if the root has it: a volume with an fsGroup does, so that all in it is the group's.
	inherited fs.FileMode
	ctx       context.Context
	root      *os.Root
	open      []level // from the root's child down to the directory that was written to last
	late      []dir   // directories whose mode and time are still to be set
	buffer    []byte
}

// level is an open directory. Archives go through their directories in order, so that the next entry is most often one of
// the same directory: it is opened once and not by its path for each entry.
type level struct {
	name string
	root *os.Root
}

// dir is a directory that the archive names. Its mode and time are set last: the mode may forbid to write to it, and
// writing to it changes the time.
type dir struct {
	name string
	mode fs.FileMode
	time time.Time
}

func newTree(ctx context.Context, root *os.Root, m meter) *tree {
	t := &tree{meter: m, ctx: ctx, root: root, buffer: make([]byte, portion)}
	if info, err := root.Stat("."); err == nil {
		t.inherited = info.Mode() & fs.ModeSetgid
	}
	return t
}

// close closes all directories.
func (t *tree) close() {
	t.rise(0)
}

// rise closes all levels below the first n.
func (t *tree) rise(n int) {
	for _, l := range t.open[n:] {
		_ = l.root.Close()
	}
	t.open = t.open[:n]
}

// parent returns the open directory of name and its last element. Directories that are missing are made. One that is a
// link is refused: a name is never written through a link of the archive.
func (t *tree) parent(name string) (*os.Root, string, error) {
	elements := strings.Split(name, "/")
	if int64(len(elements)) > t.limits.Depth {
		return nil, "", over("depth", "names of more than %d elements", t.limits.Depth)
	}
	last := len(elements) - 1
	same := 0
	for same < min(last, len(t.open)) && t.open[same].name == elements[same] {
		same++
	}
	t.rise(same)
	for _, element := range elements[same:last] {
		if err := t.descend(element); err != nil {
			return nil, "", err
		}
	}
	return t.deepest(), elements[last], nil
}

func (t *tree) deepest() *os.Root {
	if len(t.open) == 0 {
		return t.root
	}
	return t.open[len(t.open)-1].root
}

// descend opens a directory in the deepest open one, and makes it if need be.
func (t *tree) descend(name string) error {
	above := t.deepest()
	if err := t.mkdir(above, name); err != nil {
		return err
	}
	root, err := above.OpenRoot(name)
	if err != nil {
		return fault.Output(err)
	}
	t.open = append(t.open, level{name, root})
	return nil
}

// mkdir makes a directory unless it is there.
func (t *tree) mkdir(above *os.Root, name string) error {
	info, err := above.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := t.directory(); err != nil {
			return err
		}
		if err := above.Mkdir(name, 0o755); err != nil {
			return fault.Output(err)
		}
		return fault.Output(above.Chmod(name, 0o755|t.inherited)) // whatever the umask
	case err != nil:
		return fault.Output(err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fault.New(fault.Data, "it goes through %q, which is a link of the archive's", name)
	case !info.IsDir():
		return fault.New(fault.Data, "%q is a file of the archive's and a directory, too", name)
	}
	return nil
}

// makeDir makes a directory, or gives the one that is there another mode and time.
func (t *tree) makeDir(name string, mode fs.FileMode, mtime time.Time) error {
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	if err := t.mkdir(parent, base); err != nil {
		return err
	}
	t.late = append(t.late, dir{name, mode, mtime})
	t.totals.Entries++
	return nil
}

// makeFile makes a file with content, in the place of one of the same name that came before. A sparse one gets holes where
// the content is zero.
func (t *tree) makeFile(name string, mode fs.FileMode, mtime time.Time, content io.Reader, sparse bool) error {
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	var f *os.File
	err = t.replacing(parent, base, func() (err error) {
		f, err = parent.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.fill(f, content, sparse); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return fault.Output(err)
	}
	if err := f.Close(); err != nil {
		return fault.Output(err)
	}
	t.totals.Entries++
	return setTime(parent, base, mtime)
}

// fill copies content to f.
func (t *tree) fill(f *os.File, content io.Reader, sparse bool) error {
	end := int64(0)
	for {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(content, t.buffer)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		if err := t.add(n); err != nil {
			return err
		}
		part := t.buffer[:n]
		if sparse && zeros(part) {
			_, err = f.Seek(int64(n), io.SeekCurrent)
		} else {
			_, err = f.Write(part)
		}
		if err != nil {
			return fault.Output(err)
		}
		end += int64(n)
		if last {
			break
		}
	}
	if sparse {
		return fault.Output(f.Truncate(end))
	}
	return nil
}

// zeros reports whether p is all zeros: then it is equal to itself, moved by one.
func zeros(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// makeLink makes a symbolic link.
func (t *tree) makeLink(name, target string) error {
	if err := intree.Link(name, target); err != nil {
		return err
	}
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	t.totals.Entries++
	return t.replacing(parent, base, func() error { return parent.Symlink(target, base) })
}

// makeHardLink gives the file old, which has to be unpacked already, a second name.
func (t *tree) makeHardLink(name, old string) error {
	if name == old {
		return nil
	}
	if err := t.isFile(old); err != nil {
		return err
	}
	parent, base, err := t.parent(name)
	if err != nil {
		return err
	}
	t.totals.Entries++
	return t.replacing(parent, base, func() error { return t.root.Link(old, name) })
}

// isFile returns a fault unless name is a regular file, reached through directories alone.
func (t *tree) isFile(name string) error {
	parts := strings.Split(name, "/")
	for i := range parts {
		info, err := t.root.Lstat(strings.Join(parts[:i+1], "/"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Data, "it is a hard link to %q, which was not unpacked before it", short(name))
		case err != nil:
			return fault.Output(err)
		case i < len(parts)-1 && !info.IsDir(), i == len(parts)-1 && !info.Mode().IsRegular():
			return fault.New(fault.Data, "it is a hard link to %q, which is no file of the archive's", short(name))
		}
	}
	return nil
}

// replacing calls makeIt, and once more if a file or link of that name had to be removed first: the later entry wins, as
// with tar(1).
func (t *tree) replacing(parent *os.Root, base string, makeIt func() error) error {
	err := makeIt()
	if !errors.Is(err, fs.ErrExist) {
		return fault.Output(err)
	}
	info, err := parent.Lstat(base)
	if err != nil {
		return fault.Output(err)
	}
	if info.IsDir() {
		return fault.New(fault.Data, "it is a directory of the archive's and something else, too")
	}
	if t.unique {
		return fault.New(fault.Data, "it is there twice, and which one counts is not the same for all who read it")
	}
	if err := parent.Remove(base); err != nil {
		return fault.Output(err)
	}
	return fault.Output(makeIt())
}

// finish gives the directories their modes and times, the deepest first.
func (t *tree) finish() error {
	slices.SortStableFunc(t.late, func(a, b dir) int { return strings.Compare(b.name, a.name) })
	for _, d := range t.late {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		parent, base, err := t.parent(d.name)
		if err != nil {
			return err
		}
		if err := setTime(parent, base, d.time); err != nil {
			return err
		}
		if err := parent.Chmod(base, d.mode|t.inherited); err != nil {
			return fault.Output(err)
		}
	}
	t.tell(1)
	return nil
}

// setTime sets the modification time of a file or directory, unless it is one that file systems cannot keep: before 1970, or
// after 2446, which is the last year of ext4.
func setTime(parent *os.Root, base string, mtime time.Time) error {
	if mtime.Unix() < 0 || mtime.Year() >= 2446 {
		return nil
	}
	return fault.Output(parent.Chtimes(base, mtime, mtime))
}

// mode returns the mode that an entry gets: never set-ID or sticky, never writable by others than its owner. An
// archive that tells none, as some writers make them, gets the usual one.
func mode(told, usual fs.FileMode) fs.FileMode {
	if told.Perm() == 0 {
		return usual
	}
	return told.Perm() &^ 0o022
}
