package report_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/report"
	"github.com/slipway-init/slipway/internal/run"
)

func TestFailureLeadsWithCauseAndHint(t *testing.T) {
	wait, made := &plan.Task{ID: "wait-for"}, &plan.Task{ID: "mkdir"}
	err := fault.Hint(fault.New(fault.Unavailable, "wait-for: timed out after 2s: tcp://db:5432:\n connection refused"), "is the database in this namespace?")
	got := report.Compose(&plan.Plan{Root: plan.Sequence{wait, made}}, run.Result{
		Err: err, Task: wait, Elapsed: 2003 * time.Millisecond,
		Tasks: map[*plan.Task]run.TaskResult{
			wait: {State: run.Failed, Err: err, Duration: 2 * time.Second, Attempts: 7},
			made: {State: run.Pending},
		},
	}, "0af7651916cd43dd8448eb211c80319c")
	const want = `wait-for: timed out after 2s: tcp://db:5432: connection refused
hint: is the database in this namespace?
step=wait-for
exit=69
reason=unavailable
attempts=7
duration=2.003s
trace-id=0af7651916cd43dd8448eb211c80319c
wait-for: failed 2s
mkdir: pending
`
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

func TestOfManyFaultsTheFirstLeads(t *testing.T) {
	got := report.Fault(fault.As(fault.Usage, plan.Faults{
		{Pos: plan.Pos{File: "p.yaml", Line: 2, Column: 3}, Message: `there is no step "mkdri"`, Hint: "did you mean mkdir?"},
		{Pos: plan.Pos{File: "p.yaml", Line: 4, Column: 3}, Message: "mkdir: no path is given"},
	}))
	const want = `2 faults in the plan: p.yaml:2:3: there is no step "mkdri"
hint: did you mean mkdir?
exit=64
reason=usage
p.yaml:4:3: mkdir: no path is given
`
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

func TestSuccessTellsOutputs(t *testing.T) {
	clone := &plan.Task{ID: "git-clone"}
	got := report.Compose(&plan.Plan{Root: plan.Sequence{clone}}, run.Result{
		Elapsed: 1234 * time.Microsecond,
		Tasks: map[*plan.Task]run.TaskResult{clone: {
			State: run.Done, Duration: time.Millisecond,
			Outputs: []run.Output{{Key: "commit", Value: "abc"}, {Key: "note", Value: "two words\n"}},
		}},
	}, "")
	const want = "1 step done in 1.2ms\nexit=0\nduration=1.2ms\ngit-clone: done 1ms\ngit-clone.commit=abc\ngit-clone.note=\"two words\\n\"\n"
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

func TestWriteMakesOnlyAFileThatWasAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	if err := report.Write(path, []byte("a long first report\n")); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(path, []byte("short\n")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "short\n" {
		t.Errorf("got %q", got)
	}
}

// checkReport is what holds for every report.
func checkReport(t *testing.T, content []byte) {
	t.Helper()
	if len(content) > report.Max {
		t.Errorf("%d bytes", len(content))
	}
	if !utf8.Valid(content) {
		t.Errorf("not UTF-8: %q", content)
	}
	if !strings.HasSuffix(string(content), "\n") {
		t.Errorf("does not end in a line feed: %q", content)
	}
}

func FuzzReport(f *testing.F) {
	f.Add("dial tcp 10.0.0.7:443: connection refused", "look at the service", "git-clone", "commit", "abc", 3)
	f.Add(strings.Repeat("é", 600), strings.Repeat("\xff", 300), strings.Repeat("n", 5000), "k", strings.Repeat("\n", 9000), 400)
	f.Fuzz(func(t *testing.T, cause, hint, id, key, value string, tasks int) {
		if cause == "" {
			cause = "x"
		}
		err := fault.Hint(errors.New(cause), "%s", hint)
		checkReport(t, report.Fault(err))
		var root plan.Sequence
		results := make(map[*plan.Task]run.TaskResult)
		for i := range min(max(tasks, 1), 500) {
			task := &plan.Task{ID: fmt.Sprintf("%s#%d", id, i)}
			root = append(root, task)
			results[task] = run.TaskResult{State: run.Failed, Outputs: []run.Output{{Key: key, Value: value}}}
		}
		content := report.Compose(&plan.Plan{Root: root}, run.Result{Err: err, Task: root[0].(*plan.Task), Tasks: results}, "id")
		checkReport(t, content)
		if len(strings.Fields(cause)) > 0 && len(hint) > 0 {
			first, _, _ := strings.Cut(string(content), "\nstep=")
			if len(id) < 50 && len(first) > 500 {
				t.Errorf("cause and hint take %d bytes", len(first))
			}
		}
	})
}

// A report is best effort: a named pipe without a reader would keep the process for ever.
func TestWriteDoesNotWaitForAReader(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(pipe, []byte("done\n")); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("got %v, want %v", err, syscall.ENXIO)
	}
}
