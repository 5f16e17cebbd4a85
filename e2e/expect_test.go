package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// expect checks the exit code of a run, and that standard error and report hold the given texts.
func expect(t *testing.T, r slipway.Result, exit int, texts ...string) {
	t.Helper()
	if r.Exit != exit {
		t.Errorf("got exit code %d, want %d\nstderr:\n%sstdout:\n%sreport:\n%s", r.Exit, exit, r.Stderr, r.Stdout, r.Report)
		return
	}
	for _, text := range texts {
		if !strings.Contains(r.Stderr+r.Report, text) {
			t.Errorf("got no %q\nstderr:\n%sreport:\n%s", text, r.Stderr, r.Report)
		}
	}
}

// hides checks that a secret is nowhere in what a run wrote.
func hides(t *testing.T, r slipway.Result, secret string) {
	t.Helper()
	for name, text := range map[string]string{"stdout": r.Stdout, "stderr": r.Stderr, "report": r.Report} {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows the secret:\n%s", name, text)
		}
	}
}

// names returns the paths of everything below dir, sorted, relative to it.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err == nil && name != dir {
			all = append(all, strings.TrimPrefix(name, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// await polls until done reports true; the test fails when it does not come to that.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
