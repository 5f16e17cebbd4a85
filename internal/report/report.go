// Package report writes what a run came to as a Kubernetes termination message: a sentence for people first, then facts
// as key=value lines. It is best effort: a report that cannot be written is never the reason of a failure.
//
// The kubelet reads at most 4,096 bytes of a container's message, and gives a pod with many containers less for each
// (12 KiB in all), so the cause and the hint stand within the first 500.
// https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
package report

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
)

// The bounds of a report, in bytes.
const (
	Max       = 4096 // of the whole, the kubelet's limit
	maxCause  = 350  // of the first line
	maxHint   = 140  // of the hint, so that both stand within the first 500
	maxOutput = 256  // of one output's value
)

// DefaultPath is where the kubelet looks unless the container says otherwise (terminationMessagePath).
const DefaultPath = "/dev/termination-log"

// Compose returns the report of a run. TraceID may be empty.
func Compose(p *plan.Plan, result run.Result, traceID string) []byte {
	var b builder
	if result.Err == nil {
		b.line(fmt.Sprintf("%s done in %s", count(p), round(result.Elapsed)))
	} else {
		b.cause(result.Err)
		if result.Task != nil {
			b.fact("step", result.Task.ID)
		}
	}
	b.fact("exit", strconv.Itoa(fault.ExitCode(result.Err)))
	if result.Err != nil {
		b.fact("reason", fault.KindOf(result.Err).String())
		if result.Task != nil {
			b.fact("attempts", strconv.Itoa(result.Tasks[result.Task].Attempts))
		}
	}
	b.fact("duration", round(result.Elapsed).String())
	if traceID != "" {
		b.fact("trace-id", traceID)
	}
	for t := range p.Tasks() {
		b.task(t, result.Tasks[t])
	}
	return b.bytes()
}

// Fault returns the report of a run that ended before anything ran. Of a plan's faults the first one leads.
func Fault(err error) []byte {
	var (
		b      builder
		faults plan.Faults
	)
	if errors.As(err, &faults) && len(faults) > 0 {
		first := fmt.Errorf("%s: %s", faults[0].Pos, faults[0].Message)
		if len(faults) > 1 {
			first = fmt.Errorf("%d faults in the plan: %w", len(faults), first)
		}
		b.cause(fault.Hint(first, "%s", faults[0].Hint))
	} else {
		b.cause(err)
	}
	b.fact("exit", strconv.Itoa(fault.ExitCode(err)))
	b.fact("reason", fault.KindOf(err).String())
	for _, f := range faults[min(len(faults), 1):] {
		b.line(shorten(oneLine(fmt.Sprintf("%s: %s", f.Pos, f.Message)), maxCause))
	}
	return b.bytes()
}

// Write writes the report to path. The default path is written only if it is there: on a laptop nobody made it.
func Write(path string, content []byte) error {
	flags := os.O_WRONLY | os.O_TRUNC | syscall.O_NONBLOCK // nor does it wait for the reader of a named pipe
	if path != DefaultPath {
		flags |= os.O_CREATE
	}
	// Not by rename: the kubelet bind-mounts the file, and reads that inode.
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// count says how many steps there are, in words of people.
func count(p *plan.Plan) string {
	n := len(slices.Collect(p.Tasks()))
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// round keeps a duration readable: three digits are enough.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// builder gathers lines until the report is full. What comes later is what is left out.
type builder struct {
	text strings.Builder
	full bool
}

// cut stands where lines were left out.
const cut = "…\n"

func (b *builder) line(text string) {
	text = strings.ToValidUTF8(text, "�") + "\n"
	if b.full || b.text.Len()+len(text)+len(cut) > Max {
		b.full = true
		return
	}
	b.text.WriteString(text)
}

// cause writes the failure's sentence, on one line, and its hint.
func (b *builder) cause(err error) {
	b.line(shorten(oneLine(err.Error()), maxCause))
	if hint := fault.HintOf(err); hint != "" {
		b.line("hint: " + shorten(oneLine(hint), maxHint-len("hint: \n")))
	}
}

// fact writes key=value. A value with spaces or worse is quoted as in Go.
func (b *builder) fact(key, value string) {
	quote := value == "" || strings.ContainsFunc(value, func(r rune) bool {
		return r == '"' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	if quote {
		value = strconv.Quote(value)
	}
	b.line(key + "=" + value)
}

// task writes how a task stands and its outputs.
func (b *builder) task(t *plan.Task, result run.TaskResult) {
	state := string(result.State)
	if result.State != run.Pending {
		state += " " + round(result.Duration).String()
	}
	b.line(t.ID + ": " + state)
	for _, o := range result.Outputs {
		b.fact(t.ID+"."+o.Key, shorten(o.Value, maxOutput))
	}
}

func (b *builder) bytes() []byte {
	if b.full {
		b.text.WriteString(cut)
	}
	return []byte(b.text.String())
}

// oneLine folds white space: a report's line is a line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// shorten cuts the middle out of a text of over most bytes: its beginning says what was being done, its end why it
// failed.
func shorten(text string, most int) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= most {
		return text
	}
	const gap = " … "
	head, tail := (most-len(gap))/2, len(text)-(most-len(gap))/2
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + gap + text[tail:]
}
