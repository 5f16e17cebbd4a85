// Package exec is the step that runs a command.
package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is exec.
var Kind = step.Kind{
	Name:  "exec",
	Short: "run a command, or become it",
	Long: `Runs a command and waits for it. It takes the rest of the chain: what stands behind the "--" is the command's.

    slipway wait-for tcp://db:5432 then exec -- /app/migrate --all
    slipway exec --timeout 2m --retries 3 --env-from PASSWORD=file:/secrets/db -- /app/migrate
    slipway wait-for tcp://db:5432 then exec --replace -- /app/server

In a plan, where steps may follow it:

    - exec: {command: [/app/migrate, --all], dir: /app, env: [LOG=debug]}

There is no shell between: write sh -c '…' for its syntax, where the image has one. A command without a slash is looked
up in the PATH that it is going to have. It gets slipway's standard streams and environment, with TRACEPARENT for its
own spans, and --env and --env-from on top. A secret comes by --env-from, as file:PATH or env:NAME: the value of --env
stands in the plan and in what --dry-run prints.

When slipway is told to end, or the step's time is up, the command and the processes that it started get the same
signal, or SIGTERM, and SIGKILL if they are not gone when nine tenths of --kill-after have passed. If it exits with 0
then, the step has failed all the same: the command was cut short. SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on.
What a command leaves running in the background is left to run.

With --replace slipway becomes the command when everything else is done and reported, with the same process id: it must
be the plan's last step.

**A second run** runs the command again: whether that changes anything is for the command to see to.

**Exit codes**: those of the command, as far as they say why.

| command | exit code |
|---|---|
| exits with 64, 65, 66, 69, 70, 71, 73, 74, 75, 77 or 78 | the same |
| exits with anything else | 75: tried again if --retries asks for it |
| is ended by signal n | 128+n: tried again if --retries asks for it |
| does not exist, or exits with 127 | 66 |
| may not be executed, or exits with 126 | 77 |
| is for another architecture, or a script without #! | 71 |
| takes longer than --timeout | 69 |

The exit status itself is in the message and in the output exit-status. There are no retries and no timeout unless
they are asked for.

**Privileges**: those that the command needs.
`,
	Args: []string{"--", "command..."},
	New:  func() step.Step { return &command{killAfter: time.Second} },
}

type command struct {
	command   []string
	replace   bool
	env       []string // NAME=VALUE
	envFrom   []string // NAME=REFERENCE
	dir       string
	killAfter time.Duration
}

func (s *command) Flags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&s.command, "command", nil, "the command and its arguments")
	fs.BoolVar(&s.replace, "replace", false, "become the command; only for the last step")
	fs.StringArrayVar(&s.env, "env", nil, "environment variable, NAME=VALUE; not for secrets")
	fs.StringArrayVar(&s.envFrom, "env-from", nil, "environment variable by reference, NAME=file:PATH or NAME=env:OTHER")
	fs.StringVar(&s.dir, "dir", "", "working directory")
	fs.DurationVar(&s.killAfter, "kill-after", s.killAfter, "how long the command may take to end once it is told to")
}

