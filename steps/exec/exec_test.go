package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell returns the options of a shell script with further ones.
func shell(script string, options ...string) steptest.Options {
	return append(steptest.Options{"command=sh", "command=-c", "command=" + script}, options...)
}

// execute runs the step over root and returns what it wrote and what became of it.
func execute(t *testing.T, ctx context.Context, root string, environ []string, options steptest.Options) (string, run.Result) {
	t.Helper()
	var out strings.Builder
	runner := steptest.Runner(root, environ...)
	runner.World.Streams = run.Streams{Out: &out, Err: &out}
	result := runner.Run(ctx, &plan.Plan{Root: plan.Sequence{steptest.Task(t, Kind, options)}})
	return out.String(), result
}

// outputs returns the outputs of the one task of a result.
func outputs(result run.Result) map[string]string {
	for _, r := range result.Tasks {
		return steptest.Outputs(r)
	}
	return nil
}

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, steptest.Options{"command=sleep", "command=1000"},
		steptest.Case{Name: "plain", Options: steptest.Options{"command=true"}},
		steptest.Case{
			Name:    "in a folder",
			Options: shell(`test -e "$NAME" || echo "$VALUE" > "$NAME"`, "dir=/work", "env=NAME=a,b", "env-from=VALUE=file:/secret"),
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.Mkdir(root+"/work", 0o755))
				check(t, os.WriteFile(root+"/secret", []byte("s3cret\n"), 0o600))
				return nil
			},
			Check: func(t *testing.T, root string) {
				if got, err := os.ReadFile(root + "/work/a,b"); err != nil || string(got) != "s3cret\n" {
					t.Errorf("got %q, %v, want the secret", got, err)
				}
			},
		},
	)
}

func TestStatusIsMapped(t *testing.T) {
	for _, c := range []struct {
		script, says, status string
		code                 int
		kind                 fault.Kind
	}{
		{"exit 1", "exec: sh: exit status 1", "1", 75, fault.Temporary},
		{"exit 64", "exec: sh: exit status 64", "64", 64, fault.Usage},
		{"exit 67", "exec: sh: exit status 67", "67", 75, fault.Temporary},
		{"exit 69", "exec: sh: exit status 69", "69", 69, fault.Unavailable},
		{"exit 77", "exec: sh: exit status 77", "77", 77, fault.Permission},
		{"exit 126", "exec: sh: exit status 126", "126", 77, fault.Permission},
		{"exit 127", "exec: sh: exit status 127", "127", 66, fault.NoInput},
		{"exit 143", "exec: sh: exit status 143", "143", 75, fault.Temporary},
		{"exit 255", "exec: sh: exit status 255", "255", 75, fault.Temporary},
		{"kill -9 $$", "exec: sh: killed by SIGKILL", "137", 137, fault.Temporary},
		{"kill -15 $$", "exec: sh: killed by SIGTERM", "143", 143, fault.Temporary},
		{"ulimit -c 0; kill -11 $$", "exec: sh: killed by SIGSEGV", "139", 139, fault.Temporary},
	} {
		_, result := execute(t, t.Context(), "", nil, shell(c.script))
		err := result.Err
		if err == nil || err.Error() != c.says || fault.ExitCode(err) != c.code || fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, %d, %v; want %s, %d, %v", c.script, err, fault.ExitCode(err), fault.KindOf(err), c.says, c.code, c.kind)
		}
		if got := outputs(result)["exit-status"]; got != c.status {
			t.Errorf("%s: got exit-status %q, want %q", c.script, got, c.status)
		}
	}
	if _, result := execute(t, t.Context(), "", nil, shell("kill -9 $$")); !strings.Contains(fault.HintOf(result.Err), "memory limit") {
		t.Errorf("got hint %q, want one about memory", fault.HintOf(result.Err))
	}
}

func TestRetriesUntilItSucceeds(t *testing.T) {
	dir := t.TempDir()
	task := steptest.Task(t, Kind, shell("echo x >> tries; test $(wc -l < tries) -ge 3", "dir="+dir))
	if task.Policy.Retries != 0 || task.Policy.Timeout != 0 {
		t.Errorf("got policy %+v, want neither retries nor a timeout", task.Policy)
	}
	task.Policy.Retries = 5
	result := steptest.Run(t.Context(), task, "")
	if result.Err != nil || result.Attempts != 3 || steptest.Outputs(result)["exit-status"] != "0" {
		t.Errorf("got %v after %d attempts, outputs %v; want success after 3", result.Err, result.Attempts, result.Outputs)
	}
}

