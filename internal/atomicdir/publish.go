package atomicdir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/sibling"
)

// publish puts the staged tree at its path and keeps its receipt.
func (d *Dir) publish(ctx context.Context, r receipt.Receipt) error {
	if !d.inside {
		err := d.swap(ctx, r)
		if !d.old || !errors.Is(err, unix.EXDEV) {
			return err
		}
		// A directory in a lower layer of overlayfs is not renamed.
	}
	return d.merge(ctx, r)
}

// swap puts the staged tree at its path whole.
func (d *Dir) swap(ctx context.Context, r receipt.Receipt) error {
	var err error
	if r.Fingerprint, err = receipt.Take(ctx, d.root.Name(), false); err != nil {
		return err
	}
	defer d.alone(ctx)()
	if err := d.check(); err != nil {
		return err // a neighbour may have put something there since Create
	}
	if r.Made, err = d.made(d.root.Name()); err != nil {
		return err
	}
	if err := receipt.Keep(ctx, d.env, d.path, r); err != nil {
		return err
	}
	if err := d.rename(); err != nil {
		return err
	}
	return d.settle(d.place)
}

// alone keeps neighbours from putting theirs at the same path until the function that it returns is called, so that receipt and
// directory are always of the same run. A neighbour takes milliseconds for that; who has locked the directory for longer is
// somebody else, and then, as where the file system has no locks, it does nothing.
func (d *Dir) alone(ctx context.Context) (end func()) {
	const longest, pause = time.Second, 5 * time.Millisecond
	dir, err := d.place.Open(".")
	if err != nil {
		return func() {}
	}
	end = func() { _ = dir.Close() }
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for errors.Is(unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		select {
		case <-ctx.Done():
			return end
		case <-ticker.C:
		}
	}
	return end
}

// made returns the directories that the next run may take for slipway's: the one that is going to stand at the path, and
// until then the one that does, if it is slipway's. One that is to be replaced by force is not claimed: should this run
// be killed now, the user has to say so again.
func (d *Dir) made(next string) ([]receipt.Identity, error) {
	identity, err := receipt.Identify(next)
	if err != nil {
		return nil, err
	}
	made := []receipt.Identity{identity}
	if before, ok := receipt.Read(d.path); ok && before.MadeAt(d.path) {
		if old, err := receipt.Identify(d.path); err == nil {
			made = append(made, old)
		}
	}
	return made, nil
}

// rename puts the staged tree at its path, in exchange for an earlier one.
func (d *Dir) rename() error {
	if !d.old || d.empty {
		return rename(d.place, d.staged, d.place, d.name)
	}
	err := exchange(d.place, d.staged, d.place, d.name)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	lock := filepath.Base(d.lock.Name())
	if err := rename(d.place, d.name, d.place, lock+oldSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := rename(d.place, d.staged, d.place, d.name); err != nil {
		return errors.Join(err, rename(d.place, lock+oldSuffix, d.place, d.name))
	}
	return nil
}

// merge puts the entries of the staged tree into the directory at the path one by one, and what was there into the staged
// one's place.
func (d *Dir) merge(ctx context.Context, r receipt.Receipt) error {
	names, err := list(d.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if receipt.Foreign(name) {
			return fault.Hint(fault.New(fault.Data, "write %s: the tree has an entry %q, which is the volume's there", d.path, name),
				"write to a directory below the mount point")
		}
	}
	target, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer target.Close()
	if r.Made, err = d.made(d.path); err != nil {
		return err
	}
	// From here on the directory is slipway's, and nothing in it is trusted until the receipt has a fingerprint.
	if err := receipt.Keep(ctx, d.env, d.path, r); err != nil {
		return err
	}
	for _, name := range names {
		if err := d.move(target, name); err != nil {
			return d.mixed(err)
		}
	}
	if err := d.clear(target, names); err != nil {
		return d.mixed(err)
	}
	if err := d.mend(); err != nil {
		return err
	}
	if err := d.settle(target); err != nil {
		return err
	}
	return receipt.Write(ctx, d.env, d.path, r)
}

// mend gives the directory at the path, which stays, the mode and owner that are asked for.
func (d *Dir) mend() error {
	var want func(bits uint32, dir bool) uint32
	if d.attributes.Mode != 0 {
		want = func(bits uint32, _ bool) uint32 { return d.attributes.Mode.Bits() | bits&filetree.SetID }
	}
	_, err := filetree.Mend(d.env, d.path, d.attributes.Owner, want)
	return err
}

// mixed says of err that it left entries of two trees.
func (d *Dir) mixed(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fault.Hint(fault.New(fault.CantCreate, "write %s: something is mounted within it: %w", d.path, cause(err)),
			"mount it elsewhere, or write to a directory of its own")
	}
	return err
}

// move puts one entry of the staged tree into its place, in exchange for an earlier one.
func (d *Dir) move(target *os.Root, name string) error {
	mode, err := d.loosen(d.root, name)
	if err != nil {
		return err
	}
	if _, err := d.loosen(target, name); err != nil {
		return err
	}
	err = exchange(d.root, name, target, name)
	if errors.Is(err, errors.ErrUnsupported) {
		err = rename(target, name, d.root, sibling.Temporary(name))
		if err == nil {
			err = fs.ErrNotExist
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = rename(d.root, name, target, name)
	}
	if err != nil || mode == 0 {
		return err
	}
	return target.Chmod(name, mode)
}

// loosen makes a directory writable by its owner, because one that is not cannot be moved to another directory: its ".."
// changes (see EACCES in rename(2)). It returns the mode that it had, 0 if nothing was to be done.
func (d *Dir) loosen(root *os.Root, name string) (fs.FileMode, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.IsDir() || info.Mode()&0o200 != 0) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Mode(), root.Chmod(name, info.Mode()|0o200)
}

// clear moves what the new tree does not have out of the directory.
func (d *Dir) clear(target *os.Root, keep []string) error {
	kept := make(map[string]bool, len(keep))
	for _, name := range keep {
		kept[name] = true
	}
	names, err := list(target)
	if err != nil {
		return err
	}
	for _, name := range names {
		if kept[name] || receipt.Foreign(name) {
			continue
		}
		if _, err := d.loosen(target, name); err != nil {
			return err
		}
		if err := rename(target, name, d.root, name); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the renames in a directory durable, unless they need not be. Some file systems cannot sync a directory, and
// one that may be written but not read cannot be opened for it.
func (d *Dir) settle(root *os.Root) error {
	if d.attributes.Unsynced {
		return nil
	}
	dir, err := root.Open(".")
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return ignoringUnsyncable(dir.Sync())
}

// ignoringUnsyncable returns err, unless it says that the file system cannot sync such a thing.
func ignoringUnsyncable(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// list returns the names in a directory.
func list(root *os.Root) ([]string, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

func ignoringEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// ignoringEINTR calls f again for as long as a signal interrupts it.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
