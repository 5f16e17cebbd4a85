package waitfor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// jsonPath is a place in a JSON document and the value that it must hold. It implements pflag.Value; its zero value is
// none. The form is a subset of RFC 9535 with an equals sign behind it:
//
//	path  = [ "$" ] first { "." NAME | "[" INDEX "]" | "[" QUOTED "]" } [ "=" VALUE ] .
//	first = NAME | "." NAME | "[" … "]" .
//
// NAME is any run of characters but . [ ] = and quotes; INDEX counts from 0, or from the end if it is negative; QUOTED
// is a name between ' or ". VALUE is compared with a string as it is, with a number by its value, and is true, false or
// null for those. Without it the place must hold anything but null.
type jsonPath struct {
	text  string
	steps []any // a string is a name, an int an index
	want  string
	value bool // want was given
}

var errPath = errors.New("not a JSON path with a value, such as status=green or $.items[0].state=up")

// String returns the path as Set takes it.
func (p *jsonPath) String() string { return p.text }

// Set parses a path.
func (p *jsonPath) Set(text string) error {
	parsed := jsonPath{text: text}
	rest, dollar := strings.CutPrefix(text, "$")
	if !dollar && rest != "" && rest[0] != '[' && rest[0] != '.' {
		rest = "." + rest
	}
	for rest != "" {
		var (
			step any
			err  error
		)
		switch rest[0] {
		case '=':
			parsed.want, parsed.value, rest = rest[1:], true, ""
			continue
		case '.':
			step, rest, err = cutName(rest[1:])
		case '[':
			step, rest, err = cutBracket(rest[1:])
		default:
			err = errPath
		}
		if err != nil {
			return fmt.Errorf("%q is %w", text, err)
		}
		parsed.steps = append(parsed.steps, step)
	}
	if len(parsed.steps) == 0 && !(dollar && parsed.value) {
		return fmt.Errorf("%q is %w", text, errPath)
	}
	*p = parsed
	return nil
}

// cutName cuts a name off the front of text.
func cutName(text string) (any, string, error) {
	end := strings.IndexAny(text, ".[=")
	if end < 0 {
		end = len(text)
	}
	if end == 0 || strings.ContainsAny(text[:end], `]'"`) {
		return nil, "", errPath
	}
	return text[:end], text[end:], nil
}

// cutBracket cuts an index or a quoted name off the front of text, whose opening bracket is cut already.
func cutBracket(text string) (any, string, error) {
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		name, rest, closed := strings.Cut(text[1:], text[:1]+"]")
		if !closed {
			return nil, "", errPath
		}
		return name, rest, nil
	}
	digits, rest, closed := strings.Cut(text, "]")
	index, err := strconv.ParseInt(digits, 10, 32)
	if !closed || err != nil {
		return nil, "", errPath
	}
	return int(index), rest, nil
}

// Type returns "json-path".
func (*jsonPath) Type() string { return "json-path" }

// JSONSchema implements opt.Schemer.
func (*jsonPath) JSONSchema() map[string]any { return map[string]any{"type": "string", "minLength": 1} }

// given reports whether a path was given at all.
func (p *jsonPath) given() bool { return p.text != "" }

// check checks that document holds the value.
func (p *jsonPath) check(document []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fault.New(fault.Unavailable, "the body is not JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Unavailable, "the body is not one JSON value")
	}
	for _, step := range p.steps {
		var found bool
		if value, found = descend(value, step); !found {
			return gone("the body has nothing at %s", p.place())
		}
	}
	if !p.value {
		if value == nil {
			return gone("the body has null at %s", p.place())
		}
		return nil
	}
	if !equal(value, p.want) {
		return gone("the body has %s at %s, not %q", shown(value), p.place(), p.want)
	}
	return nil
}

// place returns the path without the value.
func (p *jsonPath) place() string {
	if p.value {
		return strings.TrimSuffix(p.text, "="+p.want)
	}
	return p.text
}

// descend returns what value holds under a name or an index.
func descend(value, step any) (any, bool) {
	switch value := value.(type) {
	case map[string]any:
		if name, ok := step.(string); ok {
			member, found := value[name]
			return member, found
		}
	case []any:
		index, ok := step.(int)
		if index < 0 {
			index += len(value)
		}
		if ok && index >= 0 && index < len(value) {
			return value[index], true
		}
	}
	return nil, false
}

// equal reports whether a scalar is what the text says.
func equal(value any, text string) bool {
	switch value := value.(type) {
	case string:
		return value == text
	case json.Number:
		return value.String() == text || sameNumber(value.String(), text)
	case bool:
		return strconv.FormatBool(value) == text
	case nil:
		return text == "null"
	}
	return false
}

// sameNumber reports whether two numerals are of one value, 1.0 and 1e0. Long exponents, which would take much memory
// to compare, are compared as text alone.
func sameNumber(a, b string) bool {
	if len(a) > maxShown || len(b) > maxShown || longExponent(a) || longExponent(b) {
		return false
	}
	x, ok := new(big.Rat).SetString(a)
	if !ok || strings.ContainsAny(b, "/xXpP_") {
		return false
	}
	y, ok := new(big.Rat).SetString(b)
	return ok && x.Cmp(y) == 0
}

func longExponent(numeral string) bool {
	at := strings.IndexAny(numeral, "eE")
	return at >= 0 && len(numeral)-at > 4
}

// shown returns a value for people, shortened.
func shown(value any) string {
	switch value := value.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return strconv.Quote(shorten(value))
	case nil:
		return "null"
	default:
		return shorten(fmt.Sprint(value))
	}
}
