package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/fault"
)

// hostile are entries that try to leave the directory.
var hostile = [][]entry{
	sample,
	{{"../x", 0, "out", 0}},
	{{"l", tar.TypeSymlink, "..", 0}, {"l/x", 0, "out", 0}},
	{{"d/", 0, "", 0}, {"l", tar.TypeSymlink, "d", 0}, {"l/x", 0, "out", 0}},
	{{"a/b/", 0, "", 0}, {"a/b/up", tar.TypeSymlink, "../..", 0}, {"o", tar.TypeSymlink, "a/b/up/../x", 0}},
	{{"h", tar.TypeLink, "../outside", 0}, {"h", 0, "changed", 0}},
	{{"s", tar.TypeSymlink, "../outside", 0}, {"h", tar.TypeLink, "s", 0}},
	{{"a", 0, "1", 0}, {"a", tar.TypeSymlink, "b", 0}, {"a/c", 0, "2", 0}},
	{{"d/", 0, "", 0o7000}, {"d/e", 0, "1", 0o4755}},
}

// enclosed is a directory to unpack into, with something around it that must stay as it is.
type enclosed struct{ parent, dir string }

const guarded = "untouched"

func enclose(t *testing.T) enclosed {
	t.Helper()
	parent := t.TempDir()
	e := enclosed{parent, filepath.Join(parent, "in")}
	if err := os.Mkdir(e.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(parent, "outside"), []byte(guarded), 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// holds checks that nothing around the directory was made or changed, that nothing within it is of a kind that is
// refused, and that no link leads out of it.
func (e enclosed) holds(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(e.parent)
	if err != nil || len(entries) != 2 {
		t.Fatalf("something was made outside: %v, %v", entries, err)
	}
	content, err := os.ReadFile(filepath.Join(e.parent, "outside"))
	if err != nil || string(content) != guarded {
		t.Fatalf("something was changed outside: %q, %v", content, err)
	}
	info, err := os.Stat(filepath.Join(e.parent, "outside"))
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("the mode was changed outside: %v, %v", info.Mode(), err)
	}
	err = filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			t.Fatalf("%q has the mode %v", path, info.Mode())
		}
		if d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		real, err := filepath.EvalSymlinks(path)
		inside, _ := filepath.EvalSymlinks(e.dir)
		if err == nil && real != inside && !strings.HasPrefix(real, inside+"/") {
			t.Fatalf("%q leads to %q", path, real)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	_ = filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, _ error) error { // so that it can be removed
		if d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
}

// small are limits that keep an input of the fuzzer from taking long.
var small = archive.Limits{Bytes: 1 << 20, Entries: 100, Directories: 100, Ratio: 100, Depth: 16, Window: 1 << 20}

func fuzzed(t *testing.T, unpack func(root *os.Root) error) {
	e := enclose(t)
	root, err := os.OpenRoot(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	err = unpack(root)
	e.holds(t)
	// Only what is wrong with the archive may go wrong here, or a name that the file system does not take.
	if kind := fault.KindOf(err); err != nil && kind != fault.Data && kind != fault.CantCreate {
		t.Fatalf("got %v (%v), want %v", err, kind, fault.Data)
	}
}

func FuzzTar(f *testing.F) {
	for _, entries := range hostile {
		plain := tarOf(f, entries...)
		f.Add(plain)
		f.Add(gzipOf(f, plain))
		f.Add(zstdOf(f, plain))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzed(t, func(root *os.Root) error {
			_, err := archive.Tar(context.Background(), root, bytes.NewReader(content), archive.Options{Limits: small})
			return err
		})
	})
}

func FuzzZip(f *testing.F) {
	for _, entries := range hostile {
		f.Add(zipOf(f, entries...))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzed(t, func(root *os.Root) error {
			_, err := archive.Zip(context.Background(), root, bytes.NewReader(content), int64(len(content)), archive.Options{Limits: small})
			return err
		})
	})
}
