package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// kills is how often the chain is killed.
const kills = 200

// After a SIGKILL at any moment every target is whole or absent: what an earlier run wrote, or what this one writes,
// never a part. The next run succeeds and leaves no temporary files.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	binary := read(t, tools.Slipway(t))
	// Each generation writes half a megabyte of its own number, so that a part of it, or a mix, shows.
	const size = 512 << 10
	content := func(generation int) string { return strings.Repeat(fmt.Sprintf("%08d", generation), size/8) }
	chain := slipway.Command{Args: []string{
		"mkdir", target, "then",
		"write-file", target + "/written", "--from", "file:" + source, "--mode", "0640", "and",
		"render", "--inline", fmt.Sprintf(`{{ file %q }}`, source), target + "/rendered", "and",
		"install", target + "/bin", "and",
		"mkdir", target + "/a/b/c", "--mode", "0700", "then",
		"touch", target + "/a/touched", "then",
		"chmod", "0600", target + "/a/touched",
	}}
	write(t, source, content(0))
	if err := os.MkdirAll(target+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	longest := chain.Run(t)
	expect(t, longest, 0)
	complete := names(t, target)
	want := []string{"a", "a/b", "a/b/c", "a/touched", "bin", "bin/slipway", "rendered", "written"}
	if !slices.Equal(complete, want) {
		t.Fatalf("got %q, want %q", complete, want)
	}

	died := 0
	for i := 1; i <= kills; i++ {
		if i%4 == 0 { // from nothing, beside over what an earlier run left
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(target+"/bin", 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(target + "/bin/slipway"); err != nil {
			t.Fatal(err)
		}
		write(t, source, content(i))
		run := chain.Start(t)
		moment := rand.N(longest.Elapsed)
		time.Sleep(moment)
		if err := run.Kill(); err != nil && err != os.ErrProcessDone {
			t.Fatal(err)
		}
		if run.Wait(t).Exit == 128+int(syscall.SIGKILL) {
			died++
		}
		whole(t, target+"/written", content(i), content(i-1))
		whole(t, target+"/rendered", content(i), content(i-1))
		whole(t, target+"/bin/slipway", binary)
		if t.Failed() {
			t.Fatalf("after SIGKILL at %s", moment)
		}
		if again := chain.Run(t); again.Exit != 0 {
			t.Fatalf("the run after SIGKILL at %s: exit code %d\n%s", moment, again.Exit, again.Stderr)
		}
		if got := names(t, target); !slices.Equal(got, complete) {
			t.Fatalf("after SIGKILL at %s and another run: got %q, want %q", moment, got, complete)
		}
		whole(t, target+"/written", content(i))
		mode(t, target+"/written", 0o640)
		mode(t, target+"/a/touched", 0o600)
		mode(t, target+"/bin/slipway", 0o755)
	}
	t.Logf("%d of %d runs died; a whole run takes %s", died, kills, longest.Elapsed.Round(time.Millisecond))
	if died < kills/4 {
		t.Errorf("only %d of %d runs were killed in time", died, kills)
	}
}

// whole checks that a file is absent or holds one of the given contents.
func whole(t *testing.T, path string, contents ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(contents, string(got)) {
		t.Errorf("%s is not whole: %d bytes, %.24q…", path, len(got), got)
	}
}

func mode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s: got mode %s, want %s", path, got, want)
	}
}

// SIGTERM at any moment ends slipway with 143 within a moment, and with it every child: one that sleeps, one that
// ignores the signal, and those that are about to start.
func TestTerminatedAtRandomMoments(t *testing.T) {
	t.Parallel()
	var slowest time.Duration
	for i := range 30 {
		// The children's own mark, by which they are found; sleep takes any number of seconds.
		mark := fmt.Sprintf("3%05d.%06d", rand.N(100_000), rand.N(1_000_000))
		run := slipway.Command{Args: []string{"run", "-"}, Stdin: fmt.Sprintf(`
steps:
- exec: {command: ["true"]}
- parallel:
  - exec: {command: [sleep, "%[1]s"]}
  - exec: {command: [sh, -c, 'trap "" TERM; exec sleep %[1]s']}
  - wait-for: {target: [file:///nonexistent/%[1]s]}
`, mark)}.Start(t)
		if i < 10 {
			// In the middle, when all of them run.
			awaitProcesses(t, mark, 2)
		} else {
			time.Sleep(rand.N(30 * time.Millisecond))
		}
		if err := run.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		signalled := time.Now()
		r := run.Wait(t)
		took := time.Since(signalled)
		slowest = max(slowest, took)
		if r.Exit != 143 {
			t.Fatalf("got exit code %d, want 143\n%s\n%s", r.Exit, r.Stderr, r.Report)
		}
		if left := processes(t, mark); len(left) > 0 {
			t.Fatalf("left behind: %q", left)
		}
		if i < 10 && (!strings.Contains(r.Report, "SIGTERM") || !strings.Contains(r.Report, "exit=143")) {
			t.Errorf("the report does not name the signal:\n%s", r.Report)
		}
	}
	t.Logf("at most %s from signal to exit", slowest.Round(time.Millisecond))
	if slowest > 5*time.Second {
		t.Errorf("it took %s from signal to exit", slowest)
	}
}

// awaitProcesses waits until n processes run "sleep MARK".
func awaitProcesses(t *testing.T, mark string, n int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for len(processes(t, mark)) < n {
		if time.Now().After(deadline) {
			t.Fatalf("no %d processes with %s", n, mark)
		}
		time.Sleep(time.Millisecond)
	}
}

// processes returns the folders in /proc of the processes that run "sleep MARK".
func processes(t *testing.T, mark string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if string(line) == "sleep\x00"+mark+"\x00" {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// SIGINT ends a run as well, and the signals that are the child's alone reach it.
func TestSignalsReachTheChild(t *testing.T) {
	t.Parallel()
	const script = `trap 'echo hup' HUP; trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.01; done`
	run := slipway.Command{Args: []string{"exec", "--", "sh", "-c", script}}.Start(t)
	run.AwaitStdout(t, "up")
	for _, s := range []struct {
		signal syscall.Signal
		answer string
	}{{syscall.SIGHUP, "hup"}, {syscall.SIGINT, "int"}} {
		if err := run.Signal(s.signal); err != nil {
			t.Fatal(err)
		}
		run.AwaitStdout(t, s.answer)
	}
	r := run.Wait(t)
	expect(t, r, 130)
}
