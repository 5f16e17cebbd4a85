package touch

import (
	"context"
	"fmt"
	"io"
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

// given returns an owner that the test may give its files: another one for root, its own for an ordinary user.
func given() string {
	if os.Geteuid() == 0 {
		return "4242:4243"
	}
	return fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want returns a check of the bits, the owner and the content of files.
func want(files map[string]string) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		for name, want := range files {
			e, err := filetree.Find(root + name)
			check(t, err)
			f, err := os.Open(root + name)
			check(t, err)
			content, err := io.ReadAll(f)
			check(t, err)
			check(t, f.Close())
			if got := fmt.Sprintf("%04o %d:%d %s", e.Bits, e.UID, e.GID, content); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

func TestConform(t *testing.T) {
	mine := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	steptest.Conform(t, Kind, nil,
		steptest.Case{
			Name:    "new",
			Options: steptest.Options{"path=/a", "path=/b c"},
			Check:   want(map[string]string{"/a": "0644 " + mine + " ", "/b c": "0644 " + mine + " "}),
		},
		steptest.Case{
			Name:    "set-user-ID bit beside an owner",
			Options: steptest.Options{"path=/a", "mode=4711", "owner=" + given()},
			Check: func(t *testing.T, root string) {
				e, err := filetree.Find(root + "/a")
				check(t, err)
				if got := fmt.Sprintf("%04o %d:%d", e.Bits, e.UID, e.GID); got != "4711 "+given() {
					t.Errorf("got %s, want 4711 %s", got, given())
				}
			},
		},
		steptest.Case{
			Name:    "mends",
			Options: steptest.Options{"path=/a", "mode=0660", "owner=" + given()},
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.WriteFile(root+"/a", []byte("kept"), 0o600))
				return nil
			},
			Check: want(map[string]string{"/a": "0660 " + given() + " kept"}),
		},
		steptest.Case{
			Name:    "leaves alone",
			Options: steptest.Options{"path=/a", "path=/link", "path=/fifo"},
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.WriteFile(root+"/a", []byte("kept"), 0o600))
				check(t, os.Symlink("a", root+"/link"))
				check(t, syscall.Mkfifo(root+"/fifo", 0o600))
				return nil
			},
			Check: want(map[string]string{"/a": "0600 " + mine + " kept"}),
		},
	)
}

// touch runs the step over root.
func touch(t *testing.T, root string, options ...string) run.TaskResult {
	t.Helper()
	return steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
}

func TestUmaskTakesNothingAway(t *testing.T) {
	root := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o077))
	check(t, touch(t, root, "path=/a").Err)
	want(map[string]string{"/a": fmt.Sprintf("0644 %d:%d ", os.Geteuid(), os.Getegid())})(t, root)
}

func TestOutputs(t *testing.T) {
	root := t.TempDir()
	for _, want := range []string{"map[changed:2]", "map[skipped:unchanged]"} {
		result := touch(t, root, "path=/a", "path=/b")
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
	check(t, os.Symlink("file", root+"/link"))
	for _, c := range []struct {
		options steptest.Options
		code    int
		says    string
	}{
		{steptest.Options{"path=/dir"}, 73, "it is a directory"},
		{steptest.Options{"path=/missing/a"}, 73, "no such file or directory"},
		{steptest.Options{"path=/file/a"}, 73, "not a directory"},
		{steptest.Options{"path=/dangling"}, 73, "it is a symbolic link to nothing"},
		{steptest.Options{"path=/loop"}, 73, "too many levels of symbolic links"},
		{steptest.Options{"path=/" + strings.Repeat("n", 256)}, 73, "file name too long"},
		{steptest.Options{"path=/link", "mode=0600"}, 78, "is a symbolic link"},
		{steptest.Options{"path=/link", "owner=4242"}, 78, "is a symbolic link"},
	} {
		result := touch(t, root, c.options...)
		if got := fault.ExitCode(result.Err); got != c.code || !strings.Contains(fmt.Sprint(result.Err), c.says) {
			t.Errorf("%v: got %v (%d), want %q (%d)", c.options, result.Err, got, c.says, c.code)
		}
	}
	if _, err := os.Lstat(root + "/nowhere"); err == nil {
		t.Error("a file was created through a link")
	}
	want(map[string]string{"/file": fmt.Sprintf("0644 %d:%d ", os.Geteuid(), os.Getegid())})(t, root)
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"path=/a", "owner=1:1"})
	want := []step.Effect{{Verb: step.Write, Object: "/a"}, {Verb: step.Own, Object: "/a"}}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
	for _, options := range []steptest.Options{nil, {"path="}, {"path=/a", "mode=rwx"}, {"path=/a", "owner=app"}} {
		steptest.Fault(t, Kind, options)
	}
}
