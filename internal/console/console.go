// Package console tells what happens while a plan runs: JSON lines for machines, text for people, and on a terminal a
// live line for each step that runs.
//
// While a plan runs, all that slipway itself says on standard error goes through it. On a terminal what commands write
// does too, so that log lines, live lines and the lines of parallel steps never mix.
package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
)

// Format is how lines are written.
type Format string

// The formats.
const (
	Auto Format = "auto" // text on a terminal, JSON elsewhere
	Text Format = "text"
	JSON Format = "json"
)

// How often a step that keeps failing, or makes progress, is told of.
const (
	retryEvery    = 10 * time.Second
	progressEvery = 10 * time.Second
	redrawEvery   = 100 * time.Millisecond
)

// Console is a run.Observer that writes lines. Close ends it.
type Console struct {
	log    *slog.Logger
	text   *textHandler // nil when JSON
	live   *live        // nil off a terminal
	mu     sync.Mutex
	recent map[*plan.Task]*recent
}

// recent is what was last said of a running task.
type recent struct {
	started  time.Time
	err      string    // the last retry's error
	retried  time.Time // when a retry was told
	attempts int
	progress time.Time // when progress was told
	done     int64
	total    int64
	pace     pace
}

// New returns a console that writes to w.
func New(w io.Writer, format Format, level slog.Level) *Console {
	file, _ := w.(*os.File)
	terminal := file != nil && term.IsTerminal(int(file.Fd()))
	c := &Console{recent: make(map[*plan.Task]*recent)}
	if format == JSON || (format == Auto && !terminal) {
		c.log = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
		return c
	}
	if terminal {
		c.live = startLive(file, c)
		w = c.live
	}
	c.text = &textHandler{w: w, mu: new(sync.Mutex), level: level}
	c.log = slog.New(c.text)
	return c
}

// Log returns the logger whose lines stand between the console's own.
func (c *Console) Log() *slog.Logger { return c.log }

// Output returns what commands write to instead of w: on a terminal with live lines, whole lines above those; else w
// itself.
func (c *Console) Output(w io.Writer) io.Writer {
	file, _ := w.(*os.File)
	if c.live == nil || file == nil || !term.IsTerminal(int(file.Fd())) {
		return w
	}
	return c.live.lines()
}

// Close stops the live lines.
func (c *Console) Close() {
	if c.live != nil {
		c.live.stop()
	}
}

// Start implements run.Observer.
func (c *Console) Start(t *plan.Task) {
	c.mu.Lock()
	c.recent[t] = &recent{started: time.Now()}
	c.mu.Unlock()
	if c.live == nil {
		c.log.Info("started", "task", t.ID)
	}
}

// Retry implements run.Observer. The same error is told once in ten seconds, each time at debug.
func (c *Console) Retry(t *plan.Task, retry run.Retry) {
	text := retry.Err.Error()
	now := time.Now()
	c.mu.Lock()
	r := c.recent[t]
	if r == nil { // a step that did not stop in time goes on behind its end
		c.mu.Unlock()
		return
	}
	r.attempts++
	level := slog.LevelDebug
	if (r.err != text && now.Sub(r.retried) > time.Second) || now.Sub(r.retried) > retryEvery {
		level, r.retried = slog.LevelInfo, now
	}
	r.err = text
	c.mu.Unlock()
	attributes := []any{"task", t.ID, "attempt", retry.Attempt, "error", text, "delay", seconds(retry.Delay)}
	if retry.Part != "" {
		attributes = append(attributes, "part", retry.Part)
	}
	c.log.Log(context.Background(), level, "trying again", attributes...)
}

// Progress implements run.Observer.
func (c *Console) Progress(t *plan.Task, done, total int64) {
	now := time.Now()
	c.mu.Lock()
	r := c.recent[t]
	if r == nil { // as above
		c.mu.Unlock()
		return
	}
	r.done, r.total = done, total
	r.pace.add(now, done)
	if r.progress.IsZero() {
		r.progress = r.started
	}
	tell := c.live == nil && now.Sub(r.progress) > progressEvery
	if tell {
		r.progress = now
	}
	rate := r.pace.rate
	c.mu.Unlock()
	if !tell {
		return
	}
	attributes := []any{"task", t.ID, "done", done}
	if total > 0 {
		attributes = append(attributes, "total", total)
	}
	if rate > 0 {
		attributes = append(attributes, "rate", int64(rate))
		if left, ok := timeLeft(done, total, rate); ok {
			attributes = append(attributes, "left", left.Seconds())
		}
	}
	c.log.Info("progress", attributes...)
}

// End implements run.Observer.
func (c *Console) End(t *plan.Task, result run.TaskResult) {
	c.mu.Lock()
	delete(c.recent, t)
	c.mu.Unlock()
	attributes := []any{"task", t.ID, "duration", seconds(result.Duration), "attempts", result.Attempts}
	for _, o := range result.Outputs {
		attributes = append(attributes, o.Key, o.Value)
	}
	switch result.State {
	case run.Done:
		c.log.Info("done", attributes...)
	case run.Cancelled:
		c.log.Warn("cancelled", append(attributes, "error", result.Err.Error())...)
	default:
		attributes = append(attributes, "error", result.Err.Error(), "reason", fault.KindOf(result.Err).String())
		if hint := fault.HintOf(result.Err); hint != "" {
			attributes = append(attributes, "hint", hint)
		}
		if stack := run.Stack(result.Err); stack != nil {
			attributes = append(attributes, "stack", string(stack))
		}
		c.log.Error("failed", attributes...)
	}
}

// seconds is how a duration stands in a log line: a number, as OpenTelemetry has it.
func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

// running returns the live lines, in no order that matters.
func (c *Console) running() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for t, r := range c.recent {
		line := fmt.Sprintf("  %-24s %6.1fs", t.ID, time.Since(r.started).Seconds())
		if r.done > 0 || r.total > 0 {
			line += "  " + amount(r.done, r.total) + r.pace.String(r.done, r.total)
		}
		if r.err != "" {
			line += fmt.Sprintf("  attempt %d: %s", r.attempts+1, r.err)
		}
		lines = append(lines, line)
	}
	return lines
}

// amount shows progress: "12.0 MB of 48.0 MB", or plain numbers while they are small.
func amount(done, total int64) string {
	if total <= 0 {
		return magnitude(done)
	}
	return fmt.Sprintf("%s of %s", magnitude(done), magnitude(total))
}

func magnitude(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	case n < 10_000_000_000:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f G", float64(n)/1e9)
}
