package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/steps"
)

func TestEveryStepHasItsPage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man")
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	for _, kind := range steps.All() {
		page, err := os.ReadFile(filepath.Join(folder, "slipway-"+kind.Name+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(page), "retries") {
			t.Errorf("%s: the page lacks the options", kind.Name)
		}
	}
	for _, command := range []string{"manifest", "lint", "convert"} {
		if _, err := os.Stat(filepath.Join(folder, "slipway-"+command+".1")); err != nil {
			t.Error(err)
		}
	}
}
