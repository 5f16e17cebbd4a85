package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/fault"
)

// TestMain unpacks into a file system of MOUNT's options, when this test binary runs itself with that variable.
func TestMain(m *testing.M) {
	options, ok := os.LookupEnv("MOUNT")
	if !ok {
		os.Exit(m.Run())
	}
	err := unpackInto(os.Getenv("DEST"), options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(fault.ExitCode(err))
}

func unpackInto(dir, options string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, strings.TrimPrefix(options, "ro,")); err != nil {
		return err
	}
	if strings.HasPrefix(options, "ro,") {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(os.Getenv("ARCHIVE"))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if archive.Detect(content) == archive.ZipFile {
		_, err = archive.Zip(context.Background(), root, bytes.NewReader(content), int64(len(content)), archive.Options{})
		return err
	}
	_, err = archive.Tar(context.Background(), root, bytes.NewReader(content), archive.Options{})
	return err
}

func TestFileSystemsThatRefuse(t *testing.T) {
	var many []entry
	for i := range 200 {
		many = append(many, entry{name: fmt.Sprintf("d/f%d", i), content: strings.Repeat("x", 1000)})
	}
	for _, test := range []struct{ name, mount, want string }{
		{"no room", "size=64k", "no space left on device"},
		{"no inodes", "nr_inodes=20", "no space left on device"},
		{"read-only", "ro,size=1m", "read-only file system"},
	} {
		for format, content := range map[string][]byte{"tar": tarOf(t, many...), "zip": zipOf(t, many...)} {
			t.Run(test.name+" "+format, func(t *testing.T) {
				file := t.TempDir() + "/archive"
				if err := os.WriteFile(file, content, 0o644); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "MOUNT="+test.mount, "DEST="+t.TempDir(), "ARCHIVE="+file)
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
				if got := string(out); !strings.HasPrefix(got, `entry "d`) || !strings.HasSuffix(got, test.want+"\n") || strings.Contains(got, "damaged") {
					t.Errorf("got %q, want the entry and %q", got, test.want)
				}
			})
		}
	}
}