func TestEnvironment(t *testing.T) {
	root := t.TempDir()
	check(t, os.WriteFile(root+"/token", []byte("from file\n"), 0o600))
	environ := []string{"PATH=" + os.Getenv("PATH"), "KEPT=kept", "A=old", "OTHER=from env", "TRACEPARENT=00-1-2-01"}
	script := `echo "$KEPT|$A|$B|$C|$TRACEPARENT"; env | grep -c ^A=`
	out, result := execute(t, t.Context(), root, environ,
		shell(script, "env=A=new=1,2", "env-from=B=file:/token", "env-from=C=env:OTHER"))
	check(t, result.Err)
	if want := "kept|new=1,2|from file|from env|00-1-2-01\n1\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	root := t.TempDir()
	check(t, os.WriteFile(root+"/zero", []byte("s3cr\x00et"), 0o600))
	for ref, want := range map[string]fault.Kind{
		"file:/nothing": fault.NoInput, "env:NOTHING": fault.NoInput, "file:/zero": fault.Data,
	} {
		_, result := execute(t, t.Context(), root, nil, shell("echo ran", "env-from=A="+ref))
		if fault.KindOf(result.Err) != want || strings.Contains(fmt.Sprint(result.Err), "s3cr") {
			t.Errorf("%s: got %v (%v), want %v", ref, result.Err, fault.KindOf(result.Err), want)
		}
	}
}

func TestCommandsThatDoNotStart(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/plain", []byte("#!/bin/sh\n"), 0o644))
	check(t, os.WriteFile(dir+"/uninterpreted", []byte("#!/nonexistent/sh\n"), 0o755))
	check(t, os.WriteFile(dir+"/foreign", []byte("\x7fELF of another machine"), 0o755))
	for _, c := range []struct {
		options steptest.Options
		code    int
		says    string
		hint    string
	}{
		{steptest.Options{"command=no-such-command"}, 66, "start no-such-command: not found in PATH, ", "image"},
		{steptest.Options{"command=" + dir + "/nothing"}, 66, "/nothing: no such file or directory", ""},
		{steptest.Options{"command=" + dir + "/plain"}, 77, "/plain: permission denied", "execute bit"},
		{steptest.Options{"command=" + dir}, 77, "permission denied", "must be a file"},
		{steptest.Options{"command=plain", "env=PATH=" + dir}, 77, "/plain: permission denied", "execute bit"},
		{steptest.Options{"command=sh", "env=PATH=bin:."}, 66, "not found in PATH, bin:.", "shell"},
		{steptest.Options{"command=" + dir + "/uninterpreted"}, 66, "no such file or directory", "interpreter"},
		{steptest.Options{"command=" + dir + "/foreign"}, 71, "exec format error", "architecture"},
		{steptest.Options{"command=true", "dir=" + dir + "/nothing"}, 66, "enter " + dir + "/nothing: no such", ""},
		{steptest.Options{"command=true", "dir=" + dir + "/plain"}, 66, "not a directory", ""},
	} {
		for _, replace := range []bool{false, true} {
			if replace && (c.hint == "interpreter" || c.hint == "architecture") {
				continue // only execve(2) finds out
			}
			_, result := execute(t, t.Context(), "", nil, append(slices.Clone(c.options), fmt.Sprint("replace=", replace)))
			err := result.Err
			if fault.ExitCode(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v: got %v (%d), hint %q; want %q (%d)", c.options, err, fault.ExitCode(err), fault.HintOf(err), c.says, c.code)
			}
		}
	}
}

func TestCommandIsLookedUpInItsOwnPath(t *testing.T) {
	root := t.TempDir()
	check(t, os.MkdirAll(root+"/bin", 0o755))
	check(t, os.WriteFile(root+"/bin/job", []byte("#!/bin/sh\necho job $0\n"), 0o755))
	for _, options := range []steptest.Options{
		{"command=job", "env=PATH=/nonexistent:" + root + "/bin"},
		{"command=" + root + "/bin/job"},
		{"command=bin/job", "dir=" + root},
	} {
		out, result := execute(t, t.Context(), "", nil, options)
		if want := "job " + root + "/bin/job\n"; result.Err != nil || out != want {
			t.Errorf("%v: got %q, %v, want %q", options, out, result.Err, want)
		}
	}
}

// whenReady returns a context that ends with cause once the script has made the file ready in dir.
func whenReady(t *testing.T, dir string, cause error) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	check(t, syscall.Mkfifo(dir+"/ready", 0o600))
	go func() {
		_, _ = os.ReadFile(dir + "/ready") // returns when the script has opened and closed it
		cancel(cause)
	}()
	return ctx
}

func TestSignalToSlipwayIsNotTheCommands(t *testing.T) {
	for name, script := range map[string]string{
		"dies":          `: > ready; exec sleep 1000`,
		"ends well":     `trap 'exit 0' TERM; : > ready; while :; do sleep 0.01; done`,
		"is done wrong": `trap 'exit 65' TERM; : > ready; while :; do sleep 0.01; done`,
		"is deaf":       `trap '' TERM; : > ready; exec sleep 1000`,
	} {
		dir := t.TempDir()
		ctx := whenReady(t, dir, &fault.Signal{Signal: syscall.SIGTERM})
		_, result := execute(t, ctx, "", nil, shell(script, "dir="+dir))
		if got := fault.ExitCode(result.Err); got != 143 || !strings.HasPrefix(result.Err.Error(), "exec: ended by SIGTERM") {
			t.Errorf("%s: got %v (%d), want 143", name, result.Err, got)
		}
		if got := fault.HintOf(result.Err); got != "" {
			t.Errorf("%s: got the advice %q, want none on what slipway did itself", name, got)
		}
	}
}

