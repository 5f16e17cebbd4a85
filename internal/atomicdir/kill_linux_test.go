package atomicdir_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/atomicdir"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
)

// children are what this test binary does when it runs itself, by the value of the variable CHILD. Each writes the path
// in TARGET.
var children = map[string]func(target string) error{
	"rewrite": rewrite,                                                                                                            // here
	"full":    full, "read-only": readOnly, "mounted": mounted, "rewrite-mounted": rewriteMounted, "within": within, "heal": heal, // in mount_linux_test.go
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

func command(child, target string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD="+child, "TARGET="+target)
	return cmd
}

// versions are the trees that children write: files in common, and some that only one has.
var versions = []tree{version("old", 0), version("new", 20)}

func version(content string, from int) tree {
	files := tree{}
	for i := range 60 {
		files[fmt.Sprintf("d%d/f%d", (from+i)/10, from+i)] = content
		files["t"+strconv.Itoa(from+i)] = content
	}
	return files
}

// rewrite writes the versions in turn for ever, and says so before the first or, with LATE, after it.
func rewrite(target string) error {
	for i := 0; ; i++ {
		if late := os.Getenv("LATE") != ""; i == 0 && !late || i == 1 && late {
			fmt.Println("begun")
		}
		if err := put(target, versions[i%2], atomicdir.Attributes{}); err != nil {
			return err
		}
	}
}

// kill starts cmd, which rewrites, and kills it at a random moment after it has begun: every other round in the middle of its
// first tree, the others later.
func kill(t *testing.T, round int, cmd *exec.Cmd) {
	t.Helper()
	if round%2 == 1 {
		cmd.Env = append(cmd.Env, "LATE=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("the kernel gives no user namespace: %v", err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatalf("it ended before it began: %v", err)
	}
	// The moment of the kill is random, and that is what is tested; nothing waits for it.
	time.Sleep(rand.N(40 * time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if cmd.ProcessState.Exited() {
		t.Fatalf("it ended by itself before it was killed: %v", cmd.ProcessState)
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	seen := map[string]int{}
	for round := range 50 {
		kill(t, round, command("rewrite", target))
		switch got := at(t, target); {
		case got == nil:
			seen["absent"]++
		case equal(got, versions[0]):
			seen["old"]++
		case equal(got, versions[1]):
			seen["new"]++
		default:
			t.Fatalf("a mixture: %v", got)
		}
		if r, ok := receipt.Read(target); ok && at(t, target) != nil && !r.MadeAt(target) {
			t.Fatal("the receipt does not know the tree")
		}
	}
	t.Logf("after a kill: %v", seen)
	if seen["old"]+seen["new"] == 0 {
		t.Error("no kill came after a tree was put: nothing was tested")
	}
	if err := put(target, tree{"the": "end"}, atomicdir.Attributes{}); err != nil {
		t.Fatal(err)
	}
	want(t, target, tree{"the": "end"})
	alone(t, target)
}

// inNamespace gives cmd a mount namespace of its own, which an ordinary user gets with a user namespace.
func inNamespace(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}
