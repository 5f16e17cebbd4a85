package template

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// consul returns the functions of consul-template, which Vault Agent renders with, as they are there: the order of their
// arguments, what they print to the byte, and what they make of an empty text. They are held against version 0.29.5, the
// one in Vault 1.13, and the documentation of 0.39.
//
// What an error may say is stricter than there: no function cites a value, which may be a secret. Those that ask for
// Consul's catalogue or a Nomad server or run a program are there to say why they are not; those that read Consul's keys
// are internal/lookup's. Own are the built-in functions.
func consul(e *Engine, own Funcs) Funcs {
	now := e.Now
	if now == nil {
		now = time.Now
	}
	pod := &pod{env: e.Env}
	stamp := clock(now)
	funcs := Funcs{
		"env": pod.plain, "mustEnv": pod.must, "envOrDefault": pod.plainOr, "file": pod.fileOrNothing,

		"toJSON": escapedJSON, "toJSONPretty": escapedJSONPretty,
		"toUnescapedJSON": toJSON, "toUnescapedJSONPretty": plainJSONPretty,
		"toYAML": yaml2, "toTOML": indentedTOML,
		"parseBool": parseBool, "parseFloat": parseFloat, "parseInt": parseInt, "parseUint": parseUint,
		"parseJSON": parseJSON, "parseYAML": parseYAML,

		"base64Encode": base64Encode, "base64Decode": base64Decode,
		"base64URLEncode": base64URLEncode, "base64URLDecode": base64URLDecode,
		"sha256Hex": sha256Hex, "md5sum": md5sum, "hmacSHA256Hex": hmacSHA256Hex,

		"toUpper": upper, "toLower": lower, "toTitle": titled,
		"trim": trimSet, "trimSpace": trim, "trimPrefix": trimPrefix, "trimSuffix": trimSuffix,
		"replaceAll": replace, "split": splitTrimmed, "join": join, "indent": indentLines,
		"regexMatch": regexMatch, "regexReplaceAll": regexReplaceAll,

		"in": in, "contains": func(part, whole any) (bool, error) { return in(whole, part) },
		"containsAll": some(true, true), "containsAny": some(false, false),
		"containsNone": some(true, false), "containsNotAll": some(false, true),

		"add": added, "subtract": subtracted, "multiply": multiplied, "divide": dividedBy, "modulo": modulo,
		"minimum": minimum, "maximum": maximum,

		"loop": loop, "timestamp": stamp, "explodeMap": explodeMap,
	}
	for name, why := range absent {
		funcs[name] = func(...any) (string, error) {
			return "", fault.New(fault.Data, "%s is not there: %s", name, why)
		}
	}
	for _, name := range sprig {
		funcs["sprig_"+name] = own[name]
	}
	funcs["sprig_quote"] = sprigQuote
	return funcs
}

// consul returns those functions of consul-template that belong to one rendering.
func (r *rendering) consul() Funcs {
	return Funcs{"executeTemplate": r.executeTemplate, "scratch": func() *Scratch { return &r.scratch }}
}

// sprig are the functions that take the same arguments as sprig's of the same name, which consul-template has behind
// "sprig_".
var sprig = []string{
	"add", "mul", "sub", "div", "mod", "int", "atoi", "upper", "lower", "trim", "trimPrefix", "trimSuffix",
	"replace", "splitList", "join", "hasPrefix", "hasSuffix", "repeat", "indent", "nindent", "toString",
	"b64enc", "b64dec", "sha256sum", "toJson", "fromJson", "list", "append", "first", "last", "dict", "hasKey",
	"default", "ternary", "coalesce", "empty", "fail",
}

const (
	asksConsul = "of Consul the keys alone are there: key, keyExists, keyOrDefault, ls and tree"
	asksNomad  = "it asks a Nomad server"
	groups     = "it groups what Consul's functions return, which are not there"
	merges     = "what it takes for empty is an accident of a library; write the keys that are wanted"
	debugs     = "it prints the inside of values, secrets among them, to the log"
)

