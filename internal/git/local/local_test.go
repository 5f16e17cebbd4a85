package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
	"github.com/slipway-init/slipway/internal/git/local"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/wire"
)

func open(t *testing.T, path string) *local.Repository {
	t.Helper()
	r, err := local.Open(path, func() (*os.File, error) { return os.CreateTemp(t.TempDir(), "") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Refs that stand for each other are none, and the others are found all the same.
func TestRefsInACircle(t *testing.T) {
	r := gittest.New(t)
	want := r.Commit("one")
	write(t, filepath.Join(r.Dir, ".git/refs/heads/a"), "ref: refs/heads/b\n")
	write(t, filepath.Join(r.Dir, ".git/refs/heads/b"), "ref: refs/heads/a\n")
	write(t, filepath.Join(r.Dir, ".git/refs/heads/out"), "ref: ../../outside\n")
	write(t, filepath.Join(r.Dir, "outside"), want+"\n")
	refs, err := open(t, r.Dir).Refs(t.Context(), []string{"refs/heads/"})
	if err != nil || len(refs) != 1 || refs[0].Name != "refs/heads/main" || refs[0].ID.String() != want {
		t.Errorf("got %v, %v, want main alone", refs, err)
	}
}

// Folders of objects that borrow from each other are opened once.
func TestAlternatesInACircle(t *testing.T) {
	a, b := gittest.New(t), gittest.New(t)
	a.Commit("of a")
	want := b.Commit("of b")
	write(t, filepath.Join(a.Dir, ".git/objects/info/alternates"), filepath.Join(b.Dir, ".git/objects")+"\n")
	write(t, filepath.Join(b.Dir, ".git/objects/info/alternates"), filepath.Join(a.Dir, ".git/objects")+"\n")
	id, _ := object.ParseID(want)
	if o, err := open(t, a.Dir).NewReader(t.Context()).Object(id); err != nil || o.Type != object.Commit {
		t.Errorf("got %v, %v, want the commit of b", o, err)
	}
}

// Directories without an end are refused before the stack is full.
func TestDeepDirectories(t *testing.T) {
	r := gittest.New(t)
	tree := r.Tree("100644 blob " + r.Blob("x") + "\tx")
	for range 600 {
		tree = r.Tree("040000 tree " + tree + "\td")
	}
	id, _ := object.ParseID(r.Git("commit-tree", "-m", "deep", tree))
	if _, err := open(t, r.Dir).Fetch(t.Context(), wire.Request{Wants: []object.ID{id}, Depth: 1}); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v, want a fault of the data", err)
	}
}
