package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// scene is one part of the story: servers are started, slipway runs once against them, and what came of it is shown.
type scene struct {
	title   string
	servers []server
	// args are slipway's, after its global options; it may write the files that they name.
	args func(s *stage) ([]string, error)
	exit int // the code that slipway must end with
	// show tells what came of the run. Its error says what is not as it should be.
	show func(s *stage, r result) error
}

// result is what one run of slipway came to.
type result struct {
	exit    int
	elapsed time.Duration
	report  string // the termination message
	spans   []*span
}

// stage is what the scenes are played on. It outlives a scene, so that one can return to what another left.
type stage struct {
	story
	dir      string            // everything is below it; slipway runs in it
	targets  map[string]string // of the servers, by name, as wait-for takes them
	receiver *receiver
	prepared snapshot // the pod's files after its preparation

	blame context.CancelCauseFunc // ends the demo because of what went wrong behind the scenes

	mu   sync.Mutex
	ends []func() // what ends the servers, the last one first
}

func newStage(st story, dir string, blame context.CancelCauseFunc) *stage {
	return &stage{story: st, dir: dir, blame: blame, targets: make(map[string]string)}
}

// path returns a path on the stage.
func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// slipway is the path of the binary.
func (s *stage) slipway() string { return s.path("slipway") }

// play plays one scene.
func (s *stage) play(ctx context.Context, number int, sc scene) error {
	s.heading("%d. %s", number, sc.title)
	for _, server := range sc.servers {
		target, about, err := server.start(ctx, s)
		if err != nil {
			return fmt.Errorf("start the %s: %w", server.name, err)
		}
		s.targets[server.name] = target
		s.say("%-14s %s: %s", server.name, target, about)
	}
	args, err := sc.args(s)
	if err != nil {
		return err
	}
	s.say("")
	s.say("%s", s.bold("$ slipway "+strings.Join(args, " ")))
	r, err := s.run(ctx, args)
	if err != nil {
		return err
	}
	if r.exit != sc.exit {
		return fmt.Errorf("slipway ended with code %d, not %d", r.exit, sc.exit)
	}
	s.say("exit code %d after %s", r.exit, round(r.elapsed))
	return sc.show(s, r)
}

// run runs slipway with an environment like that of a pod's container.
func (s *stage) run(ctx context.Context, args []string) (result, error) {
	report := s.path("termination-log")
	cmd := exec.CommandContext(ctx, s.slipway(), append([]string{"--report", report, "--log-format", "text"}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"POD_NAME=kafka-2",
		"DB_PASSWORD=correct horse battery staple",
		"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3SecretKey, "AWS_REGION=us-east-1",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + s.receiver.endpoint,
	}
	cmd.Stdout, cmd.Stderr = s.out, s.err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && (!exited || ctx.Err() != nil) {
		return result{}, fmt.Errorf("run slipway: %w", err)
	}
	elapsed := time.Since(began)
	message, err := os.ReadFile(report)
	return result{
		exit:    cmd.ProcessState.ExitCode(),
		elapsed: elapsed,
		report:  string(message),
		spans:   s.receiver.take(),
	}, err
}

// later does something behind the scenes after a while, unless the stage was struck before.
func (s *stage) later(delay time.Duration, do func() error) {
	timer := time.AfterFunc(delay, func() {
		if err := do(); err != nil {
			s.blame(err)
		}
	})
	s.atEnd(func() { timer.Stop() })
}

// atEnd arranges that something is ended with the demo.
func (s *stage) atEnd(end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, end)
}

// strike ends all servers and removes all files.
func (s *stage) strike() error {
	for {
		s.mu.Lock()
		last := len(s.ends) - 1
		if last < 0 {
			s.mu.Unlock()
			return os.RemoveAll(s.dir)
		}
		end := s.ends[last]
		s.ends = s.ends[:last]
		s.mu.Unlock()
		end()
	}
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) heading(format string, args ...any) {
	s.say("\n%s", s.bold(fmt.Sprintf(format, args...)))
}

// quote shows a text with a bar at its left.
func (s *stage) quote(text string) {
	for line := range strings.Lines(text) {
		s.say("  │ %s", strings.TrimSuffix(line, "\n"))
	}
}

// bold returns a text in bold type if the output is a terminal.
func (s *stage) bold(text string) string {
	file, _ := s.out.(*os.File)
	if file == nil || os.Getenv("NO_COLOR") != "" {
		return text
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// round keeps a duration readable.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}
