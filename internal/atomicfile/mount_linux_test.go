package atomicfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

// full writes 1 MiB into a file system of 64 KiB.
func full(target string) error {
	if err := syscall.Mount("tmpfs", filepath.Dir(target), "tmpfs", 0, "size=64k"); err != nil {
		return err
	}
	if _, err := write(target, "before", 0o644); err != nil {
		return err
	}
	_, err := write(target, versions[0], 0o644)
	return unspoilt(target, err)
}

// readOnly writes into a file system that is read-only; root is refused too.
func readOnly(target string) error {
	dir := filepath.Dir(target)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	if _, err := write(target, "before", 0o644); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	if changed, err := write(target, "before", 0o644); changed || err != nil {
		return fault.New(fault.Internal, "unchanged content: changed %v, %w", changed, err)
	}
	_, err := write(target, "after", 0o644)
	return unspoilt(target, err)
}

// mounted writes a file that is a mount by itself, as Kubernetes' subPath makes it.
func mounted(target string) error {
	if err := os.WriteFile(target, []byte("before"), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(target, target, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	if changed, err := write(target, "before", 0o600); !changed || err != nil {
		return fault.New(fault.Internal, "mode alone: changed %v, %w", changed, err)
	}
	_, err := write(target, "after", 0o600)
	return unspoilt(target, err)
}

// unspoilt returns err if target is as it was and alone.
func unspoilt(target string, err error) error {
	content, readErr := os.ReadFile(target)
	entries, _ := os.ReadDir(filepath.Dir(target))
	if readErr != nil || string(content) != "before" || len(entries) != 1 {
		return fault.New(fault.Internal, "spoilt: %q, %v, %d files", content, readErr, len(entries))
	}
	return err
}

func TestFileSystemsThatRefuse(t *testing.T) {
	tests := []struct {
		child string
		want  string // with the target's folder for DIR
	}{
		{"full", "write DIR/target: no space left on device\n" +
			"  hint: give the volume of DIR more room, or inodes: an emptyDir has its sizeLimit\n"},
		{"read-only", "write DIR/target: read-only file system\n" +
			"  hint: mount a writable volume, such as an emptyDir, at DIR\n"},
		{"mounted", "write DIR/target: device or resource busy\n" +
			"  hint: a file that is mounted by itself, as with subPath, cannot be replaced: mount its directory\n"},
	}
	for _, test := range tests {
		t.Run(test.child, func(t *testing.T) {
			dir := t.TempDir()
			cmd := command(t, test.child, filepath.Join(dir, "target"))
			// A mount namespace of its own, which an ordinary user gets with a user namespace.
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Skipf("the kernel gives no user namespace: %v", err)
			}
			if got, want := cmd.ProcessState.ExitCode(), fault.CantCreate.Code(); got != want {
				t.Errorf("got exit code %d, want %d", got, want)
			}
			if got, want := string(out), strings.ReplaceAll(test.want, "DIR", dir); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
