package receipt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/sibling"
)

// Fingerprint is what lstat(2) tells of a file, or of a directory and of everything below it. Two that are equal are
// of the same state.
type Fingerprint struct {
	Mode  uint32 `json:"mode"` // with the type
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	Size  int64  `json:"size,omitempty"`  // of a file, in bytes
	Mtime int64  `json:"mtime,omitempty"` // nanoseconds since 1970, as all times here
	// Ctime is not taken of the directory itself, because a rename changes it; whatever else would is seen by the rest.
	Ctime int64  `json:"ctime,omitempty"`
	Inode uint64 `json:"inode,omitempty"`
	// Tree is the SHA-256 over everything below a directory, in the order of names: path, type, mode, owner, size, times,
	// inode and a link's target of each.
	Tree    string `json:"tree,omitempty"`
	Entries int    `json:"entries,omitempty"` // in Tree
}

func (f Fingerprint) zero() bool { return f == Fingerprint{} }

// Identity is what a directory keeps when its name changes.
type Identity struct {
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // in nanoseconds since 1970; 0 where the file system does not tell
	Mtime int64  `json:"mtime"`           // in nanoseconds since 1970
}

// same reports whether two identities are of one directory. An inode's number alone does not say so, because ext4 gives it
// to the next directory that is made; and where inodes change with the mount, the modification time has to do.
func (i Identity) same(other Identity) bool {
	return i.Inode == other.Inode && i.Birth == other.Birth || i.Mtime == other.Mtime
}

// Identify returns the identity of the directory at path. Its error is one for anything else.
func Identify(path string) (Identity, error) {
	stat, err := lstat(unix.AT_FDCWD, path)
	if err != nil {
		return Identity{}, explain(path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return Identity{}, explain(path, unix.ENOTDIR)
	}
	return Identity{Inode: stat.Ino, Birth: birth(path), Mtime: unix.TimespecToNsec(stat.Mtim)}, nil
}

// Take returns the fingerprint of what stands at path. Inside says that a directory is one that holds its own receipt:
// its inode and times are the volume's, and slipway's own files and the lost+found of ext4 are no part of it.
//
// It holds the names of one directory at each level of depth at a time, and nothing else that grows.
func Take(ctx context.Context, path string, inside bool) (Fingerprint, error) {
	path = filepath.Clean(path)
	stat, err := lstat(unix.AT_FDCWD, path)
	if err != nil {
		return Fingerprint{}, explain(path, err)
	}
	f := Fingerprint{Mode: uint32(stat.Mode), UID: stat.Uid, GID: stat.Gid}
	if !inside {
		f.Inode, f.Mtime = stat.Ino, unix.TimespecToNsec(stat.Mtim)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		f.Size, f.Ctime = stat.Size, unix.TimespecToNsec(stat.Ctim)
		return f, nil
	}
	w := walk{ctx: ctx, digest: sha256.New(), inside: inside}
	if err := w.below(unix.AT_FDCWD, path); err != nil {
		return Fingerprint{}, explain(filepath.Join(path, string(w.path)), err)
	}
	f.Tree, f.Entries = hex.EncodeToString(w.digest.Sum(nil)), w.entries
	return f, nil
}

// Foreign reports whether a name at the top of a directory that holds its own receipt is no part of the tree: it is
// slipway's own, or mkfs(8) made it.
func Foreign(name string) bool {
	return strings.HasPrefix(name, sibling.Mark) || name == "lost+found"
}

// walk takes the digest of a tree.
type walk struct {
	ctx     context.Context
	digest  hash.Hash
	inside  bool
	entries int
	path    []byte // of the entry that is looked at, relative to the root
	record  []byte
}

// below adds everything in the directory of that name in the open directory dir.
func (w *walk) below(dir int, name string) error {
	d, err := open(dir, name)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if w.inside && len(w.path) == 0 && Foreign(name) {
			continue
		}
		if err := w.add(int(d.Fd()), name); err != nil {
			return err
		}
	}
	return nil
}

// every is the number of entries between two looks at the context.
const every = 256

// add adds the entry of that name in the open directory dir, and what is below it.
func (w *walk) add(dir int, name string) error {
	if w.entries++; w.entries%every == 0 {
		if err := w.ctx.Err(); err != nil {
			return err
		}
	}
	length := len(w.path)
	if length > 0 {
		w.path = append(w.path, '/')
	}
	w.path = append(w.path, name...)
	stat, err := lstat(dir, name)
	if err != nil {
		return err
	}
	w.record = binary.BigEndian.AppendUint32(w.record[:0], uint32(len(w.path)))
	w.record = append(w.record, w.path...)
	for _, n := range [...]uint64{
		uint64(stat.Mode), uint64(stat.Uid), uint64(stat.Gid), uint64(stat.Size), uint64(unix.TimespecToNsec(stat.Mtim)),
		uint64(unix.TimespecToNsec(stat.Ctim)), stat.Ino,
	} {
		w.record = binary.BigEndian.AppendUint64(w.record, n)
	}
	kind := stat.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		// Its size is the file system's business, and shrinks or not when entries go.
		binary.BigEndian.PutUint64(w.record[len(w.record)-4*8:], 0)
	}
	if kind == unix.S_IFLNK {
		target, err := readlink(dir, name)
		if err != nil {
			return err
		}
		w.record = append(w.record, target...)
	}
	w.digest.Write(w.record)
	if kind == unix.S_IFDIR {
		if err := w.below(dir, name); err != nil {
			return err
		}
	}
	w.path = w.path[:length]
	return nil
}

// open opens the directory of that name in the open directory dir, and never what a link points to.
func open(dir int, name string) (*os.File, error) {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func lstat(dir int, name string) (stat unix.Stat_t, err error) {
	err = ignoringEINTR(func() error { return unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW) })
	return stat, err
}

func readlink(dir int, name string) (string, error) {
	target := make([]byte, unix.PathMax)
	var n int
	err := ignoringEINTR(func() (err error) { n, err = unix.Readlinkat(dir, name, target); return err })
	return string(target[:max(n, 0)]), err
}

// ignoringEINTR calls f again for as long as a signal interrupts it, which network file systems allow.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// explain says what was being done when err came.
func explain(path string, err error) error {
	return fault.New(fault.KindOf(err), "fingerprint %s: %w", path, err)
}