// absent are the functions of consul-template that are not there, with the reason.
var absent = map[string]string{
	"keyExistsGet": asksConsul, "safeLs": asksConsul, "safeTree": asksConsul,
	"node": asksConsul, "nodes": asksConsul, "service": asksConsul, "services": asksConsul, "connect": asksConsul,
	"datacenters": asksConsul, "partitions": asksConsul, "peerings": asksConsul, "exportedServices": asksConsul,
	"caRoots": asksConsul, "caLeaf": asksConsul,
	"nomadService": asksNomad, "nomadServices": asksNomad, "nomadVar": asksNomad, "nomadVarList": asksNomad,
	"nomadVarListSafe": asksNomad, "nomadVarExists": asksNomad,
	"byKey": groups, "byTag": groups, "byMeta": groups, "explode": groups,
	"spew_dump": debugs, "spew_printf": debugs, "spew_sdump": debugs, "spew_sprintf": debugs,
	"plugin":   "it runs a program, which the image does not have; run one with the step exec",
	"sockaddr": "it asks for the host's interfaces; give the address by env from the downward API",
	"mergeMap": merges, "mergeMapWithOverride": merges,
}

// lookup tells a variable that is empty from one that is not set.
func (p *pod) lookup(name string) (value string, set bool) {
	if value := p.env.Getenv(name); value != "" || p.env.Environ == nil {
		return value, value != ""
	}
	for _, entry := range p.env.Environ() {
		if before, _, _ := strings.Cut(entry, "="); before == name {
			return "", true
		}
	}
	return "", false
}

func (p *pod) plain(name string) string { return p.env.Getenv(name) }

func (p *pod) must(name string) (string, error) {
	value, set := p.lookup(name)
	if !set {
		return "", fault.Hint(fault.New(fault.Data, "the environment variable %s is not set", name),
			"set it in the container's env, or write envOrDefault %q \"\" if it may be missing", name)
	}
	return value, nil
}

func (p *pod) plainOr(name, otherwise string) string {
	if value, set := p.lookup(name); set {
		return value
	}
	return otherwise
}

func (p *pod) fileOrNothing(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return p.file(path)
}

// executeTemplate returns what a defined template makes of the dot, nil if none is given.
func (r *rendering) executeTemplate(name string, dot ...any) (string, error) {
	var value any
	switch len(dot) {
	case 0:
	case 1:
		value = dot[0]
	default:
		return "", fault.New(fault.Data, "executeTemplate takes a name and one value")
	}
	if r.template.Lookup(name) == nil {
		return "", fault.New(fault.Data, "no template of this name is defined")
	}
	var out output
	err := r.template.ExecuteTemplate(&out, name, value)
	return out.String(), err
}

// escapedJSON writes <, > and & as JSON for web pages does, as consul-template's toJSON.
func escapedJSON(value any) (string, error) {
	out, err := json.Marshal(value)
	if err != nil {
		return "", fault.New(fault.Data, "a value of type %T cannot be JSON", value)
	}
	return string(out), nil
}

func escapedJSONPretty(value any) (string, error) { return indentedJSON(value, true) }
func plainJSONPretty(value any) (string, error)   { return indentedJSON(value, false) }

func indentedJSON(value any, escape bool) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(escape)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return "", fault.New(fault.Data, "a value of type %T cannot be JSON", value)
	}
	return strings.TrimSpace(b.String()), nil
}

// yaml2 writes YAML as version 2 of the library does, which consul-template has.
func yaml2(value any) (string, error) {
	out, err := yaml.Dump(plainNumbers(value), yaml.WithV2Defaults(), yaml.WithCompactSeqIndent(true))
	if err != nil {
		return "", fault.New(fault.Data, "a value of type %T cannot be YAML", value)
	}
	return strings.TrimSpace(string(out)), nil
}

