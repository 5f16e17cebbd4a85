package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// An installed profile is one that the kernel takes and enforces, the one of the example too; what is changed is enforced by
// the next process.
func TestInstalledSeccompProfileIsEnforced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	confine := filepath.Join(dir, "confine")
	if output, err := exec.Command("go", "build", "-o", confine, "./internal/confine").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	kubelet := filepath.Join(dir, "seccomp")
	if err := os.Mkdir(kubelet, 0o755); err != nil {
		t.Fatal(err)
	}
	install := func(file string) slipway.Result {
		return slipway.Command{Args: []string{"seccomp-install", file, "--root", kubelet, "--localhost-profile", "shop/worker.json"}}.Run(t)
	}
	confined := func() string {
		output, err := exec.Command(confine, filepath.Join(kubelet, "shop/worker.json")).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, output)
		}
		return string(output)
	}
	example := filepath.Join("..", "examples", "node-security", "worker.json")
	expect(t, install(example), 0, "shop/worker.json")
	if got, want := confined(), "allowed getpid\nrefused mount: operation not permitted\nrefused unshare: operation not permitted\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	expect(t, install(example), 0, "skipped")

	changed := filepath.Join(dir, "changed.json")
	write(t, changed, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}`)
	expect(t, install(changed), 0)
	if got, want := confined(), "allowed getpid\nrefused mount: operation not permitted\nallowed unshare\n"; got != want {
		t.Errorf("changed: got %q, want %q", got, want)
	}
	wrong := filepath.Join(dir, "wrong.json")
	write(t, wrong, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["moutn"], "action": "SCMP_ACT_ERRNO"}]}`)
	expect(t, install(wrong), 65, `there is no system call \"moutn\"`)
	if got, want := confined(), "allowed getpid\nrefused mount: operation not permitted\nallowed unshare\n"; got != want {
		t.Errorf("after a wrong one: got %q, want %q", got, want)
	}
}
