package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// The init containers of a real pod as one plan: wait for the database and the log aggregator, prepare the log folder,
// render the node's configuration, hand over. A second run, as after a restart of the pod's sandbox, changes nothing.
func TestPodPreparation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := servers.StartPostgres(t, servers.PostgresOptions{Stopped: true})
	port := servers.FreePort(t)
	write(t, filepath.Join(dir, "node.toml.tmpl"), `[node]
name = {{ env "POD_NAME" | quote }}
ordinal = {{ ordinal }}
peers = {{ list "web-0" "web-1" | toJSON }}
`)
	owner := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	plan := fmt.Sprintf(`
deadline: 60s
steps:
- wait-for:
    target: [postgres://%[1]s/postgres, "http://127.0.0.1:%[2]s/health"]
    username: %[3]s
    password-from: env:PGPASSWORD
- parallel:
  - sequence:
    - mkdir: {path: [%[4]s/log/app], mode: "0750"}
    - chown: {owner: "%[5]s", path: [%[4]s/log], recursive: true}
    - chmod: {mode: "u=rwX,g=rX,o=", path: [%[4]s/log], recursive: true}
  - render: {template: %[4]s/node.toml.tmpl, dest: %[4]s/node.toml, mode: "0640"}
  - write-file: {path: %[4]s/password, from: env:PGPASSWORD, mode: "0400"}
  - install: {dir: %[4]s}
- touch: {path: [%[4]s/log/app/ready], mode: "0640"}
- exec: {command: [sh, -c, 'cat "$0/node.toml"', %[4]s]}
`, p.Addr, port, servers.User, dir, owner)
	command := slipway.Command{
		Args:  []string{"run", "-"},
		Stdin: plan,
		Env:   []string{"PGPASSWORD=" + servers.Password, "POD_NAME=web-1", "HOSTNAME=web-1"},
	}

	waiting := command.Start(t)
	waiting.AwaitStderr(t, "trying again")
	p.Start(t)
	servers.StartNginxAt(t, port, "location = /health { return 200 ok; }")
	first := waiting.Wait(t)
	expect(t, first, 0)
	hides(t, first, servers.Password)

	const rendered = "[node]\nname = \"web-1\"\nordinal = 1\npeers = [\"web-0\",\"web-1\"]\n"
	if first.Stdout != rendered {
		t.Errorf("got\n%s\nwant\n%s", first.Stdout, rendered)
	}
	prepared := snapshot(t, dir)
	for _, want := range []string{
		"log drwxr-x---", "log/app drwxr-x---", "log/app/ready -rw-r-----", "node.toml -rw-r-----",
		"password -r--------", "slipway -rwxr-xr-x",
	} {
		if !strings.Contains("\n"+prepared, "\n"+want+" ") {
			t.Errorf("no %q in\n%s", want, prepared)
		}
	}
	if got := read(t, filepath.Join(dir, "password")); got != servers.Password {
		t.Errorf("the password file holds %q", got)
	}

	second := command.Run(t)
	expect(t, second, 0)
	if again := snapshot(t, dir); again != prepared {
		t.Errorf("the second run changed something: before\n%s\nafter\n%s", prepared, again)
	}
}

// A plan in the environment needs no volume for it.
func TestPlanInTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := fmt.Sprintf("steps: [{mkdir: {path: [%[1]s/a]}}, {parallel: [{touch: {path: [%[1]s/a/b]}}, {touch: {path: [%[1]s/a/c]}}]}]", dir)
	expect(t, slipway.Command{Env: []string{"SLIPWAY_PLAN=" + plan}}.Run(t), 0)
	if got, want := names(t, dir), []string{"a", "a/b", "a/c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A chain ends by becoming the application.
func TestChainBecomesTheApplication(t *testing.T) {
	t.Parallel()
	n := servers.StartNginx(t, "", "location / { return 200 ok; }")
	dir := t.TempDir()
	p := slipway.Command{
		Args: []string{
			"wait-for", "http://" + n.Addr + "/", "then", "write-file", filepath.Join(dir, "a"), "--content", "x",
			"then", "exec", "--replace", "--", "sh", "-c", `echo "pid $$"; exit 42`,
		},
	}.Start(t)
	r := p.Wait(t)
	expect(t, r, 42)
	if got, want := r.Stdout, fmt.Sprintf("pid %d\n", p.Pid); got != want {
		t.Errorf("got %q, want %q: the application is not the process that slipway was", got, want)
	}
}

// snapshot describes everything below dir, one line each: mode, owner, size, times of content and of inode.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range names(t, dir) {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		size := info.Size()
		if info.Mode().Type() == fs.ModeDir {
			size = 0
		}
		fmt.Fprintf(&b, "%s %s %d:%d size=%d inode=%d mtime=%d.%d ctime=%d.%d\n", name, info.Mode(), stat.Uid, stat.Gid, size,
			stat.Ino, stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec)
	}
	return b.String()
}