func (s *command) Effects() ([]step.Effect, error) {
	variables, err := s.variables()
	faults := []error{err}
	if len(s.command) == 0 || s.command[0] == "" {
		faults = append(faults, fault.New(fault.Usage, "no command is given"))
	}
	if s.killAfter <= 0 {
		faults = append(faults, fault.New(fault.Usage, "kill-after: %s is not a positive duration", s.killAfter))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	effect := step.Effect{Verb: step.Execute, Object: s.command[0]}
	if s.replace {
		effect.Verb = step.Replace
	}
	effects := []step.Effect{effect}
	for _, v := range variables {
		effects = append(effects, v.from.Effects()...)
	}
	return effects, nil
}

// Tune gives the command the time to end that was asked for.
func (s *command) Tune(p *step.Policy) { p.Grace = s.killAfter }

func (s *command) Run(ctx context.Context, env *step.Env) error {
	cmd, err := s.cmd(env)
	if err != nil {
		return err
	}
	if s.replace {
		return env.Replace(cmd)
	}
	err = env.Exec(ctx, cmd)
	if cmd.ProcessState == nil {
		return s.notStarted(cmd, err)
	}
	env.Output("exit-status", strconv.Itoa(status(cmd.ProcessState)))
	err = s.ended(ctx, err)
	if ctx.Err() != nil {
		return fault.As(fault.Temporary, err) // whatever it says of itself, it was told to end
	}
	return err
}

// cmd returns the command to run.
func (s *command) cmd(env *step.Env) (*exec.Cmd, error) {
	environ, err := s.environ(env)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Args: s.command, Env: environ}
	if s.dir != "" {
		// Absolute, because whoever enters it would look for a relative command below it once more.
		if cmd.Dir, err = filepath.Abs(env.Path(s.dir)); err != nil {
			return nil, fmt.Errorf("enter %s: %w", s.dir, err)
		}
		if info, err := os.Stat(cmd.Dir); err != nil {
			return nil, fmt.Errorf("enter %w", pathError(err))
		} else if !info.IsDir() {
			return nil, fault.New(fault.NoInput, "enter %s: not a directory", cmd.Dir)
		}
	}
	cmd.Path, err = lookPath(s.command[0], valueOf("PATH", environ), cmd.Dir)
	return cmd, err
}

// pathError returns err without the name of a system call that the user has not heard of.
func pathError(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// notStarted says why a command could not be started.
func (s *command) notStarted(cmd *exec.Cmd, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	err = fmt.Errorf("start %w", pathError(err))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, statErr := os.Stat(cmd.Path); statErr == nil {
			return fault.Hint(err, "the file is there: the interpreter in its first line, or its loader, is not in this image")
		}
	case errors.Is(err, syscall.ENOEXEC):
		return fault.Hint(fault.As(fault.Unsupported, err),
			"it is built for another architecture, or a script without #! in its first line")
	case errors.Is(err, syscall.ETXTBSY):
		return fault.As(fault.Temporary, err) // somebody is about to finish writing it
	case errors.Is(err, syscall.E2BIG):
		return fault.As(fault.Data, err)
	}
	return err
}

// ended turns the end of a command, err, into a fault that tells how it ended; nil stays nil. After ctx's end a SIGKILL
// was slipway's own.
func (s *command) ended(ctx context.Context, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	name := filepath.Base(s.command[0])
	if signal, ok := signalOf(exit.ProcessState); ok {
		err := fault.Exit(128+int(signal), fault.New(fault.Temporary, "%s: killed by %s", name, signalName(signal)))
		if signal == syscall.SIGKILL && ctx.Err() == nil {
			return fault.Hint(err, "if nobody killed it, it was out of memory: see the container's memory limit")
		}
		return err
	}
	return fault.New(kindOf(exit.ExitCode()), "%s: exit status %d", name, exit.ExitCode())
}

// kindOf returns what an exit status tells: our own codes mean what they mean here, a shell's two are about the
// command, and the rest say no more than that it failed, which time may mend.
func kindOf(status int) fault.Kind {
	switch {
	case slices.Contains(fault.Kinds(), fault.Kind(status)):
		return fault.Kind(status)
	case status == 126:
		return fault.Permission
	case status == 127:
		return fault.NoInput
	}
	return fault.Temporary
}

// status returns the exit status as a shell shows it, 128+n after signal n.
func status(state *os.ProcessState) int {
	if signal, ok := signalOf(state); ok {
		return 128 + int(signal)
	}
	return state.ExitCode()
}

// signalOf returns the signal that ended a process, if one did.
func signalOf(state *os.ProcessState) (syscall.Signal, bool) {
	wait, ok := state.Sys().(syscall.WaitStatus)
	return wait.Signal(), ok && wait.Signaled()
}

// signalName returns "SIGKILL", or "signal 35" for one without a name.
func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
