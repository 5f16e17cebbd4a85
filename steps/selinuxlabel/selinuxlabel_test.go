package selinuxlabel

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/selinux"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	first  = "system_u:object_r:container_file_t:s0"
	second = "system_u:object_r:container_file_t:s0:c1,c2"
)

// needLabels skips a test where labels cannot be set: they take CAP_SYS_ADMIN while SELinux is off.
func needLabels(t *testing.T) {
	t.Helper()
	file := t.TempDir() + "/probe"
	check(t, os.WriteFile(file, nil, 0o644))
	if err := unix.Setxattr(file, selinux.Attribute, []byte(first), 0); err != nil {
		t.Skipf("no label can be set here: %v (root can, where SELinux is off)", err)
	}
}

// fill makes a small tree, with links out of it and to nothing.
func fill(t *testing.T, root string) steptest.Options {
	check(t, os.MkdirAll(root+"/data/dir", 0o755))
	check(t, os.WriteFile(root+"/data/dir/file", nil, 0o644))
	check(t, os.WriteFile(root+"/outside", nil, 0o644))
	check(t, os.Symlink("../outside", root+"/data/out"))
	check(t, os.Symlink("nowhere", root+"/data/dangling"))
	return nil
}

// labelled returns a check of labels, "" for none.
func labelled(want map[string]string) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		for name, label := range want {
			has := make([]byte, 100)
			n, err := unix.Lgetxattr(root+"/"+name, selinux.Attribute, has)
			if got := strings.TrimSuffix(string(has[:max(n, 0)]), "\x00"); got != label {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, label)
			}
		}
	}
}

func TestConform(t *testing.T) {
	needLabels(t)
	steptest.Conform(t, Kind, nil,
		steptest.Case{
			Name: "tree", Options: steptest.Options{"context=" + second, "path=/data", "recursive=true"}, Setup: fill,
			Check: labelled(map[string]string{"data": second, "data/dir": second, "data/dir/file": second, "data/out": second, "data/dangling": second, "outside": ""}),
		},
		steptest.Case{
			Name: "one", Options: steptest.Options{"context=" + first, "path=/data"}, Setup: fill,
			Check: labelled(map[string]string{"data": first, "data/dir": ""}),
		},
		steptest.Case{
			Name: "without the zero byte", Options: steptest.Options{"context=" + first, "path=/outside"},
			Setup: func(t *testing.T, root string) steptest.Options {
				fill(t, root)
				check(t, unix.Setxattr(root+"/outside", selinux.Attribute, []byte(first), 0))
				return nil
			},
			Check: labelled(map[string]string{"outside": first}),
		},
	)
}

func run(t *testing.T, root string, options ...string) (outputs map[string]string, err error) {
	t.Helper()
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
	return steptest.Outputs(result), result.Err
}

func TestOutputs(t *testing.T) {
	needLabels(t)
	root := t.TempDir()
	fill(t, root)
	for _, want := range []string{"map[changed:5 selinux:off]", "map[selinux:off skipped:unchanged]"} {
		outputs, err := run(t, root, "context="+first, "path=/data", "recursive=true")
		if got := fmt.Sprint(outputs); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestFaults(t *testing.T) {
	if _, err := run(t, t.TempDir(), "context="+first, "path=/missing"); fault.ExitCode(err) != 66 {
		t.Errorf("a path that does not exist: got %v", err)
	}
	for _, options := range []steptest.Options{{}, {"path=/a"}, {"context=" + first}, {"context=t", "path=/a"}, {"context=" + first, "path="}} {
		if err := steptest.Fault(t, Kind, options); fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %v", options, err)
		}
	}
	for cause, want := range map[error]fault.Kind{
		syscall.ENOTSUP: fault.Unsupported, syscall.EROFS: fault.CantCreate, syscall.EINVAL: fault.Data, syscall.EPERM: fault.Permission,
		syscall.EACCES: fault.Permission,
	} {
		if got := fault.KindOf(explain(fmt.Errorf("set a label: %w", cause), selinux.Enforcing)); got != want {
			t.Errorf("%v: got %v, want %v", cause, got, want)
		}
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"context=" + first, "path=/a", "path=/b/", "recursive=true"})
	want := []step.Effect{{Verb: step.Write, Object: "/a/..."}, {Verb: step.Write, Object: "/b/..."}}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
}
