package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// uses holds one chain for each kind of step, with paths and servers that are not there.
var uses = map[string][]string{
	"wait-for":          {"tcp://db.invalid:5432", "https://web.invalid/", "postgres://db.invalid", "dns://db.invalid", "file:///absent"},
	"mkdir":             {"/absent/dir", "--mode", "0700", "--owner", "1:1"},
	"chown":             {"1:1", "/absent/dir", "--recursive"},
	"chmod":             {"u=rwX,go=", "/absent/dir", "--recursive"},
	"touch":             {"/absent/file"},
	"write-file":        {"/absent/file", "--content", "text"},
	"render":            {"/absent/template", "/absent/file"},
	"exec":              {"--", "/absent/program", "argument"},
	"install":           {"/absent/dir"},
	"iptables-redirect": {"--preset", "istio", "--verify"},
	"apparmor-load":     {"/absent/web.aa", "/absent/profiles", "--allow-name", "team-*"},
	"apparmor-compile":  {"/absent/web.profile", "/absent/web.aa", "--features", "/absent/features"},
	"seccomp-install":   {"/absent/app.json", "--localhost-profile", "team/app.json"},
	"selinux-label":     {"system_u:object_r:container_file_t:s0", "/absent/dir", "--recursive"},
	"vault-render": {
		"--template", "/absent/template=/absent/file", "--address", "https://vault.invalid:8200", "--ca-file", "/absent/ca.pem",
		"--role", "web", "--token-sink", "/absent/token",
	},
	"s3-fetch": {
		"s3://absent/model/", "/absent/model", "--sha256-file", "s3://absent/SHA256SUMS", "--include", "*.bin", "--ca-file", "/absent/ca.pem",
	},
	"git-clone": {
		"https://git.invalid/config.git", "/absent/config", "--ref", "v1", "--ca-file", "/absent/ca.pem", "--username", "app", "--password-file", "/absent/password",
	},
	"http-fetch": {
		"https://web.invalid/site.tar.zst", "/absent/site", "--extract", "--sha256-file", "/absent/SHA256SUMS", "--username", "app", "--password-file", "/absent/password",
	},
}

// Every kind has its dry-run here.
func TestDryRunCoversEveryKind(t *testing.T) {
	t.Parallel()
	r := slipway.Run(t, "steps")
	expect(t, r, 0)
	var kinds []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*)`).FindAllStringSubmatch(r.Stdout, -1) {
		kinds = append(kinds, match[1])
	}
	for _, kind := range kinds {
		if uses[kind] == nil {
			t.Errorf("the kind %q has no dry-run", kind)
		}
	}
	for kind := range uses {
		if !slices.Contains(kinds, kind) {
			t.Errorf("there is no kind %q:\n%s", kind, r.Stdout)
		}
	}
}

// A dry-run opens no socket, creates and changes no file, and starts no program: what the kernel saw says so.
func TestDryRunTouchesNothing(t *testing.T) {
	t.Parallel()
	// The question mark is for calls that not every architecture, or every strace, knows.
	const class = "network,openat,?open,?creat,?mkdir,mkdirat,?rename,?renameat,renameat2,?unlink,unlinkat," +
		"?chmod,fchmod,fchmodat,?fchmodat2,?chown,fchown,?lchown,fchownat,?link,linkat,?symlink,symlinkat," +
		"?mknod,mknodat,truncate,ftruncate,utimensat,mount,execve"
	for kind, args := range uses {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			calls := traced(t, slipway.Command{
				Args: append([]string{"--dry-run", kind}, args...),
				// A collector and a spool are of no use to a dry-run.
				Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"},
			}, class)
			for i, call := range calls {
				first := i == 0 && strings.HasPrefix(call, "execve(")
				if !first && !readsOnly(call, tools.Slipway(t)) {
					t.Errorf("dry-run called %s", call)
				}
			}
		})
	}
}

// readsOnly reports whether a call opens for reading what every Go program may read: files of the kernel, the binary
// itself, which protobuf's runtime hashes at its start, and the time zone, which an encoder of TOML asks for at its.
func readsOnly(call, binary string) bool {
	if !strings.HasPrefix(call, "openat(") || !strings.Contains(call, "O_RDONLY") || strings.Contains(call, "O_CREAT") {
		return false
	}
	return slices.ContainsFunc([]string{`"/sys/`, `"/proc/`, `"/dev/null"`, `"/etc/localtime"`, strconv.Quote(binary)}, func(path string) bool {
		return strings.Contains(call, path)
	})
}

// A dry-run needs nothing but its binary: not /etc, not /proc, not /tmp.
func TestDryRunInAnEmptyRoot(t *testing.T) {
	needRoot(t, "chroot")
	t.Parallel()
	binary, err := os.ReadFile(tools.Slipway(t))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "slipway"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for kind, args := range uses {
		r := slipway.Command{
			Binary: "/slipway", Dir: "/", Report: "/report", Args: append([]string{"--dry-run", kind}, args...),
			SysProcAttr: &syscall.SysProcAttr{Chroot: root},
		}.Run(t)
		expect(t, r, 0)
		if !strings.Contains(r.Stdout, kind) {
			t.Errorf("the dry-run does not name %s:\n%s", kind, r.Stdout)
		}
	}
	if got, want := names(t, root), []string{"slipway"}; !slices.Equal(got, want) {
		t.Errorf("the root holds %q, want %q", got, want)
	}
}
