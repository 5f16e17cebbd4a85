package iptablesredirect

import (
	"maps"
	"slices"
)

// preset is what a mesh's own init container is given by its injector: option to value. See docs/redirect.md.
type preset map[string][]string

// presets are the dialects of --preset.
var presets = map[string]preset{
	"istio": {
		"outbound-port":         {"15001"},
		"inbound-port":          {"15006"},
		"exclude-uid":           {"1337"},
		"exclude-gid":           {"1337"},
		"exclude-inbound-ports": {"15008", "15020", "15021", "15090"},
		"loopback-sources":      {"127.0.0.6", "::6"},
		"redirect-self":         {"true"},
	},
	"linkerd": {
		"outbound-port":          {"4140"},
		"inbound-port":           {"4143"},
		"exclude-uid":            {"2102"},
		"exclude-inbound-ports":  {"4190", "4191", "4567", "4568"},
		"exclude-outbound-ports": {"4567", "4568"},
	},
}

// adding are the options whose values add to the preset's; of all others a given one replaces it. A pod that excludes a
// port of its own still needs the mesh's to be excluded.
var adding = []string{"exclude-inbound-ports", "exclude-outbound-ports"}

func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }
