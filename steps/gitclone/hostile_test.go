package gitclone

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
)

// A name that is a link and a directory in one tree is not written through, though so many files lie between the two that
// the link is on the disk before the directory is looked at. By the link the one would get into git's own directory, and
// the other out of the tree, since links are measured by the depth of their names.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	for _, c := range []struct{ name, link, mode, file, content string }{
		{"into git's own directory", ".git", "100755", "hook", "#!/bin/sh\n"},
		{"upwards", "../..", "120000", "out", "../../../outside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := gittest.New(t)
			empty := r.Blob("")
			entries := []string{
				"120000 blob " + r.Blob(c.link) + "\ta",
				"040000 tree " + r.Tree(c.mode+" blob "+r.Blob(c.content)+"\t"+c.file) + "\ta",
			}
			for i := range 5000 {
				entries = append(entries, fmt.Sprintf("100644 blob %s\ta.%04d", empty, i)) // before a/, after a
			}
			if c.link == ".git" {
				r.CommitTree(entries...)
			} else {
				r.CommitTree("040000 tree " + r.Tree("040000 tree "+r.Tree(entries...)+"\tdeep") + "\tdeep")
			}
			root := t.TempDir()
			result, dir := clones(t, root, gittest.Serve(t, r.Parent(), 2)+"/repository", "keep-git=true")
			if fault.ExitCode(result.Err) != 73 {
				t.Errorf("got %v, want 73", result.Err)
			}
			for _, path := range []string{".git/hook", "out"} {
				if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
					t.Errorf("there is %s", path)
				}
			}
		})
	}
}
