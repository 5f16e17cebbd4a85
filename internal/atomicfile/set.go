package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

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

// WriteSet makes all files of a set hold their content, or none, and reports how many it changed. Files that hold theirs
// already are not written again; where only the mode or owner differs they are mended in place. No path may occur twice.
//
// Everything that may well fail comes first: all new files are written beside their targets, read back, given owner and
// mode and synced. Then they are renamed in a row. If a rename fails, those before it are undone: a name of its own keeps
// each old file until the end of the row. What no code can undo is a kill between two renames, which leaves each file
// whole, but some new and some old; the next WriteSet of the same content finishes the row. Nor are the modes and owners
// that were mended changed back.
func WriteSet(ctx context.Context, env *step.Env, entries []Entry) (changed int, err error) {
	var row []*File // to be renamed
	var right []*target
	var attributes []Attributes // of those that are right
	defer func() {
		for _, f := range row {
			f.Abort()
		}
		for _, t := range right {
			t.close()
		}
	}()
	for _, e := range entries {
		t, err := open(e.Path, e.Root)
		if err != nil {
			return 0, err
		}
		content := bytes.NewReader(e.Content)
		same, err := t.holds(ctx, content)
		if err != nil {
			t.close()
			return 0, err
		}
		if same {
			right, attributes = append(right, t), append(attributes, e.Attributes)
			continue
		}
		f, err := t.create(env, e.Attributes)
		if err != nil {
			t.close()
			return 0, err
		}
		row = append(row, f)
		if err := fill(ctx, f, content); err != nil {
			return 0, err
		}
		if err := f.finish(); err != nil {
			return 0, err
		}
	}
	if err := publish(row); err != nil {
		return 0, err
	}
	changed = len(row)
	for i, t := range right {
		mended, err := t.mend(env, attributes[i])
		if err != nil {
			return changed, err
		}
		if mended {
			changed++
		}
	}
	return changed, nil
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

// keep gives the old file a second name, of the form that is swept.
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
			all = append(all, fault.New(fault.IO, "undo %s: %w", f.path, cause(err)))
		}
	}
	return errors.Join(all...)
}
