package atomicdir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/sibling"
)

// publish puts the staged tree at its path and keeps its receipt.
func (d *Dir) publish(ctx context.Context, r receipt.Receipt) error {
	if d.inside {
		return d.merge(ctx, r)
	}
	err := d.swap(ctx, r)
	if errors.Is(err, unix.EXDEV) && d.old { // a directory in a lower layer of overlayfs
		return d.merge(ctx, r)
	}
	return err
}

// swap puts the staged tree at its path whole.
func (d *Dir) swap(ctx context.Context, r receipt.Receipt) error {
	staged := d.root.Name()
	var err error
	if r.Fingerprint, err = receipt.Take(ctx, staged, false); err != nil {
		return err
	}
	made, err := receipt.Identify(staged)
	if err != nil {
		return err
	}
	r.Made = []receipt.Identity{made}
	// Until the rename the old tree has to be known as slipway's too. One that is not, and is to be replaced by force, is
	// not claimed: should this run be killed now, the user has to say so again.
	if before, ok := receipt.Read(d.path); ok && before.MadeAt(d.path) {
		if old, err := receipt.Identify(d.path); err == nil {
			r.Made = append(r.Made, old)
		}
	}
	if err := receipt.Keep(ctx, d.env, d.path, r); err != nil {
		return err
	}
	if err := d.rename(); err != nil {
		return err
	}
	return d.settle(d.place)
}

// rename puts the staged tree at its path, in exchange for an earlier one.
func (d *Dir) rename() error {
	if !d.old || d.empty {
		return ignoringEINTR(func() error { return d.place.Rename(d.staged, d.name) })
	}
	err := exchange(d.place, d.staged, d.place, d.name)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	lock := filepath.Base(d.lock.Name())
	if err := d.place.Rename(d.name, lock+oldSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.place.Rename(d.staged, d.name); err != nil {
		return errors.Join(err, d.place.Rename(lock+oldSuffix, d.name))
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
	// From here on the directory is slipway's, and nothing in it is trusted until the receipt says what.
	unproven := r
	if err := receipt.Keep(ctx, d.env, d.path, unproven); err != nil {
		return err
	}
	for _, name := range names {
		if err := d.move(target, name); err != nil {
			return err
		}
	}
	if err := d.clear(target, names); err != nil {
		return err
	}
	if err := d.settle(target); err != nil {
		return err
	}
	return receipt.Write(ctx, d.env, d.path, r)
}

// move puts one entry of the staged tree into its place.
func (d *Dir) move(target *os.Root, name string) error {
	err := exchange(d.root, name, target, name)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		away := sibling.Temporary(name)
		if err := rename(target, name, d.root, away); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return rename(d.root, name, target, name)
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
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
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
