package netfilter

import (
	"context"
	"fmt"
	"slices"
)

// Backend makes rules the kernel's.
type Backend interface {
	Name() string // as --backend says it
	// Diff returns what tells the kernel's rules from the wanted ones, a line each, as diff(1) has it: "+ chain: rule"
	// would be added, "- chain: comment" removed. None says that they are the same. Rules of others do not count.
	Diff(ctx context.Context, want Ruleset) ([]string, error)
	// Apply puts the wanted rules in the place of slipway's rules that are there, so that every packet meets the one
	// or the other. It reports whether there was anything to change. An empty Ruleset removes all.
	Apply(ctx context.Context, want Ruleset) (changed bool, err error)
}

// Backends are the values of --backend.
func Backends() []string {
	return []string{"auto", "nft", "iptables", "iptables-legacy", "iptables-nft"}
}

// listChanges returns the lines that tell one list of rules from another. Rules are the same if their keys are; texts say
// what the wanted ones do.
func listChanges(chain string, have, want, texts []string) []string {
	if slices.Equal(have, want) {
		return nil
	}
	var lines []string
	for _, key := range have {
		if !slices.Contains(want, key) {
			lines = append(lines, fmt.Sprintf("- %s: %s", chain, key))
		}
	}
	for i, key := range want {
		if !slices.Contains(have, key) {
			lines = append(lines, fmt.Sprintf("+ %s: %s", chain, texts[i]))
		}
	}
	if lines == nil {
		lines = []string{fmt.Sprintf("~ %s: the same rules in another order or number", chain)}
	}
	return lines
}
