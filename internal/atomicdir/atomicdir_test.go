package atomicdir_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/atomicdir"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// env is the world of these tests: owners change as far as the user may.
var env = &step.Env{ChownAt: func(dir int, name string, uid, gid int) error {
	return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}}

// tree is the content of files by their paths.
type tree map[string]string

// make writes a tree through d.
func (files tree) make(d *atomicdir.Dir) error {
	for name, content := range files {
		if err := d.Root().MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := d.Root().WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// put makes a tree at path.
func put(path string, files tree, a atomicdir.Attributes) error {
	ctx := context.Background()
	d, err := atomicdir.Create(ctx, env, path, a)
	if err != nil {
		return err
	}
	defer d.Abort(ctx)
	if err := files.make(d); err != nil {
		return err
	}
	return d.Commit(ctx, receipt.Receipt{Source: "test"})
}

// at returns the tree at path, nil if there is none. Slipway's own files at the top are left out.
func at(t *testing.T, path string) tree {
	t.Helper()
	files := tree{}
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if relative, _ := filepath.Rel(path, name); !strings.HasPrefix(relative, ".slipway-") {
			content, err := os.ReadFile(name)
			files[relative] = string(content)
			return err
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func equal(a, b tree) bool { return fmt.Sprint(a) == fmt.Sprint(b) && (a == nil) == (b == nil) }

func want(t *testing.T, path string, files tree) {
	t.Helper()
	if got := at(t, path); !equal(got, files) {
		t.Errorf("got %v, want %v", got, files)
	}
}

// alone checks that dir has the entry of that name, maybe its receipt, and nothing else.
func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) && !strings.HasSuffix(e.Name(), ".receipt") {
			t.Errorf("%s is left over", e.Name())
		}
	}
}

func untouched(path string) bool {
	r, ok := receipt.Read(path)
	return ok && r.Source == "test" && r.Synced && r.Untouched(context.Background(), path)
}

func TestATreeIsPutWhereNoneIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	files := tree{"a": "1", "b/c": "2", "b/d/e": "3"}
	if err := put(path, files, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	want(t, path, files)
	alone(t, path)
	if !untouched(path) {
		t.Error("its receipt does not prove it")
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeDir|0o755 {
		t.Errorf("got mode %v (%v), want 0755", info.Mode(), err)
	}
}

func TestATreeReplacesAnEarlierOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	for _, files := range []tree{{"a": "1", "b/c": "2"}, {"a/x": "now a directory", "d": "4"}, {}, {"a": "5"}} {
		if err := put(path, files, atomicdir.Attributes{}); err != nil {
			t.Fatal(err)
		}
		want(t, path, files)
		alone(t, path)
		if !untouched(path) {
			t.Error("its receipt does not prove it")
		}
	}
	if err := os.WriteFile(filepath.Join(path, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if untouched(path) {
		t.Error("its receipt proves it although a file was added")
	}
	if err := put(path, tree{"b": "6"}, atomicdir.Attributes{}); err != nil {
		t.Fatalf("a tree of slipway's that somebody changed: %v", err)
	}
	want(t, path, tree{"b": "6"})
}

func TestADirectoryOfSomebodyElseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	theirs := tree{"mine": "precious"}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "mine"), []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := put(path, tree{"a": "1"}, atomicdir.Attributes{Option: "--force"})
	if got, want := fault.Describe(err), "write "+path+": it is not empty (mine), and slipway did not make it\n"+
		"  hint: name another directory, or replace it with all that is in it: --force"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := fault.KindOf(err), fault.CantCreate; got != want {
		t.Errorf("got kind %v, want %v", got, want)
	}
	want(t, path, theirs)
	alone(t, path)
	if err := put(path, tree{"a": "1"}, atomicdir.Attributes{Force: true}); err != nil {
		t.Fatal(err)
	}
	want(t, path, tree{"a": "1"})
}

func TestADirectoryMadeAnewByHandIsNotTakenForSlipways(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := put(path, tree{"a": "1"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	// Ext4 gives the new directory the inode of the old one.
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := fault.KindOf(put(path, tree{}, atomicdir.Attributes{})), fault.CantCreate; got != want {
		t.Errorf("got kind %v, want %v", got, want)
	}
	want(t, path, tree{"mine": ""})
}

func TestAnEmptyDirectoryHandsOnItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	var given opt.Mode
	if err := given.Set("0511"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode opt.Mode
		want fs.FileMode
	}{{0, 0o700}, {given, 0o511}, {0, 0o511}} {
		if err := put(path, tree{"a": "1"}, atomicdir.Attributes{Mode: test.mode}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != test.want {
			t.Errorf("got mode %v (%v), want %v", info.Mode(), err, test.want)
		}
	}
}

func TestOwnerIsThatOfTheWholeTree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	owned := make(map[string]string)
	world := &step.Env{ChownAt: func(dir int, name string, uid, gid int) error {
		owned[filepath.Base(name)] = fmt.Sprint(uid, ":", gid)
		return nil
	}}
	var owner opt.Owner
	if err := owner.Set("12345:54321"); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	d, err := atomicdir.Create(ctx, world, path, atomicdir.Attributes{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort(ctx)
	if err := (tree{"a": "1", "b/c": "2"}).make(d); err != nil {
		t.Fatal(err)
	}
	top := filepath.Base(d.Root().Name())
	if err := d.Commit(ctx, receipt.Receipt{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", top} {
		if got, want := owned[name], "12345:54321"; got != want {
			t.Errorf("%s: got owner %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsNoDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, want string
		kind       fault.Kind
	}{
		{"file", "it is not a directory", fault.CantCreate},
		{"link", "it is a symbolic link, which is neither followed nor replaced", fault.Conflict},
		{"missing/config", "no such file or directory", fault.CantCreate},
		{"file/config", "not a directory", fault.CantCreate},
	} {
		path := filepath.Join(dir, test.path)
		err := put(path, tree{}, atomicdir.Attributes{Force: true})
		if err == nil || err.Error() != "write "+path+": "+test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%s: got %v (%v), want %s (%v)", test.path, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := put(path, tree{"a": "old"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	for _, end := range []func(){func() {}, cancel} {
		d, err := atomicdir.Create(context.Background(), env, path, atomicdir.Attributes{})
		if err != nil {
			t.Fatal(err)
		}
		if err := (tree{"a": "new", "b/c": "new"}).make(d); err != nil {
			t.Fatal(err)
		}
		end()
		d.Abort(ctx)
		d.Abort(ctx)
		want(t, path, tree{"a": "old"})
		alone(t, path)
		if !untouched(path) {
			t.Error("the receipt of the old tree does not prove it any more")
		}
	}
}

func TestCommitEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	d, err := atomicdir.Create(context.Background(), env, path, atomicdir.Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Commit(ctx, receipt.Receipt{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	want(t, path, nil)
	alone(t, path)
}

func TestReadOnlyDirectoriesAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	for _, content := range []string{"old", "new"} {
		ctx := context.Background()
		d, err := atomicdir.Create(ctx, env, path, atomicdir.Attributes{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Abort(ctx)
		if err := (tree{"a/b/c": content}).make(d); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a/b", "a"} {
			if err := d.Root().Chmod(name, 0o555); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Commit(ctx, receipt.Receipt{}); err != nil {
			t.Fatal(err)
		}
		want(t, path, tree{"a/b/c": content})
		alone(t, path)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(path, "a"), 0o755); _ = os.Chmod(filepath.Join(path, "a/b"), 0o755) })
}

func TestWhatKilledRunsLeftIsSweptAndANeighboursIsNot(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "config")
	neighbour, err := atomicdir.Create(ctx, env, path, atomicdir.Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	defer neighbour.Abort(ctx)
	if err := (tree{"a": "neighbour"}).make(neighbour); err != nil {
		t.Fatal(err)
	}
	lock := strings.TrimSuffix(neighbour.Root().Name(), ".d")
	prefix := lock[:strings.LastIndex(lock, "-")+1]
	for _, name := range []string{"UNLOCKED", "UNLOCKED.d", "UNLOCKED.old", "NOLOCK.d"} {
		var err error
		if filepath.Ext(name) == "" {
			err = os.WriteFile(prefix+name, nil, 0o600)
		} else {
			err = os.MkdirAll(prefix+name+"/deep/er", 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	atomicdir.Sweep(ctx, path)
	left, err := filepath.Glob(prefix + "*")
	if err != nil || !slices.Equal(left, []string{lock, lock + ".d"}) {
		t.Errorf("got %q left (%v), want the neighbour's alone", left, err)
	}
	if err := put(path, tree{"a": "first"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	if err := neighbour.Commit(ctx, receipt.Receipt{Source: "test"}); err != nil {
		t.Fatal(err)
	}
	want(t, path, tree{"a": "neighbour"})
	alone(t, path)
}

func TestOfTwoAtOnceTheLastOneStays(t *testing.T) {
	for _, before := range []tree{nil, {"a": "old"}} {
		path := filepath.Join(t.TempDir(), "config")
		if before != nil {
			if err := put(path, before, atomicdir.Attributes{}); err != nil {
				t.Fatal(err)
			}
		}
		var dirs []*atomicdir.Dir
		for n := range 3 {
			d, err := atomicdir.Create(t.Context(), env, path, atomicdir.Attributes{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Abort(t.Context())
			if err := (tree{"a": fmt.Sprint(n)}).make(d); err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, d)
		}
		for n, d := range dirs {
			if err := d.Commit(t.Context(), receipt.Receipt{Source: "test"}); err != nil {
				t.Fatalf("%d: %v", n, err)
			}
		}
		want(t, path, tree{"a": "2"})
		alone(t, path)
		if !untouched(path) {
			t.Error("its receipt does not prove it")
		}
	}
}

func TestManyAtOnceLeaveOneWholeTree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			if err := put(path, tree{"a": fmt.Sprint(n), "b/c": fmt.Sprint(n)}, atomicdir.Attributes{}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := at(t, path); got["a"] == "" || got["a"] != got["b/c"] || len(got) != 2 {
		t.Errorf("got %v", got)
	}
	alone(t, path)
	if !untouched(path) {
		t.Error("its receipt does not prove it")
	}
}

func TestADirectoryThatAppearsMeanwhileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	d, err := atomicdir.Create(t.Context(), env, path, atomicdir.Attributes{Option: "--force"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort(t.Context())
	if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(path+"/mine", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), receipt.Receipt{Source: "test"}); fault.KindOf(err) != fault.CantCreate || !strings.Contains(fault.HintOf(err), "--force") {
		t.Errorf("got %v (hint: %s)", err, fault.HintOf(err))
	}
	want(t, path, tree{"mine": ""})
}

func TestWhoHasLockedTheFolderKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := put(path, tree{"a": "1"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	want(t, path, tree{"a": "1"})
}

func TestAReceiptOfATreeThatWasNotPutDoesNotSpoilTheOld(t *testing.T) {
	// As after a kill between the receipt and the rename.
	path := filepath.Join(t.TempDir(), "config")
	if err := put(path, tree{"a": "old"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	old, _ := receipt.Read(path)
	next := receipt.Receipt{Source: "next", Synced: true, Made: append([]receipt.Identity{{Inode: 1, Birth: 2, Mtime: 3}}, old.Made...)}
	if err := receipt.Keep(context.Background(), env, path, next); err != nil {
		t.Fatal(err)
	}
	if err := put(path, tree{"a": "new"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	want(t, path, tree{"a": "new"})
}
