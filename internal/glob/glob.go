// Package glob chooses files of a tree by patterns: entries of an archive, objects below a prefix, paths of a repository.
//
// A pattern is one of github.com/bmatcuk/doublestar: "*" and "?" stay within a name, "**" stands for any number of
// directories, "[a-z]" for a character and "{a,b}" for either. One without a slash is looked for at any depth, as in
// .gitignore: "*.json" is every JSON file. One that matches a directory holds for everything below it. A slash at the
// beginning ties a pattern to the top: "/*.json".
package glob

import (
	"errors"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// Filter chooses names. The zero value chooses all of them.
type Filter struct{ include, exclude []string }

// New returns the filter that chooses what matches a pattern of include, or everything if there is none, and none of
// exclude. Its error is a usage fault for each pattern that is none.
func New(include, exclude []string) (Filter, error) {
	var faults []error
	read := func(option string, patterns []string) (clean []string) {
		for _, pattern := range patterns {
			tied := strings.TrimSuffix(strings.TrimPrefix(pattern, "/"), "/")
			if tied == "" || !doublestar.ValidatePattern(tied) {
				faults = append(faults, fault.New(fault.Usage, "--%s %q is not a pattern such as *.json or models/**", option, pattern))
				continue
			}
			if !strings.Contains(strings.TrimSuffix(pattern, "/"), "/") {
				tied = "**/" + tied
			}
			clean = append(clean, tied)
		}
		return clean
	}
	f := Filter{include: read("include", include), exclude: read("exclude", exclude)}
	return f, errors.Join(faults...)
}

// All reports whether f chooses everything.
func (f Filter) All() bool { return len(f.include) == 0 && len(f.exclude) == 0 }

// Match reports whether f chooses the file of that name, which is relative and has slashes between its elements.
func (f Filter) Match(name string) bool {
	name = strings.Trim(name, "/")
	return (len(f.include) == 0 || matches(f.include, name)) && !matches(f.exclude, name)
}

// matches reports whether one of patterns matches name or a directory above it.
func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '/') {
			if doublestar.MatchUnvalidated(pattern, name[:end]) {
				return true
			}
		}
	}
	return false
}
