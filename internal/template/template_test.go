package template_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/template"
)

// engine returns an engine over root, with an environment of "NAME=value" and the host's name web-7.
func engine(root string, environ ...string) *template.Engine {
	values := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	return &template.Engine{
		Env:      &step.Env{Root: root, Getenv: func(name string) string { return values[name] }},
		Hostname: func() (string, error) { return "web-7", nil },
	}
}

func render(t *testing.T, text string, environ ...string) (string, error) {
	t.Helper()
	out, err := engine(t.TempDir(), environ...).Render(context.Background(), "t", text)
	return string(out), err
}

func TestFunctions(t *testing.T) {
	tests := []struct{ text, want string }{
		{``, ""},
		{`plain`, "plain"},
		{`{{/* nothing */}}`, ""},
		{`a{{- " b " -}} c`, "a b c"},

		{`{{ env "PORT" }} {{ mustEnv "PORT" }}`, "8080 8080"},
		{`{{ envOr "PORT" "1" }} {{ envOr "NONE" "1" }} {{ envOrDefault "EMPTY" "" }}|`, "8080 1 |"},
		{`{{ hostname }} {{ ordinal }} {{ add ordinal 1 }}`, "web-7 7 8"},

		{`{{ toJSON (dict "a" 1 "b" (list "x<y" nil true 1.5)) }}`, `{"a":1,"b":["x<y",null,true,1.5]}`},
		{`{{ (fromJSON "{\"n\": 1000000}").n }} {{ fromJSON "1.5" }} {{ fromJSON "123456789012345678901" }}`, "1000000 1.5 123456789012345678901"},
		{`{{ if eq (fromJSON "8080") 8080 }}equal{{ end }}`, "equal"},
		{`{{ range parseJSON "[3, 4]" }}<{{ . }}>{{ end }}`, "<3><4>"},
		{`{{ dict "b" (list 1 "two") "a" (dict "c" "yes") | toYaml }}`, "a:\n  c: 'yes'\nb:\n- 1\n- two"},
		{`{{ with fromYaml "a: {b: [1, 2]}" }}{{ index .a.b 1 }}{{ end }}`, "2"},
		{`{{ range $k, $v := fromTOML "x = 1\ny = 'two'" }}{{ $k }}:{{ $v }} {{ end }}`, "x:1 y:two "},
		{`{{ dict "a" 1 "t" (dict "b" (list "x" "y")) | toTOML }}`, "a = 1\n\n[t]\nb = ['x', 'y']"},
		{`{{ base64Encode "user:pä" }} {{ b64dec "dXNlcg==" }} {{ sha256Hex "" }}`, "dXNlcjpww6Q= user e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},

		{`{{ upper "aé" }} {{ toLower "AÉ" }} {{ title "hello big world" }} [{{ trim " x\n" }}]`, "AÉ aé Hello Big World [x]"},
		{`{{ "v1.2" | trimPrefix "v" }} {{ trimSuffix ".2" "v1.2" }} {{ hasPrefix "v" "v1" }} {{ hasSuffix "v" "v1" }}`, "1.2 v1 true false"},
		{`{{ replace "." "-" "1.2.3" }} {{ "1.2" | replaceAll "." "" }}`, "1-2-3 12"},
		{`{{ split "," "a,b" | join ";" }} {{ join "," (list 1 true "x" 2.5) }} {{ splitList "/" "" | len }}`, "a;b 1,true,x,2.5 1"},
		{`{{ contains "b" "abc" }} {{ contains 2 (list 1 2) }} {{ contains "x" (list "y") }}`, "true true false"},
		{`{{ repeat 3 "ab" }}{{ repeat 0 "x" }}`, "ababab"},
		{`{{ quote "a\"b\n<" }} {{ quote 5 }}`, `"a\"b\n<" "5"`},
		{`{{ indent 2 "a\nb" }}{{ "c\nd" | nindent 1 }}`, "  a\n  b\n c\n d"},
		{`{{ regexMatch "^v[0-9]+$" "v12" }} {{ regexReplaceAll "(a)(.)" "$2$1" "abac" }} {{ regexReplaceAll "" "-" "ab" }}`, "true baca -a-b-"},
		{`{{ toString 5 }}{{ toString true }}{{ toString "x" }}`, "5truex"},

		{`{{ add 1 "2" 3 }} {{ sub 1 2 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ mod -7 2 }} {{ int " 42 " }} {{ int 3.0 }}`, "6 -1 24 3 -1 42 3"},
		{`{{ seq 3 }} {{ seq 2 4 }} {{ seq 10 -5 0 }} {{ seq 0 }} {{ seq 5 5 }} {{ seq 1 2 6 }}`, "[1 2 3] [2 3 4] [10 5 0] [] [5] [1 3 5]"},
		{`{{ range seq (add ordinal -5) }}{{ . }}{{ end }}`, "12"},

		{`{{ list 1 2 | first }} {{ last (append (list 1) 2 3) }} {{ list | len }}`, "1 3 0"},
		{`{{ $d := dict "b" 1 "a" 2 }}{{ keys $d }} {{ hasKey $d "a" }} {{ hasKey $d "z" }} {{ $d.b }}`, "[a b] true false 1"},
		{`{{ default "d" "" }} {{ "v" | default "d" }} {{ list | default "none" }} {{ index (dict) "k" | default 3 }}`, "d v none 3"},
		{`{{ required "no port" "80" }} {{ ternary "y" "n" true }} {{ coalesce "" 0 nil "x" "z" }} {{ empty 0 }}{{ empty "0" }}`, "80 y x truefalse"},

		{`{{ printf "%03d %q %5.1f %x" 7 "a" 2.25 "hi" }} {{ print 1 2 "x" }} {{ html "<" }} {{ urlquery "a b" }}`, `007 "a"   2.2 6869 1 2x &lt; a+b`},
		{`{{ printf "%s" "50%!d(MISSING) of it" }}`, "50%!d(MISSING) of it"},
		{`{{ define "x" }}<{{ . }}>{{ end }}{{ template "x" 1 }}{{ block "y" 2 }}({{ . }}){{ end }}`, "<1>(2)"},
		{`{{ range $i, $x := list "a" "b" }}{{ if $i }},{{ end }}{{ $x }}{{ else }}none{{ end }}`, "a,b"},
		{`{{ range 5 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}`, "02"},
		{`{{ if or (env "PORT") (env "NONE") }}short{{ end }}`, "short"},
		{`{{ $x := 1 }}{{ $x = add $x 1 }}{{ $x }}`, "2"},
	}
	for _, test := range tests {
		got, err := render(t, test.text, "PORT=8080", "EMPTY=")
		if err != nil || got != test.want {
			t.Errorf("%s\n got %q, error %v\nwant %q", test.text, got, err, test.want)
		}
	}
}

func TestWhatIsWrongIsNeverPrinted(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a\n{{ .port }}", `t:2:3: <.port>: map has no entry for key "port"`},
		{"{{ (dict \"a\" 1).b.c }}", `t:1:13: <1>: map has no entry for key "b"`},
		{"\n\n{{ (fromJSON `{\"a\": null}`).a }}", "t:3:3: (fromJSON `{\"a\": null}`).a is nil, or holds a nil"},
		{`{{ index (dict) "k" }}`, `t:1:3: index (dict) "k" is nil, or holds a nil`},
		{`{{ list 1 nil }}`, `t:1:3: list 1 nil is nil, or holds a nil`},
		{`{{ coalesce "" 0 }}`, `t:1:3: coalesce "" 0 is nil, or holds a nil`},
		{`{{ define "in" }}{{ .x }}{{ end }}{{ template "in" (dict) }}`, `t:1:20: <.x>: map has no entry for key "x"`},
		{`{{ env "NONE" }}`, `t:1:3: <env "NONE">: the environment variable NONE is not set or empty`},
		{`{{ env "EMPTY" }}`, `t:1:3: <env "EMPTY">: the environment variable EMPTY is not set or empty`},
		{`{{ required "say a port" "" }}`, `t:1:3: <required "say a port" "">: say a port`},
		{`{{ fail "never" }}`, `t:1:3: <fail "never">: never`},
		{`{{ print nil }}`, `t:1:3: <print nil>: a value is nil, or holds a nil`},
		{`{{ printf "%d" "x" }}`, `t:1:3: <printf "%d" "x">: the format and the values do not fit`},
		{`{{ printf "%s" }}`, `t:1:3: <printf "%s">: the format and the values do not fit`},
		{`{{ upper nil }}`, `t:1:9: <nil>: cannot assign nil to string`},
		{`{{ join "," (list nil) }}`, `t:1:3: <join "," (list nil)>: a value is nil`},
		{`{{ quote nil }}`, `t:1:3: <quote nil>: a value is nil`},
		{`{{ quote (list) }}`, `t:1:3: <quote (list)>: a value is a list, not a text or number`},
		{`{{ quote (b64dec "/w==") }}`, `t:1:3: <quote (b64dec "/w==")>: the text is not valid UTF-8`},
		{`{{ fromJSON "{" }}`, `t:1:3: <fromJSON "{">: it is not JSON: it ends too early`},
		{`{{ fromJSON "{} {}" }}`, `t:1:3: <fromJSON "{} {}">: there is more behind the JSON value`},
		{`{{ fromTOML "a = 1\nb = secret" }}`, `t:1:3: <fromTOML "a = 1\nb = secret">: it is not TOML at line 2, column 5`},
		{`{{ fromYAML "a: 1\nb: [" }}`, `t:1:3: <fromYAML "a: 1\nb: [">: it is not YAML at line 3`},
		{`{{ fromYAML "a: 1\na: 2" }}`, `t:1:3: <fromYAML "a: 1\na: 2">: it is not YAML at line 2`},
		{`{{ fromYAML "1\n---\n2" }}`, `t:1:3: <fromYAML "1\n---\n2">: it has 2 YAML documents, not one`},
		{`{{ fromYAML "" }}`, `t:1:3: <fromYAML "">: it has 0 YAML documents, not one`},
		{`{{ toTOML (dict "a" nil) }}`, `t:1:3: <toTOML (dict "a" nil)>: a value is nil, or holds a nil, which TOML cannot say`},
		{`{{ toTOML 1 }}`, `t:1:3: <toTOML 1>: a number cannot be TOML, only a dict`},
		{`{{ b64dec "!" }}`, `t:1:3: <b64dec "!">: illegal base64 data at input byte 0`},
		{`{{ div 1 0 }}`, `t:1:3: <div 1 0>: division by zero`},
		{`{{ mul 9223372036854775807 2 }}`, `t:1:3: <mul 9223372036854775807 2>: a number is over 64 bits`},
		{`{{ int "hunter2" }}`, `t:1:3: <int "hunter2">: a text is not a whole number of 64 bits`},
		{`{{ int 1.5 }}`, `t:1:3: <int 1.5>: a number is not whole, or too large to be exact`},
		{`{{ add (list) 1 }}`, `t:1:3: <add (list) 1>: a list is not a whole number`},
		{`{{ seq 1 0 5 }}`, `t:1:3: <seq 1 0 5>: seq with a step of 0 has no end`},
		{`{{ first (list) }}`, `t:1:3: <first (list)>: the list is empty`},
		{`{{ first "text" }}`, `t:1:3: <first "text">: a text is not a list`},
		{`{{ dict "a" }}`, `t:1:3: <dict "a">: the last key has no value`},
		{`{{ dict 1 2 }}`, `t:1:3: <dict 1 2>: a key is a number, not a text`},
		{`{{ regexMatch "(" "" }}`, `t:1:3: <regexMatch "(" "">: the regular expression is wrong: missing closing )`},
		{`{{ nothing }}`, `t:1: function "nothing" not defined`},
		{"x\n{{ if }}", `t:2: missing value for if`},
		{"{{ range", `t:1: unclosed action`},
		{`{{ template "none" }}`, `t:1:12: <{{template "none"}}>: template "none" not defined`},
	}
	for _, test := range tests {
		got, err := render(t, test.text, "EMPTY=")
		if err == nil || err.Error() != test.want || fault.KindOf(err) != fault.Data || got != "" {
			t.Errorf("%s\n got %q, %v (%v)\nwant %v", test.text, got, err, fault.KindOf(err), test.want)
		}
	}
}

