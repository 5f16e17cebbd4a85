package gitclone

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
	"github.com/slipway-init/slipway/internal/git/dotgit"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
	"github.com/slipway-init/slipway/internal/git/wire"
	"github.com/slipway-init/slipway/internal/git/worktree"
	"github.com/slipway-init/slipway/internal/step"
)

// maxObject is the size of the largest commit or tag that is read, in bytes.
const maxObject = 4 << 20

// repository is one that is being cloned: the step's own, or that of a submodule.
type repository struct {
	*options
	env     *step.Env
	access  *access
	remote  server
	address address.Address
	root    *os.Root // where its files go

	git      *dotgit.Dir // nil without --keep-git
	gitRoot  *os.Root    // of git
	gitPath  string      // and where that is, below the directory of the step
	treePath string      // where root is there
	place    string      // where root is, seen from git; "" is the directory above it
	nesting  int         // how many repositories this one is in
	packs    *pack.Set
	open     []io.Closer // the files of packs, and git's own directory
	shallow  []object.ID
	files    int
	bytes    int64
}

// clone writes the files of the commit that tip stands for, and returns its id.
func (r *repository) clone(ctx context.Context, tip wire.Ref) (object.ID, error) {
	defer r.close()
	r.packs = pack.NewSet(r.temporary)
	if r.keepGit && r.git == nil {
		if err := r.makeGit(); err != nil {
			return object.ID{}, err
		}
	}
	if err := r.fetch(ctx, tip); err != nil {
		return object.ID{}, err
	}
	commit, tree, err := r.peel(ctx, tip.ID)
	if err != nil {
		return object.ID{}, err
	}
	if err := r.verifySignature(ctx, tip, commit); err != nil {
		return object.ID{}, err
	}
	c := r.checkout()
	if r.partial() {
		if err := r.fetchFiles(ctx, c, tree); err != nil {
			return object.ID{}, err
		}
	}
	if err := r.write(ctx, c, tree); err != nil {
		return object.ID{}, err
	}
	if err := r.writeGit(tip, commit); err != nil {
		return object.ID{}, err
	}
	if err := r.lfsFiles(ctx, c.LFSFiles); err != nil {
		return object.ID{}, err
	}
	if err := r.submodules(ctx, c, tree); err != nil {
		return object.ID{}, err
	}
	for _, ignored := range c.Ignored {
		r.env.Log.Warn("an attribute is not obeyed: the file is as it is in the repository", "attribute", ignored)
	}
	if c.Files == 0 && !r.filter.All() {
		return object.ID{}, fault.New(fault.NoInput, "no file of the commit %s is at a --path", commit)
	}
	r.files += c.Files
	r.bytes += c.Bytes
	return commit, nil
}

// write writes the files, and git's index of them with --keep-git.
func (r *repository) write(ctx context.Context, c *worktree.Checkout, tree object.ID) error {
	if r.git == nil {
		return c.Write(ctx, tree)
	}
	index, err := r.git.CreateIndex(r.remote.Format())
	if err != nil {
		return err
	}
	c.Record = func(f worktree.Recorded) error { return index.Add(f.Path, f.Mode, f.ID, f.Info) }
	if err := c.Write(ctx, tree); err != nil {
		return errors.Join(err, index.Finish())
	}
	return index.Finish()
}

// makeGit makes the .git of the tree.
func (r *repository) makeGit() error {
	if err := r.root.Mkdir(".git", 0o755); err != nil {
		return fault.Output(err)
	}
	root, err := r.root.OpenRoot(".git")
	if err != nil {
		return fault.Output(err)
	}
	r.gitRoot, r.gitPath = root, ".git"
	r.open = append(r.open, root)
	r.git, err = dotgit.New(root)
	return err
}

// writeGit tells git where all came from.
func (r *repository) writeGit(tip wire.Ref, commit object.ID) error {
	if r.git == nil {
		return nil
	}
	ref := tip.Name
	if tip.Target != "" {
		ref = tip.Target
	}
	if ref == "HEAD" {
		ref = ""
	}
	return r.git.Write(dotgit.Clone{
		Format: r.remote.Format(), URL: r.address.String(), Ref: ref, ID: tip.ID, Commit: commit, Shallow: r.shallow, Worktree: r.place,
	})
}

// partial reports whether the files are fetched one by one, because few of them are wanted.
func (r *repository) partial() bool {
	return !r.filter.All() && r.remote.CanFilter() && r.remote.CanWantAny()
}

