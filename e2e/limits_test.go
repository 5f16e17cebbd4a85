package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// mounted returns a command that runs in a mount namespace of its own with a tmpfs over dir, and lists afterwards what
// is in it.
func mounted(dir, options string, args ...string) slipway.Command {
	const script = `mount -t tmpfs -o "$1" none "$0" && shift && "$@"; code=$?; ls -A "$0"; exit $code`
	return slipway.Command{Prefix: []string{"unshare", "-m", "sh", "-c", script, dir, options}, Args: args}
}

func TestReadOnlyTarget(t *testing.T) {
	needRoot(t, "mount")
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"write-file", dir + "/a", "--content", "x"},
		{"render", "--inline", "x", dir + "/a"},
		{"mkdir", dir + "/a"},
		{"touch", dir + "/a"},
		{"install", dir},
		{"chmod", "0700", dir},
	} {
		r := mounted(dir, "ro", args...).Run(t)
		expect(t, r, 73)
		report(t, r, "read-only file system", "")
	}
}

func TestFullDisk(t *testing.T) {
	needRoot(t, "mount")
	t.Parallel()
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "source")
	write(t, source, strings.Repeat("x", 1<<20))
	for _, args := range [][]string{
		{"write-file", dir + "/a", "--from", "file:" + source},
		{"render", source, dir + "/a"},
		{"install", dir},
	} {
		r := mounted(dir, "size=64k", args...).Run(t)
		expect(t, r, 73)
		report(t, r, "no space left on device", "")
		if r.Stdout != "" {
			t.Errorf("%s left %q behind", args[0], r.Stdout)
		}
	}
}

func TestAbsurdInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "there"), "")
	targets := make([]string, 10_000)
	for i := range targets {
		targets[i] = "file://" + filepath.Join(dir, "there")
	}
	steps := func(n int) []string {
		return strings.Fields("touch " + dir + "/c " + strings.Repeat("then touch "+dir+"/c ", n-1))
	}
	huge := "steps:\n- write-file: {path: " + dir + "/a, content: " + strings.Repeat("x", 10<<20) + "}\n"
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		exit  int
		text  string
	}{
		{"empty plan", []string{"run", "-"}, "", 64, "empty"},
		{"empty list", []string{"run", "-"}, "steps: []\n", 64, "steps"},
		{"plan of nulls", []string{"run", "-"}, strings.Repeat("\x00", 1000), 64, ""},
		{"plan of 10 MB", []string{"run", "-"}, huge, 64, "bytes"},
		{"deep nesting", []string{"run", "-"}, "steps:\n- sequence: " + strings.Repeat("[", 5000), 64, ""},
		{"missing plan", []string{"run", dir + "/nonexistent"}, "", 66, "nonexistent"},
		{"a folder as plan", []string{"run", dir}, "", 73, "is a directory"},
		{"argument of 128 KB", []string{"write-file", dir + "/b", "--content", strings.Repeat("y", 128<<10-1)}, "", 0, ""},
		{"name of 100 KB", []string{"touch", dir + "/" + strings.Repeat("n", 100<<10)}, "", 73, "file name too long"},
		{"10,000 targets", append([]string{"wait-for"}, targets...), "", 64, "at most 4000"},
		{"4,000 targets", append([]string{"wait-for"}, targets[:4000]...), "", 0, ""},
		{"2,000 steps", steps(2_000), "", 0, "2000 steps"},
		{"10,000 steps", steps(10_000), "", 64, "over 2000 steps"},
		{"no words", nil, "", 64, ""},
		{"then alone", []string{"then"}, "", 64, ""},
		{"an empty word", []string{""}, "", 64, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, megabytes := measured(t, slipway.Command{Args: c.args, Stdin: c.stdin})
			expect(t, r, c.exit, c.text)
			report(t, r, "", "")
			t.Logf("%d MB, %s", megabytes, r.Elapsed)
			if megabytes > 64 {
				t.Errorf("it took %d MB; a container may have 64", megabytes)
			}
		})
	}
}

// measured runs a command and returns its peak of resident memory too. time(1) starts it, because the peak that the
// kernel tells of a child counts what it shared with its parent before execve(2).
func measured(t *testing.T, c slipway.Command) (r slipway.Result, megabytes int) {
	t.Helper()
	peak := filepath.Join(t.TempDir(), "peak")
	c.Prefix = []string{tools.Installed(t, "time"), "-q", "-f", "%M", "-o", peak}
	r = c.Run(t)
	kilobytes, err := strconv.Atoi(strings.TrimSpace(read(t, peak)))
	if err != nil {
		t.Fatal(err)
	}
	return r, kilobytes >> 10
}

// Output of a child passes through whole, however long.
func TestLongOutputOfAChild(t *testing.T) {
	t.Parallel()
	const size = 20 << 20
	r := slipway.Run(t, "exec", "--", "sh", "-c", fmt.Sprintf("head -c %d /dev/zero", size))
	expect(t, r, 0)
	if len(r.Stdout) != size {
		t.Errorf("got %d bytes, want %d", len(r.Stdout), size)
	}
}
