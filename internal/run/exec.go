package run

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// Streams are the standard streams of child processes. Output goes to writers that the log does not share lines with.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Replacement is the process that slipway becomes by execve(2) after all is done, reported and traced.
type Replacement struct {
	Path string
	Args []string
	Env  []string
	Dir  string // the working directory; empty keeps it
}

// forwarded are the signals that a child gets besides those that end slipway.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT}

// execute starts cmd with the streams it does not set itself, and waits for it. When ctx ends the child gets the signal that ended it,
// or SIGTERM, and SIGKILL after nine tenths of the grace, so that slipway itself is still in time.
func execute(ctx context.Context, cmd *exec.Cmd, streams Streams, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if grace == 0 {
		grace = defaultGrace
	}
	if cmd.Stdin == nil {
		cmd.Stdin = streams.In
	}
	if cmd.Stdout == nil {
		cmd.Stdout = streams.Out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = streams.Err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		done := ctx.Done()
		var kill <-chan time.Time
		for {
			select {
			case <-exited:
				return
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-done:
				done = nil
				_ = cmd.Process.Signal(ending(ctx))
				kill = time.After(grace * 9 / 10)
			case <-kill:
				_ = cmd.Process.Kill()
			}
		}
	}()
	err := cmd.Wait()
	close(exited)
	<-watched
	return err
}

// ending returns the signal that tells a child that ctx ended.
func ending(ctx context.Context) os.Signal {
	if s, ok := errors.AsType[*fault.Signal](context.Cause(ctx)); ok {
		return s.Signal
	}
	return syscall.SIGTERM
}
