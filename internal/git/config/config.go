// Package config reads files in the form of git-config(1): a repository's own, and .gitmodules. It alone knows go-git,
// whose parser this is.
package config

import (
	"strings"

	gogit "github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/slipway-init/slipway/internal/fault"
)

// Config is the content of such a file.
type Config struct{ raw *gogit.Config }

// Parse reads the text of a file. Includes are not followed.
func Parse(text string) (c Config, err error) {
	defer func() {
		if recover() != nil { // it has been known to happen in parsers of strangers' files
			err = malformed()
		}
	}()
	c.raw = gogit.New()
	if err := gogit.NewDecoder(strings.NewReader(text)).Decode(c.raw); err != nil {
		return Config{}, malformed()
	}
	return c, nil
}

func malformed() error { return fault.New(fault.Data, "it is not of the form that git config writes") }

// Get returns the value of a key in a section, the last one that is given; "" when there is none.
func (c Config) Get(section, key string) string {
	for _, s := range c.raw.Sections {
		if strings.EqualFold(s.Name, section) {
			return s.Options.Get(key)
		}
	}
	return ""
}

// Subsections calls yield with the name of each subsection of a section, in the order of the file, and a function that
// returns the value of one of its keys.
func (c Config) Subsections(section string, yield func(name string, get func(key string) string)) {
	for _, s := range c.raw.Sections {
		if !strings.EqualFold(s.Name, section) {
			continue
		}
		for _, sub := range s.Subsections {
			yield(sub.Name, sub.Option)
		}
	}
}
