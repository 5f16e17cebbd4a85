// Package sibling names and locks the hidden files that slipway keeps beside a target: what is not finished yet, and
// the receipt of what is.
//
// Their names begin with ".slipway-" + 16 digits of the SHA-256 of the target's name, so that a run recognises those of its
// own target by name, whatever the length of that name. What follows says what it is: "-" + a random part for what is
// being made, ".partial" for what is being made and shall be found again, ".receipt" for a receipt. No file of one sort is
// ever taken for one of another.
//
// A temporary file is locked with flock(2) while its writer lives. A lock ends with the process that holds it, however
// that ends, and it holds between containers, where the id of a process says nothing. So a temporary file that can be locked
// was left by a run that was killed, and the next write of the same target removes it. One that is locked belongs to
// a neighbour: two processes may write the same target at once, and the one that renames last wins. Where a file system
// has no locks, nothing is removed.
package sibling

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// Mark begins the name of everything that slipway keeps beside or within a target.
const Mark = ".slipway-"

// batch is the number of names that are read from a directory at once.
const batch = 256

// attempts is how often a temporary file is created when neighbours keep sweeping it away.
const attempts = 16

// Temporary returns a new name for something that is being made for the target of that name.
func Temporary(name string) string { return temporaries(name) + rand.Text() }

// Receipt returns the name of the receipt of the target of that name.
func Receipt(name string) string { return prefix(name) + ".receipt" }

// partial returns the name of what is being made for the target of that name and shall be found again.
func partial(name string) string { return prefix(name) + ".partial" }

// prefix begins the names of all siblings of the target of that name.
func prefix(name string) string {
	digest := sha256.Sum256([]byte(name))
	return Mark + hex.EncodeToString(digest[:8])
}

// temporaries begins the names of the temporary siblings.
func temporaries(name string) string { return prefix(name) + "-" }

// Create makes a new temporary file in dir for the target of that name, with the mode 0600, and locks it. The lock ends
// when the file is closed.
func Create(dir *os.Root, name string) (*os.File, string, error) {
	for range attempts {
		temporary := Temporary(name)
		f, err := dir.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, "", err
		}
		if err := lock(f); !errors.Is(err, unix.EWOULDBLOCK) && stands(dir, temporary, f) {
			return f, temporary, nil
		}
		// A neighbour swept between the creation and the lock, and took the file for an abandoned one.
		f.Close()
	}
	return nil, "", fault.New(fault.Temporary, "its temporary file vanished %d times", attempts)
}

// ErrTaken is the error of Continue when another process has the file.
var ErrTaken = errors.New("a neighbour is at work on it")

// Continue opens and locks the one temporary file in dir for the target of that name that no sweep removes, or makes it
// with the mode 0600. Found says that a run before this one left it. The lock ends when the file is closed.
func Continue(dir *os.Root, name string) (f *os.File, temporary string, found bool, err error) {
	temporary = partial(name)
	for range attempts {
		f, err = dir.OpenFile(temporary, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		found = err == nil
		if errors.Is(err, fs.ErrNotExist) {
			f, err = dir.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
		switch {
		case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission) && !found, errors.Is(err, syscall.ELOOP):
			return nil, "", false, ErrTaken // by one who was quicker, by another user, or by a link
		case err != nil:
			return nil, "", false, err
		}
		if err := lock(f); errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, "", false, ErrTaken
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && stands(dir, temporary, f) {
			return f, temporary, found, nil
		}
		f.Close() // renamed or removed between the opening and the lock
	}
	return nil, "", false, ErrTaken
}

// stands reports whether name still stands for the open file f.
func stands(dir *os.Root, name string, f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := dir.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// Sweep removes the temporary files in dir of runs that were killed while they wrote the targets of those names. It does what
// it can: a directory that may not be listed keeps them.
func Sweep(dir *os.Root, names ...string) {
	for _, temporary := range Temporaries(dir, names...) {
		Reclaim(dir, temporary, func() error { return nil })
	}
}

// Temporaries returns the names of the temporary siblings in dir of the targets of those names.
func Temporaries(dir *os.Root, names ...string) []string {
	d, err := dir.Open(".")
	if err != nil {
		return nil
	}
	defer d.Close()
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[temporaries(name)] = true
	}
	length := len(temporaries(""))
	var found []string
	for {
		there, err := d.Readdirnames(batch)
		for _, n := range there {
			if len(n) > length && wanted[n[:length]] {
				found = append(found, n)
			}
		}
		if err != nil {
			return found
		}
	}
}

// Any reports whether there are temporary siblings in dir of any target at all.
func Any(dir *os.Root) bool {
	d, err := dir.Open(".")
	if err != nil {
		return false
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(batch)
		for _, name := range names {
			if rest, ok := strings.CutPrefix(name, Mark); ok && strings.Contains(rest, "-") {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

// Reclaim removes a temporary file that no living process has locked, once first has removed what the lock stood for. A
// file whose writer just renames it is no longer there by this name when its lock ends, and no name is used twice.
func Reclaim(dir *os.Root, temporary string, first func() error) {
	f, err := dir.OpenFile(temporary, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // NFS locks only what is writable
	if errors.Is(err, fs.ErrPermission) {
		f, err = dir.OpenFile(temporary, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // it has its final mode already
	}
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil && first() == nil {
		_ = dir.Remove(temporary)
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
