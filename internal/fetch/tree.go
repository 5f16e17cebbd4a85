package fetch

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/transfer"
)

// Entry is one of many objects.
type Entry struct {
	Name     string // relative to the prefix
	Size     int64
	Modified time.Time
	Object   Object
}

// window is how many objects may be under way or done before the first of them, whose line in the manifest comes first.
const window = 512

// Tree fetches many objects, those below prefix, into a tree of files below the folder Dest, each of which appears whole.
// None at all is NoInput. Small ones are fetched side by side, large ones one after the other by several connections each;
// the manifest, if one is to be written, has them in the order of entries. A file whose digest is right is left as it is, and so is one of which no digest is known
// if it has the object's size and date.
func (f *Fetching) Tree(ctx context.Context, prefix string, entries iter.Seq2[Entry, error]) error {
	root, err := f.openTree()
	if err != nil {
		return err
	}
	defer root.Close()
	group, ctx := errgroup.WithContext(ctx)
	t := &tree{
		Fetching: f, prefix: prefix, root: root, work: make(chan *leaf), order: make(chan *leaf, window),
		littered: make(map[string]bool), options: f.transferred(),
	}
	t.litter(".") // before the manifest is begun
	group.Go(func() error { return t.list(ctx, entries) })
	for range f.connections {
		group.Go(func() error { return t.fetchAll(ctx) })
	}
	group.Go(func() error { return t.collect(ctx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := syncTree(root); err != nil {
		return fault.Output(fmt.Errorf("sync %s: %w", f.Dest, err))
	}
	f.tellTree(t)
	return nil
}

// openTree opens the folder, and makes it if it is not there.
func (f *Fetching) openTree() (*os.Root, error) {
	dest := filepath.Clean(f.Dest)
	dir := f.Env.Path(dest)
	root, err := os.OpenRoot(dir)
	if missing(err) {
		var parent *os.Root
		if parent, err = os.OpenRoot(filepath.Dir(dir)); err == nil {
			defer parent.Close()
			if err = f.makeFolder(parent, filepath.Base(dir)); err == nil || os.IsExist(err) { // a neighbour was quicker
				root, err = os.OpenRoot(dir)
			}
		}
	}
	if err != nil {
		return nil, fault.Hint(fault.Output(fmt.Errorf("write %s: %w", dest, fault.Cause(err))), "mount a volume there, or make the folder above it in an earlier step (mkdir DIR then …)")
	}
	return root, nil
}

// folderMode is that of new folders, whatever the umask is. What they inherit, such as a volume's set-group-ID, they keep.
const folderMode = 0o755

// makeFolder makes a folder and gives it its mode and owner. All of it goes through the open parent, where nobody who may
// write to the volume can lead it elsewhere.
func (f *Fetching) makeFolder(parent *os.Root, name string) error {
	if err := parent.Mkdir(name, folderMode); err != nil {
		return err
	}
	if f.owner.Given() {
		dir, err := parent.Open(".")
		if err != nil {
			return err
		}
		defer dir.Close()
		uid, gid := f.owner.IDs()
		if err := f.Env.ChownAt(int(dir.Fd()), name, uid, gid); err != nil {
			return err
		}
	}
	info, err := parent.Lstat(name)
	if err != nil || info.Mode().Perm() == folderMode {
		return err
	}
	return parent.Chmod(name, info.Mode()|folderMode)
}

// tree is the fetch of many objects.
type tree struct {
	*Fetching
	prefix string
	root   *os.Root
	work   chan *leaf
	order  chan *leaf
	large  sync.Mutex // held for an object that takes all connections

	looking  sync.Mutex
	littered map[string]bool // folders, by whether a killed run has left something there

	options transfer.Options

	objects, skipped, unproven, bytes, fetched atomic.Int64
}

// leaf is one of the objects.
type leaf struct {
	Entry
	sha256 []byte
	done   chan struct{}
}

// list sends what is to be fetched to those who do it, and to who writes the manifest, which ends only if all was listed.
func (t *tree) list(ctx context.Context, entries iter.Seq2[Entry, error]) error {
	defer close(t.work)
	none := true
	for e, err := range entries {
		if err != nil {
			return err
		}
		if strings.HasSuffix(e.Name, "/") || e.Name == "" {
			continue // what some tools make to stand for a folder
		}
		name, err := intree.Name(e.Name)
		if err == nil && (name == "" || name != e.Name) {
			err = fault.New(fault.Data, "it is no path of a file")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Object, err)
		}
		if !t.filter.Match(name) || t.writeSHA256 && name == manifestName {
			continue // the manifest that is written would take the other's place
		}
		none = false
		l := &leaf{Entry: e, done: make(chan struct{})}
		for _, queue := range []chan *leaf{t.order, t.work} {
			select {
			case queue <- l:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if none {
		return fault.Hint(fault.New(fault.NoInput, "%s: there is no object below it, or none that is chosen", t.prefix),
			"is the prefix right, and do --include and --exclude leave something?")
	}
	close(t.order)
	return nil
}

// fetchAll fetches objects until there are no more.
func (t *tree) fetchAll(ctx context.Context) error {
	for l := range t.work {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := t.fetch(ctx, l); err != nil {
			return err
		}
		close(l.done)
		t.objects.Add(1)
		t.Env.Report(t.bytes.Add(l.Size), 0)
	}
	return nil
}

// fetch fetches one object, unless it is there.
func (t *tree) fetch(ctx context.Context, l *leaf) error {
	var want []byte
	if t.sha256File != "" {
		var err error
		if want, err = t.digestOf(ctx, l.Name); err != nil {
			return err
		}
	}
	attributes := t.attributes()
	attributes.Root, attributes.Modified, attributes.Unsynced, attributes.Unswept = t.root, l.Modified, true, !t.litter(path.Dir(l.Name))
	there, err := t.has(ctx, l, want, attributes)
	if there {
		t.skipped.Add(1)
	}
	if there || err != nil {
		return err
	}
	if err := t.makeFolders(path.Dir(l.Name)); err != nil {
		return err
	}
	result, err := t.transfer(ctx, l, want, attributes)
	if err != nil {
		return err
	}
	l.sha256 = result.SHA256
	t.fetched.Add(result.Size - result.Continued)
	if !result.Proven {
		t.unproven.Add(1)
	}
	return nil
}

// transfer brings one object to its place.
func (t *tree) transfer(ctx context.Context, l *leaf, want []byte, a atomicfile.Attributes) (transfer.Result, error) {
	o := t.options
	o.SHA256, o.Progress = want, nil
	if l.Size > transfer.Small { // it may take long: what is there of it counts
		o.Progress = func(done, _ int64) { t.Env.Report(t.bytes.Load()+done, 0) }
	}
	open := transfer.Open
	if l.Size <= transfer.Small {
		open, o.Whole = transfer.OpenTemporary, true
	} else {
		t.large.Lock()
		defer t.large.Unlock()
	}
	file, err := open(t.Env, l.Name, a)
	if err != nil {
		return transfer.Result{}, err
	}
	defer file.Close()
	result, err := file.Fetch(ctx, l.Object, o)
	if err != nil {
		return result, err
	}
	return result, file.Commit()
}

// has reports whether the file is there and right, and mends its mode and owner then.
func (t *tree) has(ctx context.Context, l *leaf, want []byte, a atomicfile.Attributes) (bool, error) {
	info, err := t.root.Lstat(l.Name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != l.Size {
		return false, nil
	}
	if want == nil && !info.ModTime().Equal(l.Modified) {
		return false, nil
	}
	if want != nil || t.writeSHA256 {
		got, err := t.hash(ctx, l)
		if err != nil || want != nil && string(got) != string(want) {
			return false, err
		}
		l.sha256 = got
	}
	_, err = atomicfile.Mend(t.Env, l.Name, a)
	return err == nil, err
}

// hash returns the SHA-256 of a file that is there.
func (t *tree) hash(ctx context.Context, l *leaf) ([]byte, error) {
	file, err := t.root.Open(l.Name)
	if err != nil {
		return nil, nil // it cannot be read: perhaps it can be replaced
	}
	defer file.Close()
	_, digest, err := hash(ctx, file, l.Size, l.Name)
	return digest, err
}

// litter reports whether a killed run has left something in a folder. It looks once, before this run writes there: to look
// again for each file would take longer than to write it.
func (t *tree) litter(name string) bool {
	t.looking.Lock()
	defer t.looking.Unlock()
	littered, known := t.littered[name]
	if known {
		return littered
	}
	if dir, err := t.root.OpenRoot(name); err == nil {
		littered = sibling.Any(dir)
		_ = dir.Close()
	}
	t.littered[name] = littered
	return littered
}

// makeFolders makes the folders of a file, as far as they are not there.
func (t *tree) makeFolders(name string) error {
	if name == "." {
		return nil
	}
	if info, err := t.root.Lstat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := t.makeFolders(path.Dir(name)); err != nil {
		return err
	}
	parent, err := t.root.OpenRoot(path.Dir(name))
	if err == nil {
		defer parent.Close()
		err = t.makeFolder(parent, path.Base(name))
	}
	if os.IsExist(err) {
		if info, err := t.root.Lstat(name); err == nil && info.IsDir() {
			return nil
		}
	}
	if err != nil {
		return fault.Output(fmt.Errorf("make the folder %s: %w", path.Join(t.Dest, name), fault.Cause(err)))
	}
	return nil
}

// collect waits for the objects in their order, and writes the manifest.
func (t *tree) collect(ctx context.Context) error {
	write := func(*leaf) error { return nil }
	finish := func() error { return nil }
	if t.writeSHA256 {
		m := t.openManifest()
		defer m.close()
		write = func(l *leaf) error { return m.write(manifestLine(l.sha256, l.Name)) }
		finish = m.commit
	}
	for {
		var l *leaf
		select {
		case l = <-t.order:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l == nil {
			return finish()
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := write(l); err != nil {
			return err
		}
	}
}

// tellTree gives the outputs of many objects.
func (f *Fetching) tellTree(t *tree) {
	output := func(key string, n *atomic.Int64) { f.Env.Output(key, strconv.FormatInt(n.Load(), 10)) }
	output("objects", &t.objects)
	output("bytes", &t.bytes)
	output("fetched", &t.fetched)
	if t.objects.Load() == t.skipped.Load() {
		f.Env.Output(step.Skipped, "every object is there")
	} else if n := t.skipped.Load(); n > 0 {
		output("unchanged", &t.skipped)
	}
	if n := t.unproven.Load(); n > 0 {
		f.Env.Log.Warn("not verified: no digests were given, and the server has none", "objects", n)
	}
}
