// Package filetree gives files and whole trees their owner and mode while others may be changing them.
//
// A walk goes by open directories and not by paths: each entry is looked at and changed as a name in the directory that
// it was found in, and a symbolic link is never followed (openat(2) with O_NOFOLLOW, fchownat(2) with
// AT_SYMLINK_NOFOLLOW). Whoever swaps a directory for a link to /etc while the walk is on makes it change the link, not
// /etc. The directories above a walk's root are the caller's word and are followed as usual.
//
// What is right already is not touched: it keeps its ctime and needs no privilege.
package filetree

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// SetID are the bits that make a directory's new entries inherit its owner or group. A volume with an fsGroup has the
// second one, and a mode that does not name them leaves them to a directory, as chmod(1) does.
const SetID = unix.S_ISUID | unix.S_ISGID

// Entry is a file, a directory or a link, as it was when it was looked at.
type Entry struct {
	Bits      uint32 // permission, set-ID and sticky bits: 0o7777 at most
	UID, GID  int
	Dir, Link bool

	parent *Entry // nil for the root of a walk
	dir    int    // the open directory that it was found in; unix.AT_FDCWD for the root of a walk
	name   string // in dir
}

// Find looks at path, at the link itself if it is one. A path that does not exist is NoInput.
func Find(path string) (*Entry, error) {
	e := &Entry{dir: unix.AT_FDCWD, name: filepath.Clean(path)}
	if err := e.look(); err != nil {
		return nil, err
	}
	return e, nil
}

// look fills e with what its name stands for now.
func (e *Entry) look() error {
	var stat unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(e.dir, e.name, &stat, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return unreadable(e, "stat", err)
	}
	e.fill(&stat)
	return nil
}

func (e *Entry) fill(stat *unix.Stat_t) {
	kind := stat.Mode & unix.S_IFMT
	e.Bits, e.Dir, e.Link = uint32(stat.Mode)&0o7777, kind == unix.S_IFDIR, kind == unix.S_IFLNK
	e.UID, e.GID = int(stat.Uid), int(stat.Gid)
}

// Path returns the path by which e was found. It is put together when asked for: a walk over a million files asks only
// for that of an error.
func (e *Entry) Path() string {
	var names []string
	for ; e != nil; e = e.parent {
		names = append(names, e.name)
	}
	slices.Reverse(names)
	return filepath.Join(names...)
}

// Chown gives e to owner, a link itself and not what it points to, and reports whether that was needed. The kernel
// takes the set-user-ID and set-group-ID bits from a file whose owner changes; they are not given back.
func (e *Entry) Chown(env *step.Env, owner opt.Owner) (changed bool, err error) {
	uid, gid := owner.IDs()
	if (uid == -1 || uid == e.UID) && (gid == -1 || gid == e.GID) {
		return false, nil
	}
	err = ignoringEINTR(func() error { return env.ChownAt(e.dir, e.name, uid, gid) })
	switch {
	case errors.Is(err, unix.EPERM):
		return false, fault.Hint(e.failed("chown", err),
			"add CHOWN to the container's securityContext.capabilities.add, or let the pod's securityContext.fsGroup "+
				"give the volume its group")
	case errors.Is(err, unix.EINVAL):
		return false, fault.Hint(fault.As(fault.Unsupported, e.failed("chown to "+owner.String(), err)),
			"the container's user namespace may not have this id: hostUsers: false maps 0 to 65535 alone")
	case err != nil:
		return false, e.failed("chown", err)
	}
	return true, e.look()
}

// Chmod gives e the bits that want returns for those that it has, and reports whether that was needed. A link has no
// mode of its own: it is left as it is.
func (e *Entry) Chmod(want func(bits uint32, dir bool) uint32) (changed bool, err error) {
	if e.Link || want(e.Bits, e.Dir) == e.Bits {
		return false, nil
	}
	before := e.Bits
	err = e.chmod(want)
	switch {
	case errors.Is(err, unix.EPERM):
		return false, fault.Hint(e.failed("chmod", err),
			"run as the file's owner, uid %d, or add FOWNER to the container's securityContext.capabilities.add", e.UID)
	case err != nil:
		return false, e.failed("chmod", err)
	}
	if lost := want(before, e.Dir) & SetID &^ e.Bits; lost != 0 && !e.Link {
		return true, fault.Hint(fault.New(fault.Permission, "chmod %s: the kernel took the bits %#o away", e.Path(), lost),
			"only a member of the file's group, %d, may set them, or a process with the capability FSETID", e.GID)
	}
	return true, nil
}

// NoLink returns a Conflict if e is a link, for steps that are to change what they were given and follow no link.
func (e *Entry) NoLink() error {
	if !e.Link {
		return nil
	}
	return fault.Hint(fault.New(fault.Conflict, "%s is a symbolic link, whose target is not changed", e.Path()),
		"name the file or directory that it points to")
}

// Mend gives path its owner and, unless want is nil, the bits that want returns, where they differ, and reports whether
// they did. A path that is a link is a Conflict.
func Mend(env *step.Env, path string, owner opt.Owner, want func(bits uint32, dir bool) uint32) (mended bool, err error) {
	e, err := Find(path)
	if err != nil {
		return false, err
	}
	if err := e.NoLink(); err != nil {
		return false, err
	}
	owned, err := e.Chown(env, owner)
	if err != nil || want == nil {
		return owned, err
	}
	moded, err := e.Chmod(want)
	return owned || moded, err
}

// failed says what was done to e when err came.
func (e *Entry) failed(doing string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, e.Path(), err)
}

// unreadable is failed, with advice where the reason is that a directory may not be read or searched.
func unreadable(e *Entry, doing string, err error) error {
	err = e.failed(doing, err)
	if errors.Is(err, unix.EACCES) {
		return fault.Hint(err,
			"run as the directory's owner, or add DAC_READ_SEARCH to the container's securityContext.capabilities.add")
	}
	return err
}

// Effects returns one effect for each of paths, and for everything below them if recursive. Its error is a usage fault
// for no path, an empty one and one with a zero byte.
func Effects(verb step.Verb, paths []string, recursive bool) ([]step.Effect, error) {
	if len(paths) == 0 {
		return nil, fault.New(fault.Usage, "no path is given")
	}
	var (
		effects []step.Effect
		faults  []error
	)
	for i, path := range paths {
		switch {
		case path == "":
			faults = append(faults, fault.New(fault.Usage, "path %d is empty", i+1))
			continue
		case strings.ContainsRune(path, 0):
			faults = append(faults, fault.New(fault.Usage, "path %q has a zero byte", path))
			continue
		}
		object := filepath.Clean(path)
		if recursive {
			object = strings.TrimSuffix(object, "/") + "/..."
		}
		effects = append(effects, step.Effect{Verb: verb, Object: object})
	}
	return effects, errors.Join(faults...)
}

// Tally counts what a step looked at and what it changed, and tells the runner of both.
type Tally struct {
	Env           *step.Env
	seen, changed int64
}

// every is the number of entries between two reports of progress.
const every = 1000

// Count counts one more entry.
func (t *Tally) Count(changed bool) {
	t.seen++
	if changed {
		t.changed++
	}
	if t.seen%every == 0 {
		t.Env.Report(t.seen, 0)
	}
}

// Output gives the number of changed entries as the step's output, or says that there was nothing to change.
func (t *Tally) Output() {
	if t.changed == 0 {
		t.Env.Output(step.Skipped, "unchanged")
		return
	}
	t.Env.Output("changed", strconv.FormatInt(t.changed, 10))
}

// ignoringEINTR calls f again for as long as a signal interrupts it, which network file systems allow.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
