package gitclone

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// What must not be written is refused, and nothing is left of it.
func TestHostileTrees(t *testing.T) {
	for _, c := range []struct{ name, entry, link string }{
		{"link upwards", "link", "../outside"},
		{"absolute link", "link", "/etc/passwd"},
		{"link by way of a name", "link", "a/../../outside"},
		{".git", ".git", ""},
		{"case", ".GiT", ""},
		{"short name of NTFS", "git~1", ""},
		{"NTFS ignores the end", ".git . .", ""},
		{"stream of NTFS", ".git::$INDEX_ALLOCATION", ""},
		{"separator of NTFS", `x\.git`, ""},
		{"HFS+ ignores it", ".g\u200cit", ""},
		{"HFS+ ignores it too", "\ufeff.git", ""},
		{"modules by a link", ".gitmodules", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := gittest.New(t)
			id := r.Blob(c.link)
			mode := "120000"
			if c.link == "" {
				id, mode = r.Blob("x"), "100644"
			}
			r.CommitTree(mode + " blob " + id + "\t" + c.entry)
			root := t.TempDir()
			result, dir := clones(t, root, gittest.Serve(t, r.Parent(), 2)+"/repository")
			if fault.ExitCode(result.Err) != 65 || result.Attempts != 1 {
				t.Errorf("got %v after %d attempts, want 65", result.Err, result.Attempts)
			}
			if left, _ := os.ReadDir(root); len(left) > 0 {
				t.Errorf("%s: got %v left", dir, left)
			}
		})
	}
}

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

// Directories in each other are in memory together, and so are the attributes of each: what is too much is refused.
func TestTreesThatFillTheMemory(t *testing.T) {
	for _, c := range []struct {
		name  string
		level func(r *gittest.Repository) []string
	}{
		{"names", func(r *gittest.Repository) (entries []string) {
			empty, long := r.Blob(""), strings.Repeat("x", 200)
			for i := range 60000 {
				entries = append(entries, fmt.Sprintf("100644 blob %s\t%s%d", empty, long, i))
			}
			return entries
		}},
		{"attributes", func(r *gittest.Repository) []string {
			return []string{"100644 blob " + r.Blob(strings.Repeat("a b\n", 100000)) + "\t.gitattributes"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := gittest.New(t)
			level := c.level(r)
			inner := r.Tree(level...)
			for range 2 {
				inner = r.Tree(append(level, "040000 tree "+inner+"\t0")...)
			}
			r.CommitTree("040000 tree " + inner + "\t0")
			result, _ := clones(t, t.TempDir(), gittest.Serve(t, r.Parent(), 2)+"/repository")
			if fault.ExitCode(result.Err) != 65 || !strings.Contains(result.Err.Error(), "too large") {
				t.Errorf("got %v, want 65", result.Err)
			}
		})
	}
}

// A server cannot have a file of git's own written by the name of a ref.
func TestHeadThatIsNoRef(t *testing.T) {
	r := gittest.New(t)
	r.Commit("one")
	backend := gittest.Backend(t, r.Parent(), 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		recorder := httptest.NewRecorder()
		backend.ServeHTTP(recorder, q)
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		_, _ = w.Write(bytes.ReplaceAll(recorder.Body.Bytes(), []byte("symref-target:refs/heads/main"), []byte("symref-target:info/attributes")))
	}))
	defer server.Close()
	result, dir := clones(t, t.TempDir(), server.URL+"/repository", "keep-git=true")
	check(t, result.Err)
	if _, err := os.Lstat(filepath.Join(dir, ".git/info/attributes")); err == nil {
		t.Error("there is .git/info/attributes")
	}
	if got := r.Git("-C", dir, "rev-parse", "HEAD"); got != r.Git("rev-parse", "HEAD") {
		t.Errorf("got %s", got)
	}
}

// The name of a submodule is where git keeps its own files of it, and must not be in those of another.
func TestSubmoduleInTheFilesOfAnother(t *testing.T) {
	inner := gittest.New(t)
	inner.Write("x", "x")
	inner.Commit("inner")
	outer := gittest.New(t)
	for _, place := range []string{"a", "b"} {
		outer.Git("submodule", "--quiet", "add", inner.Dir, place)
	}
	outer.Git("config", "-f", ".gitmodules", "--rename-section", "submodule.b", "submodule.a/refs")
	outer.Commit("outer")
	for keep, want := range map[string]int{"false": 0, "true": 65} {
		dir := filepath.Join(t.TempDir(), "tree")
		task := steptest.Task(t, Kind, steptest.Options{"url=" + outer.Dir, "dir=" + dir, "submodules=true", "keep-git=" + keep})
		result := steptest.Run(context.Background(), task, "/")
		if fault.ExitCode(result.Err) != want {
			t.Errorf("keep-git %s: got %v, want %d", keep, result.Err, want)
		}
	}
}