// plainNumbers returns value with the numbers that JSON had as numbers.
func plainNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = plainNumbers(v[i])
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for key := range v {
			all[key] = plainNumbers(v[key])
		}
		return all
	}
	return value
}

// indentedTOML writes TOML with the library of consul-template, whose quotes and spaces differ from toTOML's.
func indentedTOML(value map[string]any) (string, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(value); err != nil {
		return "", fault.New(fault.Data, "the map holds what cannot be TOML")
	}
	return strings.TrimSpace(b.String()), nil
}

func parseBool(s string) (bool, error) {
	value, err := strconv.ParseBool(s)
	if err != nil && s != "" {
		return false, fault.New(fault.Data, "a text is not a truth value")
	}
	return value, nil
}

func parseFloat(s string) (float64, error) {
	value, err := strconv.ParseFloat(s, 64)
	if err != nil && s != "" {
		return 0, fault.New(fault.Data, "a text is not a number")
	}
	return value, nil
}

func parseInt(s string) (int64, error) {
	value, err := strconv.ParseInt(s, 10, 64)
	if err != nil && s != "" {
		return 0, fault.New(fault.Data, "a text is not a whole number of 64 bits")
	}
	return value, nil
}

func parseUint(s string) (uint64, error) {
	value, err := strconv.ParseUint(s, 10, 64)
	if err != nil && s != "" {
		return 0, fault.New(fault.Data, "a text is not a whole number of 64 bits without a sign")
	}
	return value, nil
}

// parseJSON has all numbers as floating point, so that templates that print them with %.0f go on to work.
func parseJSON(s string) (any, error) {
	if s == "" {
		return map[string]any{}, nil
	}
	value, err := decodeJSON(s)
	return floats(value), err
}

func floats(value any) any {
	switch v := value.(type) {
	case json.Number:
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = floats(v[key])
		}
	}
	return value
}

func parseYAML(s string) (any, error) {
	if s == "" {
		return map[string]any{}, nil
	}
	return fromYAML(s)
}

// titled begins each word with a capital letter. A word begins behind whatever is no letter, digit or underscore in
// ASCII, and no letter, digit or other sign beyond it: "web-app" is "Web-App".
func titled(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		defer func() { before = r }()
		if separates(before) {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func separates(r rune) bool {
	if r <= unicode.MaxASCII {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	return unicode.IsSpace(r)
}

// trimSet is trim of consul-template, which takes the characters to trim first.
func trimSet(cutset, s string) string { return strings.Trim(s, cutset) }

// splitTrimmed takes white space off both ends first; of nothing there are no parts.
func splitTrimmed(separator, s string) ([]any, error) {
	if s = strings.TrimSpace(s); s == "" {
		return []any{}, nil
	}
	return split(separator, s)
}

// indentLines leaves empty lines empty.
func indentLines(n int, s string) (string, error) {
	if n < 0 {
		return "", fault.New(fault.Data, "indent by %d is not possible", n)
	}
	if err := room(len(s), strings.Count(s, "\n")+1, n); err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line != "\n" {
			b.WriteString(strings.Repeat(" ", n))
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

// clock returns the function timestamp.
func clock(now func() time.Time) func(...string) (string, error) {
	return func(layout ...string) (string, error) {
		switch {
		case len(layout) == 0:
			return now().UTC().Format(time.RFC3339), nil
		case len(layout) > 1:
			return "", fault.New(fault.Data, "timestamp takes one layout")
		case layout[0] == "unix":
			return strconv.FormatInt(now().Unix(), 10), nil
		}
		return now().UTC().Format(layout[0]), nil
	}
}

// sprigQuote quotes as Go does.
func sprigQuote(values ...any) (string, error) {
	quoted := make([]string, 0, len(values))
	for _, value := range values {
		if value == nil {
			continue
		}
		s, err := text(value)
		if err != nil {
			return "", err
		}
		quoted = append(quoted, strconv.Quote(s))
	}
	return strings.Join(quoted, " "), nil
}
