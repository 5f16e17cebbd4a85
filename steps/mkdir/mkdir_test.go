package mkdir

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/filetree"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// given returns an owner that the test may give its directories: another one for root, its own for an ordinary user.
func given() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 4242, 4243
	}
	return os.Geteuid(), os.Getegid()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe returns the bits and owner of a directory.
func describe(t *testing.T, name string) string {
	t.Helper()
	e, err := filetree.Find(name)
	check(t, err)
	if !e.Dir {
		return "no directory"
	}
	return fmt.Sprintf("%04o %d:%d", e.Bits, e.UID, e.GID)
}

// want returns a check that the named directories are as described.
func want(directories map[string]string) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		for name, want := range directories {
			if got := describe(t, root+name); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}
}

func TestConform(t *testing.T) {
	uid, gid := given()
	mine := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	owner := fmt.Sprintf("%d:%d", uid, gid)
	steptest.Conform(t, Kind, nil,
		steptest.Case{
			Name:    "parents",
			Options: steptest.Options{"path=/a/b/c", "path=/a/d", "path=/"},
			Check: want(map[string]string{
				"/a": "0755 " + mine, "/a/b": "0755 " + mine, "/a/b/c": "0755 " + mine, "/a/d": "0755 " + mine,
			}),
		},
		steptest.Case{
			Name:    "mode and owner",
			Options: steptest.Options{"path=/a/b", "mode=1777", "owner=" + owner},
			Check:   want(map[string]string{"/a": "0755 " + mine, "/a/b": "1777 " + owner}),
		},
		steptest.Case{
			Name:    "mends",
			Options: steptest.Options{"path=/a/b", "mode=0700", "owner=" + owner},
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.MkdirAll(root+"/a/b", 0o755))
				return nil
			},
			Check: want(map[string]string{"/a": "0755 " + mine, "/a/b": "0700 " + owner}),
		},
		steptest.Case{
			Name:    "leaves alone",
			Options: steptest.Options{"path=/a", "path=/link"},
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.Mkdir(root+"/a", 0o700))
				check(t, os.Symlink("a", root+"/link"))
				return nil
			},
			Check: want(map[string]string{"/a": "0700 " + mine, "/link": "no directory"}),
		},
		steptest.Case{
			Name:    "through a linked parent",
			Options: steptest.Options{"path=/link/b/c", "mode=0750"},
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.Mkdir(root+"/a", 0o755))
				check(t, os.Symlink("a", root+"/link"))
				return nil
			},
			Check: want(map[string]string{"/a/b": "0755 " + mine, "/a/b/c": "0750 " + mine}),
		},
	)
}

// mkdir runs the step over root.
func mkdir(t *testing.T, root string, options ...string) run.TaskResult {
	t.Helper()
	return steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
}

func TestInheritedGroupBitIsKept(t *testing.T) {
	root := t.TempDir()
	check(t, os.Chown(root, -1, os.Getegid()))
	check(t, os.Chmod(root, 0o775|os.ModeSetgid))
	check(t, mkdir(t, root, "path=/a/b", "mode=0770").Err)
	mine := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	want(map[string]string{"/a": "2755 " + mine, "/a/b": "2770 " + mine})(t, root)
}

func TestUmaskTakesNothingAway(t *testing.T) {
	root := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o077))
	check(t, mkdir(t, root, "path=/a/b/c").Err)
	mine := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	want(map[string]string{"/a": "0755 " + mine, "/a/b": "0755 " + mine, "/a/b/c": "0755 " + mine})(t, root)
}

func TestOutputs(t *testing.T) {
	root := t.TempDir()
	for _, want := range []string{"map[changed:2]", "map[skipped:unchanged]"} {
		result := mkdir(t, root, "path=/a", "path=/b/c")
		check(t, result.Err)
		if got := fmt.Sprint(steptest.Outputs(result)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	root := t.TempDir()
	check(t, os.WriteFile(root+"/file", nil, 0o644))
	check(t, os.Mkdir(root+"/dir", 0o755))
	check(t, os.Symlink("nowhere", root+"/dangling"))
	check(t, os.Symlink("loop", root+"/loop"))
	check(t, os.Symlink("dir", root+"/link"))
	for _, c := range []struct {
		options steptest.Options
		code    int
		says    string
	}{
		{steptest.Options{"path=/file"}, 73, "it exists and is not a directory"},
		{steptest.Options{"path=/file/a/b"}, 73, "not a directory"},
		{steptest.Options{"path=/dangling"}, 73, "it is a symbolic link to nothing"},
		{steptest.Options{"path=/dangling/a"}, 73, "it is a symbolic link to nothing"},
		{steptest.Options{"path=/loop/a"}, 73, "too many levels of symbolic links"},
		{steptest.Options{"path=/" + strings.Repeat("n", 256)}, 73, "file name too long"},
		{steptest.Options{"path=/link", "mode=0700"}, 78, "is a symbolic link"},
		{steptest.Options{"path=/link", "owner=4242"}, 78, "is a symbolic link"},
	} {
		result := mkdir(t, root, c.options...)
		if got := fault.ExitCode(result.Err); got != c.code || !strings.Contains(fmt.Sprint(result.Err), c.says) {
			t.Errorf("%v: got %v (%d), want %q (%d)", c.options, result.Err, got, c.says, c.code)
		}
	}
	mine := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	want(map[string]string{"/dir": "0755 " + mine})(t, root)
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"path=/a/", "path=/b", "owner=1:1"})
	want := []step.Effect{
		{Verb: step.Write, Object: "/a"},
		{Verb: step.Write, Object: "/b"},
		{Verb: step.Own, Object: "/a"},
		{Verb: step.Own, Object: "/b"},
	}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
	for _, options := range []steptest.Options{nil, {"path="}, {"path=/a", "mode=rwx"}, {"path=/a", "owner=app"}} {
		steptest.Fault(t, Kind, options)
	}
}
