// Package worktree writes a commit's files: the part of git that is called checkout.
//
// worktree.go goes through the tree and writes what it finds, in portions; names.go refuses names that no file may have;
// attributes.go reads .gitattributes, and convert.go does what they ask for.
//
// Everything is written through an os.Root, below which nothing existed: whatever the tree says, nothing outside is
// touched. What is refused besides is refused because others will go through the tree later who do not use os.Root.
package worktree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
	"github.com/slipway-init/slipway/internal/intree"
)

const (
	maxTrees    = 32 << 20 // bytes of the objects of a directory and of those above it: half a million names
	maxDepth    = 512      // directories in directories
	maxLink     = 4095     // bytes of a symbolic link's target
	portion     = 4096     // files that are written together, in the order in which they lie in the pack
	workers     = 2
	maxSubs     = 1000 // submodules
	modulesFile = ".gitmodules"
)

// Objects reads objects, one after the other.
type Objects interface {
	Object(id object.ID) (*pack.Object, error)
	Close()
}

// Checkout says what is written, and keeps what was found on the way.
type Checkout struct {
	Root   *os.Root
	Format object.Format
	// Open returns a new reader of the objects, which stops when ctx ends. Each goroutine has its own.
	Open func(ctx context.Context) Objects
	// Place tells where an object lies, for the order in which to read many; nil is no matter.
	Place func(object.ID) int64
	// Match says which files are wanted, by their paths; nil is all.
	Match func(path string) bool
	// LFS keeps files that are pointers of git LFS aside: their content is what LFS finds. See LFSFiles.
	LFS bool
	// Record is told of each file that was written, in the order of git's index; nil is nobody.
	Record func(Recorded) error
	// Progress is told how many files are written.
	Progress func(done int64)

	Files      int         // how many were written, links included
	Bytes      int64       // in them
	Submodules []Submodule // that were found
	LFSFiles   []LFSFile   // that were found, with LFS
	Ignored    []string    // attributes that ask for what is not done, with a path each

	done atomic.Int64
}

// Recorded is a file as git's index has it.
type Recorded struct {
	Path string
	Mode object.Mode
	ID   object.ID
	Info fs.FileInfo // nil for a submodule
}

// Submodule is a place where another repository's commit belongs.
type Submodule struct {
	Path   string
	Commit object.ID
}

// LFSFile is a file whose content is kept elsewhere.
type LFSFile struct {
	Path    string
	Mode    object.Mode
	Pointer []byte
}

// file is one that is to be written.
type file struct {
	path  string
	mode  object.Mode
	id    object.ID
	place int64
	rules rules
	info  fs.FileInfo // once it is written
}

// Write writes the files of a tree.
func (c *Checkout) Write(ctx context.Context, tree object.ID) error {
	w := &walk{Checkout: c, ctx: ctx, objects: c.Open(ctx)}
	defer w.objects.Close()
	if err := w.tree(tree, &directory{made: true}, nil); err != nil {
		return err
	}
	return w.flush()
}

// Wanted calls yield with the id of every file that Write would write, so that they can be fetched. It needs the trees
// alone, and the files called .gitattributes and .gitmodules are among what it tells.
func (c *Checkout) Wanted(ctx context.Context, tree object.ID, yield func(object.ID)) error {
	w := &walk{Checkout: c, ctx: ctx, objects: c.Open(ctx), wanted: yield}
	defer w.objects.Close()
	return w.tree(tree, &directory{made: true}, nil)
}

// walk is one way through a tree.
type walk struct {
	*Checkout
	ctx     context.Context
	objects Objects
	files   []file
	wanted  func(object.ID) // instead of writing
}

// directory is one on the way from the top of the tree to where the walk is.
type directory struct {
	name  string // its path in the tree; "" is the top
	above *directory
	depth int
	made  bool
	held  int64 // bytes of the trees from the top down to this one, which are all in memory
}

// make makes a directory where nothing was, and those above it. Were it enough that there is one, it might be one that a
// link of the same name leads to, which the tree had before: into git's own, or to where links may not lead.
func (w *walk) make(d *directory) error {
	if d.made || w.wanted != nil {
		return nil
	}
	if err := w.make(d.above); err != nil {
		return err
	}
	d.made = true
	return w.failed(d.name, w.Root.Mkdir(d.name, 0o755))
}

