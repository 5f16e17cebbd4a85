package filetree_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/internal/filetree"
)

func TestRemove(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.MkdirAll(precious, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tree")
	for i := range 300 {
		if err := os.MkdirAll(filepath.Join(path, "d", fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "d/7/file"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/7", "d", "."} {
		if err := os.Chmod(filepath.Join(path, name), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := filetree.Remove(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if _, err := os.Lstat(filepath.Join(path, "d/299")); err != nil {
		t.Errorf("it was removed after the end: %v", err)
	}
	for range 2 { // what is not there is removed already
		if err := filetree.Remove(ctx, path); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v (%v), want what the link pointed to alone", entries, err)
	}
	if err := filetree.Remove(ctx, filepath.Join(dir, "precious/../precious")); err != nil {
		t.Error(err)
	}
}
