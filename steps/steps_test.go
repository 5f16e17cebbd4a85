package steps_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

func TestNamesAreUniqueAndNoWordsOfThePlan(t *testing.T) {
	taken := append(plan.Keys(), "run", "schema", "steps", "lint", "manifest", "convert", "explain", "version", "completion", "help")
	for _, kind := range steps.All() {
		if slices.Contains(taken, kind.Name) {
			t.Errorf("%s is taken", kind.Name)
		}
		taken = append(taken, kind.Name)
	}
}

// TestEveryKindIsHeldToTheContract looks for the conformance suite in the tests of every step.
func TestEveryKindIsHeldToTheContract(t *testing.T) {
	tests, err := filepath.Glob("*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[string]bool)
	for _, name := range tests {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "steptest.Conform(t, ") {
			held[filepath.Dir(name)] = true
		}
	}
	for _, kind := range steps.All() {
		if folder := strings.ReplaceAll(kind.Name, "-", ""); !held[folder] {
			t.Errorf("%s: no test in steps/%s calls steptest.Conform", kind.Name, folder)
		}
	}
}
