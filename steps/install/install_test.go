package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/install"
)

// TestMain lets the test binary, which is the program that is installed, run until its input ends.
func TestMain(m *testing.M) {
	if os.Getenv("INSTALLED") != "" {
		fmt.Println("running")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program returns the running test binary.
func program(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// installed checks that root holds the program, and can run it.
func installed(t *testing.T, root string) {
	t.Helper()
	got, err := os.ReadFile(root + "/slipway")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, program(t)) {
		t.Errorf("got %d other bytes", len(got))
	}
	cmd := exec.Command(root + "/slipway")
	cmd.Env = append(os.Environ(), "INSTALLED=1")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "running\n" {
		t.Errorf("got %q, error %v", out, err)
	}
}

func TestConformance(t *testing.T) {
	mode := func(want os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, root string) {
			installed(t, root)
			info, err := os.Lstat(root + "/slipway")
			if err != nil || info.Mode() != want {
				t.Errorf("got %v, error %v; want %v", info.Mode(), err, want)
			}
		}
	}
	steptest.Conform(t, install.Kind, nil,
		steptest.Case{Name: "default", Options: steptest.Options{"dir=/"}, Check: mode(0o755)},
		steptest.Case{Name: "mode", Options: steptest.Options{"dir=/", "mode=0500"}, Check: mode(0o500)},
		steptest.Case{
			Name: "another version", Options: steptest.Options{"dir=/"}, Check: mode(0o755),
			Setup: func(t *testing.T, root string) steptest.Options {
				if err := os.WriteFile(root+"/slipway", append(program(t), 0), 0o755); err != nil {
					t.Fatal(err)
				}
				return nil
			},
		},
	)
}

func TestOutputs(t *testing.T) {
	root, content := t.TempDir(), program(t)
	want := map[string]string{
		"path": "/slipway", "bytes": fmt.Sprint(len(content)), "sha256": fmt.Sprintf("%x", sha256.Sum256(content)),
	}
	for range 2 {
		result := steptest.Run(context.Background(), steptest.Task(t, install.Kind, steptest.Options{"dir=/"}), root)
		if result.State != run.Done {
			t.Fatal(result.Err)
		}
		if got := steptest.Outputs(result); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		want[step.Skipped] = "unchanged"
	}
}

func TestRunningCopyIsNoObstacle(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(root+"/slipway", append(program(t), 0), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(root + "/slipway")
	cmd.Env = append(os.Environ(), "INSTALLED=1")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("running\n"))); err != nil {
		t.Fatal(err)
	}
	result := steptest.Run(context.Background(), steptest.Task(t, install.Kind, steptest.Options{"dir=/"}), root)
	if result.State != run.Done {
		t.Fatal(result.Err)
	}
	installed(t, root)
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the old copy: %v", err)
	}
}

func TestFailures(t *testing.T) {
	if err := steptest.Fault(t, install.Kind, nil); err.Error() != "no dir is given" || fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v (%v)", err, fault.KindOf(err))
	}
	root := t.TempDir()
	err := steptest.Run(context.Background(), steptest.Task(t, install.Kind, steptest.Options{"dir=/none"}), root).Err
	if want := "install: write " + root + "/none/slipway: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
	if got := fault.KindOf(err); got != fault.CantCreate || !strings.Contains(fault.HintOf(err), "mkdir") {
		t.Errorf("got %v, hint %q", got, fault.HintOf(err))
	}
}
