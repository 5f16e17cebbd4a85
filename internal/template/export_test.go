package template

import (
	"maps"
	"slices"
)

// Names returns the names of all built-in functions, sorted.
func Names() []string { return slices.Sorted(maps.Keys(builtin(&Engine{}))) }