func TestValuesStayOutOfErrors(t *testing.T) {
	secret := "hunter2`\"'"
	for _, text := range []string{
		`{{ env "S" | int }}`, `{{ env "S" | fromJSON }}`, `{{ env "S" | printf "k: @%s" | fromYAML }}`, `{{ env "S" | printf "!!int %s" | fromYAML }}`,
		`{{ env "S" | printf "k = %s" | fromTOML }}`, `{{ env "S" | printf "*%s" | fromYAML }}`, `{{ env "S" | b64dec }}`,
		`{{ env "S" | first }}`, `{{ index (dict) (env "S") }}`, `{{ (env "S").x }}`, `{{ env "S" | printf "%d" }}`, `{{ add 1 (env "S") }}`,
		`{{ slice (env "S") 99 }}`, `{{ eq (env "S") 1 }}`, `{{ env "S" | printf "{%s" | fromJSON }}`,
	} {
		_, err := render(t, text, "S="+secret)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestFiles(t *testing.T) {
	root := t.TempDir()
	err := errors.Join(
		os.WriteFile(root+"/name", []byte("Ada"), 0o644),
		os.WriteFile(root+"/t.tmpl", []byte("Hello {{ file \"/name\" }}"), 0o644),
		os.WriteFile(root+"/missing.tmpl", []byte("\n{{ file \"/none\" }}"), 0o644),
		os.WriteFile(root+"/large", make([]byte, template.MaxText+1), 0o644),
		os.Mkdir(root+"/folder", 0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(root)
	if got, err := e.RenderFile(context.Background(), "/t.tmpl"); err != nil || string(got) != "Hello Ada" {
		t.Errorf("got %q, error %v", got, err)
	}
	tests := []struct {
		path string
		kind fault.Kind
		want string
	}{
		{"/none.tmpl", fault.NoInput, "read /none.tmpl: no such file or directory"},
		{"/folder", fault.Data, "read /folder: it is not a regular file"},
		{"/large", fault.Data, "read /large: it is over 1048576 bytes"},
		{"/missing.tmpl", fault.NoInput, `/missing.tmpl:2:3: <file "/none">: read /none: no such file or directory`},
	}
	for _, test := range tests {
		_, err := e.RenderFile(context.Background(), test.path)
		if err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("got %v (%v), want %v (%v)", err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func TestAPipeIsNotWaitedFor(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := engine(root).Render(context.Background(), "t", `{{ file "/pipe" }}`)
	if want := `t:1:3: <file "/pipe">: read /pipe: it is not a regular file`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestOrdinal(t *testing.T) {
	tests := []struct{ pod, host, want string }{
		{"", "db-0", "0"},
		{"", "my-db-12", "12"},
		{"cache-3", "node-9", "3"},
		{"", "localhost", `t:1:3: <ordinal>: the host's name, "localhost", does not end in a StatefulSet's ordinal`},
		{"web-7d4b9-x2x", "db-0", `t:1:3: <ordinal>: POD_NAME, "web-7d4b9-x2x", does not end in a StatefulSet's ordinal`},
		{"web-007", "", `t:1:3: <ordinal>: POD_NAME, "web-007", does not end in a StatefulSet's ordinal`},
		{"web-99999999999999999999", "", `t:1:3: <ordinal>: POD_NAME, "web-99999999999999999999", ends in too large a number`},
	}
	for _, test := range tests {
		e := engine("", "POD_NAME="+test.pod)
		e.Hostname = func() (string, error) { return test.host, nil }
		out, err := e.Render(context.Background(), "t", "{{ ordinal }}")
		got := string(out)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

func TestMoreFunctions(t *testing.T) {
	e := engine("")
	transient := fault.New(fault.Unavailable, "the vault is sealed")
	e.Funcs = template.Funcs{
		"env":    func(name string) string { return "<" + name + ">" },
		"secret": func(string) (any, error) { return nil, transient },
	}
	if got, err := e.Render(context.Background(), "t", `{{ env "X" }}`); string(got) != "<X>" || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
	_, err := e.Render(context.Background(), "t", `{{ secret "a" }}`)
	if !errors.Is(err, transient) || fault.KindOf(err) != fault.Unavailable || err.Error() != `t:1:3: <secret "a">: the vault is sealed` {
		t.Errorf("got %v (%v), want the function's own kind", err, fault.KindOf(err))
	}
}

func TestNothingRunsAway(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"endless loop", `{{ range 9223372036854775807 }}{{ end }}`, "t:1:9: the loops went round over 1000000 times"},
		{"endless output", `{{ range 9223372036854775807 }}` + strings.Repeat("x", 1000) + `{{ end }}`, "t: the output is over 8388608 bytes"},
		{"endless recursion", `{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`, "t:1:16: the templates are nested over 500 deep"},
		{"large repeat", `{{ repeat 9223372036854775807 "xx" }}`, `t:1:3: <repeat 9223372036854775807 "xx">: the result is over 4194304 bytes`},
		{"large indent", `{{ indent 9223372036854775807 "xx" }}`, `t:1:3: <indent 9223372036854775807 "xx">: the result is over 4194304 bytes`},
		{"large replace", `{{ $x := repeat 10000 "x" }}{{ replace "x" $x $x }}`, `t:1:31: <replace "x" $x $x>: the result is over 4194304 bytes`},
		{"large regex replace", `{{ $x := repeat 10000 "x" }}{{ regexReplaceAll "." $x $x }}`, `t:1:31: <regexReplaceAll "." $x $x>: the result may be over 4194304 bytes`},
		{"large seq", `{{ seq 100001 }}`, `t:1:3: <seq 100001>: seq of over 100000 numbers`},
		{"large join", `{{ join (repeat 1000 "x") (seq 10000) }}`, `t:1:3: <join (repeat 1000 "x") (seq 10000)>: the result is over 4194304 bytes`},
		{"large split", `{{ split "" (repeat 1000000 "x") }}`, `t:1:3: <split "" (repeat 1000000 "x")>: the result is over 4194304 bytes`},
		{"doubling text", `{{ $x := "x" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}`, `t:1:38: <print $x $x>: the arguments are over 4194304 bytes`},
		{"doubling list", `{{ $x := "x" }}{{ range 100 }}{{ $x = list $x $x }}{{ end }}`, `t:1:38: <list $x $x>: the arguments are over 4194304 bytes`},
		{"deep list", `{{ $x := "x" }}{{ range 1000 }}{{ $x = list $x }}{{ end }}`, `t:1:39: <list $x>: the arguments are nested over 500 deep`},
		{"deep JSON", `{{ repeat 9999 "[" | fromJSON }}`, `t:1:21: <fromJSON>: it is not JSON: it ends too early`},
		{"deep TOML", `{{ printf "a = %s" (repeat 200000 "[") | fromTOML }}`, ""},
		{"deep YAML", `{{ repeat 20000 "[" | fromYAML }}`, "t:1:22: <fromYAML>: it is not YAML at line 1"},
		{"wide printf", `{{ printf "%99999d" 1 }}`, `t:1:3: <printf "%99999d" 1>: a width of over 999, or one by *, is not possible`},
		{"wide printf by argument", `{{ printf "%*d" 99999 1 }}`, `t:1:3: <printf "%*d" 99999 1>: a width of over 999, or one by *, is not possible`},
		{"many verbs", `{{ printf (repeat 10000 "%[1]s") (repeat 10000 "x") }}`, `t:1:3: <printf (repeat 10000 "%[1]s") (repeat 10000 "x")>: the result is over 4194304 bytes`},
		{"large text to parse", `{{ repeat 300000 " " | fromYAML }}`, `t:1:23: <fromYAML>: the text is over 262144 bytes`},
		{
			"dense YAML", `{{ repeat 40000 "a," | printf "[%s]" | fromYAML }}`,
			"t:1:39: <fromYAML>: the YAML has over 32768 colons, commas, brackets and lines",
		},
		{"large template", strings.Repeat("x", template.MaxText+1), "t: the template is over 1048576 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := render(t, test.text)
			if err == nil || fault.KindOf(err) != fault.Data || (test.want != "" && err.Error() != test.want) {
				t.Errorf("got %v (%v), want %v", err, fault.KindOf(err), test.want)
			}
		})
	}
}

func TestEndsWithItsContext(t *testing.T) {
	for _, text := range []string{
		`{{ end }}`, `x{{ end }}`, `{{ $x }}{{ end }}`, `{{ $y := add $x 1 }}{{ end }}`,
	} {
		ctx, cancel := context.WithCancel(context.Background())
		e := engine("")
		e.Funcs = template.Funcs{"end_it": func() string { cancel(); return "" }}
		_, err := e.Render(ctx, "t", `{{ $x := 1 }}{{ end_it }}{{ range 999999 }}`+text)
		if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: got %v (%v), want the context's end", text, err, fault.KindOf(err))
		}
	}
}

func TestHelpListsEveryFunction(t *testing.T) {
	words := regexp.MustCompile(`[A-Za-z0-9]+`).FindAllString(template.Help, -1)
	for _, name := range template.Names() {
		if !slices.Contains(words, name) && !slices.Contains([]string{"print", "println", "printf", "html", "js", "urlquery"}, name) {
			// The spellings in Json, Yaml and Toml are said to exist, not listed.
			if !regexp.MustCompile(`^(to|from|parse)(J|Y|T)\w+$`).MatchString(name) {
				t.Errorf("%s is not in Help", name)
			}
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		`{{ range 10 }}{{ . }}{{ end }}`, `{{ $x := list 1 2 }}{{ $x | toJSON }}`, `{{ printf "%[1]v" (dict "a" 1) }}`,
		`{{ fromYAML "a: &a [*a]" }}`, `{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, `{{ regexReplaceAll "(x*)" "$1$1" "xxx" }}`,
		`{{ seq 1 2 9 | join "," | split "," | last | int | repeat 2 }}`, `{{ with fromTOML "a=1" }}{{ .a }}{{ else }}{{ end }}`,
		`{{ block "x" . }}{{ break }}{{ end }}`, `{{ index (split "," "a,b") 1 | upper | indent 3 | nindent 2 | quote | fromJSON }}`,
		`{{ slice "abc" 1 2 }}{{ len "x" }}{{ not true }}{{ and 1 0 }}{{ call print }}{{ _print "x" nil }}{{ _leave }}`,
	} {
		f.Add(seed)
	}
	e := engine("/nonexistent", "A=b")
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		out, err := e.Render(ctx, "t", text)
		if len(out) > template.MaxOutput {
			t.Errorf("%d bytes of output", len(out))
		}
		if err != nil {
			if kind := fault.KindOf(err); kind == fault.Internal || !strings.HasPrefix(err.Error(), "t:") {
				t.Errorf("%v (%v)", err, kind)
			}
		}
		if err == nil && !strings.Contains(text, "no value") && strings.Contains(string(out), "<no value>") {
			t.Errorf("%q: <no value> was printed", text)
		}
	})
}

func ExampleEngine() {
	e := &template.Engine{Env: &step.Env{Getenv: func(string) string { return "8080" }}}
	out, err := e.Render(context.Background(), "app.conf", "port = {{ env \"PORT\" | int }}\n")
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// port = 8080
	// <nil>
}

func TestMissingKey(t *testing.T) {
	for text, want := range map[string]string{
		`{{ .a }}`: "a", `{{ (dict).b }}`: "b", `{{ $d := dict "x" (dict) }}{{ $d.x.c.d }}`: "c",
		`{{ fail "map has no entry for key x" }}`: "", `{{ if }}`: "", `{{ nil.a }}`: "",
	} {
		_, err := render(t, text)
		if got, ok := template.MissingKey(err); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", text, got, ok, want)
		}
	}
}
