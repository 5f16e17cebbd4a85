package seccompinstall

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}`

// fill makes a profile, and the kubelet's folder.
func fill(t *testing.T, root string) steptest.Options {
	check(t, os.MkdirAll(root+"/seccomp", 0o755))
	check(t, os.WriteFile(root+"/app.json", []byte(profile), 0o600))
	return steptest.Options{"file=/app.json", "root=/seccomp"}
}

// installed returns a check that the profile stands below the folder, for everybody to read.
func installed(name string) func(t *testing.T, root string) {
	return func(t *testing.T, root string) {
		t.Helper()
		text, err := os.ReadFile(root + "/seccomp/" + name)
		check(t, err)
		info, err := os.Stat(root + "/seccomp/" + name)
		check(t, err)
		if string(text) != profile || info.Mode() != 0o644 {
			t.Errorf("got %q, %s", text, info.Mode())
		}
	}
}

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, nil,
		steptest.Case{Name: "its own name", Setup: fill, Check: installed("app.json")},
		steptest.Case{Name: "another one", Options: steptest.Options{"localhost-profile=team/a/web.json"}, Setup: fill, Check: installed("team/a/web.json")},
		steptest.Case{
			Name: "over another profile", Check: installed("app.json"),
			Setup: func(t *testing.T, root string) steptest.Options {
				options := fill(t, root)
				check(t, os.WriteFile(root+"/seccomp/app.json", []byte(`{}`), 0o600))
				return options
			},
		},
	)
}

func run(t *testing.T, root string, options ...string) (outputs map[string]string, err error) {
	t.Helper()
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
	return steptest.Outputs(result), result.Err
}

func TestOutputs(t *testing.T) {
	root := t.TempDir()
	options := append(fill(t, root), "localhost-profile=team/app.json")
	for _, want := range []string{"map[localhostProfile:team/app.json]", "map[localhostProfile:team/app.json skipped:unchanged]"} {
		outputs, err := run(t, root, options...)
		if got := fmt.Sprint(outputs); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestFaults(t *testing.T) {
	root := t.TempDir()
	fill(t, root)
	check(t, os.WriteFile(root+"/wrong.json", []byte("{\n\"defaultAction\": \"DENY\"}"), 0o600))
	check(t, os.Symlink("/etc", root+"/seccomp/out"))
	check(t, os.Symlink("nowhere", root+"/seccomp/link.json"))
	check(t, os.Mkdir(root+"/seccomp/dir.json", 0o755))
	for _, c := range []struct {
		options steptest.Options
		code    int
		says    string
	}{
		{steptest.Options{"file=/wrong.json", "root=/seccomp"}, 65, `/wrong.json:2: "DENY" is no action`},
		{steptest.Options{"file=/missing.json", "root=/seccomp"}, 66, "/missing.json"},
		{steptest.Options{"file=/app.json", "root=/nowhere"}, 73, "/nowhere is not there"},
		{steptest.Options{"file=/app.json", "root=/seccomp", "localhost-profile=dir.json"}, 73, "it is a directory"},
		{steptest.Options{"file=/app.json", "root=/seccomp", "localhost-profile=link.json"}, 78, "symbolic link"},
		{steptest.Options{"file=/app.json", "root=/seccomp", "localhost-profile=out/app.json"}, 78, "out"},
	} {
		if _, err := run(t, root, c.options...); fault.ExitCode(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%v: got %v (%d), want %q (%d)", c.options, err, fault.ExitCode(err), c.says, c.code)
		}
	}
	if _, err := os.Lstat("/etc/app.json"); err == nil {
		t.Error("a link led out of the folder")
	}
	for _, options := range []steptest.Options{
		{}, {"file=/a", "localhost-profile=../a"}, {"file=/a", "localhost-profile=/a"}, {"file=/a", "localhost-profile=a//b"}, {"file=/a", "root=seccomp"}, {"file=/"},
	} {
		if err := steptest.Fault(t, Kind, options); fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %v", options, err)
		}
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"file=/p/app.json"})
	want := []step.Effect{
		{Verb: step.Read, Object: "/p/app.json"},
		{Verb: step.Write, Object: "/var/lib/kubelet/seccomp/app.json"},
	}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
}
