package gitclone

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/address"
	"github.com/slipway-init/slipway/internal/git/config"
	"github.com/slipway-init/slipway/internal/git/dotgit"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
	"github.com/slipway-init/slipway/internal/git/worktree"
	"github.com/slipway-init/slipway/internal/glob"
)

const (
	maxNesting  = 10      // of submodules in submodules
	maxSmall    = 1 << 20 // bytes of .gitmodules and the like
	modulesFile = ".gitmodules"
)

// module is what .gitmodules says of one submodule.
type module struct{ name, url string }

// submodules clones those that the checkout has found.
func (r *repository) submodules(ctx context.Context, c *worktree.Checkout, tree object.ID) error {
	if !r.options.submodules || len(c.Submodules) == 0 {
		return nil
	}
	if r.nesting == maxNesting {
		return fault.New(fault.Data, "submodules are nested deeper than %d", maxNesting)
	}
	text, err := r.topFile(ctx, tree, modulesFile)
	if err != nil {
		return err
	}
	modules, err := parseModules(text)
	if err != nil {
		return err
	}
	for _, sub := range c.Submodules {
		m, ok := modules[sub.Path]
		if !ok {
			return fault.New(fault.Data, "%s does not say where the submodule %q comes from", modulesFile, sub.Path)
		}
		if err := r.submodule(ctx, sub, m); err != nil {
			return fmt.Errorf("submodule %q: %w", sub.Path, err)
		}
	}
	return nil
}

// parseModules reads .gitmodules, by path.
func parseModules(text string) (map[string]module, error) {
	c, err := config.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", modulesFile, err)
	}
	modules := make(map[string]module)
	c.Subsections("submodule", func(name string, get func(string) string) {
		if get("path") != "" && get("url") != "" {
			modules[path.Clean(get("path"))] = module{name: name, url: get("url")}
		}
	})
	return modules, nil
}

// submodule clones one into its place in the tree.
func (r *repository) submodule(ctx context.Context, sub worktree.Submodule, m module) (err error) {
	at, err := r.address.Resolve(m.url)
	if err != nil {
		return fault.As(fault.Data, err)
	}
	if at.Scheme == address.Local && r.address.Scheme != address.Local {
		return fault.New(fault.Permission, "its url is a path on this machine, which a repository from elsewhere must not name")
	}
	remote, err := r.access.connect(ctx, at)
	if err != nil {
		return err
	}
	defer remote.Close()
	tip, err := findRef(ctx, remote, sub.Commit.String())
	if err != nil {
		return err
	}
	root, err := r.root.OpenRoot(sub.Path)
	if err != nil {
		return fault.Output(err)
	}
	defer root.Close()
	options := *r.options
	options.filter, options.paths = glob.Filter{}, nil // all of it
	options.verify = nil                               // what was verified names its commit
	s := &repository{
		options: &options, env: r.env, access: r.access, remote: remote, address: at, root: root, nesting: r.nesting + 1,
	}
	if r.git != nil {
		if err := r.linkGit(s, sub, m); err != nil {
			return err
		}
	}
	if _, err := s.clone(ctx, tip); err != nil {
		return err
	}
	r.files += s.files
	r.bytes += s.bytes
	return nil
}

// linkGit gives a submodule its own files where git keeps them: in the modules of the repository that it is in.
func (r *repository) linkGit(s *repository, sub worktree.Submodule, m module) error {
	if !filepath.IsLocal(m.name) || slices.Contains(strings.Split(m.name, "/"), "..") {
		return fault.New(fault.Data, "its name %q leads out of git's own directory", m.name)
	}
	place := path.Join("modules", m.name)
	if err := r.gitRoot.MkdirAll(place, 0o755); err != nil {
		return fault.Output(err)
	}
	root, err := r.gitRoot.OpenRoot(place)
	if err != nil {
		return fault.Output(err)
	}
	if s.git, err = dotgit.New(root); err != nil {
		return err
	}
	s.open = append(s.open, root)
	s.gitRoot, s.gitPath, s.treePath = root, path.Join(r.gitPath, place), path.Join(r.treePath, sub.Path)
	s.place = between(s.gitPath, s.treePath)
	link := "gitdir: " + between(s.treePath, s.gitPath) + "\n"
	if err := s.root.WriteFile(".git", []byte(link), 0o644); err != nil {
		return fault.Output(err)
	}
	return r.git.AddSubmodule(m.name, s.address.String())
}

// between returns the relative path from one place below the top to another.
func between(from, to string) string {
	return strings.Repeat("../", strings.Count(path.Clean(from), "/")+1) + to
}

// topFile returns the content of a file at the top of a tree; "" when there is none.
func (r *repository) topFile(ctx context.Context, tree object.ID, name string) (string, error) {
	objects := r.packs.NewReader(ctx)
	defer objects.Close()
	o, err := objects.Object(tree)
	if err != nil {
		return "", err
	}
	content, err := o.Bytes(maxObject)
	if err != nil {
		return "", err
	}
	for e, err := range object.Entries(content, r.remote.Format()) {
		if err != nil {
			return "", err
		}
		if e.Name != name || (e.Mode != object.ModeFile && e.Mode != object.ModeExecutable) {
			continue
		}
		o, err := objects.Object(e.ID)
		if errors.Is(err, pack.ErrNotFound) {
			return "", fault.New(fault.Data, "the server did not send %s", name)
		}
		if err != nil {
			return "", err
		}
		text, err := o.Bytes(maxSmall)
		return string(text), err
	}
	return "", nil
}
