package filetree

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// nobody is the user that unprivileged runs as if the test runs as root.
const nobody = 65534

// unprivileged calls f as a user who may not read what others keep from him. As root it lends one thread another file
// system uid, which takes the capabilities over files away from it; the thread ends with f.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			_ = unix.Setfsgid(nobody)
			_ = unix.Setfsuid(nobody)
		}
		f()
	}()
	<-done
}

// own gives files of a tree to nobody where the test runs as root, and lets nobody reach them.
func own(t *testing.T, gid int, names ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	check(t, os.Chmod(filepath.Dir(t.TempDir()), 0o755)) // the testing package makes it for its own user alone
	for _, name := range names {
		check(t, os.Lchown(name, nobody, gid))
	}
}

func TestUnreadableDirectory(t *testing.T) {
	root := tree(t, "closed/", "closed/a")
	own(t, nobody, root, root+"/closed", root+"/closed/a")
	check(t, os.Chmod(root+"/closed", 0))
	defer os.Chmod(root+"/closed", 0o755)
	var err error
	unprivileged(t, func() {
		err = (&Walker{Recursive: true, Visit: chmodAll(0o755)}).Walk(t.Context(), root)
	})
	if fault.KindOf(err) != fault.Permission || !strings.HasPrefix(err.Error(), "open "+root+"/closed: ") {
		t.Errorf("got %v (%v), want Permission", err, fault.KindOf(err))
	}
	if hint := fault.HintOf(err); !strings.Contains(hint, "DAC_READ_SEARCH") {
		t.Errorf("got hint %q, want one that names the capability", hint)
	}
	unprivileged(t, func() {
		early := func(*Entry) bool { return true }
		err = (&Walker{Recursive: true, Visit: chmodAll(0o755), Early: early}).Walk(t.Context(), root)
	})
	check(t, err)
	if got := bitsOf(t, root+"/closed/a"); got != "0755" {
		t.Errorf("got %s in a directory made readable before, want 0755", got)
	}
}

func TestDirectoriesAreClosedAfterWhatIsInThem(t *testing.T) {
	root := tree(t, "d/", "d/a")
	own(t, nobody, root, root+"/d", root+"/d/a")
	defer os.Chmod(root+"/d", 0o755)
	defer os.Chmod(root, 0o755)
	var err error
	unprivileged(t, func() {
		err = (&Walker{Recursive: true, Visit: chmodAll(0)}).Walk(t.Context(), root)
	})
	check(t, err)
}

func TestChmodOfAnothersFile(t *testing.T) {
	var err error
	unprivileged(t, func() {
		var e *Entry
		if e, err = Find("/etc/passwd"); err == nil {
			_, err = e.Chmod(to(0o600))
		}
	})
	if fault.KindOf(err) != fault.Permission || !strings.Contains(fault.HintOf(err), "FOWNER") {
		t.Errorf("got %v, hint %q; want Permission and a hint that names the capability", err, fault.HintOf(err))
	}
}

// TestSetIDBitThatTheKernelTakesAway checks that chmod(2)'s silence is not taken for success. An ordinary user cannot
// make a file of a group that he is not in.
func TestSetIDBitThatTheKernelTakesAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file to a foreign group")
	}
	root := tree(t, "a")
	own(t, 4242, root+"/a")
	var err error
	unprivileged(t, func() {
		var e *Entry
		if e, err = Find(root + "/a"); err == nil {
			_, err = e.Chmod(to(0o2755))
		}
	})
	if fault.KindOf(err) != fault.Permission || !strings.Contains(fault.HintOf(err), "FSETID") {
		t.Errorf("got %v, hint %q; want Permission and a hint that names the capability", err, fault.HintOf(err))
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	root := tree(t)
	check(t, unix.Mount("none", root, "tmpfs", unix.MS_RDONLY, "mode=755"))
	defer unix.Unmount(root, unix.MNT_DETACH)
	check(t, (&Walker{Recursive: true, Visit: chmodAll(0o755)}).Walk(t.Context(), root))
	err := (&Walker{Recursive: true, Visit: chmodAll(0o700)}).Walk(t.Context(), root)
	if fault.KindOf(err) != fault.CantCreate {
		t.Errorf("got %v (%v), want CantCreate", err, fault.KindOf(err))
	}
}
