package e2e

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// Two containers of a pod meet at a file in a volume: one waits for it, the other writes it when its part is done.
func TestFileBarrierBetweenTwoProcesses(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	ready, result := filepath.Join(volume, "ready"), filepath.Join(volume, "result")
	waiting := slipway.Command{Args: []string{
		"wait-for", "--not-empty", "file://" + ready, "then", "write-file", result, "--content", "done",
	}}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	expect(t, slipway.Run(t, "write-file", ready, "--content", "yes"), 0)
	expect(t, waiting.Wait(t), 0)
	if got, want := read(t, result), "done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWaitForFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	expect(t, slipway.Run(t, "wait-for", "--timeout", "200ms", "file://"+path), 69, path)
	expect(t, slipway.Run(t, "wait-for", "--not", "file://"+path), 0)
	write(t, path, "")
	expect(t, slipway.Run(t, "wait-for", "file://"+path), 0)
	expect(t, slipway.Run(t, "wait-for", "--timeout", "200ms", "--not-empty", "file://"+path), 69)
	write(t, path, "phase: ready\n")
	expect(t, slipway.Run(t, "wait-for", "--content-regex", "(?m)^phase: ready$", "file://"+path), 0)
	expect(t, slipway.Run(t, "wait-for", "--timeout", "200ms", "--content-regex", "failed", "file://"+path), 69)
}

func TestWaitForUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(servers.Dir(t), "s")
	waiting := slipway.Command{Args: []string{"wait-for", "--timeout", "60s", "unix://" + path}}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	expect(t, waiting.Wait(t), 0)
}

func TestWaitForLocalhost(t *testing.T) {
	t.Parallel()
	expect(t, slipway.Run(t, "wait-for", "dns://localhost"), 0)
}

// The name of a headless service: absent at first, then one pod, then three.
func TestWaitForDNS(t *testing.T) {
	needRoot(t, "the DNS server needs port 53, and resolv.conf is mounted over")
	t.Parallel()
	d := servers.StartDNS(t)
	resolving := func(args ...string) slipway.Command {
		return slipway.Command{
			Args:   append([]string{"wait-for"}, args...),
			Prefix: []string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, d.ResolvConf},
		}
	}
	expect(t, resolving("--timeout", "300ms", "dns://pods.test").Run(t), 69, "pods.test")
	expect(t, resolving("--not", "dns://pods.test").Run(t), 0)
	three := resolving("--timeout", "60s", "--min-addresses", "3", "dns://pods.test").Start(t)
	three.AwaitStderr(t, "trying again")
	d.Set("pods.test", "192.0.2.1")
	expect(t, resolving("dns://pods.test").Run(t), 0)
	d.Set("pods.test", "192.0.2.1", "192.0.2.2", "192.0.2.3")
	expect(t, three.Wait(t), 0)
	d.Fail(true)
	expect(t, resolving("--timeout", "500ms", "--not", "dns://pods.test").Run(t), 69)
}
