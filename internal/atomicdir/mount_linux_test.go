package atomicdir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/atomicdir"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
)

// mount mounts dir onto itself, as the kubelet does with an emptyDir on the node's disk.
func mount(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syscall.Mount(dir, dir, "", syscall.MS_BIND, "")
}

// full makes a tree of 1 MiB in a file system of 256 KiB, over one that fits.
func full(target string) error {
	if err := syscall.Mount("tmpfs", filepath.Dir(target), "tmpfs", 0, "size=256k,nr_inodes=100"); err != nil {
		return err
	}
	before := tree{"a": "before"}
	if err := put(target, before, atomicdir.Attributes{}); err != nil {
		return err
	}
	err := put(target, tree{"b": strings.Repeat("x", 1<<20)}, atomicdir.Attributes{})
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if err := unspoilt(target, nil); err != nil {
		return err
	}
	// What the maker of the tree says of it is not atomicdir's; what the file system says to atomicdir is.
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(filepath.Dir(target), fmt.Sprint(i)), nil, 0o600); err != nil {
			break
		}
	}
	return put(target, tree{}, atomicdir.Attributes{})
}

// readOnly makes a tree in a file system that is read-only; root is refused too.
func readOnly(target string) error {
	dir := filepath.Dir(target)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := put(target, tree{"a": "before"}, atomicdir.Attributes{}); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	return unspoilt(target, put(target, tree{"a": "after"}, atomicdir.Attributes{Force: true}))
}

// unspoilt returns err if the tree at target is as it was and nothing is left over.
func unspoilt(target string, err error) error {
	content, readErr := os.ReadFile(filepath.Join(target, "a"))
	entries, _ := os.ReadDir(filepath.Dir(target))
	inside, _ := os.ReadDir(target)
	if readErr != nil || string(content) != "before" || len(entries) != 2 || len(inside) != 1 {
		return fault.New(fault.Internal, "spoilt: %q, %v, %v, %v", content, readErr, entries, inside)
	}
	return err
}

// within makes a tree where something is mounted within the directory that is to be replaced.
func within(target string) error {
	if err := mount(target); err != nil {
		return err
	}
	if err := put(target, tree{"a/b": "before"}, atomicdir.Attributes{}); err != nil {
		return err
	}
	if err := mount(filepath.Join(target, "a")); err != nil {
		return err
	}
	return put(target, tree{"a/b": "after"}, atomicdir.Attributes{})
}

