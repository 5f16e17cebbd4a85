// Command demo shows what slipway does, on any machine with Go and without containers: it builds slipway, starts small
// real servers, and lets slipway run against them, one scene after the other.
//
// The scenes stand in the table below and in a file each; scene.go plays them. servers.go and real.go start the servers,
// trace.go receives the spans and draws them, files.go shows what was written. A step that is new to slipway gets a
// scene, or a part in one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// scenes is the story; fullScenes follow with -full.
var (
	scenes     = []scene{preparation, again, artifacts, clone, redirect, failure}
	fullScenes = []scene{secrets}
)

func main() {
	full := flag.Bool("full", false, "use PostgreSQL and nginx as well, where they are installed, and an S3 server and a Vault that take minutes to build")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the demo at once
	if err := tell(ctx, story{out: os.Stdout, err: os.Stderr, full: *full, find: find, build: build, tool: buildTool}); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// story is how the demo is told.
type story struct {
	out, err io.Writer
	temp     string // the folder for temporary files; empty is the system's
	full     bool
	find     func(program string) (path string, err error)                   // looks for a server that is installed
	build    func(ctx context.Context, path string) error                    // makes slipway
	tool     func(ctx context.Context, name string) (path string, err error) // makes a server that e2e/tools has
}

// tell plays all scenes. Its error says what did not go as it should.
func tell(ctx context.Context, st story) (err error) {
	began := time.Now()
	ctx, blame := context.WithCancelCause(ctx)
	defer blame(nil)
	dir, err := os.MkdirTemp(st.temp, "slipway-demo-")
	if err != nil {
		return err
	}
	s := newStage(st, dir, blame)
	defer func() { err = errors.Join(err, s.strike()) }()

	s.say("Building slipway …")
	if err := st.build(ctx, s.slipway()); err != nil {
		return fmt.Errorf("build slipway: %w", err)
	}
	s.say("Built in %s.", round(time.Since(began)))
	if err := s.startReceiver(); err != nil {
		return fmt.Errorf("start the receiver of traces: %w", err)
	}
	parts := scenes
	if st.full {
		parts = slices.Concat(scenes, fullScenes)
	}
	for i, sc := range parts {
		err := s.play(ctx, i+1, sc)
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what came of it says less
		}
		if err != nil {
			return fmt.Errorf("scene %d, %q: %w", i+1, sc.title, err)
		}
	}
	s.heading("%d scenes in %s, and all went as it should.", len(parts), round(time.Since(began)))
	return nil
}

// build builds slipway as it is shipped, static, from the module that the working directory is in.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path,
		"github.com/slipway-init/slipway/cmd/slipway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// find looks for a program on the PATH, and where Debian keeps servers that are not on everybody's.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, pattern := range []string{"/usr/sbin/", "/usr/lib/postgresql/*/bin/"} {
		if found, _ := filepath.Glob(pattern + program); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", err
}
