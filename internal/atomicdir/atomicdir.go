// Package atomicdir makes directories that appear whole: the twin of package atomicfile.
//
// A tree is made in a hidden directory beside its target, given its owner and mode, synced, and put in the target's place
// by one rename(2), or, where an earlier tree is there, one renameat2(2) with RENAME_EXCHANGE. Whoever looks at the target, at
// any moment and after any crash, sees the old tree or the new one. Where the file system cannot exchange, the old tree is
// renamed away first: then there is a moment without any. The old tree is removed at last.
//
// # Whose the directory is
//
// Slipway replaces what slipway made, and never wipes what somebody else did. A receipt (see package receipt) tells of each
// tree which directory it is; it is written before the tree is put in its place, and tells of the old one
// until then, so that there is no moment at which a killed run leaves a tree that the next one does not know. A
// directory without one is left alone, unless it is empty or the user says so (Attributes.Force). A target that is a symbolic
// link is a Conflict and any other file a CantCreate, as with atomicfile, whatever the user says.
//
// A directory that is replaced, empty or not, hands on its mode and owner where none are given.
//
// # The exception: mount points
//
// The usual target in a pod is a mount point, /config with an emptyDir, and that can neither be renamed nor
// exchanged. (The same holds where the parent may not be written, and of a directory in a lower layer of overlayfs.) Then the
// tree is made in a hidden directory inside of it, and its entries are moved into their places one by one, each by one
// rename or exchange. A reader may see some entries new and some old for as long as that takes, which is about ten
// microseconds for each entry at the top of the tree, whatever is below it. In an init container there is no reader. A run
// that is killed within that moment leaves the mixture, but no receipt that calls it good: the next run makes the tree
// anew.
//
// There, names that begin with ".slipway-" and the lost+found of ext4 belong to the volume and not to the tree: they are
// kept, and a directory that has nothing else is empty.
//
// # Durability
//
// See sync_linux.go.
package atomicdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Attributes are what a directory is given beside its content.
type Attributes struct {
	Mode  opt.Mode  // of the directory itself; 0 is that of the one it replaces, or 0755
	Owner opt.Owner // of everything; the zero value leaves it to the user that runs slipway
	// Force replaces a directory that slipway did not make. Option is how the user says so, for the hint: "--force"; ""
	// where there is no such option.
	Force  bool
	Option string
	// Unsynced leaves it to the kernel when the tree reaches the disk. A crash of the machine may then leave files empty,
	// and the receipt is good until then.
	Unsynced bool
}

// Dir is a directory that is being made and that nobody sees yet.
type Dir struct {
	env        *step.Env
	attributes Attributes
	path       string
	name       string   // of the target in its parent, or sibling.Within
	place      *os.Root // of the staged tree: the target's parent, or the target itself
	lock       *os.File // its name in place is also that of the staged tree, less stagedSuffix
	staged     string   // the name of the staged tree in place
	root       *os.Root // the staged tree
	inside     bool     // the target is staged within itself
	old        bool     // there is a directory to be replaced
	empty      bool     // and it is an empty one
}

// The names of what belongs to a lock: the lock's own, and one of these.
const (
	stagedSuffix = ".d"
	oldSuffix    = ".old"
)

// grace is how long it may take to clean up after the end of a context. What is left the next run removes.
const grace = 500 * time.Millisecond

// Create begins a new directory that Commit will put at path, which is used as it is: a step has put it under the env's
// root. The caller must call Abort, which does nothing after a Commit.
//
// It removes what earlier runs that were killed left of path. A directory that may not be replaced is a CantCreate, with
// a hint. The parent has to exist.
func Create(ctx context.Context, env *step.Env, path string, a Attributes) (*Dir, error) {
	d := &Dir{env: env, attributes: a, path: filepath.Clean(path)}
	if err := d.check(); err != nil {
		return nil, err
	}
	place, name := filepath.Split(d.path)
	if d.inside {
		place, name = d.path, sibling.Within
	}
	root, err := os.OpenRoot(filepath.Clean(place))
	if err != nil {
		return nil, d.failed(err)
	}
	d.place, d.name = root, name
	if err := d.stage(ctx); err != nil {
		d.Abort(ctx)
		return nil, d.failed(err)
	}
	return d, nil
}

// stage makes the directory in which the tree is made.
func (d *Dir) stage(ctx context.Context) error {
	if err := sweep(ctx, d.place, d.name); err != nil {
		return err
	}
	lock, name, err := sibling.Create(d.place, d.name)
	if err != nil {
		return err
	}
	d.lock, d.staged = lock, name+stagedSuffix
	if err := d.place.Mkdir(d.staged, 0o700); err != nil {
		return err
	}
	d.root, err = d.place.OpenRoot(d.staged)
	return err
}

// Root returns the directory that is being made. Everything untrusted is written through it: it leads nowhere else.
func (d *Dir) Root() *os.Root { return d.root }

