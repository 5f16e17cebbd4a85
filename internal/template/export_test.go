package template

import (
	"maps"
	"slices"
)

// Names returns the names of all built-in functions, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtin(&Engine{}))) }

// ConsulNames returns the names of consul-template's functions, those that are absent included, sorted.
func ConsulNames() []string {
	all := consul(&Engine{}, builtin(&Engine{}))
	maps.Copy(all, new(rendering).consul())
	return slices.Sorted(maps.Keys(all))
}
