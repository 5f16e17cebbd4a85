package secret_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/secret"
)

func TestNoCoreDumpHoldsForThisProcessAlone(t *testing.T) {
	if os.Getenv("SECRET_TEST_CHILD") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestNoCoreDumpHoldsForThisProcessAlone$", "-test.v")
		child.Env = append(os.Environ(), "SECRET_TEST_CHILD=1") // the test's own process stays dumpable
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for range 2 {
		if err := secret.NoCoreDump(); err != nil {
			t.Fatal(err)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 {
		t.Errorf("got a limit of %d (%v), want 0", limit.Cur, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("got dumpable %d (%v), want 0", dumpable, err)
	}
	// The process can look at itself still, and start others.
	if _, err := os.Readlink("/proc/self/fd/0"); err != nil {
		t.Error(err)
	}
	out, err := exec.Command("/bin/sh", "-c", "grep -c . /proc/self/environ").Output()
	if err != nil || strings.TrimSpace(string(out)) == "0" {
		t.Errorf("a child cannot look at itself: %s (%v)", out, err)
	}
}

func TestOnTmpfs(t *testing.T) {
	var stat unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &stat); err != nil {
		t.Fatal(err)
	}
	memory := int64(stat.Type) == unix.TMPFS_MAGIC
	for path, want := range map[string]bool{
		"/dev/shm": memory, "/dev/shm/none/of/these": memory, "/proc/self/status": false, "/proc": false,
	} {
		got, err := secret.OnTmpfs(path)
		if err != nil || got != want {
			t.Errorf("%s: got %v (%v), want %v", path, got, err, want)
		}
	}
}

func TestOnTmpfsSaysWhatItCannotTell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OnTmpfs(file + "/below"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("got %v, want that it is no folder", err)
	}
}
