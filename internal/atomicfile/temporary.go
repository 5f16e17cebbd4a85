package atomicfile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// batch is the number of names that are read from a directory at once.
const batch = 256

// attempts is how often a temporary file is created when neighbours keep sweeping it away.
const attempts = 16

// hidden begins the names of all temporary files.
const hidden = ".slipway-"

// prefixLength is that of every prefix, in bytes.
const prefixLength = len(hidden) + 2*digestBytes + len("-")

// digestBytes is how much of the digest of a target's name stands in the names of its temporary files.
const digestBytes = 8

// prefix begins the names of all temporary files of the target.
func (t *target) prefix() string {
	digest := sha256.Sum256([]byte(t.name))
	return hidden + hex.EncodeToString(digest[:digestBytes]) + "-"
}

// temporary creates a new file beside the target and locks it.
func (t *target) temporary() (*os.File, string, error) {
	for range attempts {
		name := t.prefix() + rand.Text()
		f, err := t.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, "", err
		}
		if err := lock(f); !errors.Is(err, unix.EWOULDBLOCK) && t.has(name, f) {
			return f, name, nil
		}
		// A neighbour swept between the creation and the lock, and took the file for an abandoned one.
		f.Close()
	}
	return nil, "", fault.New(fault.Temporary, "its temporary file vanished %d times", attempts)
}

// has reports whether name still stands for the open file f.
func (t *target) has(name string, f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := t.dir.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// sweep removes the temporary files of runs that were killed while they wrote the targets of those prefixes. It does what
// it can: a directory that may not be listed keeps them.
func sweep(dir *os.Root, prefixes ...string) {
	d, err := dir.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	known := make(map[string]bool, len(prefixes))
	for _, prefix := range prefixes {
		known[prefix] = true
	}
	for {
		names, err := d.Readdirnames(batch)
		for _, name := range names {
			if len(name) > prefixLength && known[name[:prefixLength]] {
				removeAbandoned(dir, name)
			}
		}
		if err != nil {
			return
		}
	}
}

// removeAbandoned removes a temporary file that no living process has locked. A file whose writer just renames it is no
// longer there by this name when its lock ends, and no name is used twice.
func removeAbandoned(dir *os.Root, name string) {
	f, err := dir.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // NFS locks only what is writable
	if errors.Is(err, fs.ErrPermission) {
		f, err = dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // it has its final mode already
	}
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil {
		_ = dir.Remove(name)
	}
}

// lock takes the lock of f, or says at once that another has it.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
