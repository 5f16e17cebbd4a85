package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// Each exit code of the table, with the report that says why: its first line, and its hint.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "text")
	redis := servers.StartRedis(t, pki.Pair{})
	closed := servers.FreePort(t)
	for _, c := range []struct {
		name string
		exit int
		args []string
		why  string // in the report's first line
		hint string // in its second; empty is not looked at
	}{
		{"done", 0, []string{"touch", dir + "/a"}, "1 step done", ""},
		{"unknown step", 64, []string{"mkdri", dir}, `no step "mkdri"`, "mkdir"},
		{"unknown option", 64, []string{"mkdir", dir, "--mdoe", "0700"}, "no option --mdoe", "--mode"},
		{"bad value", 64, []string{"mkdir", dir, "--mode", "rwx"}, "rwx", ""},
		{"missing argument", 64, []string{"chown", "1:1"}, "path", ""},
		{"bad target", 64, []string{"wait-for", "gopher://x"}, "gopher", ""},
		{"password in a target", 64, []string{"wait-for", "redis://u:hunter2@h"}, "password", "password-from"},
		{"template error", 65, []string{"render", "--inline", "{{ .Missing.Key }}", dir + "/b"}, "Missing", ""},
		{"missing template", 66, []string{"render", dir + "/nonexistent", dir + "/b"}, "nonexistent", ""},
		{"missing variable", 66, []string{"write-file", dir + "/b", "--from", "env:NOT_SET"}, "NOT_SET", "env"},
		{"missing command", 66, []string{"exec", "--", dir + "/nonexistent"}, "nonexistent", ""},
		{"timeout", 69, []string{"wait-for", "--timeout", "200ms", "tcp://127.0.0.1:" + closed}, "timed out after 200ms", ""},
		{"deadline", 69, []string{"--deadline", "200ms", "wait-for", "tcp://127.0.0.1:" + closed}, "deadline of 200ms", ""},
		{"bug", 70, []string{"exec", "--", "sh", "-c", "exit 70"}, "70", ""},
		{"unsupported", 71, []string{"exec", "--", "sh", "-c", "exit 71"}, "71", ""},
		{"no folder for the output", 73, []string{"write-file", dir + "/no/folder/file", "--content", "x"}, dir + "/no/folder/file", "mkdir"},
		{"a file in the way", 73, []string{"mkdir", dir + "/file/below"}, dir + "/file", ""},
		{"a folder in the way", 73, []string{"write-file", dir, "--content", "x"}, dir, ""},
		{"I/O error", 74, []string{"exec", "--", "sh", "-c", "exit 74"}, "74", ""},
		{"temporary", 75, []string{"exec", "--", "sh", "-c", "exit 3"}, "exit status 3", ""},
		{"wrong password", 77, []string{"wait-for", "--fail-fast", "--password-from", "env:WRONG", "redis://" + redis.Addr}, "WRONGPASS", "password"},
		{"not executable", 77, []string{"exec", "--", dir + "/file"}, "permission denied", ""},
		{"conflict", 78, []string{"exec", "--", "sh", "-c", "exit 78"}, "78", ""},
		{"killed child", 137, []string{"exec", "--", "sh", "-c", "kill -9 $$"}, "killed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := slipway.Command{Args: c.args, Env: []string{"WRONG=battery staple"}}.Run(t)
			expect(t, r, c.exit)
			report(t, r, c.why, c.hint)
		})
	}
}

// What an ordinary user may not do is 77, with the capability that would help.
func TestNotPermitted(t *testing.T) {
	t.Parallel()
	dir := servers.Dir(t)
	write(t, filepath.Join(dir, "file"), "text")
	unprivileged := func(args ...string) slipway.Result {
		c := slipway.Command{Args: args, Report: filepath.Join(dir, "report")}
		if os.Geteuid() == 0 {
			write(t, c.Report, "")
			if err := os.Chmod(c.Report, 0o666); err != nil {
				t.Fatal(err)
			}
			c.Binary = filepath.Join(dir, "slipway") // the cache may be in a home that only root enters
			expect(t, slipway.Run(t, "install", dir), 0)
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		return c.Run(t)
	}
	for _, c := range []struct {
		args      []string
		why, hint string
	}{
		{[]string{"chown", "4242:4242", filepath.Join(dir, "file")}, "operation not permitted", "CHOWN"},
		{[]string{"write-file", "/etc/slipway-e2e", "--content", "x"}, "permission denied", ""},
		{[]string{"mkdir", "/etc/slipway-e2e"}, "permission denied", ""},
	} {
		r := unprivileged(c.args...)
		expect(t, r, 77)
		report(t, r, c.why, c.hint)
	}
}

// report checks the form of a termination message: its size, its encoding, the sentence of its first line, the hint of
// its second within 500 bytes, and the exit code among its facts.
func report(t *testing.T, r slipway.Result, why, hint string) {
	t.Helper()
	if len(r.Report) > 4096 {
		t.Errorf("the report has %d bytes", len(r.Report))
	}
	if !utf8.ValidString(r.Report) {
		t.Errorf("the report is not UTF-8: %q", r.Report)
	}
	lines := strings.Split(r.Report, "\n")
	if !strings.Contains(lines[0], why) {
		t.Errorf("the report's first line does not say %q:\n%s", why, r.Report)
	}
	if hint != "" && (len(lines) < 2 || !strings.HasPrefix(lines[1], "hint: ") || !strings.Contains(lines[1], hint)) {
		t.Errorf("the report's second line does not hint at %q:\n%s", hint, r.Report)
	}
	if strings.HasPrefix(lines[min(1, len(lines)-1)], "hint: ") && len(lines[0])+len(lines[1]) > 500 {
		t.Errorf("cause and hint take more than 500 bytes:\n%s", r.Report)
	}
	if want := fmt.Sprintf("\nexit=%d\n", r.Exit); !strings.Contains(r.Report, want) {
		t.Errorf("the report has no %q:\n%s", want, r.Report)
	}
}

// A cause that is long, and not UTF-8, still gives a report of 4,096 bytes at most with its cause and hint up front.
func TestReportOfAnEndlessCause(t *testing.T) {
	t.Parallel()
	var args []string
	for i := range 400 {
		if i > 0 {
			args = append(args, "and")
		}
		args = append(args, "mkdir", fmt.Sprintf("/proc/nonexistent/%d/%s", i, strings.Repeat("\xff\xfeä", 60)))
	}
	r := slipway.Run(t, args...)
	if r.Exit == 0 {
		t.Fatal("the run succeeded")
	}
	report(t, r, "/proc/nonexistent", "")
}

// All faults of a plan are told at once, each with its place, and nothing runs.
func TestEveryFaultOfAPlanIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.yaml")
	write(t, plan, fmt.Sprintf(`steps:
- touch: {path: [%[1]s/touched]}
- mkdri: {path: [/a]}
- mkdir: {path: [/a], mdoe: "0700"}
- chmod: {mode: rwx, path: [/a]}
- wait-for: {target: ["gopher://x"]}
- parallel:
  - write-file: {path: /a, content: x}
  - write-file: {path: /a, content: y}
`, dir))
	r := slipway.Run(t, "--log-format", "text", "run", plan)
	expect(t, r, 64, plan+":3:3", plan+":4:23", plan+":5:", plan+":6:", plan+":9:5", "did you mean mkdir?", "did you mean mode?")
	report(t, r, "5 faults", "")
	if got, want := names(t, dir), []string{"plan.yaml"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q: something ran", got, want)
	}
}
