package mkdir

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestReadOnlyFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	root := t.TempDir()
	check(t, syscall.Mount("none", root, "tmpfs", 0, "mode=755"))
	defer syscall.Unmount(root, syscall.MNT_DETACH)
	check(t, os.Mkdir(root+"/there", 0o755))
	check(t, syscall.Mount("none", root, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	check(t, mkdir(t, root, "path=/there", "mode=0755").Err)
	for _, options := range [][]string{{"path=/new"}, {"path=/there", "mode=0700"}} {
		if result := mkdir(t, root, options...); fault.ExitCode(result.Err) != 73 {
			t.Errorf("%v: got %v, want 73", options, result.Err)
		}
	}
}

// TestForeignDirectory uses /proc/sys, where root may not create either.
func TestForeignDirectory(t *testing.T) {
	result := mkdir(t, "/proc", "path=/sys/new")
	if code := fault.ExitCode(result.Err); code != 77 && code != 73 || !strings.Contains(result.Err.Error(), "/proc/sys/new") {
		t.Errorf("got %v, want 77, or 73 where /proc/sys is read-only", result.Err)
	}
}
