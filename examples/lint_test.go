package examples

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/lint"
	"github.com/slipway-init/slipway/internal/manifest"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

// TestComponentIsWhatManifestPrints keeps the example from drifting away from the command.
func TestComponentIsWhatManifestPrints(t *testing.T) {
	p, err := plan.ParseArgs(steps.All(), strings.Fields("wait-for tcp://vector:6000 and mkdir /var/log/app"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Make(p, manifest.Options{
		As: manifest.Kustomize, Name: "logs", Image: "ghcr.io/slipway-init/slipway", Audience: "vault", UID: 65532, GID: 65532,
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), read(t, "kustomize-component/kustomization.yaml")); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
}

// TestExamplesPassLint: no example has an error, and no warning but that its image has no version.
func TestExamplesPassLint(t *testing.T) {
	linted := 0
	for _, path := range files(t, ".yaml") {
		findings, seen, err := lint.Check(path, []byte(read(t, path)), lint.Options{
			Kinds: steps.All(), Level: "restricted", Disable: []string{"image-unpinned", "request-above-pod"},
		})
		if err != nil && !strings.Contains(path, "templates/") {
			t.Error(err)
		}
		linted += seen
		for _, f := range findings {
			if f.Rule.Severity != lint.Note {
				t.Errorf("%s:%d: %s: %s", path, f.Pos.Line, f.Rule.ID, f.Message)
			}
		}
	}
	if linted == 0 {
		t.Error("nothing was linted")
	}
}
