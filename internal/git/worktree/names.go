package worktree

import (
	"errors"
	"strings"
	"unicode"

	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/intree"
)

var (
	errReserved = errors.New("no file in a tree may be named so: it is, or some file systems take it for, git's own .git")
	errDots     = errors.New("no file in a tree may be named so")
	errModules  = errors.New("a link of this name is refused: git's own .gitmodules must be a file")
)

// checkName refuses what no file may be called, as git's verify_path does with core.protectHFS and core.protectNTFS: a
// volume may be mounted on another system later, and what git would then run is in .git.
func checkName(e object.Entry, path string) error {
	if e.Name == "." || e.Name == ".." {
		return errDots
	}
	if _, err := intree.Name(path); err != nil {
		return err
	}
	if isDotGit(e.Name) {
		return errReserved
	}
	if e.Mode == object.ModeSymlink && (folds(e.Name, modulesFile) || isNTFS(e.Name, modulesFile, "gitmod")) {
		return errModules
	}
	return nil
}

// isDotGit reports whether some file system takes name for ".git".
func isDotGit(name string) bool {
	for element := range strings.SplitSeq(name, `\`) { // NTFS has two separators
		if folds(element, ".git") || isNTFS(element, ".git", "git") {
			return true
		}
	}
	return false
}

// folds reports whether name is want for HFS+, which ignores case and some characters of no width. The list is that of
// next_hfs_char in git's utf8.c.
func folds(name, want string) bool {
	visible := strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	return strings.EqualFold(visible, want)
}

// isNTFS reports whether name is want for NTFS: without regard to case, with spaces and dots at its end, with a stream
// after a colon, or by its short name, the first letters of it with "~1".
func isNTFS(name, want, short string) bool {
	name, _, _ = strings.Cut(name, ":")
	name = strings.ToLower(strings.TrimRight(name, " ."))
	if name == want {
		return true
	}
	prefix, number, ok := strings.Cut(name, "~")
	return ok && prefix == short && len(number) == 1 && number >= "1" && number <= "4"
}
