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

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
)

// Streams are the standard streams of child processes. Output goes to writers that the log does not share lines with.
type Streams struct {
	In       io.Reader // nil is /dev/null
	Out, Err io.Writer // nil is /dev/null
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

// outputDelay is how long output is waited for after a command has ended: a process that it left behind may keep the
// pipe open for ever.
const outputDelay = time.Second

// execute starts cmd with the streams it does not set itself, and waits for it. When ctx ends, the command and what it
// has started get the signal that ended it, or SIGTERM; after nine tenths of the grace they get SIGKILL, so that slipway
// itself is still in time. A command that ends well after it was told to end has not done its work: the error is ctx's.
//
// Orphans that a container's first process inherits are not reaped: they are few in a short life, the kernel ends them
// with slipway, and a wait for any child would take the exit status of those that are waited for here.
func execute(ctx context.Context, cmd *exec.Cmd, streams Streams, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
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
	cmd.WaitDelay = outputDelay
	group := !terminal(cmd.Stdin)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = group

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	child := child{process: cmd.Process, group: group}
	exited := make(chan struct{})
	stopped := make(chan bool)
	go func() { stopped <- child.watch(ctx, signals, grace, exited) }()
	err := cmd.Wait()
	close(exited)
	told := <-stopped
	if told {
		child.end(syscall.SIGKILL) // what it started and did not wait for
	}
	switch {
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return err
	case told:
		return ctx.Err()
	}
	return nil
}

// child is a running command.
type child struct {
	process *os.Process
	group   bool // it leads a process group
}

// watch passes signals on to the child until it has exited, and reports whether ctx's end was told to it before.
func (c child) watch(ctx context.Context, signals <-chan os.Signal, grace time.Duration, exited <-chan struct{}) (told bool) {
	var (
		done = ctx.Done()
		kill <-chan time.Time
	)
	for {
		select {
		case <-exited:
			return told
		case s := <-signals:
			_ = c.process.Signal(s)
		case <-done:
			done, told = nil, true
			c.end(ending(ctx))
			timer := time.NewTimer(grace * 9 / 10)
			defer timer.Stop()
			kill = timer.C
		case <-kill:
			c.end(syscall.SIGKILL)
		}
	}
}

// end sends a signal to the child and, as timeout(1) does, to what it has started: a shell that dies of a signal leaves
// the command it was waiting for to run on. That all is over already is no error.
func (c child) end(s syscall.Signal) {
	if c.group {
		_ = syscall.Kill(-c.process.Pid, s)
		return
	}
	_ = c.process.Signal(s)
}

// ending returns the signal that tells a child that ctx ended.
func ending(ctx context.Context) syscall.Signal {
	if s, ok := errors.AsType[*fault.Signal](context.Cause(ctx)); ok {
		return s.Signal
	}
	return syscall.SIGTERM
}

// terminal reports whether in is the terminal that the process is controlled by. A command that may read from it has to
// stay in the terminal's process group, where Ctrl-C reaches all.
func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok || f == nil {
		return false
	}
	_, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil
}
