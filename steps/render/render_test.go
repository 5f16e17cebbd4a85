package render_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/render"
)

// configMap puts a template below root as a ConfigMap's volume has it: links to ..data, which is a link itself.
func configMap(t *testing.T, root string) steptest.Options {
	t.Helper()
	err := errors.Join(
		os.MkdirAll(root+"/templates/..2026", 0o755),
		os.WriteFile(root+"/templates/..2026/node.tmpl", []byte("id={{ ordinal }}\nhost={{ env \"POD_NAME\" }}\n"), 0o644),
		os.Symlink("..2026", root+"/templates/..data"),
		os.Symlink("..data/node.tmpl", root+"/templates/node.tmpl"),
	)
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

// holds returns a check that the file /out below root has this content and mode.
func holds(content string, mode fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		got, err := os.ReadFile(root + "/out")
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(root + "/out")
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != content || info.Mode() != mode {
			t.Errorf("got %q %v, want %q %v", got, info.Mode(), content, mode)
		}
	}
}

func TestConformance(t *testing.T) {
	steptest.Conform(t, render.Kind, nil,
		steptest.Case{
			Name: "file", Options: steptest.Options{"template=/templates/node.tmpl", "dest=/out"}, Setup: configMap,
			Environ: []string{"POD_NAME=db-3"}, Check: holds("id=3\nhost=db-3\n", 0o644),
		},
		steptest.Case{
			Name: "inline", Options: steptest.Options{"inline=true", `template={{ env "A" | upper }}`, "dest=/out", "mode=0440"},
			Environ: []string{"A=b"}, Check: holds("B", 0o440),
		},
		steptest.Case{
			Name: "nothing", Options: steptest.Options{"inline=true", "template=", "dest=/out", "owner=12345:54321"},
			Check: holds("", 0o644),
		},
		steptest.Case{
			Name: "the default mode is mended", Options: steptest.Options{"inline=true", "template=x", "dest=/out"},
			Setup: func(t *testing.T, root string) steptest.Options {
				if err := os.WriteFile(root+"/out", []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
				return nil
			},
			Check: holds("x", 0o644),
		},
	)
}

func TestOutputs(t *testing.T) {
	root := t.TempDir()
	want := map[string]string{"bytes": "1", "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
	for range 2 {
		task := steptest.Task(t, render.Kind, steptest.Options{"inline=true", "template=x", "dest=/out"})
		result := steptest.Run(context.Background(), task, root)
		if result.State != run.Done {
			t.Fatal(result.Err)
		}
		if got := steptest.Outputs(result); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		want[step.Skipped] = "unchanged"
	}
}

func TestEffects(t *testing.T) {
	tests := []struct {
		options steptest.Options
		want    []step.Effect
	}{
		{
			steptest.Options{"template=/t//x.tmpl", "dest=/c/x"},
			[]step.Effect{{Verb: step.Read, Object: "/t/x.tmpl"}, {Verb: step.Write, Object: "/c/x"}},
		},
		{
			steptest.Options{"inline=true", "template=x", "dest=/c/x", "owner=1"},
			[]step.Effect{{Verb: step.Write, Object: "/c/x"}, {Verb: step.Own, Object: "/c/x"}},
		},
	}
	for _, test := range tests {
		if got := steptest.Task(t, render.Kind, test.options).Effects; !slices.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.options, got, test.want)
		}
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		options steptest.Options
		want    string
	}{
		{nil, "no template is given\nno dest is given"},
		{steptest.Options{"inline=true", "template={{ if }}"}, "template:1: missing value for if\nno dest is given"},
		{steptest.Options{"inline=true", "template={{ hostnam }}", "dest=/x"}, `template:1: function "hostnam" not defined`},
	}
	for _, test := range tests {
		err := steptest.Fault(t, render.Kind, test.options)
		if got := err.Error(); got != test.want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: got %q (%v), want %q", test.options, got, fault.KindOf(err), test.want)
		}
	}
}

func TestFailuresLeaveTheOldFile(t *testing.T) {
	tests := []struct {
		name    string
		options steptest.Options
		kind    fault.Kind
		want    string // with ROOT for the root
	}{
		{
			"no template",
			steptest.Options{"template=/none.tmpl", "dest=/out"},
			fault.NoInput, "render: read /none.tmpl: no such file or directory",
		},
		{
			"no variable",
			steptest.Options{"inline=true", "template=a\nhost={{ env \"POD_NAME\" }}", "dest=/out"},
			fault.Data, `render: template:2:8: <env "POD_NAME">: the environment variable POD_NAME is not set or empty`,
		},
		{
			"no key",
			steptest.Options{"inline=true", "template=a\n{{ .b }}", "dest=/out"},
			fault.Data, `render: template:2:3: <.b>: map has no entry for key "b"`,
		},
		{
			"no directory",
			steptest.Options{"inline=true", "template=x", "dest=/none/out"},
			fault.CantCreate, "render: write ROOT/none/out: no such file or directory",
		},
		{
			"a link",
			steptest.Options{"inline=true", "template=x", "dest=/templates/node.tmpl"},
			fault.Conflict, "render: write ROOT/templates/node.tmpl: it is a symbolic link, which is neither followed nor replaced",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			configMap(t, root)
			if err := os.WriteFile(root+"/out", []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := steptest.Run(context.Background(), steptest.Task(t, render.Kind, test.options), root).Err
			if err == nil || err.Error() != strings.ReplaceAll(test.want, "ROOT", root) || fault.KindOf(err) != test.kind {
				t.Errorf("got %v (%v), want %v (%v)", err, fault.KindOf(err), test.want, test.kind)
			}
			holds("old", 0o644)(t, root)
		})
	}
}

func TestAnEndlessTemplateEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(root+"/t", []byte(`{{ range 999999 }}{{ sha256Hex (repeat 4000000 "x") }}{{ end }}`), 0o644); err != nil {
		t.Fatal(err)
	}
	task := steptest.Task(t, render.Kind, steptest.Options{"template=/t", "dest=/out"})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan run.TaskResult)
	go func() { ended <- steptest.Run(ctx, task, root) }()
	cancel()
	if result := <-ended; result.State == run.Done {
		t.Error("it is done in spite of its context's end")
	}
	if _, err := os.Lstat(root + "/out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}
