// Command slipway does what a Kubernetes pod needs done before its application starts.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/memory"
	"github.com/slipway-init/slipway/steps"
)

// version is set by the linker (-X main.version=…).
var version = "devel"

func main() {
	boundMemory()
	ctx := untilSignal()
	os.Exit(cli.Main(ctx, cli.Process{
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Kinds:   steps.All(),
		Version: version,
		Become:  become,
	}))
}

// softLimit is what the garbage collector keeps the process below where it can and nothing else is known, in bytes: by itself
// it would let the heap double, which a container of 64 MiB does not survive.
const softLimit = 48 << 20

// growth is by how much the heap may grow between two collections, in per cent of what is in use. Slipway's life is short and
// its heap small, so that collecting less often costs little memory and spares a tenth of the CPU time; near the limit the
// collector works as often as it has to.
const growth = 400

// boundMemory sets growth and a soft limit, unless the environment's GOGC and GOMEMLIMIT say otherwise. The limit is three
// quarters of what the container may use; the rest is for what is not the heap's: stacks, the binary, the page cache.
func boundMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(softLimit)
	if container, ok := memory.Limit(); ok {
		limit = container / 4 * 3
	}
	debug.SetMemoryLimit(limit)
}

// untilSignal returns a context that the first SIGTERM or SIGINT ends. The second ends the process at once. A log that
// nobody reads any more is no reason to stop: SIGPIPE is taken, and not ignored, because children would inherit that.
func untilSignal() context.Context {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		cancel(&fault.Signal{Signal: (<-signals).(syscall.Signal)})
		os.Exit(128 + int((<-signals).(syscall.Signal)))
	}()
	return ctx
}

// become replaces the process.
func become(path string, args, environ []string, dir string) error {
	if dir != "" {
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	signal.Reset()
	return syscall.Exec(path, args, environ)
}
