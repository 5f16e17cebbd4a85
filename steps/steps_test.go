package steps_test

import (
	"slices"
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
