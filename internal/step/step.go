// Package step is the contract between the jobs that slipway does and the runner that gives them all the same life.
//
// A Kind is a plain value that describes a job. Its New makes a Step, which binds its options to a flag set, says
// without I/O what it will touch, and does its work once. Validation, dry-run, deadline, retry, spans, logs, progress,
// the panic guard and the report are the runner's: a step contains none of them.
package step

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// Kind describes one kind of step. It is a plain value; the catalogue in package steps lists them all.
type Kind struct {
	Name  string // in kebab-case, as chains and plans say it: "git-clone"
	Short string // one line, lower case, no full stop
	Long  string // the page of help, in Markdown
	// Args are the options that may be given by position, in order. A last one with "..." repeats: "path...". A first
	// one that is "--" says that the arguments stand behind a "--" and take the rest of the chain.
	Args []string
	// Policy holds where the plan is silent.
	Policy Policy
	// New returns a step with its defaults. It must not do I/O.
	New func() Step
}

// Step is one job with its options. A runner calls Flags once, sets the options, calls Effects, and then Run, which it
// may call again after an error that time may mend (see package fault).
type Step interface {
	// Flags binds the options to fs. The names are the plan file's keys too.
	Flags(fs *pflag.FlagSet)
	// Effects checks the options against each other and says what Run will touch. It must not do I/O, so that
	// --dry-run works on any laptop. Its error is one or more usage faults (errors.Join).
	Effects() ([]Effect, error)
	// Run does the work. It must return within a second of ctx's end, and a second Run over the result of a first
	// one must change nothing.
	Run(ctx context.Context, env *Env) error
}

// Tuner is a Step whose own options change its policy, such as wait-for's --interval.
type Tuner interface {
	// Tune changes p, which holds the kind's policy with the plan's options over it.
	Tune(p *Policy)
}

// Previewer is a Step that can show, without I/O, more of what Run will do than its effects say: the text of the rules
// that it sets. --dry-run prints it.
type Previewer interface {
	// Preview returns lines of text, "" for none. Effects has been called before.
	Preview() string
}

// Differ is a Step that can say what Run would change on this machine. --dry-run --diff asks it: that is the one part
// of a dry-run that looks at the machine.
type Differ interface {
	// Diff returns a line for each change, none if Run would change nothing. It must change nothing itself.
	Diff(ctx context.Context, env *Env) ([]string, error)
}

// SecretWriter is a Step that writes secrets. What is made from plans for a cluster keeps those paths off disks.
type SecretWriter interface {
	// Secrets returns those of the objects that the step writes which hold secrets. Effects has been called before.
	Secrets() []string
}

// Forever is the number of retries of a policy that only its timeout ends.
const Forever = -1

// Policy is how often and how long a task is tried.
type Policy struct {
	Timeout time.Duration // for the task with all its attempts; 0 is none
	Retries int           // attempts after the first one; Forever is without end
	Backoff time.Duration // the delay before the first retry; it doubles up to MaxBackoff, with jitter
	// MaxBackoff is the longest delay; 0 is 30 s.
	MaxBackoff time.Duration
	// Pace, when set, is the delay after an attempt that ended elapsed after the first one began, instead of the doubling.
	Pace func(elapsed time.Duration) time.Duration
	// Parts says that the step retries its parts itself, each on its own, through Env.Retry; the runner then runs
	// it once.
	Parts bool
	// Grace is how long the step may take to return after its context ended; 0 is one second.
	Grace time.Duration
}

// Verb is what a step does to an object.
type Verb string

// The verbs, with the form of their objects.
const (
	Read      Verb = "read"      // a path
	Write     Verb = "write"     // a path; one that ends in "/..." means everything below
	Own       Verb = "own"       // a path whose owner changes to another user
	Dial      Verb = "dial"      // tcp://host:port, unix:///path, dns://name; store:$VARIABLE where the address is not known yet
	Execute   Verb = "exec"      // a command
	Netfilter Verb = "netfilter" // a table family: inet
	Load      Verb = "load"      // a policy of a security module: apparmor:NAME
	Replace   Verb = "replace"   // a command that the process becomes; only a plan's last task may
)

// Skipped is the key of Env.Output that says, with the reason as its value, that everything was right already.
const Skipped = "skipped"

// Effect is one thing that a step will touch: {write /etc/app.conf}, {dial tcp://db:5432}.
type Effect struct {
	Verb   Verb
	Object string
}

// String returns the effect as dry-run prints it: "write /etc/app.conf".
func (e Effect) String() string { return string(e.Verb) + " " + e.Object }

// Env is all of the world that a step may touch. The runner fills it; steptest fills it for tests. A step that goes
// round it (os.Getenv, net.Dial, http.DefaultClient) escapes tracing, testing and the rules of the house.
type Env struct {
	Log     *slog.Logger             // a step logs almost nothing: the runner says when it began, tried again and ended
	Root    string                   // prefixed to every path by Path; "" or "/" in production, a temporary folder in tests
	Getenv  func(name string) string // an environment variable
	Environ func() []string          // the whole environment, for child processes: TRACEPARENT is in it

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // traced
	HTTP *http.Client                                                      // traced, dials through Dial, follows no redirect to another host
	// Exec starts cmd and waits for it. When ctx ends, cmd gets the signal that ended it, or SIGTERM, and then SIGKILL.
	Exec func(ctx context.Context, cmd *exec.Cmd) error
	// Replace arranges that the process becomes cmd after everything else is done and reported.
	Replace func(cmd *exec.Cmd) error
	// Undo arranges that undo is called should the plan fail after this step has succeeded: what the step took from
	// others for this pod alone, such as a lease, is given back. The context lives a few seconds more; the error is a
	// warning. What the step wrote stays.
	Undo func(undo func(ctx context.Context) error)
	// Chown is os.Lchown; a seam, because tests rarely run as root.
	Chown func(name string, uid, gid int) error
	// ChownAt is Chown for a name in the open directory dir, as fchownat(2) has it: a walk by descriptors is safe from
	// those who change the path meanwhile.
	ChownAt func(dir int, name string, uid, gid int) error

	// Retry calls attempt until it returns nil, fails in a way that time cannot mend, or the task's policy is used
	// up; the part's name goes into log and span. It is the one loop with a sleep in it: a step whose parts recover
	// independently (the targets of wait-for) sets Policy.Parts and calls it once a part, side by side.
	Retry func(ctx context.Context, part string, attempt func(context.Context) error) error
	// Report tells progress: done of total, in bytes or pieces; total is 0 when it is not known.
	Report func(done, total int64)
	// Output keeps a fact for the report and the span: commit, sha256, bytes. Never a secret.
	Output func(key, value string)
}

// Path returns name under the env's Root.
func (e *Env) Path(name string) string {
	if e.Root == "" || e.Root == "/" {
		return name
	}
	return filepath.Join(e.Root, name)
}