// fetch receives what tip stands for.
func (r *repository) fetch(ctx context.Context, tip wire.Ref) error {
	request := wire.Request{Wants: []object.ID{tip.ID}, Depth: r.keptDepth()}
	if r.partial() {
		request.Filter = "blob:none"
	}
	if !r.remote.CanShallow() {
		request.Depth = 0
	}
	if tip.Name == "" && !r.remote.CanWantAny() {
		if err := r.wantAll(ctx, &request); err != nil {
			return err
		}
	}
	if err := r.receive(ctx, request); err != nil {
		return err
	}
	if !r.packs.Contains(tip.ID) {
		return fault.New(fault.NoInput, "the repository has no commit %s", tip.ID)
	}
	return nil
}

// wantAll makes a request for a commit that no ref names one for everything: a server of the old protocol gives no other
// way to it.
func (r *repository) wantAll(ctx context.Context, request *wire.Request) error {
	refs, err := r.remote.Refs(ctx, []string{heads, tags})
	if err != nil {
		return err
	}
	var all []object.ID
	for _, ref := range refs {
		if ref.ID == request.Wants[0] {
			return nil // a ref names it after all
		}
		all = append(all, ref.ID)
	}
	if len(all) == 0 {
		return fault.New(fault.NoInput, "the repository is empty")
	}
	request.Wants, request.Depth, request.Filter = all, 0, ""
	return nil
}

// receive receives a pack and adds it to the others.
func (r *repository) receive(ctx context.Context, request wire.Request) error {
	fetched, err := r.remote.Fetch(ctx, request)
	if err != nil {
		return err
	}
	create := r.temporary
	if r.git != nil {
		create = r.git.CreatePack
	}
	file, err := create()
	if err != nil {
		return err
	}
	r.open = append(r.open, file)
	received, err := pack.Receive(ctx, fetched.Pack, file, pack.Options{
		Format: r.remote.Format(), Checksum: r.git != nil, Temporary: r.temporary, Progress: r.env.Report,
	})
	if err != nil {
		return err
	}
	if r.git != nil {
		if err := r.git.Keep(received); err != nil {
			return err
		}
	}
	r.packs.Add(&received.Pack)
	r.shallow = append(r.shallow, fetched.Shallow...)
	return nil
}

// fetchFiles receives the files that are wanted of a tree that came without any.
func (r *repository) fetchFiles(ctx context.Context, c *worktree.Checkout, tree object.ID) error {
	wanted := make(map[object.ID]bool)
	if err := c.Wanted(ctx, tree, func(id object.ID) { wanted[id] = true }); err != nil {
		return err
	}
	request := wire.Request{}
	for id := range wanted {
		if !r.packs.Contains(id) {
			request.Wants = append(request.Wants, id)
		}
	}
	if len(request.Wants) == 0 {
		return nil
	}
	return r.receive(ctx, request)
}

// checkout returns how the files are written.
func (r *repository) checkout() *worktree.Checkout {
	c := &worktree.Checkout{
		Root: r.root, Format: r.remote.Format(),
		Open:  func(ctx context.Context) worktree.Objects { return r.packs.NewReader(ctx) },
		Place: r.packs.Offset,
		LFS:   r.lfs,
	}
	if !r.filter.All() {
		c.Match = r.filter.Match
	}
	return c
}

// peel returns the commit that an object stands for, and its tree.
func (r *repository) peel(ctx context.Context, id object.ID) (commit, tree object.ID, err error) {
	objects := r.packs.NewReader(ctx)
	defer objects.Close()
	const maxTags = 32 // of tags
	for range maxTags {
		o, err := objects.Object(id)
		if errors.Is(err, pack.ErrNotFound) {
			return object.ID{}, object.ID{}, fault.New(fault.Data, "the server did not send %s", id)
		}
		if err != nil {
			return object.ID{}, object.ID{}, err
		}
		content, err := o.Bytes(maxObject)
		if err != nil {
			return object.ID{}, object.ID{}, err
		}
		switch o.Type {
		case object.Commit:
			c, err := object.ParseCommit(content)
			return id, c.Tree, err
		case object.Tag:
			t, err := object.ParseTag(content)
			if err != nil {
				return object.ID{}, object.ID{}, err
			}
			id = t.Object
		default:
			return object.ID{}, object.ID{}, fault.New(fault.Data, "%s is a %s, not a commit", id, o.Type)
		}
	}
	return object.ID{}, object.ID{}, fault.New(fault.Data, "the tag %s is one of a tag, and so on", id)
}

// close closes what clone has opened. All of it was written to the end, or is of no use any more.
func (r *repository) close() {
	for _, c := range r.open {
		_ = c.Close()
	}
}

// temporary makes a file without a name, on the volume that the tree goes to.
func (r *repository) temporary() (*os.File, error) {
	name := ".git-" + rand.Text()
	f, err := r.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fault.Output(err)
	}
	if err := r.root.Remove(name); err != nil {
		return nil, errors.Join(fault.Output(err), f.Close())
	}
	return f, nil
}
