package gitclone

import (
	"context"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/wire"
)

// server is what the step needs of the other side: a wire.Client, or a repository on this machine.
type server interface {
	Format() object.Format
	Refs(ctx context.Context, prefixes []string) ([]wire.Ref, error)
	Fetch(ctx context.Context, r wire.Request) (*wire.Fetched, error)
	CanFilter() bool
	CanShallow() bool
	CanWantAny() bool
	Close() error
}

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// findRef returns the ref that a name stands for: as in git clone --branch a branch before a tag, or any ref in full. A
// full commit id is a ref without a name. No name is HEAD.
func findRef(ctx context.Context, s server, name string) (wire.Ref, error) {
	if id, ok := object.ParseID(name); ok {
		if id.Format() != s.Format() {
			return wire.Ref{}, fault.New(fault.NoInput, "%s is no id of this repository, whose object format is %s", name, s.Format())
		}
		return wire.Ref{ID: id}, nil
	}
	names := []string{heads + name, tags + name}
	switch {
	case name == "" || name == "HEAD":
		names = []string{"HEAD"}
	case strings.HasPrefix(name, "refs/"):
		names = []string{name}
	}
	refs, err := s.Refs(ctx, names)
	if err != nil {
		return wire.Ref{}, err
	}
	for _, name := range names {
		for _, ref := range refs {
			if ref.Name == name {
				if !strings.HasPrefix(ref.Target, "refs/") || !validRef(ref.Target) { // it will be a file's name; a server may say anything
					ref.Target = ""
				}
				return ref, nil
			}
		}
	}
	if names[0] == "HEAD" {
		return wire.Ref{}, fault.Hint(fault.New(fault.NoInput, "the repository is empty, or its HEAD is a branch that does not exist"),
			"name a branch with --ref")
	}
	return wire.Ref{}, fault.Hint(fault.New(fault.NoInput, "the repository has no branch or tag %q", name),
		"a commit is named by its full id; other refs are by their full name, such as refs/pull/1/head")
}

// validRef reports whether name can be a ref's, by the rules of git-check-ref-format(1) that matter here.
func validRef(name string) bool {
	for _, r := range name {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\"`, r) {
			return false
		}
	}
	return !strings.Contains(name, "..") && !strings.Contains(name, "//") && !strings.HasPrefix(name, "-") &&
		!strings.HasSuffix(name, "/") && !strings.HasSuffix(name, ".lock")
}