// tree goes through one directory and those below it.
func (w *walk) tree(id object.ID, dir *directory, above *attributes) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if dir.depth > maxDepth {
		return fault.New(fault.Data, "%q: directories are nested deeper than %d", dir.name, maxDepth)
	}
	content, err := w.bytes(id, object.Tree, maxTrees-dir.held)
	if err != nil {
		return fmt.Errorf("read the directory %q: %w", "/"+dir.name, err)
	}
	attributes, err := w.attributes(content, dir.name, above)
	if err != nil {
		return fmt.Errorf("read the attributes of %q: %w", "/"+dir.name, err)
	}
	previous := ""
	for e, err := range object.Entries(content, w.Format) {
		if err != nil {
			return fmt.Errorf("read the directory %q: %w", "/"+dir.name, err)
		}
		name := path.Join(dir.name, e.Name)
		if err := checkName(e, name); err != nil {
			return fault.New(fault.Data, "%q: %w", name, err)
		}
		if e.Name == previous {
			return fault.New(fault.Data, "%q: the tree has it twice", name)
		}
		previous = e.Name
		if e.Mode == object.ModeDir {
			below := &directory{name: name, above: dir, depth: dir.depth + 1, held: dir.held + int64(len(content))}
			if err := w.tree(e.ID, below, attributes); err != nil {
				return err
			}
			continue
		}
		if w.Match != nil && !w.Match(name) && (w.wanted == nil || (e.Name != attributesFile && name != modulesFile)) {
			continue
		}
		if err := w.make(dir); err != nil {
			return err
		}
		if err := w.entry(e, name, attributes); err != nil {
			return err
		}
	}
	return nil
}

// entry takes what is no directory.
func (w *walk) entry(e object.Entry, name string, a *attributes) error {
	if w.wanted != nil {
		if e.Mode != object.ModeSubmodule {
			w.wanted(e.ID)
		}
		return nil
	}
	f := file{path: name, mode: e.Mode, id: e.ID}
	switch e.Mode {
	case object.ModeSubmodule:
		if len(w.Submodules) == maxSubs {
			return fault.New(fault.Data, "the tree has over %d submodules", maxSubs)
		}
		w.Submodules = append(w.Submodules, Submodule{Path: name, Commit: e.ID})
	case object.ModeFile, object.ModeExecutable:
		f.rules = a.of(name)
		if f.rules.encoding != "" && len(w.Ignored) < 10 {
			w.Ignored = append(w.Ignored, name+": working-tree-encoding="+f.rules.encoding)
		}
	}
	if w.Place != nil {
		f.place = w.Place(e.ID)
	}
	w.files = append(w.files, f)
	if len(w.files) < portion {
		return nil
	}
	return w.flush()
}

