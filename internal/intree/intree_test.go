package intree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "./a/": "a", "a//b/./c": "a/b/c", ".": "", "./": "", "": "", "...": "...", "..a/b..": "..a/b..", `..\a`: `..\a`,
		strings.Repeat("x", 255): strings.Repeat("x", 255),
	} {
		if got, err := intree.Name(name); err != nil || got != want {
			t.Errorf("%q: got %q (%v), want %q", name, got, err, want)
		}
	}
	for _, name := range []string{
		"/", "/a", "//a", "..", "../a", "a/..", "a/../b", "a/b/../../..", "a\x00b", strings.Repeat("x", 256), strings.Repeat("x/", 2000) + "x",
	} {
		if got, err := intree.Name(name); fault.KindOf(err) != fault.Data {
			t.Errorf("%.40q: got %q, %v, want a fault", name, got, err)
		}
	}
}

func TestLink(t *testing.T) {
	for _, test := range []struct {
		name, target string
		ok           bool
	}{
		{"l", "a", true},
		{"l", "a/b/c", true},
		{"l", ".", true},
		{"l", "./a//b/", true},
		{"d/l", "..", true},
		{"d/l", "../a", true},
		{"d/e/l", "../../a", true},
		{"d/e/l", "./.././../a", true},
		{"l", "..", false},
		{"l", "../a", false},
		{"d/l", "../../a", false},
		{"d/e/l", "../a/../b", false},
		{"l", "a/..", false},
		{"l", "/a", false},
		{"l", "/", false},
		{"l", "", false},
		{"l", "a\x00", false},
		{"l", strings.Repeat("a/", 2000), false},
	} {
		err := intree.Link(test.name, test.target)
		if (err == nil) != test.ok || err != nil && fault.KindOf(err) != fault.Data {
			t.Errorf("%s -> %.40s: got %v, want ok %v", test.name, test.target, err, test.ok)
		}
	}
}

// FuzzLink makes three links that are allowed, and follows each as anybody would.
func FuzzLink(f *testing.F) {
	f.Add("../..", "up/../x", "b/up")
	f.Add("..", "up", "b/../up/..")
	f.Fuzz(func(t *testing.T, one, two, three string) {
		outer := t.TempDir()
		top := filepath.Join(outer, "in")
		if err := os.MkdirAll(filepath.Join(top, "a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(outer, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		links := map[string]string{"a/b/up": one, "a/m": two, "n": three}
		for name, target := range links {
			if intree.Link(name, target) == nil {
				_ = os.Symlink(target, filepath.Join(top, name)) // some targets no file system takes
			}
		}
		real, err := filepath.EvalSymlinks(top)
		if err != nil {
			t.Fatal(err)
		}
		for name, target := range links {
			got, err := filepath.EvalSymlinks(filepath.Join(top, name))
			if err == nil && got != real && !strings.HasPrefix(got, real+"/") {
				t.Errorf("%s -> %q leads to %q", name, target, got)
			}
		}
	})
}
