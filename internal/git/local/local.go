// Package local serves a repository on this machine: a path or a file:// URL, with no git in the image. It tells refs and
// makes packs as a server would, so that whoever clones needs one way for all.
//
// local.go opens a repository and reads its refs; objects.go reads its objects, and fetch.go makes packs of them. The
// layout is gitrepository-layout(5).
package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/config"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
	"github.com/slipway-init/slipway/internal/git/wire"
)

const (
	maxConfig = 1 << 20 // bytes of a configuration file
	maxRef    = 4 << 10 // bytes of the file of one ref
	maxLinks  = 5       // symbolic refs to symbolic refs
)

// Repository is an open repository.
type Repository struct {
	dir       string // with HEAD in it
	common    string // with refs and objects: another one in a linked worktree
	format    object.Format
	packs     *pack.Set
	loose     []string // folders of objects
	files     []*os.File
	temporary func() (*os.File, error)
}

// Open opens the repository at path, bare or not. Temporary makes files for objects that do not fit in memory. The caller
// must Close the repository.
func Open(path string, temporary func() (*os.File, error)) (*Repository, error) {
	dir, err := find(path)
	if err != nil {
		return nil, err
	}
	r := &Repository{dir: dir, common: dir, packs: pack.NewSet(temporary), temporary: temporary}
	if text, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		r.common = resolve(dir, string(text))
	}
	if err := r.configure(); err != nil {
		return nil, err
	}
	if err := r.openObjects(filepath.Join(r.common, "objects")); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// find returns the directory with the repository's own files: path, or the .git in it, which may be a file that names
// another place.
func find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fault.New(fault.NoInput, "%s is no directory", path)
	}
	dot := filepath.Join(path, ".git")
	for _, dir := range []string{path, dot} {
		if isRepository(dir) {
			return dir, nil
		}
	}
	if text, err := readSmall(dot, maxRef); err == nil {
		if place, ok := strings.CutPrefix(strings.TrimSpace(text), "gitdir: "); ok {
			if dir := resolve(path, place); isRepository(dir) {
				return dir, nil
			}
		}
	}
	return "", fault.New(fault.NoInput, "%s is no git repository", path)
}

func isRepository(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	for _, name := range []string{"objects", "commondir"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// resolve returns a path that stands in a file of dir.
func resolve(dir, text string) string {
	text = strings.TrimSpace(text)
	if filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(dir, text)
}

// configure reads the repository's format.
func (r *Repository) configure() error {
	text, err := readSmall(filepath.Join(r.common, "config"), maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := config.Parse(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(r.common, "config"), err)
	}
	if storage := c.Get("extensions", "refstorage"); storage != "" && storage != "files" {
		return fault.New(fault.Unsupported, "%s keeps its refs as %s, which is not known", r.common, storage)
	}
	r.format, err = object.ParseFormat(c.Get("extensions", "objectformat"))
	return err
}

// Close closes the repository's files.
func (r *Repository) Close() error {
	var all []error
	for _, f := range r.files {
		all = append(all, f.Close())
	}
	r.files = nil
	return errors.Join(all...)
}

// Format returns the repository's object format.
func (r *Repository) Format() object.Format { return r.format }

// CanFilter reports true: see Fetch.
func (r *Repository) CanFilter() bool { return true }

// CanShallow reports true: see Fetch.
func (r *Repository) CanShallow() bool { return true }

// CanWantAny reports true: see Fetch.
func (r *Repository) CanWantAny() bool { return true }

// Refs returns the refs whose names begin with one of the prefixes.
func (r *Repository) Refs(ctx context.Context, prefixes []string) ([]wire.Ref, error) {
	packed, err := r.packedRefs()
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for name := range packed {
		names[name] = true
	}
	for _, dir := range []string{r.common, r.dir} {
		err := filepath.WalkDir(filepath.Join(dir, "refs"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return ignoringMissing(err)
			}
			name, err := filepath.Rel(dir, path)
			names[filepath.ToSlash(name)] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	names["HEAD"] = true
	var refs []wire.Ref
	objects := r.NewReader(ctx)
	defer objects.Close()
	for name := range names {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		ref, ok, err := r.ref(name, packed)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if ref.Peeled, err = peel(objects, ref.ID); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b wire.Ref) int { return strings.Compare(a.Name, b.Name) })
	return refs, nil
}

// packedRefs reads the refs that are in one file.
func (r *Repository) packedRefs() (map[string]object.ID, error) {
	refs := make(map[string]object.ID)
	f, err := os.Open(filepath.Join(r.common, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return refs, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, name, ok := strings.Cut(lines.Text(), " ")
		if id, known := object.ParseID(text); ok && known {
			refs[name] = id
		}
	}
	return refs, lines.Err()
}

// ref returns what a name stands for; false is nothing.
func (r *Repository) ref(name string, packed map[string]object.ID) (wire.Ref, bool, error) {
	ref := wire.Ref{Name: name}
	at := name
	for range maxLinks {
		text, err := r.readRef(at)
		if errors.Is(err, fs.ErrNotExist) {
			ref.ID = packed[at]
			return ref, !ref.ID.IsZero(), nil
		}
		if err != nil {
			return ref, false, err
		}
		if target, ok := strings.CutPrefix(text, "ref: "); ok {
			at = strings.TrimSpace(target)
			if ref.Target == "" {
				ref.Target = at
			}
			continue
		}
		id, ok := object.ParseID(strings.TrimSpace(text))
		ref.ID = id
		return ref, ok, nil
	}
	return ref, false, nil
}

// readRef reads the file of a ref, whose name must not lead elsewhere.
func (r *Repository) readRef(name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || (name != "HEAD" && !strings.HasPrefix(name, "refs/")) {
		return "", fs.ErrNotExist
	}
	text, err := readSmall(filepath.Join(r.dir, name), maxRef)
	if errors.Is(err, fs.ErrNotExist) && r.dir != r.common {
		text, err = readSmall(filepath.Join(r.common, name), maxRef)
	}
	if info, statErr := os.Stat(filepath.Join(r.common, name)); statErr == nil && info.IsDir() {
		return "", fs.ErrNotExist
	}
	return text, err
}

// readSmall returns the content of a file of at most limit bytes.
func readSmall(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		return "", fault.New(fault.Data, "read %s: it is over %d bytes", path, limit)
	}
	return string(bytes.TrimRight(text, "\n")), err
}

func ignoringMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
