package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/console"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
)

// story tells a console of one task that fails once, and of one that fails for good.
func story(c *console.Console) {
	good, bad := &plan.Task{ID: "wait-for"}, &plan.Task{ID: "render"}
	c.Start(good)
	c.Start(bad)
	c.Retry(good, run.Retry{Part: "tcp://db:5432", Attempt: 1, Err: errors.New("connection refused"), Delay: 20 * time.Millisecond})
	c.Retry(good, run.Retry{Part: "tcp://db:5432", Attempt: 2, Err: errors.New("connection refused"), Delay: 20 * time.Millisecond})
	c.Progress(good, 1, 2)
	c.End(good, run.TaskResult{State: run.Done, Duration: 1204 * time.Millisecond, Attempts: 3, Outputs: []run.Output{{Key: "waited", Value: "1 s"}}})
	c.End(bad, run.TaskResult{State: run.Failed, Attempts: 1, Err: fault.Hint(fault.New(fault.Data, "render: no key \x1b[31mx"), "set it\nin the environment")})
	c.Close()
}

func TestTextIsForPeople(t *testing.T) {
	var out bytes.Buffer
	story(console.New(&out, console.Text, slog.LevelInfo))
	const want = `· wait-for: started
· render: started
· wait-for: trying again attempt=1 delay=20ms part=tcp://db:5432
    error: connection refused
✔ wait-for: done duration=1.2s attempts=3 waited="1 s"
✘ render: failed duration=0s attempts=1 reason=data
    error: render: no key �[31mx
    hint: set it
      in the environment
`
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

func TestJSONIsForMachines(t *testing.T) {
	var out bytes.Buffer
	story(console.New(&out, console.Auto, slog.LevelDebug)) // a buffer is no terminal
	var messages []string
	for line := range strings.Lines(out.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		messages = append(messages, entry["msg"].(string)+" "+entry["task"].(string))
	}
	want := []string{"started wait-for", "started render", "trying again wait-for", "trying again wait-for", "done wait-for", "failed render"}
	if diff := cmp.Diff(messages, want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

// A step that did not stop within its grace is left behind, and what it tells then must not end the process.
func TestWhatComesAfterTheEndIsNotTold(t *testing.T) {
	var out bytes.Buffer
	c := console.New(&out, console.Text, slog.LevelDebug)
	late := &plan.Task{ID: "late"}
	c.Start(late)
	c.End(late, run.TaskResult{State: run.Done})
	want := out.String()
	c.Retry(late, run.Retry{Attempt: 1, Err: errors.New("connection refused")})
	c.Progress(late, 1, 2)
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCommandsWriteToWhatIsNoTerminal(t *testing.T) {
	c := console.New(&bytes.Buffer{}, console.Text, slog.LevelInfo)
	if got := c.Output(os.Stdout); got != os.Stdout {
		t.Errorf("got %v", got)
	}
}
