package atomicfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// env lets a test change owners as far as the system lets it.
var env = &step.Env{ChownAt: func(dir int, name string, uid, gid int) error {
	return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}}

func write(path, content string, mode opt.Mode) (bool, error) {
	return atomicfile.Write(context.Background(), env, path, strings.NewReader(content), atomicfile.Attributes{Mode: mode})
}

// names returns what is in dir, hidden files too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

// file describes a file, so that tests compare it as a whole.
type file struct {
	content string
	mode    fs.FileMode
}

func read(t *testing.T, path string) file {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file{string(content), info.Mode()}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestWriteReplacesOnlyWhatDiffers(t *testing.T) {
	long := strings.Repeat("a", 200<<10)
	tests := []struct {
		name    string
		before  *file
		content string
		mode    opt.Mode
		changed bool
		inPlace bool
	}{
		{name: "absent", content: "new", mode: 0o644, changed: true},
		{name: "absent and empty", content: "", mode: 0o600, changed: true},
		{name: "other content", before: &file{"old", 0o644}, content: "new", mode: 0o644, changed: true},
		{name: "shorter", before: &file{long, 0o644}, content: "new", mode: 0o644, changed: true},
		{name: "other last byte", before: &file{long + "b", 0o644}, content: long + "c", mode: 0o644, changed: true},
		{name: "the same", before: &file{"same", 0o644}, content: "same", mode: 0o644, inPlace: true},
		{name: "the same, long", before: &file{long, 0o644}, content: long, mode: 0o644, inPlace: true},
		{name: "the same, empty", before: &file{"", 0o644}, content: "", mode: 0o644, inPlace: true},
		{name: "other mode", before: &file{"same", 0o644}, content: "same", mode: 0o400, changed: true, inPlace: true},
		{name: "set-ID", content: "new", mode: opt.Mode(0o755 | fs.ModeSetuid), changed: true},
		{name: "wider than any umask", content: "new", mode: 0o777, changed: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "target")
			var before uint64
			if test.before != nil {
				if err := os.WriteFile(path, []byte(test.before.content), test.before.mode); err != nil {
					t.Fatal(err)
				}
				before = inode(t, path)
			}
			changed, err := write(path, test.content, test.mode)
			if err != nil || changed != test.changed {
				t.Fatalf("got changed %v, error %v; want changed %v", changed, err, test.changed)
			}
			if got, want := read(t, path), (file{test.content, test.mode.FileMode()}); got != want {
				t.Errorf("got %.20q %v, want %.20q %v", got.content, got.mode, want.content, want.mode)
			}
			if inPlace := before == inode(t, path); inPlace != test.inPlace {
				t.Errorf("got in place %v, want %v", inPlace, test.inPlace)
			}
			if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"target"}) {
				t.Errorf("got files %q, want the target alone", got)
			}
		})
	}
}

func TestUnsyncedContentIsThereAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	for _, content := range []string{"old", "new"} {
		attributes := atomicfile.Attributes{Mode: 0o600, Unsynced: true}
		changed, err := atomicfile.Write(context.Background(), &step.Env{}, path, strings.NewReader(content), attributes)
		if err != nil || !changed {
			t.Fatalf("got changed %v, error %v", changed, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q (%v), want %q", got, err, content)
		}
	}
}

func TestWriteGivesTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	own := opt.Owner{}
	if err := own.Set(fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())); err != nil {
		t.Fatal(err)
	}
	var given []string
	env := &step.Env{ChownAt: func(_ int, name string, uid, gid int) error {
		given = append(given, fmt.Sprintf("%s %d:%d", filepath.Base(name), uid, gid))
		return nil
	}}
	attributes := atomicfile.Attributes{Mode: 0o640, Owner: own}
	for _, want := range []bool{true, false} {
		changed, err := atomicfile.Write(context.Background(), env, path, strings.NewReader("x"), attributes)
		if err != nil || changed != want {
			t.Fatalf("got changed %v, error %v; want %v", changed, err, want)
		}
	}
	if given != nil {
		t.Errorf("got %q: the owner was right and needed no privilege", given)
	}
	if err := attributes.Owner.Set("12345:54321"); err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.Write(context.Background(), env, path, strings.NewReader("y"), attributes); err != nil {
		t.Fatal(err)
	}
	if len(given) != 1 || !strings.HasPrefix(given[0], ".slipway-") || !strings.HasSuffix(given[0], " 12345:54321") {
		t.Errorf("got %q, want the temporary file given to 12345:54321", given)
	}
	given = nil
	if _, err := atomicfile.Write(context.Background(), env, path, strings.NewReader("y"), attributes); err != nil {
		t.Fatal(err)
	}
	if want := []string{"target 12345:54321"}; !slices.Equal(given, want) {
		t.Errorf("got %q, want %q: an owner alone is mended in place", given, want)
	}
}

func TestRefusedOwnerLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	if _, err := write(path, "old", 0o644); err != nil {
		t.Fatal(err)
	}
	env := &step.Env{ChownAt: func(int, string, int, int) error { return syscall.EPERM }}
	attributes := atomicfile.Attributes{Mode: 0o644}
	if err := attributes.Owner.Set("12345"); err != nil {
		t.Fatal(err)
	}
	_, err := atomicfile.Write(context.Background(), env, path, strings.NewReader("new"), attributes)
	if got := fault.KindOf(err); got != fault.Permission || fault.HintOf(err) == "" {
		t.Errorf("got %v (%v), want permission with a hint", got, err)
	}
	if got, want := read(t, path), (file{"old", 0o644}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

func TestWriteRefusesBeforeItWrites(t *testing.T) {
	tests := []struct {
		name  string
		path  string
		setup func(dir string) error
		kind  fault.Kind
		text  string
		hint  string
	}{
		{
			name: "directory", path: "d", setup: func(dir string) error { return os.Mkdir(dir+"/d", 0o755) },
			kind: fault.CantCreate, text: "it is a directory",
		},
		{name: "directory by dots", path: ".", kind: fault.CantCreate, text: "it is a directory"},
		{name: "root", path: "../../../../../../../../../..", kind: fault.CantCreate, text: "it is a directory"},
		{
			name: "no parent", path: "no/such/file",
			kind: fault.CantCreate, text: "no such file or directory", hint: "in an earlier step (mkdir ",
		},
		{
			name: "parent is a file", path: "f/x", setup: func(dir string) error { return os.WriteFile(dir+"/f", nil, 0o644) },
			kind: fault.CantCreate, text: "not a directory",
		},
		{name: "name too long", path: strings.Repeat("n", 256), kind: fault.CantCreate, text: "file name too long"},
		{
			name: "link to a file", path: "l", setup: func(dir string) error {
				return errors.Join(os.WriteFile(dir+"/f", nil, 0o644), os.Symlink("f", dir+"/l"))
			},
			kind: fault.Conflict, text: "symbolic link", hint: "name the file",
		},
		{
			name: "link to nothing", path: "l", setup: func(dir string) error { return os.Symlink("nothing", dir+"/l") },
			kind: fault.Conflict, text: "symbolic link", hint: "name the file",
		},
		{
			name: "link in a circle", path: "l/x", setup: func(dir string) error { return os.Symlink("l", dir+"/l") },
			kind: fault.CantCreate, text: "too many levels of symbolic links",
		},
		{
			name: "named pipe", path: "p", setup: func(dir string) error { return syscall.Mkfifo(dir+"/p", 0o644) },
			kind: fault.CantCreate, text: "not a regular file",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.setup != nil {
				if err := test.setup(dir); err != nil {
					t.Fatal(err)
				}
			}
			before := names(t, dir)
			path := filepath.Join(dir, test.path)
			_, err := write(path, "content", 0o644)
			if got := fault.KindOf(err); err == nil || got != test.kind {
				t.Fatalf("got %v (%v), want %v", got, err, test.kind)
			}
			if !strings.HasPrefix(err.Error(), "write "+path+": ") || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %q, want %q and %q in it", err, "write "+path+": ", test.text)
			}
			if got := fault.HintOf(err); !strings.Contains(got, test.hint) {
				t.Errorf("got hint %q, want %q in it", got, test.hint)
			}
			if after := names(t, dir); !slices.Equal(after, before) {
				t.Errorf("got files %q, want %q", after, before)
			}
		})
	}
}

