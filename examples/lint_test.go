package examples

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/lint"
	"github.com/slipway-init/slipway/steps"
)

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
