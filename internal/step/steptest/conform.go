package steptest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
)

// Case is one use of a kind that succeeds.
type Case struct {
	Name    string
	Options Options
	Environ []string
	// Setup fills the root before the first run, and may return further options, such as the address of a server
	// that it started.
	Setup func(t *testing.T, root string) Options
	// Check looks at the root after the first run and again after the second.
	Check func(t *testing.T, root string)
}

// Conform checks that kind keeps the contract of package step: its texts and names are in order, wrong options are
// usage faults, a second Run changes nothing, and Run ends within a second of its context. Blocking are options under
// which Run cannot succeed by itself and waits; a kind that never waits gives none. That Effects does no I/O is for the
// end-to-end tests to see, which trace the system calls of a dry-run.
func Conform(t *testing.T, kind step.Kind, blocking Options, cases ...Case) {
	t.Helper()
	t.Run("texts", func(t *testing.T) { conformTexts(t, kind) })
	t.Run("fresh", func(t *testing.T) { conformFresh(t, kind) })
	for _, c := range cases {
		t.Run("twice/"+c.Name, func(t *testing.T) { conformTwice(t, kind, c) })
		t.Run("cancelled/"+c.Name, func(t *testing.T) { conformCancelled(t, kind, c) })
	}
	if blocking != nil {
		t.Run("ends", func(t *testing.T) { conformEnds(t, kind, blocking) })
	}
}

var kebab = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func conformTexts(t *testing.T, kind step.Kind) {
	if !kebab.MatchString(kind.Name) {
		t.Errorf("name %q is not in kebab-case", kind.Name)
	}
	if kind.Short == "" || strings.HasSuffix(kind.Short, ".") || strings.ContainsAny(kind.Short, "\n") {
		t.Errorf("short %q must be one line without a full stop", kind.Short)
	}
	if len(kind.Long) < 200 || !strings.Contains(kind.Long, "slipway "+kind.Name) {
		t.Errorf("long must be a page of help with an example (\"slipway %s …\")", kind.Name)
	}
	flags := flagsOf(kind.New())
	for i, arg := range kind.Args {
		if i == 0 && arg == "--" {
			continue
		}
		name, repeats := strings.CutSuffix(arg, "...")
		flag := flags.Lookup(name)
		if flag == nil {
			t.Errorf("argument %q names no option", arg)
			continue
		}
		if _, list := flag.Value.(pflag.SliceValue); repeats && !list {
			t.Errorf("argument %q repeats but its option is no list", arg)
		}
		if repeats && i != len(kind.Args)-1 {
			t.Errorf("argument %q repeats but is not the last", arg)
		}
	}
	flags.VisitAll(func(flag *pflag.Flag) {
		if !kebab.MatchString(flag.Name) {
			t.Errorf("option %q is not in kebab-case", flag.Name)
		}
		if flag.Usage == "" {
			t.Errorf("option %q has no usage", flag.Name)
		}
		if slices.Contains([]string{"timeout", "retries", "backoff", "name", "help"}, flag.Name) {
			t.Errorf("option %q is the runner's", flag.Name)
		}
	})
}

// conformFresh checks that a step with nothing set answers with usage faults alone, and that New returns a new one.
func conformFresh(t *testing.T, kind step.Kind) {
	first, second := kind.New(), kind.New()
	if first == second {
		t.Error("New returned the same step twice")
	}
	flagsOf(first)
	if _, err := first.Effects(); err != nil && fault.KindOf(err) != fault.Usage {
		t.Errorf("without options Effects returns %v, of kind %v, not a usage fault", err, fault.KindOf(err))
	}
}

func flagsOf(s step.Step) *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.Flags(flags)
	return flags
}

// prepare returns a root, filled by the case's Setup, and the case's task.
func prepare(t *testing.T, kind step.Kind, c Case) (root string, task *plan.Task) {
	root = t.TempDir()
	options := slices.Clone(c.Options)
	if c.Setup != nil {
		options = append(options, c.Setup(t, root)...)
	}
	return root, Task(t, kind, options)
}

func conformTwice(t *testing.T, kind step.Kind, c Case) {
	root, task := prepare(t, kind, c)
	if result := Run(context.Background(), task, root, c.Environ...); result.State != run.Done {
		t.Fatalf("first run: %v", result.Err)
	}
	if c.Check != nil {
		c.Check(t, root)
	}
	before := snapshot(t, root)
	time.Sleep(10 * time.Millisecond) // so that a needless write would show in mtime or ctime
	again := Task(t, kind, optionsOf(task))
	if result := Run(context.Background(), again, root, c.Environ...); result.State != run.Done {
		t.Fatalf("second run: %v", result.Err)
	}
	if c.Check != nil {
		c.Check(t, root)
	}
	after := snapshot(t, root)
	for _, line := range difference(before, after) {
		t.Errorf("the second run changed something: %s", line)
	}
}

// optionsOf returns the options that were set on task.
func optionsOf(task *plan.Task) Options {
	var options Options
	task.Options.Visit(func(flag *pflag.Flag) {
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			for _, item := range list.GetSlice() {
				options = append(options, flag.Name+"="+item)
			}
			return
		}
		options = append(options, flag.Name+"="+flag.Value.String())
	})
	return options
}

// conformCancelled checks that a run whose context has ended already returns at once.
func conformCancelled(t *testing.T, kind step.Kind, c Case) {
	root, task := prepare(t, kind, c)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	began := time.Now()
	Run(ctx, task, root, c.Environ...)
	if took := time.Since(began); took > time.Second {
		t.Errorf("a run with an ended context took %s", took)
	}
}

// conformEnds checks that a waiting run returns within a second of its context's end, by itself and not by being left
// behind.
func conformEnds(t *testing.T, kind step.Kind, blocking Options) {
	task := Task(t, kind, blocking)
	task.Policy.Grace = 5 * time.Second
	ctx, cancel := context.WithCancelCause(context.Background())
	began := time.Now() // before the timer's, however busy the machine
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(errors.New("the test has ended it")) })
	defer timer.Stop()
	result := Run(ctx, task, t.TempDir())
	took := time.Since(began)
	if result.State == run.Done {
		t.Fatalf("the run succeeded in %s; it was to wait", took)
	}
	if took < 300*time.Millisecond {
		t.Fatalf("the run ended before its context, in %s: %v", took, result.Err)
	}
	if took > 1300*time.Millisecond {
		t.Errorf("the run took %s after its context's end", took-300*time.Millisecond)
	}
}

// snapshot describes everything below root, in the order of the walk: mode, owner, size, times and inode.
func snapshot(t *testing.T, root string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s %d %s", strings.TrimPrefix(name, root), info.Mode(), info.Size(), info.ModTime().Format(time.RFC3339Nano))
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			line += fmt.Sprintf(" uid=%d gid=%d ino=%d", stat.Uid, stat.Gid, stat.Ino)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// difference returns the lines that stand in one of the two alone.
func difference(before, after []string) []string {
	var lines []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}