func TestLongestName(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("n", 255)
	if _, err := write(filepath.Join(dir, name), "content", 0o644); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{name}) {
		t.Errorf("got files %q, want the one with the longest name", got)
	}
}

func TestWriteThroughALinkAmongTheParents(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/real", 0o755), os.Symlink("real", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	if _, err := write(dir+"/link/target", "content", 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir+"/real/target"), (file{"content", 0o644}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestContentThatFailsLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	if _, err := write(path, "old", 0o644); err != nil {
		t.Fatal(err)
	}
	broken := &brokenAfter{strings.NewReader(strings.Repeat("x", 1<<20)), 100 << 10}
	_, err := atomicfile.Write(context.Background(), env, path, broken, atomicfile.Attributes{Mode: 0o644})
	if !errors.Is(err, syscall.EIO) || fault.KindOf(err) != fault.IO {
		t.Errorf("got %v, want the content's own error", err)
	}
	if got, want := read(t, path), (file{"old", 0o644}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

// brokenAfter fails once it has given so many bytes.
type brokenAfter struct {
	io.ReadSeeker
	left int
}

func (b *brokenAfter) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, syscall.EIO
	}
	n, err := b.ReadSeeker.Read(p)
	b.left -= n
	return n, err
}

func TestWriteEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	ctx, cancel := context.WithCancel(context.Background())
	endless := &endingReader{strings.NewReader(strings.Repeat("x", 1<<20)), cancel}
	_, err := atomicfile.Write(ctx, env, path, endless, atomicfile.Attributes{Mode: 0o644})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := names(t, filepath.Dir(path)); got != nil {
		t.Errorf("got files %q, want none", got)
	}
}

// endingReader ends a context with its first read.
type endingReader struct {
	io.ReadSeeker
	end func()
}

func (r *endingReader) Read(p []byte) (int, error) {
	r.end()
	return r.ReadSeeker.Read(p[:min(len(p), 100)])
}

func TestFileIsUnseenUntilCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	f, err := atomicfile.Create(env, path, atomicfile.Attributes{Mode: 0o444})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if _, err := f.WriteAt([]byte("world, and more"), 6); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("hello ")); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(11); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	if err != nil || string(back) != "hello world" {
		t.Errorf("read back %q, error %v", back, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target is there before Commit: %v", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if got, want := read(t, path), (file{"hello world", 0o444}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := atomicfile.Create(env, dir+"/target", atomicfile.Attributes{Mode: 0o444})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if got := names(t, dir); got != nil {
		t.Errorf("got files %q, want none", got)
	}
}

func TestSweepTakesTheAbandonedAlone(t *testing.T) {
	dir := t.TempDir()
	living, err := atomicfile.Create(env, dir+"/target", atomicfile.Attributes{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	defer living.Abort()
	own := names(t, dir)[0]
	prefix := own[:strings.LastIndex(own, "-")+1]
	other := ".slipway-0000000000000000-X"
	for _, name := range []string{prefix + "ABANDONED", other, ".slipway", "neighbour"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := write(dir+"/target", "content", 0o644); err != nil {
		t.Fatal(err)
	}
	want := []string{own, other, ".slipway", "neighbour", "target"}
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	if _, err := living.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	if err := living.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir+"/target"), (file{"later", 0o644}); got != want {
		t.Errorf("got %v, want %v: who renames last wins", got, want)
	}
}

func TestUnchangedContentSweepsToo(t *testing.T) {
	dir := t.TempDir()
	if _, err := write(dir+"/target", "content", 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := atomicfile.Create(env, dir+"/target", atomicfile.Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	abandoned := slices.DeleteFunc(names(t, dir), func(name string) bool { return name == "target" })[0]
	f.Abort()
	if err := os.WriteFile(filepath.Join(dir, abandoned), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := write(dir+"/target", "content", 0o644); changed || err != nil {
		t.Errorf("got changed %v, error %v; want neither", changed, err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

func TestWriteUsesLittleMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	content := bytes.NewReader(make([]byte, 32<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 2 {
		if _, err := atomicfile.Write(context.Background(), env, path, content, atomicfile.Attributes{Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("got %d bytes allocated for 32 MiB, want at most 1 MiB", got)
	}
}
