package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
)

// Entry is one file of a set.
type Entry struct {
	Path    string // used as it is, as Write's
	Content []byte
	Attributes
}

// sideBySide is how many files of a set are prepared at a time: a disk syncs several in the time of one. In memory more
// threads than CPUs only get in each other's way.
const sideBySide = 4

// WriteSet makes all files of a set hold their content, or none, and reports how many it changed. Files that hold theirs
// already are not written again; where only the mode or owner differs they are mended in place. No path may occur twice.
//
// Everything that may well fail comes first: all new files are written beside their targets, several at a time, read
// back, given owner and mode and synced. Then they are renamed in a row. If a rename fails, those before it are undone: a
// name of its own keeps each old file until the end of the row. What no code can undo is a kill between two renames, which
// leaves each file whole, but some new and some old; the next WriteSet of the same content finishes the row. Nor are the
// modes and owners that were mended changed back.
func WriteSet(ctx context.Context, env *step.Env, entries []Entry) (changed int, err error) {
	var folders folders
	defer folders.close()
	targets, err := folders.open(entries)
	if err != nil {
		return 0, err
	}
	files, err := prepareAll(ctx, env, targets, entries)
	row := slices.DeleteFunc(slices.Clone(files), func(f *File) bool { return f == nil })
	defer func() {
		for _, f := range row {
			f.Abort()
		}
	}()
	if err != nil {
		return 0, err
	}
	if err := publish(row); err != nil {
		return 0, err
	}
	changed = len(row)
	for i, t := range targets {
		if files[i] != nil {
			continue
		}
		mended, err := t.mend(env, entries[i].Attributes)
		if err != nil {
			return changed, err
		}
		if mended {
			changed++
		}
	}
	return changed, nil
}

// folders are the directories of a set: each is opened once, and swept once.
type folders map[string]*os.Root

// open returns the targets of entries, in their order.
func (f *folders) open(entries []Entry) ([]*target, error) {
	*f = make(folders)
	var targets []*target
	names := make(map[*os.Root][]string)
	for _, e := range entries {
		path := filepath.Clean(e.Path)
		folder := filepath.Dir(path)
		t := &target{path: path, name: filepath.Base(path), dir: (*f)[folder], borrowed: true}
		if t.dir == nil {
			opened, err := open(path, nil)
			if err != nil {
				return nil, err
			}
			t.dir, (*f)[folder] = opened.dir, opened.dir
		} else if err := t.check(os.Lstat(path)); err != nil {
			return nil, err
		}
		targets = append(targets, t)
		names[t.dir] = append(names[t.dir], t.name)
	}
	for dir, of := range names {
		sibling.Sweep(dir, of...)
	}
	return targets, nil
}

func (f *folders) close() {
	for _, dir := range *f {
		_ = dir.Close()
	}
}

// prepareAll writes the new files of all targets beside them, up to the rename; nil stands for a target that holds its
// content already. With an error, the first in the set's order, some of the files may be there: they are the caller's to
// abort.
func prepareAll(ctx context.Context, env *step.Env, targets []*target, entries []Entry) ([]*File, error) {
	files, faults := make([]*File, len(targets)), make([]error, len(targets))
	var next atomic.Int64
	var failed atomic.Bool
	var all sync.WaitGroup
	for range min(sideBySide, len(targets)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(targets) && !failed.Load(); i = int(next.Add(1)) - 1 {
				if files[i], faults[i] = targets[i].prepare(ctx, env, entries[i]); faults[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// prepare writes the new file beside the target, up to the rename; nil if the target holds the content already.
func (t *target) prepare(ctx context.Context, env *step.Env, e Entry) (*File, error) {
	content := bytes.NewReader(e.Content)
	if same, err := t.holds(ctx, content); same || err != nil {
		return nil, err
	}
	f, err := t.create(env, e.Attributes)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, f, content); err != nil {
		return f, err
	}
	return f, f.finish()
}

// publish renames all files of a row to their targets, or none.
func publish(row []*File) error {
	var olds []old
	defer func() {
		for i, o := range olds {
			if o.name != "" {
				_ = row[i].dir.Remove(o.name) // the next write of the same path removes it otherwise
			}
		}
	}()
	for i, f := range row {
		olds = append(olds, f.keep())
		if err := f.rename(); err != nil {
			return errors.Join(err, undo(row[:i], olds))
		}
	}
	settled := make(map[string]bool) // each directory once
	for _, f := range row {
		if dir := f.dir.Name(); !settled[dir] && !f.attributes.Unsynced {
			if err := f.settle(); err != nil {
				return err
			}
			settled[dir] = true
		}
	}
	return nil
}

// old is the file that was at a target before.
type old struct {
	there bool
	name  string // a second name of it; "" where the file system or the kernel gives none
}

// keep gives the old file a second name, of the form that sweep knows.
func (t *target) keep() old {
	if _, err := t.dir.Lstat(t.name); errors.Is(err, fs.ErrNotExist) {
		return old{}
	}
	name := sibling.Temporary(t.name)
	if err := t.dir.Link(t.name, name); err != nil {
		return old{there: true}
	}
	return old{there: true, name: name}
}

// undo puts the old files of a row back, the last first.
func undo(row []*File, olds []old) error {
	var all []error
	for i := len(row) - 1; i >= 0; i-- {
		f := row[i]
		var err error
		switch {
		case olds[i].name != "":
			err = f.dir.Rename(olds[i].name, f.name)
			olds[i].name = ""
		case olds[i].there:
			err = errors.New("the file system could not keep the old file")
		default:
			err = f.dir.Remove(f.name)
		}
		if err != nil {
			all = append(all, fault.New(fault.IO, "undo %s: %w", f.path, fault.Cause(err)))
		}
	}
	return errors.Join(all...)
}
