package receipt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/sibling"
	"github.com/slipway-init/slipway/internal/step"
)

var (
	ctx = context.Background()
	env = &step.Env{}
)

// file makes a file and a receipt of it.
func file(t *testing.T, r receipt.Receipt) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.bin")
	if err := os.WriteFile(path, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	keep(t, path, r)
	return path
}

// tree makes a tree and a receipt of it.
func tree(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	for _, dir := range []string{"d/e", "empty"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "d/b", "d/e/c"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	keep(t, path, receipt.Receipt{Source: "x", Synced: true})
	return path
}

func keep(t *testing.T, path string, r receipt.Receipt) {
	t.Helper()
	if err := receipt.Write(ctx, env, path, r); err != nil {
		t.Fatal(err)
	}
}

func proven(path string) bool {
	r, ok := receipt.Read(path)
	return ok && r.Untouched(ctx, path)
}

func TestAReceiptIsReadAsItWasWritten(t *testing.T) {
	path := file(t, receipt.Receipt{Source: "https://host/model", Facts: map[string]string{"sha256": "ab", "etag": `"x"`}, Synced: true})
	got, ok := receipt.Read(path)
	if !ok || got.Source != "https://host/model" || !reflect.DeepEqual(got.Facts, map[string]string{"sha256": "ab", "etag": `"x"`}) {
		t.Errorf("got %v, %v", got, ok)
	}
	if !got.Untouched(ctx, path) {
		t.Error("it does not prove the file")
	}
	for _, test := range []struct {
		source string
		facts  map[string]string
		want   bool
	}{
		{"https://host/model", nil, true},
		{"https://host/model", map[string]string{"sha256": "ab"}, true},
		{"https://host/model", map[string]string{"sha256": "cd"}, false},
		{"https://host/model", map[string]string{"commit": ""}, false},
		{"https://host/other", nil, false},
	} {
		if of := got.Of(test.source, test.facts); of != test.want {
			t.Errorf("of %v: got %v", test, of)
		}
	}
	info, err := os.Lstat(filepath.Join(filepath.Dir(path), sibling.Receipt("model.bin")))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v (%v), want 0600", info.Mode(), err)
	}
	if err := receipt.Forget(path); err != nil {
		t.Fatal(err)
	}
	if _, ok := receipt.Read(path); ok {
		t.Error("it was not forgotten")
	}
	if err := receipt.Forget(path); err != nil {
		t.Errorf("to forget what is not there: %v", err)
	}
}

func TestEveryChangeOfAFileIsSeen(t *testing.T) {
	past := time.Unix(1, 0)
	for name, change := range map[string]func(path string) error{
		"content": func(path string) error { return os.WriteFile(path, []byte("WEIGHTS"), 0o644) },
		"content, with the old time": func(path string) error {
			info, _ := os.Lstat(path)
			if err := os.WriteFile(path, []byte("WEIGHTS"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		},
		"size": func(path string) error { return os.Truncate(path, 3) },
		"time": func(path string) error { return os.Chtimes(path, past, past) },
		"mode": func(path string) error { return os.Chmod(path, 0o600) },
		"replacement": func(path string) error {
			other := path + "2"
			if err := os.WriteFile(other, []byte("weights"), 0o644); err != nil {
				return err
			}
			return os.Rename(other, path)
		},
		"another kind": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o644)
		},
		"removal": os.Remove,
	} {
		path := file(t, receipt.Receipt{Synced: true})
		tick(t, path)
		if !proven(path) {
			t.Fatalf("%s: it is not proven before", name)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if proven(path) {
			t.Errorf("%s: the change is not seen", name)
		}
	}
}

// tick returns once the clock of path's file system has moved on: before that, no change of a time could be seen.
func tick(t *testing.T, path string) {
	t.Helper()
	probe := filepath.Join(filepath.Dir(path), "probe")
	var first time.Time
	for {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(probe)
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = info.ModTime()
		}
		if !info.ModTime().Equal(first) {
			return
		}
	}
}

