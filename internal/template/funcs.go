package template

import (
	"maps"
	"os"
	"text/template"

	"github.com/slipway-init/slipway/internal/fault"
)

// builtin returns the functions that every template has, aliases included. Those that print as fmt does replace the
// ones of text/template, which print nil and wrong verbs.
func builtin(e *Engine) Funcs {
	hostname := e.Hostname
	if hostname == nil {
		hostname = os.Hostname
	}
	pod := &pod{env: e.Env, hostname: hostname}
	funcs := Funcs{
		"env": pod.variable, "envOr": pod.variableOr, "file": pod.file, "hostname": pod.name, "ordinal": pod.ordinal,

		"toJSON": toJSON, "fromJSON": fromJSON, "toYAML": toYAML, "fromYAML": fromYAML, "toTOML": toTOML, "fromTOML": fromTOML,
		"base64Encode": base64Encode, "base64Decode": base64Decode, "sha256Hex": sha256Hex,

		"upper": upper, "lower": lower, "title": title, "trim": trim, "trimPrefix": trimPrefix, "trimSuffix": trimSuffix,
		"replace": replace, "split": split, "join": join, "contains": contains, "hasPrefix": hasPrefix, "hasSuffix": hasSuffix,
		"repeat": repeat, "quote": quote, "indent": indent, "nindent": nindent, "toString": text,
		"regexMatch": regexMatch, "regexReplaceAll": regexReplaceAll,

		"int": whole, "add": add, "sub": sub, "mul": mul, "div": div, "mod": mod, "seq": seq,

		"list": list, "append": appended, "first": first, "last": last, "dict": dict, "hasKey": hasKey, "keys": keys,

		"default": fallback, "required": required, "ternary": ternary, "coalesce": coalesce, "empty": empty, "fail": fail,

		"print": printed, "println": printedLine, "printf": printedAs,
		"html": escaper(template.HTMLEscaper), "js": escaper(template.JSEscaper), "urlquery": escaper(template.URLQueryEscaper),
	}
	aliased := maps.Clone(funcs)
	for alias, name := range aliases {
		aliased[alias] = funcs[name]
	}
	return aliased
}

// aliases are the names that only one of Helm and consul-template has.
var aliases = map[string]string{
	"mustEnv": "env", "envOrDefault": "envOr",
	"toJson": "toJSON", "fromJson": "fromJSON", "parseJSON": "fromJSON",
	"toYaml": "toYAML", "fromYaml": "fromYAML", "parseYAML": "fromYAML",
	"toToml": "toTOML", "fromToml": "fromTOML",
	"b64enc": "base64Encode", "b64dec": "base64Decode", "sha256sum": "sha256Hex",
	"toUpper": "upper", "toLower": "lower", "toTitle": "title", "trimSpace": "trim",
	"replaceAll": "replace", "splitList": "split",
	"atoi": "int", "parseInt": "int",
}

// fail ends the rendering.
func fail(message string) (string, error) { return "", fault.New(fault.Data, "%s", message) }

// Help is the part of a step's page of help that lists the functions, in Markdown.
const Help = `The template is Go's text/template (https://pkg.go.dev/text/template), with its own functions and these. Both names of
a function that Helm (sprig) and consul-template call differently are known. A value that goes through a pipe is the
last argument.

| function | gives |
|---|---|
| env NAME, mustEnv NAME | an environment variable; one that is not set or empty is an error |
| envOr NAME DEFAULT, envOrDefault | the same with a default, which may be "" |
| file PATH | the content of a file of at most 1 MiB |
| hostname | the host's name, which is the pod's unless it has the host's network |
| ordinal | the number of the pod in its StatefulSet, from POD_NAME or else the host's name; an error when there is none |
| toJSON fromJSON toYAML fromYAML toTOML fromTOML | text from a value, a value from text; also toJson, parseJSON and so on |
| base64Encode base64Decode, b64enc b64dec | standard base64 with padding |
| sha256Hex TEXT, sha256sum | the digest in hexadecimal |
| upper lower title trim, toUpper toLower toTitle trimSpace | of a text; trim takes white space from both ends |
| trimPrefix PREFIX TEXT, trimSuffix SUFFIX TEXT | the text without it |
| replace OLD NEW TEXT, replaceAll | every occurrence |
| split SEPARATOR TEXT, splitList | a list |
| join SEPARATOR LIST | a text |
| contains PART TEXT, contains ITEM LIST | whether it is in there |
| hasPrefix PREFIX TEXT, hasSuffix SUFFIX TEXT | whether it begins or ends so |
| repeat N TEXT | N times |
| quote VALUE | a text in double quotes, as JSON, YAML and TOML read it |
| indent N TEXT, nindent N TEXT | each line behind N spaces; nindent begins with a line feed |
| toString VALUE | the text of a text, number or truth value |
| regexMatch REGEX TEXT | whether the regular expression (RE2) matches somewhere |
| regexReplaceAll REGEX NEW TEXT | every match, with $1 or ${name} for what its groups matched |
| int VALUE, atoi, parseInt | a whole number |
| add A B…, mul A B…, sub A B, div A B, mod A B | whole numbers, also from text; sub is A - B, div is A / B without the rest |
| seq LAST, seq FIRST LAST, seq FIRST STEP LAST | a list of whole numbers; seq 3 is 1 2 3 |
| list VALUE…, append LIST VALUE, first LIST, last LIST | |
| dict KEY VALUE…, hasKey DICT KEY, keys DICT | keys are sorted; index DICT KEY or .key gives a value |
| default DEFAULT VALUE | the value, or the default when it is empty: "", 0, false, nil, no items |
| required MESSAGE VALUE | the value, or an error when it is nil or "" |
| ternary YES NO CONDITION | one of the two |
| coalesce VALUE… | the first that is not empty |
| empty VALUE | whether it is |
| fail MESSAGE | an error |

Where the two differ, the order of arguments is:

| function | here | as in | the other |
|---|---|---|---|
| regexReplaceAll | REGEX NEW TEXT | consul-template | sprig: REGEX TEXT NEW |
| split | gives a list | consul-template | sprig: a dict; its splitList is the same |
| contains | PART TEXT and ITEM LIST | both, by the second argument | |
| env | unset is an error | consul-template's mustEnv | "" in both; write envOr NAME "" |
| sub, div | A - B, A / B | sprig | consul-template's subtract and divide take B A |
| seq | gives a list | | sprig: a text; seq FIRST STEP LAST is the same |

**What is missing is an error**, with the template's line: a key that a dict does not have, an unset variable, a nil that
would be printed. For a key that may be missing write {{ if hasKey $d "k" }} or {{ index $d "k" | default "x" }}.
A template may have 1 MiB and make 8 MiB; a text to parse may have 256 KiB; loops may go round a million times.
`
