package atomicfile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
)

// children are what this test binary does when it runs itself, by the value of the variable CHILD. Each writes the path
// in TARGET.
var children = map[string]func(target string) error{
	"rewrite": rewrite, "limited": limited, // here
	"full": full, "read-only": readOnly, "mounted": mounted, // in mount_linux_test.go
}

func TestMain(m *testing.M) {
	child, ok := children[os.Getenv("CHILD")]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(os.Getenv("TARGET")); err != nil {
		fmt.Fprintln(os.Stderr, fault.Describe(err))
		os.Exit(fault.ExitCode(err))
	}
	os.Exit(0)
}

func command(t *testing.T, child, target string, environ ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "CHILD="+child, "TARGET="+target), environ...)
	return cmd
}

// versions are the contents that children write.
var versions = []string{strings.Repeat("old ", 256<<10), strings.Repeat("new! ", 128<<10)}

// rewrite writes the versions in turn, TIMES times or for ever, and says so after the first.
func rewrite(target string) error {
	times := 1 << 30
	_, _ = fmt.Sscan(os.Getenv("TIMES"), &times)
	for i := range times {
		if _, err := write(target, versions[i%2], 0o400); err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("begun")
		}
	}
	return nil
}

// whole checks that path is one of the versions, or absent where that may be.
func whole(t *testing.T, path string, absent bool) {
	t.Helper()
	content, err := os.ReadFile(path)
	if absent && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(versions, string(content)) {
		t.Fatalf("%s is torn: %d bytes", path, len(content))
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	abandoned := 0
	for range 50 {
		cmd := command(t, "rewrite", target)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment of the kill is random, and that is what is tested; nothing waits for it.
		time.Sleep(rand.N(60 * time.Millisecond))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		whole(t, target, true)
		abandoned += len(slices.DeleteFunc(names(t, filepath.Dir(target)), func(name string) bool { return name == "target" }))
	}
	t.Logf("%d temporary files were seen after a kill", abandoned)
	if _, err := write(target, "the end", 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, target), (file{"the end", 0o644}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(t, filepath.Dir(target)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

func TestTwoProcessesWriteOneTarget(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			if out, err := command(t, "rewrite", target, "TIMES=60").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for seen := false; ; {
		select {
		case <-done:
			whole(t, target, false)
			if got := names(t, filepath.Dir(target)); !slices.Equal(got, []string{"target"}) {
				t.Errorf("got files %q, want the target alone", got)
			}
			return
		default:
			whole(t, target, !seen)
			_, err := os.Lstat(target)
			seen = seen || err == nil
		}
	}
}

// limited writes 1 MiB where no file may be larger than 64 KiB.
func limited(target string) error {
	limit := unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	_, err := write(target, versions[0], 0o644)
	return err
}

func TestFileSizeLimit(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	if _, err := write(target, "before", 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := command(t, "limited", target).CombinedOutput()
	if got, want := string(out), "write "+target+": file too large\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := read(t, target), (file{"before", 0o644}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(t, filepath.Dir(target)); !slices.Equal(got, []string{"target"}) {
		t.Errorf("got files %q, want the target alone", got)
	}
}

func TestLockOfANeighbourOutlivesItsRename(t *testing.T) {
	// A sweep that has opened a temporary file just before its rename must not remove the target that it became.
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for range 200 {
		f, err := atomicfile.Create(env, target, atomicfile.Attributes{Mode: 0o644})
		if err != nil {
			t.Fatal(err)
		}
		var neighbour sync.WaitGroup
		neighbour.Go(func() {
			if _, err := atomicfile.Write(context.Background(), env, target, strings.NewReader("x"), atomicfile.Attributes{Mode: 0o644}); err != nil {
				t.Error(err)
			}
		})
		if _, err := f.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		neighbour.Wait()
		if got, want := read(t, target), (file{"x", 0o644}); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
		if err := os.Remove(target); err != nil {
			t.Fatal(err)
		}
	}
}
