package writefile_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/writefile"
)

// holds returns a check that the file name below root has this content and mode.
func holds(name, content string, mode fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		got, err := os.ReadFile(root + name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(root + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != content || info.Mode() != mode {
			t.Errorf("got %.40q %v, want %.40q %v", got, info.Mode(), content, mode)
		}
	}
}

// with returns a setup that writes a file below the root.
func with(name, content string, mode fs.FileMode) func(*testing.T, string) steptest.Options {
	return func(t *testing.T, root string) steptest.Options {
		if err := os.WriteFile(root+name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return nil
	}
}

func TestConformance(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	steptest.Conform(t, writefile.Kind, nil,
		steptest.Case{
			Name: "content", Options: steptest.Options{"path=/f", "content=hello\n"}, Check: holds("/f", "hello\n", 0o644),
		},
		steptest.Case{Name: "empty", Options: steptest.Options{"path=/f", "content="}, Check: holds("/f", "", 0o644)},
		steptest.Case{
			Name: "other content before", Options: steptest.Options{"path=/f", "content=new", "mode=0600"},
			Setup: with("/f", "old", 0o644), Check: holds("/f", "new", 0o600),
		},
		steptest.Case{
			Name: "other mode before", Options: steptest.Options{"path=/f", "content=same"},
			Setup: with("/f", "same", 0o600), Check: holds("/f", "same", 0o644),
		},
		steptest.Case{
			Name: "from a variable", Options: steptest.Options{"path=/f", "from=env:TOKEN"}, Environ: []string{"TOKEN=abc"},
			Check: holds("/f", "abc", 0o400),
		},
		steptest.Case{
			Name: "from a file", Options: steptest.Options{"path=/f", "from=file:/source", "mode=0444"},
			Setup: with("/source", large, 0o644), Check: holds("/f", large, 0o444),
		},
		steptest.Case{
			Name: "owner", Options: steptest.Options{"path=/f", "content=x", "owner=12345:54321"}, Check: holds("/f", "x", 0o644),
		},
	)
}

func TestOutputs(t *testing.T) {
	const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	tests := []struct {
		name    string
		options steptest.Options
		want    map[string]string
	}{
		{"public", steptest.Options{"content=hello"}, map[string]string{"bytes": "5", "sha256": digest}},
		{"private", steptest.Options{"content=hello", "mode=0640"}, map[string]string{"bytes": "5"}},
		{"secret", steptest.Options{"from=env:SECRET"}, map[string]string{"bytes": "5"}},
		{"published", steptest.Options{"from=env:SECRET", "mode=0644"}, map[string]string{"bytes": "5", "sha256": digest}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			options := append(steptest.Options{"path=/f"}, test.options...)
			for range 2 {
				result := steptest.Run(context.Background(), steptest.Task(t, writefile.Kind, options), root, "SECRET=hello")
				if result.State != run.Done {
					t.Fatal(result.Err)
				}
				if got := steptest.Outputs(result); !maps.Equal(got, test.want) {
					t.Errorf("got %v, want %v", got, test.want)
				}
				test.want[step.Skipped] = "unchanged"
			}
		})
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		options steptest.Options
		want    string
	}{
		{nil, "give either content or from\nno path is given"},
		{steptest.Options{"path=/f"}, "give either content or from"},
		{steptest.Options{"path=/f", "content=", "from=env:X"}, "give either content or from"},
		{steptest.Options{"path=/\x00", "content="}, `path "/\x00" has a zero byte`},
	}
	for _, test := range tests {
		err := steptest.Fault(t, writefile.Kind, test.options)
		if got := err.Error(); got != test.want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: got %q (%v), want %q", test.options, got, fault.KindOf(err), test.want)
		}
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name    string
		options steptest.Options
		setup   func(*testing.T, string) steptest.Options
		kind    fault.Kind
		want    string // with ROOT for the root
	}{
		{
			"no variable",
			steptest.Options{"path=/f", "from=env:NONE"},
			nil,
			fault.NoInput, "write-file: the environment variable NONE is not set or empty",
		},
		{
			"no file",
			steptest.Options{"path=/f", "from=file:/none"},
			nil,
			fault.NoInput, "write-file: read /none: no such file or directory",
		},
		{
			"too much",
			steptest.Options{"path=/f", "from=file:/large"},
			with("/large", strings.Repeat("x", 1<<20+1), 0o600),
			fault.Data, "write-file: read /large: over 1048576 bytes",
		},
		{
			"no directory",
			steptest.Options{"path=/none/f", "content=x"},
			nil,
			fault.CantCreate, "write-file: write ROOT/none/f: no such file or directory",
		},
		{"a directory", steptest.Options{"path=/", "content=x"}, nil, fault.CantCreate, "write-file: write ROOT: it is a directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			if test.setup != nil {
				test.setup(t, root)
			}
			err := steptest.Run(context.Background(), steptest.Task(t, writefile.Kind, test.options), root).Err
			if err == nil || err.Error() != strings.ReplaceAll(test.want, "ROOT", root) || fault.KindOf(err) != test.kind {
				t.Errorf("got %v (%v), want %v (%v)", err, fault.KindOf(err), test.want, test.kind)
			}
		})
	}
}
