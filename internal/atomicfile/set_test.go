package atomicfile_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// tree returns the content of each file below dir, hidden ones included, by name.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			all[entry.Name()] = "directory"
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(content)
	}
	return all
}

func set(dir string, pairs ...string) []atomicfile.Entry {
	var entries []atomicfile.Entry
	for i := 0; i < len(pairs); i += 2 {
		entries = append(entries, atomicfile.Entry{
			Path: filepath.Join(dir, pairs[i]), Content: []byte(pairs[i+1]), Attributes: atomicfile.Attributes{Mode: opt.Mode(0o400)},
		})
	}
	return entries
}

func TestWriteSetWritesAllAndOnlyWhatDiffers(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		entries []atomicfile.Entry
		changed int
		want    map[string]string
	}{
		{set(dir, "a", "1", "b", "2"), 2, map[string]string{"a": "1", "b": "2"}},
		{set(dir, "a", "1", "b", "2"), 0, map[string]string{"a": "1", "b": "2"}},
		{set(dir, "a", "1", "b", "3", "c", ""), 2, map[string]string{"a": "1", "b": "3", "c": ""}},
		{nil, 0, map[string]string{"a": "1", "b": "3", "c": ""}},
	} {
		changed, err := atomicfile.WriteSet(context.Background(), new(step.Env), c.entries)
		if err != nil || changed != c.changed {
			t.Errorf("got %d, %v, want %d", changed, err, c.changed)
		}
		if got := tree(t, dir); !maps.Equal(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if changed, err := atomicfile.WriteSet(context.Background(), new(step.Env), set(dir, "a", "1")); changed != 1 || err != nil {
		t.Errorf("a wrong mode: got %d, %v, want it mended", changed, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode() != 0o400 {
		t.Errorf("got %v, %v, want mode 0400", info.Mode(), err)
	}
}

func TestWriteSetWritesNothingUnlessAllCanBePrepared(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.WriteSet(context.Background(), new(step.Env), set(dir, "a", "old")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "old", "d": "directory"}
	for _, entries := range [][]atomicfile.Entry{set(dir, "a", "new", "d", "x"), set(dir, "a", "new", "b", "x", "none/c", "x")} {
		changed, err := atomicfile.WriteSet(context.Background(), new(step.Env), entries)
		if changed != 0 || fault.KindOf(err) != fault.CantCreate {
			t.Errorf("got %d, %v (%v), want a fault of kind %v", changed, err, fault.KindOf(err), fault.CantCreate)
		}
		if got := tree(t, dir); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestWriteSetUndoesTheRowWhenARenameFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := atomicfile.WriteSet(context.Background(), new(step.Env), set(dir, "a", "old")); err != nil {
		t.Fatal(err)
	}
	// The third file's owner is changed when the first two are prepared already: a directory is in its way by then.
	env := &step.Env{ChownAt: func(int, string, int, int) error { return os.Mkdir(filepath.Join(dir, "c"), 0o755) }}
	entries := set(dir, "a", "new", "b", "new", "c", "new")
	if err := entries[2].Owner.Set("12345:54321"); err != nil {
		t.Fatal(err)
	}
	changed, err := atomicfile.WriteSet(context.Background(), env, entries)
	if changed != 0 || fault.KindOf(err) != fault.CantCreate {
		t.Errorf("got %d, %v (%v), want a fault of kind %v", changed, err, fault.KindOf(err), fault.CantCreate)
	}
	want := map[string]string{"a": "old", "c": "directory"}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
