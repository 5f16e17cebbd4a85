// Package intree decides which names and symbolic links of a tree that a stranger made, in an archive or in a git
// repository, may be made below a directory.
//
// os.Root keeps every write below the directory whatever this package says. What is decided here is what is refused, with
// words that name the entry, and which links may be left behind for those who come later and follow them without
// os.Root.
package intree

import (
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

const (
	// MaxName is the length of the longest name of one file or directory, in bytes: NAME_MAX of Linux.
	MaxName = 255
	// MaxPath is the length of the longest path, in bytes: PATH_MAX of Linux, with its zero byte, less some room for the
	// directory above it. Longer ones can be made step by step, and then no program can name them.
	MaxPath = 4096 - 256
)

// Name returns a path as the tree's own: relative and without "." or empty elements. "" is the tree's root. What leads out of
// the tree, or to elsewhere for some reader, is a Data fault, which says why and not of what.
func Name(name string) (clean string, err error) {
	switch {
	case strings.ContainsRune(name, 0):
		return "", fault.New(fault.Data, "its name has a zero byte")
	case strings.HasPrefix(name, "/"):
		return "", fault.New(fault.Data, "its name is an absolute path")
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "..":
			return "", fault.New(fault.Data, "its name leads upwards")
		case len(element) > MaxName:
			return "", fault.New(fault.Data, "an element of its name is longer than %d bytes", MaxName)
		}
	}
	clean = path.Clean(name)
	if len(clean) > MaxPath {
		return "", fault.New(fault.Data, "its name is longer than %d bytes", MaxPath)
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// Link returns a Data fault, which says why and not of what, unless a symbolic link of that name, as Name returned it, stays
// in the tree with that target, whatever other links are in the tree now or later.
//
// For that, ".." may stand only at the beginning of the target, and not more often than the link is deep: then they lead from
// a real directory to a real one. What follows names entries of that one, and each of them that is a link is itself bound by
// this rule. Were ".." allowed after a name, that name could be a link into the depth of the tree, and ".." after it would
// count from there: to tell would take the whole tree, and hold only until it changes.
//
// The rule needs names to be made through real directories alone, never through a link.
func Link(name, target string) error {
	switch {
	case target == "":
		return fault.New(fault.Data, "its target is empty")
	case strings.ContainsRune(target, 0):
		return fault.New(fault.Data, "its target has a zero byte")
	case len(target) > MaxPath:
		return fault.New(fault.Data, "its target is longer than %d bytes", MaxPath)
	case strings.HasPrefix(target, "/"):
		return fault.New(fault.Data, "its target %.200q is an absolute path, out of the tree", target)
	}
	depth := strings.Count(name, "/")
	down := false
	for element := range strings.SplitSeq(target, "/") {
		switch element {
		case "", ".":
		case "..":
			if down {
				return fault.New(fault.Data, `its target %.200q has ".." after a name, which may lead out of the tree`, target)
			}
			if depth--; depth < 0 {
				return fault.New(fault.Data, "its target %.200q is out of the tree", target)
			}
		default:
			down = true
		}
	}
	return nil
}
