package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// bench is what the sections share.
type bench struct {
	ctx            context.Context // its end kills whatever runs
	quick          bool
	dir            string // a temporary folder
	dest           string // where to fetch to; empty is a folder on the disk and one in memory
	source         string // slipway's module
	slipway, hello string // the binaries, built as slipway is released: static and stripped
}

// prepare builds the binaries in a temporary folder.
func prepare(ctx context.Context, quick bool) (*bench, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	e2e := filepath.Dir(strings.TrimSpace(string(module)))
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{
		ctx: ctx, quick: quick, dir: dir, source: filepath.Dir(e2e),
		slipway: filepath.Join(dir, "slipway"), hello: filepath.Join(dir, "hello"),
	}
	if err := b.build(b.source, "./cmd/slipway", "-s -w", b.slipway); err != nil {
		b.close()
		return nil, err
	}
	if err := b.build(e2e, "./bench/hello", "-s -w", b.hello); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// build builds a package of the module at dir, without cgo.
func (b *bench) build(dir, pkg, ldflags, path string) error {
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags=grpcnotrace", "-ldflags="+ldflags, "-o", path, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// close removes the temporary folder.
func (b *bench) close() { _ = os.RemoveAll(b.dir) }

// rounds returns how often something is measured.
func (b *bench) rounds(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

// command returns a command with next to no environment: a collector's address in ours would be measured, too.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// run returns a run of slipway that writes its report to a file, as it does in a pod.
func (b *bench) run(args ...string) *exec.Cmd {
	return b.command(b.slipway, append([]string{"--report", filepath.Join(b.dir, "report")}, args...)...)
}

// ports returns ports of 127.0.0.1 that nobody listens on. They lie below those that the kernel gives to outgoing
// connections (from 32768), so that nobody takes one by chance before it is listened on, and no client that tries a closed
// one connects to itself.
func ports(n int) ([]string, error) {
	var found []string
	for range 1000 {
		if len(found) == n {
			return found, nil
		}
		port := strconv.Itoa(20_000 + rand.IntN(12_000))
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		defer listener.Close() // held until all are found, so that they differ
		found = append(found, port)
	}
	return nil, fmt.Errorf("find %d free ports between 20000 and 32000", n)
}

// describe returns the machine in a line.
func describe() string {
	var name syscall.Utsname
	kernel := "unknown"
	if err := syscall.Uname(&name); err == nil {
		kernel = text(name.Release[:])
	}
	return fmt.Sprintf("%d CPUs, %s/%s, kernel %s, %s, load average %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel,
		runtime.Version(), load())
}

// text returns a C string; its element's sign differs among architectures.
func text[C int8 | uint8](s []C) string {
	var b strings.Builder
	for _, c := range s {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// load returns the load averages of the last 1, 5 and 15 minutes.
func load() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(content))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
