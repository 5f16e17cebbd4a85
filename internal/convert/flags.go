package convert

import (
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

// flag is one option of another program.
type flag struct {
	name  string // as it was written, without dashes and abbreviation
	value string
	pos   document.Pos
}

// grammar is how another program's options are written.
type grammar struct {
	short  map[string]string // abbreviation → name
	bools  []string          // names that take no value, but by "="
	single bool              // long names may have one dash
}

// read returns the options and the other words; those behind "--" are after.
func (g grammar) read(words []word) (flags []flag, rest, after []word) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w.text == "--" {
			return flags, rest, words[i+1:]
		}
		if !strings.HasPrefix(w.text, "-") || w.text == "-" {
			rest = append(rest, w)
			continue
		}
		name, value, attached := strings.Cut(strings.TrimLeft(w.text, "-"), "=")
		long := strings.HasPrefix(w.text, "--") || (g.single && len(name) > 1)
		if !long && len(name) > 0 {
			letter := name[:1]
			if full, ok := g.short[letter]; ok {
				switch {
				case len(name) > 1 && slices.Contains(g.bools, full): // -sSf
					flags = append(flags, flag{full, "true", w.pos})
					tail := w
					tail.text = "-" + strings.TrimPrefix(strings.TrimLeft(w.text, "-"), letter)
					words = slices.Insert(slices.Clone(words), i+1, tail)
					continue
				case len(name) > 1: // -w1
					value, attached = strings.TrimPrefix(strings.TrimLeft(w.text, "-"), letter), true
				}
				name = full
			}
		}
		switch {
		case attached:
		case slices.Contains(g.bools, name):
			value = "true"
		case i+1 < len(words):
			i++
			value = words[i].text
		}
		flags = append(flags, flag{name, value, w.pos})
	}
	return flags, rest, nil
}