// check returns a fault if there is something at the path that may not be replaced, and looks at what else there is.
func (d *Dir) check() error {
	d.old, d.empty = false, false
	info, err := os.Lstat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return d.failed(err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fault.Hint(fault.New(fault.Conflict, "write %s: it is a symbolic link, which is neither followed nor replaced", d.path),
			"name the directory that it points to, or remove the link first")
	case !info.IsDir():
		return fault.New(fault.CantCreate, "write %s: it is not a directory", d.path)
	}
	d.old, d.inside = true, d.inside || sibling.Inside(d.path)
	entry, err := d.foreign()
	if err != nil {
		return d.failed(err)
	}
	d.empty = entry == ""
	if d.empty || d.attributes.Force {
		return nil
	}
	if r, ok := receipt.Read(d.path); ok && r.MadeAt(d.path) {
		return nil
	}
	err = fault.New(fault.CantCreate, "write %s: it is not empty (%s), and slipway did not make it", d.path, entry)
	if d.attributes.Option == "" {
		return fault.Hint(err, "name another directory, or remove it first")
	}
	return fault.Hint(err, "name another directory, or replace it with all that is in it: %s", d.attributes.Option)
}

// foreign returns the name of something in the directory that is there, "" if it is empty.
func (d *Dir) foreign() (string, error) {
	dir, err := os.Open(d.path)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(64)
		for _, name := range names {
			if !d.inside || !receipt.Foreign(name) {
				return name, nil
			}
		}
		if len(names) == 0 {
			return "", ignoringEOF(err)
		}
	}
}

// Commit gives the directory its owner and mode, makes it durable, puts it at its path and keeps r as its receipt, with
// its fingerprint. After an error the path is as it was, unless it is a mount point (see the package comment).
func (d *Dir) Commit(ctx context.Context, r receipt.Receipt) error {
	defer d.Abort(ctx)
	if err := d.finish(ctx); err != nil {
		return d.failed(err)
	}
	r.Synced = !d.attributes.Unsynced
	return d.failed(d.publish(ctx, r))
}

// finish gives the staged tree its owner and mode and makes it durable: what is left is to put it in its place.
func (d *Dir) finish(ctx context.Context) error {
	if d.attributes.Owner.Given() {
		w := filetree.Walker{Recursive: true, Visit: func(e *filetree.Entry) error {
			_, err := e.Chown(d.env, d.attributes.Owner)
			return err
		}}
		if err := w.Walk(ctx, d.root.Name()); err != nil {
			return err
		}
	}
	if err := d.inherit(); err != nil {
		return err
	}
	if d.attributes.Unsynced {
		return nil
	}
	return d.sync(ctx)
}

// inherit gives the staged directory itself its mode, and what the replaced one hands on.
func (d *Dir) inherit() error {
	staged, err := filetree.Find(d.root.Name())
	if err != nil {
		return err
	}
	mode := d.attributes.Mode.Bits()
	if d.old && !d.inside {
		old, err := filetree.Find(d.path)
		if err != nil {
			return err
		}
		if mode == 0 {
			mode = old.Bits
		}
		if !d.attributes.Owner.Given() && (old.UID != staged.UID || old.GID != staged.GID) {
			// It is no failure if it may not be: then the directory belongs to who runs slipway, as all that is in it.
			_ = d.env.ChownAt(unix.AT_FDCWD, d.root.Name(), old.UID, old.GID)
		}
	}
	if mode == 0 {
		mode = 0o755
	}
	_, err = staged.Chmod(func(bits uint32, _ bool) uint32 { return mode | bits&filetree.SetID })
	return err
}

// sync makes the staged tree durable.
func (d *Dir) sync(ctx context.Context) error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncTree(ctx, dir)
}

// Abort removes what was made, unless it has been committed.
func (d *Dir) Abort(ctx context.Context) {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
	}
	if d.root != nil {
		_ = d.root.Close()
		d.root = nil
	}
	if d.lock == nil {
		_ = d.place.Close()
		return
	}
	lock := filepath.Base(d.lock.Name())
	if removeOf(ctx, d.place, lock) == nil {
		_ = d.place.Remove(lock)
	}
	_ = d.lock.Close()
	_ = d.place.Close()
	d.lock = nil
}

// failed says of which path err is, with the kind of an output's error and with advice.
func (d *Dir) failed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	told := fault.Output(fmt.Errorf("write %s: %w", d.path, cause(err)))
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fault.Hint(told, "make the folder above it in an earlier step (mkdir DIR then …), or mount a volume there")
	case errors.Is(err, syscall.EROFS):
		return fault.Hint(told, "mount a writable volume, such as an emptyDir, at %s", d.path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Hint(told, "give the volume of %s more room, or inodes, for the old and the new tree: an emptyDir has its "+
			"sizeLimit", d.path)
	case errors.Is(err, fs.ErrPermission):
		return fault.Hint(told, "run as the owner of %s, or let the pod's securityContext.fsGroup give the volume a group "+
			"that may write to it", filepath.Dir(d.path))
	}
	return told
}

// cause returns what the system said, without the operation and hidden names that package os puts before it.
func cause(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}