func TestTimeoutIsNotTheCommands(t *testing.T) {
	for _, script := range []string{"exec sleep 1000", `trap 'exit 0' TERM; while :; do sleep 0.01; done`} {
		task := steptest.Task(t, Kind, shell(script))
		task.Policy.Timeout = 200 * time.Millisecond
		result := steptest.Run(t.Context(), task, "")
		if got := fault.ExitCode(result.Err); got != 69 || !strings.HasPrefix(result.Err.Error(), "exec: timed out after 200ms") {
			t.Errorf("%s: got %v (%d), want 69", script, result.Err, got)
		}
	}
}

func TestNeighboursFailureCancels(t *testing.T) {
	waiting := steptest.Task(t, Kind, steptest.Options{"command=sleep", "command=1000"})
	failing := steptest.Task(t, Kind, steptest.Options{"command=false"})
	result := steptest.Runner("").Run(t.Context(), &plan.Plan{Root: plan.Sequence{plan.Parallel{waiting, failing}}})
	if got := result.Tasks[waiting].State; result.Task != failing || got != run.Cancelled {
		t.Errorf("got %v and %v, want the failure and one cancelled", result.Err, got)
	}
}

func TestReplaceLeavesTheCommandToTheEnd(t *testing.T) {
	dir := t.TempDir()
	environ := []string{"PATH=/nonexistent", "A=old"}
	_, result := execute(t, t.Context(), "", environ, steptest.Options{
		"command=sh", "command=-c", "command=exit 42", "replace=true", "dir=" + dir, "env=A=new", "env=PATH=/bin:/usr/bin",
	})
	check(t, result.Err)
	want := &run.Replacement{
		Path: "/bin/sh", Args: []string{"sh", "-c", "exit 42"}, Env: []string{"A=new", "PATH=/bin:/usr/bin"}, Dir: dir,
	}
	if got := result.Replace; got == nil || fmt.Sprint(*got) != fmt.Sprint(*want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A relative command is below --dir, whether that is relative itself or not, and never looked up in PATH.
func TestRelativeCommandIsBelowRelativeDir(t *testing.T) {
	root := t.TempDir()
	check(t, os.Mkdir(root+"/sub", 0o755))
	script := "#!/bin/sh\necho below\n"
	check(t, os.WriteFile(root+"/sub/ls", []byte(script), 0o755))
	for dir, cwd := range map[string]string{"sub": root, ".": root + "/sub"} {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(cwd)
			out, result := execute(t, t.Context(), "", nil, steptest.Options{"command=./ls", "dir=" + dir})
			if out != "below\n" {
				t.Errorf("got %q and %v, want what the script says", out, result.Err)
			}
			_, result = execute(t, t.Context(), "", nil, steptest.Options{"command=./ls", "dir=" + dir, "replace=true"})
			if result.Replace == nil || result.Replace.Path != root+"/sub/ls" {
				t.Errorf("got %v and %v, want it to become %s/sub/ls", result.Replace, result.Err, root)
			}
		})
	}
}

func TestEffects(t *testing.T) {
	task := steptest.Task(t, Kind, steptest.Options{
		"command=/app/job", "command=--password=x", "env-from=A=file:/secret", "env-from=B=env:C", "kill-after=20s",
	})
	want := []step.Effect{{Verb: step.Execute, Object: "/app/job"}, {Verb: step.Read, Object: "/secret"}}
	if !slices.Equal(task.Effects, want) || task.Policy.Grace != 20*time.Second {
		t.Errorf("got %v, grace %s; want %v, 20s", task.Effects, task.Policy.Grace, want)
	}
	task = steptest.Task(t, Kind, steptest.Options{"command=/app/server", "replace=true"})
	if want := []step.Effect{{Verb: step.Replace, Object: "/app/server"}}; !slices.Equal(task.Effects, want) {
		t.Errorf("got %v, want %v", task.Effects, want)
	}
}

func TestFaultsAreToldAtOnceAndWithoutValues(t *testing.T) {
	err := steptest.Fault(t, Kind, steptest.Options{
		"env=s3cret", "env==s3cret", "env=A=1", "env-from=A=file:/x", "env-from=B=s3cret", "kill-after=0s",
	})
	want := strings.Join([]string{
		"env: item 1 is not NAME=VALUE",
		"env: item 2 is not NAME=VALUE",
		"env-from: A is set twice",
		"env-from: B: not a reference: write file:PATH or env:NAME, never the value itself",
		"no command is given",
		"kill-after: 0s is not a positive duration",
	}, "\n")
	if fault.KindOf(err) != fault.Usage || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if errors.Unwrap(err) != nil {
		t.Error("want a joined error")
	}
}
