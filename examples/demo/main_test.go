package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/steps"
)

// TestMain is slipway when the test's binary is called so: the tests then need no build of their own.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "slipway" {
		os.Exit(m.Run())
	}
	os.Exit(cli.Main(context.Background(), cli.Process{
		Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Kinds: steps.All(), Version: "test",
	}))
}

// linkTest makes the test's binary stand in for slipway.
func linkTest(_ context.Context, path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Symlink(self, path)
}

func nothingInstalled(program string) (string, error) {
	return "", &exec.Error{Name: program, Err: exec.ErrNotFound}
}

func TestTheStoryIsTold(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	var out, errs bytes.Buffer
	if err := tell(t.Context(), story{out: &out, err: &errs, temp: temp, find: nothingInstalled, build: linkTest}); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	for _, want := range []string{
		`a port that opens after 1.2s`,
		`├─ config/ +drwxr-xr-x`,
		`└─ password +-r--------  28 bytes`,
		`│ node\.id=2`,
		`the migration is part of the trace: TRACEPARENT=00-`,
		`├─ dependencies +1\.\d+s  [━·]+ +\d+ retries`,
		`└─ migrate +[\d.]+ms  ·+━`,
		`none of them touched`,
		`└─ model.safetensors.sha256 +-rw-r--r--`,
		`│ http-fetch\.verified=true`,
		`http-fetch +[\d.]+ms`,
		`\| .*meta skuid \{ 2102 \} goto nat-proxy`,
		`│ git-clone\.commit=[0-9a-f]{40}`,
		`git-clone +[\d.]+m?s`,
		`timed out after 1s: tcp://127\.0\.0\.1:\d+: connection refused`,
		`│ hint: `,
		`6 scenes in .*, and all went as it should\.`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("the output does not match %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String()+errs.String(), "correct horse") {
		t.Error("the output holds the password")
	}
	isEmpty(t, temp)
}

func TestAnInterruptEndsTheStory(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	interrupted := errors.New("interrupted")
	ctx, interrupt := context.WithCancelCause(t.Context())
	out := &trigger{text: "trying again", do: func() { interrupt(interrupted) }}
	err := tell(ctx, story{out: new(bytes.Buffer), err: out, temp: temp, find: nothingInstalled, build: linkTest})
	if !errors.Is(err, interrupted) {
		t.Errorf("got %v, want %v", err, interrupted)
	}
	isEmpty(t, temp)
}

// trigger is a writer that does something once a text came by.
type trigger struct {
	said bytes.Buffer
	text string
	do   func()
}

func (t *trigger) Write(p []byte) (int, error) {
	t.said.Write(p)
	if strings.Contains(t.said.String(), t.text) {
		t.do()
	}
	return len(p), nil
}

func TestAServerThatEndsByItselfEndsTheStory(t *testing.T) {
	t.Parallel()
	temp, bin := t.TempDir(), t.TempDir()
	redis := filepath.Join(bin, "redis-server")
	if err := os.WriteFile(redis, []byte("#!/bin/sh\necho no such luck\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := tell(t.Context(), story{
		out: &out, err: &out, temp: temp, build: linkTest,
		find: func(program string) (string, error) { return filepath.Join(bin, program), nil },
	})
	if err == nil || !strings.Contains(err.Error(), "redis-server ended by itself: exit status 3\nno such luck") {
		t.Errorf("got %v", err)
	}
	isEmpty(t, temp)
}

// isEmpty checks that a folder holds nothing.
func isEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}
