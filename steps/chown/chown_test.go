package chown

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
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

// fill makes a small tree: data with a directory, files, and links into and out of it.
func fill(t *testing.T, root string) steptest.Options {
	check(t, os.MkdirAll(root+"/data/logs", 0o755))
	check(t, os.WriteFile(root+"/outside", nil, 0o644))
	check(t, os.WriteFile(root+"/data/logs/a\nb", nil, 0o644))
	check(t, os.Symlink("../outside", root+"/data/out"))
	check(t, os.Symlink("nowhere", root+"/data/dangling"))
	check(t, os.Symlink(".", root+"/data/loop"))
	return nil
}

func ownerOf(t *testing.T, name string) string {
	t.Helper()
	info, err := os.Lstat(name)
	check(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Uid, stat.Gid)
}

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, nil,
		steptest.Case{
			Name:    "recursive",
			Options: steptest.Options{"owner=" + given(), "path=/data", "recursive=true"},
			Setup:   fill,
			Check: func(t *testing.T, root string) {
				for _, name := range []string{"", "/logs", "/logs/a\nb", "/out", "/dangling", "/loop"} {
					if got := ownerOf(t, root+"/data"+name); got != given() {
						t.Errorf("data%s: got %s, want %s", name, got, given())
					}
				}
				if got := ownerOf(t, root+"/outside"); os.Geteuid() == 0 && got != "0:0" {
					t.Errorf("outside: got %s, want 0:0", got)
				}
			},
		},
		steptest.Case{
			Name:    "one",
			Options: steptest.Options{"owner=" + given(), "path=/data", "path=/outside"},
			Setup:   fill,
			Check: func(t *testing.T, root string) {
				if got := ownerOf(t, root+"/data"); got != given() {
					t.Errorf("got %s, want %s", got, given())
				}
				if got := ownerOf(t, root+"/data/logs"); os.Geteuid() == 0 && got != "0:0" {
					t.Errorf("got %s below a path without --recursive, want 0:0", got)
				}
			},
		},
		steptest.Case{Name: "link", Options: steptest.Options{"owner=" + given(), "path=/data/dangling"}, Setup: fill},
	)
}

// recorded runs the step over a filled root with an owner that nobody has, and returns what was given away.
func recorded(t *testing.T, chownAt error, options ...string) (names []string, result run.TaskResult) {
	t.Helper()
	root := t.TempDir()
	fill(t, root)
	var mu sync.Mutex
	runner := steptest.Runner(root)
	runner.World.ChownAt = func(_ int, name string, uid, gid int) error {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, fmt.Sprintf("%s %d:%d", filepath.Base(name), uid, gid))
		return chownAt
	}
	task := steptest.Task(t, Kind, options)
	result = runner.Run(context.Background(), &plan.Plan{Root: plan.Sequence{task}}).Tasks[task]
	slices.Sort(names)
	return names, result
}

func TestGroupAlone(t *testing.T) {
	names, result := recorded(t, nil, "owner=:4243", "path=/data", "recursive=true")
	want := []string{"a\nb -1:4243", "dangling -1:4243", "data -1:4243", "logs -1:4243", "loop -1:4243", "out -1:4243"}
	if result.Err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q, %v, want %q", names, result.Err, want)
	}
	if got := steptest.Outputs(result); len(got) != 1 || got["changed"] != "6" {
		t.Errorf("got outputs %v, want changed=6", got)
	}
}

func TestSecondRunIsSkipped(t *testing.T) {
	root := t.TempDir()
	fill(t, root)
	options := steptest.Options{"owner=" + ownerOf(t, root+"/data"), "path=/data/logs"}
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
	if got := steptest.Outputs(result); result.Err != nil || len(got) != 1 || got[step.Skipped] != "unchanged" {
		t.Errorf("got %v, %v, want skipped", got, result.Err)
	}
}

func TestNotPermitted(t *testing.T) {
	names, result := recorded(t, syscall.EPERM, "owner=4242", "path=/data", "recursive=true")
	if fault.ExitCode(result.Err) != 77 || len(names) != 1 || result.Attempts != 1 {
		t.Errorf("got %v after %q in %d attempts, want 77 after one", result.Err, names, result.Attempts)
	}
	for _, word := range []string{"CHOWN", "capabilities.add", "fsGroup"} {
		if hint := fault.HintOf(result.Err); !strings.Contains(hint, word) {
			t.Errorf("got hint %q, want %s in it", hint, word)
		}
	}
}

func TestMissingPath(t *testing.T) {
	_, result := recorded(t, nil, "owner=4242", "path=/data", "path=/nothing")
	if fault.ExitCode(result.Err) != 66 || !strings.Contains(result.Err.Error(), "/nothing: no such file or directory") {
		t.Errorf("got %v, want 66", result.Err)
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"owner=1:1", "path=/data/", "path=/b", "recursive=true"})
	want := []step.Effect{{Verb: step.Own, Object: "/data/..."}, {Verb: step.Own, Object: "/b/..."}}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
	err := steptest.Fault(t, Kind, nil)
	if want := "no owner is given\nno path is given"; fault.KindOf(err) != fault.Usage || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := steptest.Fault(t, Kind, steptest.Options{"owner=app:app", "path=/data"}); !strings.Contains(err.Error(), "not a numeric id") {
		t.Errorf("got %v, want a fault of the name", err)
	}
}
