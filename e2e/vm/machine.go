package vm

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// patience is how long a machine may run before the test fails. It takes 5 to 20 seconds.
const patience = 4 * time.Minute

// kernel returns the image of Debian's kernel that a package, or the one that it depends on, holds. It is unpacked into a
// folder that all tests of the machine share.
func kernel(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	real := name
	for line := range strings.Lines(output(t, "apt-cache", "depends", name)) {
		if image, found := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); found {
			real = "linux-image-" + image
			break
		}
	}
	dir := filepath.Join(cache, "slipway-e2e", real)
	image := func() string {
		found, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
		if len(found) == 0 {
			return ""
		}
		return found[0]
	}
	if path := image(); path != "" {
		return path
	}
	scratch := t.TempDir()
	download := exec.Command("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", real)
	download.Dir = scratch
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("apt-get download %s: %v\n%s", real, err, out)
	}
	packages, err := filepath.Glob(filepath.Join(scratch, "*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("apt-get download %s gave %v", real, packages)
	}
	fresh := filepath.Join(scratch, "unpacked")
	output(t, "dpkg-deb", "-x", packages[0], fresh)
	if err := os.MkdirAll(filepath.Join(dir, "boot"), 0o755); err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Glob(filepath.Join(fresh, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		t.Fatalf("%s has the kernels %v", real, images)
	}
	content, err := os.ReadFile(images[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "boot", filepath.Base(images[0]))
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// output runs a command to its end and returns what it prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return string(out)
}

// disk is the content of a machine's only file system, by path.
type disk map[string]entry

type entry struct {
	mode    uint32 // with the kind of file
	content []byte
}

// newDisk returns a disk with slipway, and with the guest's program as the first process.
func newDisk(t *testing.T) disk {
	t.Helper()
	d := disk{}
	for _, name := range []string{"proc", "sys", "dev", "tmp", "run", "policy"} {
		d[name] = entry{mode: 0o40755}
	}
	guest := filepath.Join(t.TempDir(), "guest")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", guest, "./guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	d.add(t, "init", guest)
	d.add(t, "bin/slipway", tools.Slipway(t))
	return d
}

// add copies a file of the host, with the folders above it.
func (d disk) add(t *testing.T, name, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	d.write(name, content, uint32(info.Mode().Perm()))
}

func (d disk) write(name string, content []byte, mode uint32) {
	d[name] = entry{0o100000 | mode, content}
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if _, found := d[dir]; !found {
			d[dir] = entry{mode: 0o40755}
		}
	}
}

// addTree copies a folder of the host.
func (d disk) addTree(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			d.add(t, strings.TrimPrefix(path, "/"), path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addProgram copies a program of the host, with the libraries that it is linked with.
func (d disk) addProgram(t *testing.T, path string) {
	t.Helper()
	d.add(t, strings.TrimPrefix(path, "/"), path)
	for word := range strings.FieldsSeq(output(t, "ldd", path)) {
		if strings.HasPrefix(word, "/") {
			d.add(t, strings.TrimPrefix(word, "/"), word)
		}
	}
}

// archive writes the disk as the kernel reads it: cpio's "newc" form, see
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html.
func (d disk) archive(w io.Writer) error {
	names := make([]string, 0, len(d))
	for name := range d {
		names = append(names, name)
	}
	// Folders come before what is in them.
	slices.Sort(names)
	inode := 0
	one := func(name string, e entry) error {
		inode++
		header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			inode, e.mode, 0, 0, 1, 0, len(e.content), 0, 0, 0, 0, len(name)+1, 0)
		b := append([]byte(header+name), 0)
		b = append(b, make([]byte, -len(b)&3)...)
		b = append(b, e.content...)
		b = append(b, make([]byte, -len(b)&3)...)
		_, err := w.Write(b)
		return err
	}
	for _, name := range names {
		if err := one(name, d[name]); err != nil {
			return err
		}
	}
	return one("TRAILER!!!", entry{})
}

// boot boots a kernel with a disk and returns what it says on its serial line, until it switches itself off.
func boot(t *testing.T, image string, d disk, commandLine string) string {
	t.Helper()
	dir := t.TempDir()
	ram, serial := filepath.Join(dir, "initramfs"), filepath.Join(dir, "serial")
	f, err := os.Create(ram)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.archive(z); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "768", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "file:"+serial, "-kernel", image, "-initrd", ram,
		"-append", "console=ttyS0 quiet panic=-1 "+commandLine)
	out, err := cmd.CombinedOutput()
	said, readErr := os.ReadFile(serial)
	if err != nil || readErr != nil {
		t.Fatalf("qemu: %v, %v\n%s\n%s", err, readErr, out, said)
	}
	return strings.ReplaceAll(string(said), "\r", "")
}
