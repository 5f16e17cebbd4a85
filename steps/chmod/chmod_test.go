package chmod

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes a small tree: data with a directory, a program, a file, and links into and out of it.
func fill(t *testing.T, root string) steptest.Options {
	check(t, os.MkdirAll(root+"/data/bin", 0o755))
	for name, mode := range map[string]os.FileMode{"outside": 0o644, "data/file": 0o604, "data/bin/run": 0o744} {
		check(t, os.WriteFile(root+"/"+name, nil, mode))
		check(t, os.Chmod(root+"/"+name, mode))
	}
	check(t, os.Symlink("../outside", root+"/data/out"))
	check(t, os.Symlink("nowhere", root+"/data/dangling"))
	check(t, os.Symlink(".", root+"/data/loop"))
	return nil
}

// modes returns a check that the named files have the given bits.
func modes(want map[string]uint32) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		for name, bits := range want {
			e, err := filetree.Find(root + "/" + name)
			check(t, err)
			if e.Bits != bits {
				t.Errorf("%s: got %04o, want %04o", name, e.Bits, bits)
			}
		}
	}
}

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, nil,
		steptest.Case{
			Name:    "symbolic",
			Options: steptest.Options{"mode=u=rwX,g=rX,o=", "path=/data", "recursive=true"},
			Setup:   fill,
			Check: modes(map[string]uint32{
				"data": 0o750, "data/bin": 0o750, "data/bin/run": 0o750, "data/file": 0o640, "outside": 0o644,
			}),
		},
		steptest.Case{
			Name:    "octal",
			Options: steptest.Options{"mode=1700", "path=/data"},
			Setup:   fill,
			Check:   modes(map[string]uint32{"data": 0o1700, "data/bin": 0o755, "data/file": 0o604}),
		},
		steptest.Case{
			Name:    "nothing to do",
			Options: steptest.Options{"mode=0604", "path=/data/file"},
			Setup:   fill,
			Check:   modes(map[string]uint32{"data/file": 0o604}),
		},
	)
}

func TestInheritedGroupBitIsKept(t *testing.T) {
	root := t.TempDir()
	fill(t, root)
	check(t, os.Chown(root+"/data", -1, os.Getegid()))
	check(t, os.Chmod(root+"/data", 0o755|os.ModeSetgid))
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, steptest.Options{"mode=0750", "path=/data"}), root)
	check(t, result.Err)
	modes(map[string]uint32{"data": 0o2750})(t, root)
}

func TestClosedTreeCanBeOpened(t *testing.T) {
	root := t.TempDir()
	fill(t, root)
	check(t, os.Chmod(root+"/data/bin", 0o400))
	check(t, os.Chmod(root+"/data", 0o000))
	options := steptest.Options{"mode=u+rwX", "path=/data", "recursive=true"}
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
	check(t, result.Err)
	modes(map[string]uint32{"data": 0o700, "data/bin": 0o700, "data/bin/run": 0o744, "data/file": 0o604})(t, root)
	if got := steptest.Outputs(result); got["changed"] != "2" {
		t.Errorf("got outputs %v, want changed=2", got)
	}
}

func TestOutputs(t *testing.T) {
	root := t.TempDir()
	fill(t, root)
	options := steptest.Options{"mode=a=rX", "path=/data", "recursive=true"}
	for _, want := range []string{"map[changed:4]", "map[skipped:unchanged]"} {
		result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
		check(t, result.Err)
		if got := fmt.Sprint(steptest.Outputs(result)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check(t, os.Chmod(root+"/data", 0o755)) // so that an ordinary user can remove the tree
	check(t, os.Chmod(root+"/data/bin", 0o755))
}

func TestFaults(t *testing.T) {
	for path, want := range map[string]int{"/nothing": 66, "/data/out": 78, "/data/dangling": 78, "/data/loop": 78, "/data/file/x": 66} {
		root := t.TempDir()
		fill(t, root)
		options := steptest.Options{"mode=0600", "path=" + path, "recursive=true"}
		result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
		if got := fault.ExitCode(result.Err); got != want || !strings.Contains(result.Err.Error(), path) {
			t.Errorf("%s: got %v (%d), want %d", path, result.Err, got, want)
		}
		modes(map[string]uint32{"outside": 0o644, "data": 0o755})(t, root)
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"mode=0600", "path=/data", "path=/b", "recursive=true"})
	want := []step.Effect{{Verb: step.Write, Object: "/data/..."}, {Verb: step.Write, Object: "/b/..."}}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
	err := steptest.Fault(t, Kind, nil)
	if want := "no mode is given\nno path is given"; fault.KindOf(err) != fault.Usage || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
