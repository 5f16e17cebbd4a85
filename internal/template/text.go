package template

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-init/slipway/internal/fault"
)

func upper(s string) string              { return strings.ToUpper(s) }
func lower(s string) string              { return strings.ToLower(s) }
func trim(s string) string               { return strings.TrimSpace(s) }
func trimPrefix(prefix, s string) string { return strings.TrimPrefix(s, prefix) }
func trimSuffix(suffix, s string) string { return strings.TrimSuffix(s, suffix) }
func hasPrefix(prefix, s string) bool    { return strings.HasPrefix(s, prefix) }
func hasSuffix(suffix, s string) bool    { return strings.HasSuffix(s, suffix) }

// title begins each word with a capital letter.
func title(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		defer func() { before = r }()
		if unicode.IsSpace(before) {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func replace(old, with, s string) (string, error) {
	if err := room(len(s), strings.Count(s, old), len(with)); err != nil {
		return "", err
	}
	return strings.ReplaceAll(s, old, with), nil
}

func repeat(n int, s string) (string, error) {
	if n < 0 {
		return "", fault.New(fault.Data, "repeat %d times is not possible", n)
	}
	if err := room(0, n, len(s)); err != nil {
		return "", err
	}
	return strings.Repeat(s, n), nil
}

func indent(n int, s string) (string, error) {
	if n < 0 {
		return "", fault.New(fault.Data, "indent by %d is not possible", n)
	}
	if err := room(len(s), strings.Count(s, "\n")+1, n); err != nil {
		return "", err
	}
	space := strings.Repeat(" ", n)
	return space + strings.ReplaceAll(s, "\n", "\n"+space), nil
}

func nindent(n int, s string) (string, error) {
	indented, err := indent(n, s)
	return "\n" + indented, err
}

// room returns a fault if a text of so many bytes grows too large by so many times so many more.
func room(bytes, times, more int) error {
	if bytes > MaxValue || (more > 0 && times > (MaxValue-bytes)/more) {
		return fault.New(fault.Data, "the result is over %d bytes", MaxValue)
	}
	return nil
}

func split(separator, s string) ([]any, error) {
	if err := room(len(s), strings.Count(s, separator)+1, header); err != nil {
		return nil, err
	}
	var parts []any
	for part := range strings.SplitSeq(s, separator) {
		parts = append(parts, part)
	}
	return parts, nil
}

func join(separator string, values any) (string, error) {
	all, err := items(values)
	if err != nil {
		return "", err
	}
	if err := room(0, len(all), len(separator)); err != nil {
		return "", err
	}
	texts := make([]string, len(all))
	for i, value := range all {
		if texts[i], err = text(value); err != nil {
			return "", err
		}
	}
	return strings.Join(texts, separator), nil
}

func contains(part, whole any) (bool, error) {
	if s, ok := whole.(string); ok {
		p, err := text(part)
		return strings.Contains(s, p), err
	}
	all, err := items(whole)
	for _, item := range all {
		if reflect.DeepEqual(item, part) {
			return true, nil
		}
	}
	return false, err
}

// text returns a text, number or truth value as it is printed.
func text(value any) (string, error) {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprint(value), nil
	case reflect.Invalid:
		return "", fault.New(fault.Data, "a value is nil")
	}
	if s, ok := value.(fmt.Stringer); ok { // a time
		return s.String(), nil
	}
	return "", fault.New(fault.Data, "a value is a %s, not a text or number", kindOf(value))
}

// quote quotes as JSON does, because YAML and TOML read that too, and Go's quotes they do not.
func quote(value any) (string, error) {
	s, err := text(value)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(s) {
		return "", fault.New(fault.Data, "the text is not valid UTF-8")
	}
	return toJSON(s)
}

// compiled returns a regular expression. Its fault does not cite it.
func compiled(expression string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expression)
	if wrong, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fault.New(fault.Data, "the regular expression is wrong: %s", wrong.Code)
	}
	return re, err
}

func regexMatch(expression, s string) (bool, error) {
	re, err := compiled(expression)
	if err != nil {
		return false, err
	}
	return re.MatchString(s), nil
}

func regexReplaceAll(expression, with, s string) (string, error) {
	re, err := compiled(expression)
	if err != nil {
		return "", err
	}
	// A $ stands for no more than the match.
	size, dollars := len(s), strings.Count(with, "$")
	re.ReplaceAllStringFunc(s, func(match string) string {
		size = min(size+len(with)+dollars*len(match), MaxValue+1)
		return ""
	})
	if size > MaxValue {
		return "", fault.New(fault.Data, "the result may be over %d bytes", MaxValue)
	}
	return re.ReplaceAllString(s, with), nil
}

func printed(values ...any) (string, error) {
	return withoutNil(fmt.Sprint, values)
}

func printedLine(values ...any) (string, error) {
	return withoutNil(fmt.Sprintln, values)
}

// escaper returns one of text/template's escapers, without its nil.
func escaper(escape func(...any) string) func(...any) (string, error) {
	return func(values ...any) (string, error) { return withoutNil(escape, values) }
}

func withoutNil(form func(...any) string, values []any) (string, error) {
	var s scale
	s.weigh(reflect.ValueOf(values), 0)
	if s.null {
		return "", fault.New(fault.Data, "a value is nil, or holds a nil")
	}
	return form(values...), nil
}

var (
	wide     = regexp.MustCompile(`%[-+# 0.\[\]\d]*(\d{4}|\*)`)
	mistaken = regexp.MustCompile(`%!.?\(`)
)

// printedAs is printf. A width of over 999 and one that is an argument (*) are refused, and what fmt would print about
// a mistake, such as %!d(string=x), is an error.
func printedAs(format string, values ...any) (string, error) {
	if wide.MatchString(format) {
		return "", fault.New(fault.Data, "a width of over 999, or one by *, is not possible")
	}
	var s scale
	s.weigh(reflect.ValueOf(values), 0)
	prints := 1
	if strings.Contains(format, "[") { // each verb may print each value: %[1]v
		prints = strings.Count(format, "%")
	}
	if err := room(len(format)+999*strings.Count(format, "%"), prints, s.bytes); err != nil {
		return "", err
	}
	out, err := withoutNil(func(values ...any) string { return fmt.Sprintf(format, values...) }, values)
	if err == nil && mistaken.MatchString(out) && !mistaken.MatchString(fmt.Sprint(values...)) {
		return "", fault.New(fault.Data, "the format and the values do not fit")
	}
	return out, err
}

// kindOf names what a value is, in the words of Help.
func kindOf(value any) string {
	switch reflect.ValueOf(value).Kind() {
	case reflect.Invalid:
		return "nil"
	case reflect.Map:
		return "dict"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "truth value"
	}
	if v := reflect.ValueOf(value); v.CanInt() || v.CanUint() || v.CanFloat() {
		return "number"
	}
	return fmt.Sprintf("%T", value)
}