// flush writes the files that were gathered.
func (w *walk) flush() error {
	order := make([]*file, len(w.files))
	for i := range w.files {
		order[i] = &w.files[i]
	}
	slices.SortStableFunc(order, func(a, b *file) int { return cmp.Compare(a.place, b.place) })
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	lfs := make([][]LFSFile, workers)
	sizes := make([]int64, workers)
	for i := range workers {
		all.Go(func() {
			h := &hand{Checkout: w.Checkout, objects: w.Open(ctx)}
			defer h.close()
			// Neighbours in the pack may be made of each other, so each hand takes a run of them.
			const run = 64
			for from := int(next.Add(run)) - run; from < len(order) && ctx.Err() == nil; from = int(next.Add(run)) - run {
				for _, f := range order[from:min(from+run, len(order))] {
					if err := h.write(f); err != nil {
						cancel(err)
						return
					}
				}
				w.progress(min(run, len(order)-from))
			}
			lfs[i], sizes[i] = h.lfs, h.bytes
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range workers {
		w.LFSFiles = append(w.LFSFiles, lfs[i]...)
		w.Bytes += sizes[i]
	}
	for _, f := range w.files {
		if f.mode != object.ModeSubmodule {
			w.Files++
		}
		if w.Record != nil {
			if err := w.Record(Recorded{Path: f.path, Mode: f.mode, ID: f.id, Info: f.info}); err != nil {
				return err
			}
		}
	}
	w.files = w.files[:0]
	return nil
}

func (c *Checkout) progress(n int) {
	done := c.done.Add(int64(n))
	if c.Progress != nil {
		c.Progress(done)
	}
}

// bytes returns the content of an object that must be of the given type.
func (w *walk) bytes(id object.ID, t object.Type, limit int64) ([]byte, error) {
	o, err := read(w.objects, id, t)
	if err != nil {
		return nil, err
	}
	content, err := o.Bytes(limit)
	return content, err
}

// read returns an object that must be of the given type.
func read(objects Objects, id object.ID, t object.Type) (*pack.Object, error) {
	o, err := objects.Object(id)
	if errors.Is(err, pack.ErrNotFound) {
		return nil, fault.New(fault.Data, "the server did not send the %s %s", t, id)
	}
	if err != nil {
		return nil, err
	}
	if o.Type != t {
		return nil, fault.New(fault.Data, "%s should be a %s, and is a %s", id, t, o.Type)
	}
	return o, nil
}

// hand writes files, one after the other.
type hand struct {
	*Checkout
	objects Objects
	lfs     []LFSFile
	bytes   int64

	dir    string   // the directory of the last file, and opened: files of one directory follow each other
	opened *os.Root // nil before the first file
}

// open returns the directory of a path in the tree, and the name in it.
func (h *hand) open(name string) (*os.Root, string, error) {
	dir, base := path.Split(name)
	if dir == "" {
		return h.Root, base, nil
	}
	if h.opened != nil && h.dir == dir {
		return h.opened, base, nil
	}
	opened, err := h.Root.OpenRoot(path.Clean(dir))
	if err != nil {
		return nil, "", err
	}
	if h.opened != nil {
		_ = h.opened.Close()
	}
	h.dir, h.opened = dir, opened
	return opened, base, nil
}

// close lets go of what the hand holds.
func (h *hand) close() {
	h.objects.Close()
	if h.opened != nil {
		_ = h.opened.Close()
	}
}

// write writes one file.
func (h *hand) write(f *file) error {
	switch f.mode {
	case object.ModeSubmodule:
		return h.failed(f.path, h.Root.Mkdir(f.path, 0o755))
	case object.ModeSymlink:
		return h.link(f)
	}
	o, err := read(h.objects, f.id, object.Blob)
	if err != nil {
		return fmt.Errorf("read %q: %w", f.path, err)
	}
	if h.LFS && f.rules.lfs && o.Size <= maxPointer {
		pointer, err := o.Bytes(maxPointer)
		if err != nil {
			return err
		}
		if IsPointer(pointer) {
			h.lfs = append(h.lfs, LFSFile{Path: f.path, Mode: f.mode, Pointer: slices.Clone(pointer)})
		}
	}
	dir, name, err := h.open(f.path)
	if err != nil {
		return h.failed(f.path, err)
	}
	out, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Permission(f.mode))
	if err != nil {
		return h.failed(f.path, err)
	}
	defer out.Close()
	if err := h.fill(out, o, f); err != nil {
		return h.failed(f.path, err)
	}
	if h.Record != nil {
		if f.info, err = out.Stat(); err != nil {
			return h.failed(f.path, err)
		}
	}
	h.bytes += o.Size
	return h.failed(f.path, out.Close())
}

// fill writes an object's content to a file, converted as the file's attributes say.
func (h *hand) fill(out io.Writer, o *pack.Object, f *file) error {
	if !f.rules.converts() {
		_, err := o.WriteTo(out)
		return err
	}
	content, err := o.Bytes(maxConverted)
	if err != nil {
		return fault.Hint(fault.As(fault.Unsupported, err), "its attributes ask for a conversion, which is done in memory")
	}
	_, err = out.Write(convert(content, f.rules, f.id))
	return err
}

// link makes a symbolic link, if it leads nowhere outside of the tree.
func (h *hand) link(f *file) error {
	o, err := read(h.objects, f.id, object.Blob)
	if err != nil {
		return fmt.Errorf("read %q: %w", f.path, err)
	}
	target, err := o.Bytes(maxLink)
	if err != nil {
		return fmt.Errorf("read %q: %w", f.path, err)
	}
	if err := intree.Link(f.path, string(target)); err != nil {
		return fault.Hint(fault.New(fault.Data, "%q: %w", f.path, err),
			"a symbolic link must stay in the tree; name the paths that you need with --path, without this one")
	}
	if err := h.Root.Symlink(string(target), f.path); err != nil {
		return h.failed(f.path, err)
	}
	if h.Record != nil {
		f.info, err = h.Root.Lstat(f.path)
	}
	h.bytes += o.Size
	return h.failed(f.path, err)
}

// Permission returns the mode of a new file; the umask takes from it, as it does from git's.
func Permission(m object.Mode) fs.FileMode {
	if m == object.ModeExecutable {
		return 0o755
	}
	return 0o644
}

// failed says of which path in the tree err is; nil stays nil.
func (c *Checkout) failed(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Errorf("write %q: %w", name, err)
	}
	cause := err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		cause = e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		cause = e.Err
	}
	if errors.Is(err, fs.ErrExist) {
		return fault.Hint(fault.New(fault.CantCreate, "write %q: %w", name, cause),
			"the tree has the name twice, or two names that are one for this file system, which tells capital letters or forms of Unicode not apart")
	}
	return fault.Output(fmt.Errorf("write %q: %w", name, cause))
}