func TestFileSystemsThatRefuse(t *testing.T) {
	tests := []struct {
		child string
		want  string // with the target for TARGET
	}{
		{"full", "write TARGET: no space left on device\n" +
			"  hint: give the volume of TARGET more room, or inodes, for the old and the new tree: an emptyDir has its sizeLimit\n"},
		{"read-only", "write TARGET: read-only file system\n" +
			"  hint: mount a writable volume, such as an emptyDir, at TARGET\n"},
		{"within", "write TARGET: something is mounted within it: device or resource busy\n" +
			"  hint: mount it elsewhere, or write to a directory of its own\n"},
	}
	for _, test := range tests {
		t.Run(test.child, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "target")
			cmd := inNamespace(command(test.child, target))
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Skipf("the kernel gives no user namespace: %v", err)
			}
			if got, want := cmd.ProcessState.ExitCode(), fault.CantCreate.Code(); got != want {
				t.Errorf("got exit code %d, want %d", got, want)
			}
			if got, want := string(out), strings.ReplaceAll(test.want, "TARGET", target); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// mounted makes trees in a mount point, and checks all that is different there.
func mounted(target string) error {
	if err := os.MkdirAll(filepath.Join(target, "lost+found"), 0o700); err != nil {
		return err
	}
	if err := mount(target); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(target, ".slipway-0123456789abcdef.receipt"), nil, 0o600); err != nil {
		return err
	}
	for i, files := range []tree{{"a": "1", "b/c": "2", "ro/x": "3"}, {"b": "now a file", "a/x": "now a directory", "ro/y": "4"}} {
		ctx, wrong := context.Background(), fmt.Errorf("version %d", i)
		d, err := atomicdir.Create(ctx, env, target, atomicdir.Attributes{})
		if err != nil {
			return err
		}
		defer d.Abort(ctx)
		if err := files.make(d); err != nil {
			return err
		}
		if err := d.Root().Chmod("ro", 0o555); err != nil {
			return err
		}
		if err := d.Commit(ctx, receipt.Receipt{Source: "test"}); err != nil {
			return err
		}
		if !untouched(target) {
			return fmt.Errorf("%w: its receipt does not prove it", wrong)
		}
		if info, err := os.Lstat(filepath.Join(target, "ro")); err != nil || info.Mode().Perm() != 0o555 {
			return fmt.Errorf("%w: got mode %v of a read-only directory (%w)", wrong, info.Mode(), err)
		}
		names, err := os.ReadDir(target)
		if err != nil || len(names) != 6 { // the tree's three, its receipt, and the volume's two
			return fmt.Errorf("%w: got %v, %w", wrong, names, err)
		}
	}
	if err := put(target, tree{"lost+found/x": "1"}, atomicdir.Attributes{}); fault.KindOf(err) != fault.Data {
		return fault.New(fault.Internal, "a tree with a lost+found: got %w", err)
	}
	if !untouched(target) {
		return fault.New(fault.Internal, "a tree that was refused has spoilt the one that is there")
	}
	if err := os.WriteFile(filepath.Join(target, "mine"), nil, 0o644); err != nil {
		return err
	}
	if untouched(target) {
		return fault.New(fault.Internal, "the receipt proves a directory with a file more")
	}
	if err := receipt.Forget(target); err != nil {
		return err
	}
	return put(target, tree{}, atomicdir.Attributes{})
}

func TestAMountPointIsFilled(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	cmd := inNamespace(command("mounted", target))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Skipf("the kernel gives no user namespace: %v", err)
	}
	if got, want := cmd.ProcessState.ExitCode(), fault.CantCreate.Code(); got != want || !strings.Contains(string(out), "slipway did not make it") {
		t.Errorf("got exit code %d, want %d: %s", got, want, out)
	}
	_ = os.Chmod(filepath.Join(target, "ro"), 0o755)
}

// rewriteMounted is rewrite in a mount point.
func rewriteMounted(target string) error {
	if err := mount(target); err != nil {
		return err
	}
	return rewrite(target)
}

func TestAMountPointHealsAfterAKillAtAnyMoment(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	seen := map[string]int{}
	for round := range 50 {
		kill(t, round, inNamespace(command("rewrite-mounted", target)))
		got := at(t, target)
		whole := equal(got, versions[0]) || equal(got, versions[1])
		// The mount is gone with its namespace: whether the receipt proves the tree is asked as if it were there.
		if r, ok := readInside(target); ok && r.Fingerprint != (receipt.Fingerprint{}) {
			now, err := receipt.Take(context.Background(), target, true)
			if err != nil {
				t.Fatal(err)
			}
			if now == r.Fingerprint {
				seen["proven"]++
				if !whole {
					t.Fatalf("a mixture that its receipt calls good: %v", got)
				}
			}
		}
		if !whole {
			seen["mixture or empty"]++
		}
	}
	t.Logf("after a kill: %v", seen)
	if seen["proven"] == 0 {
		t.Error("no kill came after a tree was put: nothing was tested")
	}
	cmd := inNamespace(command("heal", target))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want(t, target, tree{"the": "end"})
	entries, err := os.ReadDir(target)
	if err != nil || len(entries) != 2 {
		t.Errorf("got %v (%v), want one file and the receipt", entries, err)
	}
}

// readInside reads the receipt inside of a directory by making it a mount point's.
func readInside(target string) (receipt.Receipt, bool) {
	content, err := os.ReadFile(filepath.Join(target, receipt.Inside))
	if err != nil {
		return receipt.Receipt{}, false
	}
	return receipt.Parse(content)
}

// heal makes the last tree in a mount point.
func heal(target string) error {
	if err := mount(target); err != nil {
		return err
	}
	return put(target, tree{"the": "end"}, atomicdir.Attributes{})
}
