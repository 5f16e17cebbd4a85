package sibling_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/sibling"
)

func root(t *testing.T) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func names(t *testing.T, r *os.Root) []string {
	t.Helper()
	entries, err := os.ReadDir(r.Name())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestSweepRemovesWhatIsAbandonedOfItsTargetAlone(t *testing.T) {
	r := root(t)
	living, name, err := sibling.Create(r, "target")
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	dead, _, err := sibling.Create(r, "target")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	others := []string{sibling.Receipt("target"), sibling.Temporary("other"), "target", sibling.Mark + "receipt"}
	for _, other := range others {
		if err := r.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	directory := sibling.Temporary("target") + ".d"
	if err := r.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	sibling.Sweep(r, "target")
	want := append(others, name, directory)
	slices.Sort(want)
	if got := names(t, r); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnyIsOfTemporaryFilesAlone(t *testing.T) {
	r := root(t)
	for _, name := range []string{"target", "a-b", sibling.Receipt("target"), sibling.Mark + "receipt", strings.TrimSuffix(sibling.Receipt("target"), "receipt") + "partial"} {
		if err := r.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if sibling.Any(r) {
			t.Errorf("%s is taken for a temporary file", name)
		}
	}
	if err := r.WriteFile(sibling.Temporary("other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !sibling.Any(r) {
		t.Error("a temporary file is not seen")
	}
}

func TestReclaimKeepsWhatCouldNotBeEmptied(t *testing.T) {
	r := root(t)
	f, name, err := sibling.Create(r, "target")
	if err != nil {
		t.Fatal(err)
	}
	called := 0
	first := func(err error) func() error { return func() error { called++; return err } }
	sibling.Reclaim(r, name, first(nil))
	f.Close()
	sibling.Reclaim(r, name, first(errors.New("not yet")))
	if got := names(t, r); called != 1 || !slices.Equal(got, []string{name}) {
		t.Errorf("got %q after %d calls, want the file after one", got, called)
	}
	sibling.Reclaim(r, name, first(nil))
	if got := names(t, r); called != 2 || len(got) != 0 {
		t.Errorf("got %q after %d calls, want nothing after two", got, called)
	}
}

func TestNamesFitWhateverTheTargets(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, name := range []string{sibling.Temporary(long), sibling.Receipt(long), sibling.Temporary("a"), sibling.Receipt("a")} {
		if !strings.HasPrefix(name, sibling.Mark) || len(name) > 64 {
			t.Errorf("got %q", name)
		}
	}
	if one, other := sibling.Temporary("a"), sibling.Temporary("a"); one == other {
		t.Error("two temporary names are one")
	}
}

func TestInside(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked/config")
	if err := os.MkdirAll(locked, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{"/": true, "/proc": true, dir: false, locked: false, file: false, filepath.Join(dir, "missing"): false}
	for path, want := range tests {
		if got := sibling.Inside(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if os.Geteuid() == 0 {
		return // root may write everywhere
	}
	if err := os.Chmod(filepath.Dir(locked), 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(locked), 0o755)
	if !sibling.Inside(locked) {
		t.Error("a directory whose parent may not be written keeps its receipt beside it")
	}
}
