package waitfor

import "regexp"

// pattern is a regular expression in Go's syntax (RE2). It implements pflag.Value; its zero value is none.
type pattern struct{ *regexp.Regexp }

// String returns the expression, "" if there is none.
func (p *pattern) String() string {
	if p.Regexp == nil {
		return ""
	}
	return p.Regexp.String()
}

// Set compiles the expression.
func (p *pattern) Set(text string) error {
	compiled, err := regexp.Compile(text)
	p.Regexp = compiled
	return err
}

// Type returns "regex".
func (*pattern) Type() string { return "regex" }

// JSONSchema implements opt.Schemer.
func (*pattern) JSONSchema() map[string]any { return map[string]any{"type": "string"} }