func TestEveryChangeOfATreeIsSeen(t *testing.T) {
	past := time.Unix(1, 0)
	in := func(path, name string) string { return filepath.Join(path, name) }
	for name, change := range map[string]func(path string) error{
		"a file more":             func(path string) error { return os.WriteFile(in(path, "d/e/new"), nil, 0o644) },
		"a file less":             func(path string) error { return os.Remove(in(path, "d/b")) },
		"a directory more":        func(path string) error { return os.Mkdir(in(path, "empty/new"), 0o755) },
		"content":                 func(path string) error { return os.WriteFile(in(path, "d/e/c"), []byte("54321"), 0o644) },
		"time":                    func(path string) error { return os.Chtimes(in(path, "a"), past, past) },
		"mode of a directory":     func(path string) error { return os.Chmod(in(path, "empty"), 0o700) },
		"mode of the tree itself": func(path string) error { return os.Chmod(path, 0o700) },
		"name":                    func(path string) error { return os.Rename(in(path, "a"), in(path, "A")) },
		"two files swap names": func(path string) error {
			return firstOf(os.Rename(in(path, "a"), in(path, "x")), os.Rename(in(path, "d/b"), in(path, "a")), os.Rename(in(path, "x"), in(path, "d/b")))
		},
		"the target of a link": func(path string) error {
			return firstOf(os.Remove(in(path, "link")), os.Symlink("b", in(path, "link")))
		},
		"another tree": func(path string) error { return firstOf(os.RemoveAll(path), os.Mkdir(path, 0o755)) },
	} {
		path := tree(t)
		tick(t, path)
		if !proven(path) {
			t.Fatalf("%s: it is not proven before", name)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if proven(path) {
			t.Errorf("%s: the change is not seen", name)
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestARenameOfTheTreeChangesNothing(t *testing.T) {
	path := tree(t)
	before, err := receipt.Take(ctx, path, false)
	if err != nil {
		t.Fatal(err)
	}
	tick(t, path)
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	after, err := receipt.Take(ctx, path+"2", false)
	if err != nil || after != before {
		t.Errorf("got %v (%v), want %v", after, err, before)
	}
}

func TestWhatIsNoReceiptIsNone(t *testing.T) {
	path := file(t, receipt.Receipt{Synced: true})
	beside := filepath.Join(filepath.Dir(path), sibling.Receipt("model.bin"))
	good, err := os.ReadFile(beside)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 300), "torn": string(good[:len(good)/2]), "another version": strings.Replace(string(good), `receipt": 1`, `receipt": 2`, 1),
		"a field more": strings.Replace(string(good), `"source"`, `"new": 1, "source"`, 1), "two": string(good) + string(good),
		"huge": string(good) + strings.Repeat(" ", 5<<20), "null": "null", "somebody else's": `{"a": 1}`,
	} {
		if err := os.WriteFile(beside, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, ok := receipt.Read(path); ok {
			t.Errorf("%s: got %v", name, r)
		}
	}
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(beside+"2", good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(beside+"2", beside); err != nil {
		t.Fatal(err)
	}
	if r, ok := receipt.Read(path); ok {
		t.Errorf("a link: got %v", r)
	}
	if err := firstOf(os.Remove(beside), os.Mkdir(beside, 0o755)); err != nil {
		t.Fatal(err)
	}
	if r, ok := receipt.Read(path); ok {
		t.Errorf("a directory: got %v", r)
	}
	if err := receipt.Write(ctx, env, path, receipt.Receipt{}); err == nil {
		t.Error("a receipt was written over a directory")
	}
}

func TestWhatWasNotSyncedIsTrustedInThisBootAlone(t *testing.T) {
	for _, synced := range []bool{true, false} {
		path := file(t, receipt.Receipt{Synced: synced})
		r, ok := receipt.Read(path)
		if !ok || r.Boot != "" && !r.Untouched(ctx, path) {
			t.Errorf("synced %v: got %v, %v, want that it is trusted now", synced, r, ok)
		}
		for _, boot := range []string{"", "another"} {
			if r.Boot = boot; r.Untouched(ctx, path) != synced {
				t.Errorf("synced %v, boot %q: got %v", synced, boot, !synced)
			}
		}
	}
}

func TestATreeIsNotReadAfterTheEndOfItsContext(t *testing.T) {
	path := tree(t)
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(path, fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, path, receipt.Receipt{Synced: true})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r, _ := receipt.Read(path)
	if !r.Untouched(ctx, path) || r.Untouched(ended, path) {
		t.Error("the end of the context made no difference")
	}
}

func TestAReceiptWithoutAFingerprintProvesNothing(t *testing.T) {
	path := file(t, receipt.Receipt{Synced: true})
	if err := receipt.Keep(ctx, env, path, receipt.Receipt{Synced: true}); err != nil {
		t.Fatal(err)
	}
	if proven(path) {
		t.Error("it is proven")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"slipway-receipt":1,"source":"x","synced":true,"fingerprint":{"mode":1,"uid":0,"gid":0},"boot":"b"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if r, ok := receipt.Parse(content); ok {
			if !r.Of(r.Source, r.Facts) {
				t.Errorf("%v is not of itself", r)
			}
		}
	})
}

func BenchmarkFingerprintOf50000Files(b *testing.B) {
	path := b.TempDir()
	for i := range 50_000 {
		dir := filepath.Join(path, fmt.Sprint(i/100))
		if i%100 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, err := receipt.Take(ctx, path, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// cpu returns the time that this process has spent on a processor, which says more than the wall's on a busy machine.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
