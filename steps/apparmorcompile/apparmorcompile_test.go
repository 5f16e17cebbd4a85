package apparmorcompile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/apparmor"
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

// needParser skips a test without the parser; the end-to-end tests, which CI runs, install it.
func needParser(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(apparmor.Parser); err != nil {
		t.Skipf("%v (apt-get install apparmor)", err)
	}
}

const text = `profile web {
  file,
  network,
  deny /denied/** wl,
}
`

func fill(t *testing.T, root string) steptest.Options {
	check(t, os.WriteFile(root+"/web.profile", []byte(text), 0o644))
	features, err := os.ReadFile(abis + "/3.0")
	check(t, err)
	check(t, os.MkdirAll(root+abis, 0o755))
	check(t, os.WriteFile(root+abis+"/3.0", features, 0o644))
	return steptest.Options{"profile=/web.profile", "dest=/web.aa"}
}

func TestConform(t *testing.T) {
	needParser(t)
	steptest.Conform(t, Kind, nil, steptest.Case{
		Name: "a profile", Setup: fill, Environ: os.Environ(),
		Check: func(t *testing.T, root string) {
			content, err := os.ReadFile(root + "/web.aa")
			check(t, err)
			if policy, err := apparmor.Parse(content); err != nil || policy.String() != "web (enforce)" {
				t.Errorf("got %v, %v", policy, err)
			}
		},
	})
}

func run(t *testing.T, root string, options ...string) (outputs map[string]string, err error) {
	t.Helper()
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root, os.Environ()...)
	return steptest.Outputs(result), result.Err
}

func TestCompile(t *testing.T) {
	needParser(t)
	root := t.TempDir()
	options := fill(t, root)
	for _, want := range []string{
		"map[features:/etc/apparmor.d/abi/3.0 profiles:web (enforce)]",
		"map[features:/etc/apparmor.d/abi/3.0 profiles:web (enforce) skipped:unchanged]",
	} {
		if outputs, err := run(t, root, options...); fmt.Sprint(outputs) != want || err != nil {
			t.Errorf("got %v, %v, want %s", outputs, err, want)
		}
	}
	// A kernel without rules for the network: the parser leaves them out.
	check(t, os.WriteFile(root+"/old", []byte("policy {versions {v5 {yes\n}\n}\n}\nfile {mask {create read write exec append mmap_exec link lock\n}\n}\n"), 0o644))
	if _, err := run(t, root, append(options, "features=/old")...); err != nil {
		t.Errorf("a rule that is left out: %v", err)
	}
	if _, err := run(t, root, append(options, "features=/old", "strict=true")...); fault.ExitCode(err) != 65 || !strings.Contains(fmt.Sprint(err), "rules not enforced") {
		t.Errorf("a rule that is left out, with --strict: got %v", err)
	}
	check(t, os.WriteFile(root+"/wrong.profile", []byte("profile web {\n  file,\n  netwrk,\n}\n"), 0o644))
	_, err := run(t, root, "profile=/wrong.profile", "dest=/wrong.aa")
	if fault.ExitCode(err) != 65 || !strings.Contains(fmt.Sprint(err), "line 3") {
		t.Errorf("a rule that is none: got %v", err)
	}
	if _, err := os.Lstat(root + "/wrong.aa"); err == nil {
		t.Error("there is a policy of it")
	}
	if _, err := run(t, root, "profile=/missing", "dest=/x"); fault.ExitCode(err) != 66 {
		t.Errorf("no file: got %v", err)
	}
}

func TestNewest(t *testing.T) {
	env := &step.Env{Root: t.TempDir()}
	if _, err := newest(env); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("got %v", err)
	}
	check(t, os.MkdirAll(env.Path(abis), 0o755))
	for _, name := range []string{"3.0", "10.0", "4.0", "kernel-5.4-vanilla"} {
		check(t, os.WriteFile(env.Path(abis+"/"+name), nil, 0o644))
	}
	if got, err := newest(env); got != abis+"/10.0" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{"profile=/a", "dest=/b", "features=/f"})
	want := []step.Effect{
		{Verb: step.Read, Object: "/a"}, {Verb: step.Read, Object: "/f"}, {Verb: step.Execute, Object: "apparmor_parser"}, {Verb: step.Write, Object: "/b"},
	}
	if !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
	if err := steptest.Fault(t, Kind, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}
