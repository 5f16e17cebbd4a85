package chmod

import (
	"fmt"
	"strconv"
	"strings"
)

// The bits that each class of users has a say in, and each letter's.
const (
	setUID, setGID, sticky = 0o4000, 0o2000, 0o1000

	user, group, others = setUID | 0o700, setGID | 0o070, sticky | 0o007

	read, write, execute = 0o444, 0o222, 0o111

	all = 0o7777
)

// longest is the length of a mode in bytes that nobody needs to exceed; it bounds what stable has to try.
const longest = 256

// mode is the mode of chmod(1), parsed: one or more changes, applied in order. The zero value changes nothing.
type mode struct {
	text    string
	changes []edit
}

// An edit is one operator with what stands on its two sides.
type edit struct {
	op        byte   // '+', '-' or '='
	who       uint32 // the bits that it is limited to
	bits      uint32
	mentioned uint32 // of the set-ID bits of a directory, those that it is meant for
	anyX      bool   // X: execute too, for directories and for what has an execute bit
	copied    bool   // bits are a class's, whose permissions are copied
}

// String returns the mode as it was given.
func (m *mode) String() string { return m.text }

// Type returns "mode".
func (*mode) Type() string { return "mode" }

// JSONSchema tells the form of a mode.
func (*mode) JSONSchema() map[string]any {
	return map[string]any{
		"type":    []string{"string", "integer"},
		"pattern": "^((0o)?[0-7]{1,5}|[ugoa]*([-+=]([rwxXst]*|[ugo]|[0-7]{1,5}))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]|[0-7]{1,5}))+)*)$",
	}
}

// Set parses a mode in octal or in symbols. It refuses one that changes what it has made itself.
func (m *mode) Set(text string) error {
	changes, ok := parse(text)
	if !ok || len(text) > longest {
		return fmt.Errorf("%q is not a mode such as 0640 or u=rwX,go-w", text)
	}
	parsed := mode{text: text, changes: changes}
	if !parsed.stable() {
		return fmt.Errorf("%q gives something else when it is applied again, so that a second run would change the files: "+
			"say what the result shall be", text)
	}
	*m = parsed
	return nil
}

// stable reports whether m, applied twice, always gives what it gives applied once.
func (m *mode) stable() bool {
	for bits := range uint32(all + 1) {
		for _, dir := range []bool{false, true} {
			once := m.apply(bits, dir)
			if m.apply(once, dir) != once {
				return false
			}
		}
	}
	return true
}

// apply returns the bits that a file or directory with the given ones gets.
func (m *mode) apply(bits uint32, dir bool) uint32 {
	for _, c := range m.changes {
		kept := uint32(0)
		if dir {
			kept = (setUID | setGID) &^ c.mentioned
		}
		value := c.value(bits, dir) & c.who &^ kept
		switch c.op {
		case '+':
			bits |= value
		case '-':
			bits &^= value
		case '=':
			bits = bits&(kept|all&^c.who) | value
		}
	}
	return bits
}

// value returns the bits on the right of the operator.
func (c edit) value(bits uint32, dir bool) uint32 {
	if c.copied {
		var value uint32
		for _, permission := range []uint32{read, write, execute} {
			if bits&c.bits&permission != 0 {
				value |= permission
			}
		}
		return value
	}
	if c.anyX && (dir || bits&execute != 0) {
		return c.bits | execute
	}
	return c.bits
}

// parse reads one mode: octal, or clauses with commas between them.
func parse(text string) ([]edit, bool) {
	if bits, ok := octal(strings.TrimPrefix(text, "0o")); ok {
		mentioned := uint32(all)
		if len(text) < 5 || strings.HasPrefix(text, "0o") {
			mentioned = bits
		}
		return []edit{{op: '=', who: all, bits: bits, mentioned: mentioned}}, true
	}
	var changes []edit
	for clause := range strings.SplitSeq(text, ",") {
		parsed, ok := parseClause(clause)
		if !ok {
			return nil, false
		}
		changes = append(changes, parsed...)
	}
	return changes, true
}

// parseClause reads who and then one or more operators with their right sides: "go", "u=rwX", "g+r-w".
func parseClause(clause string) ([]edit, bool) {
	start := strings.IndexAny(clause, "+-=")
	if start < 0 {
		return nil, false
	}
	var named uint32
	for _, letter := range clause[:start] {
		class, ok := classes[letter]
		if !ok {
			return nil, false
		}
		named |= class
	}
	var changes []edit
	for rest := clause[start:]; rest != ""; {
		end := strings.IndexAny(rest[1:], "+-=") + 1
		if end == 0 {
			end = len(rest)
		}
		c, ok := parseRight(rest[1:end], named)
		if !ok {
			return nil, false
		}
		c.op = rest[0]
		changes = append(changes, c)
		rest = rest[end:]
	}
	return changes, true
}

var (
	classes = map[rune]uint32{'u': user, 'g': group, 'o': others, 'a': all}
	letters = map[rune]uint32{
		'r': read, 'w': write, 'x': execute, 'X': 0, 's': setUID | setGID, 't': sticky,
	}
)

// parseRight reads what stands on the right of an operator, for the classes that were named; 0 is none.
func parseRight(text string, named uint32) (edit, bool) {
	c := edit{who: named}
	if named == 0 {
		c.who = all
	}
	if bits, ok := octal(text); ok {
		c.bits, c.mentioned = bits, all
		return c, named == 0 // an octal number names its classes itself
	}
	if len(text) == 1 && strings.Contains("ugo", text) {
		c.bits, c.copied = classes[rune(text[0])], true
		return c, true
	}
	for _, letter := range text {
		bits, ok := letters[letter]
		if !ok {
			return c, false
		}
		c.bits |= bits
		c.anyX = c.anyX || letter == 'X'
	}
	c.mentioned = c.bits & c.who
	return c, true
}

// octal reads an octal number of at most five digits.
func octal(text string) (uint32, bool) {
	bits, err := strconv.ParseUint(text, 8, 16)
	if err != nil || bits > all || len(text) > 5 {
		return 0, false
	}
	return uint32(bits), true
}
