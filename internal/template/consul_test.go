package template_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/template"
)

// app is the secret that the table of consul-template was made with.
const app = `{"data": {
	"user": "bob", "pass": "s3<&>cret", "port": 5432, "big": 12345678901234567890, "f": 1.50, "e": 1e3, "ok": true,
	"no": null, "yes": "yes", "num": "0123", "empty": "", "multi": "a\nb\n",
	"long": "the quick brown fox jumps over the lazy dog and then the quick brown fox jumps over the lazy dog again",
	"list": ["x", 1, {"k": "v"}], "map": {"b": "2", "a": {"z": 1.0}}, "uni": "päß ☃", "tab": "a\tb", "colon": "a: b",
	"hash": "a #b", "dash": "- x", "star": "*x", "quote": "it's \"q\"", "date": "2024-01-02", "oct": "0o17",
	"sp": " lead", "null": "null", "tilde": "~"
}, "metadata": {"version": 3}}`

// agent returns an engine as vault-render has it, with the secret above and nothing else.
func agent(t testing.TB, environ ...string) *template.Engine {
	t.Helper()
	var data map[string]any
	decoder := json.NewDecoder(strings.NewReader(app))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		t.Fatal(err)
	}
	type secret struct {
		Data          map[string]any
		LeaseDuration int
	}
	env := &step.Env{
		Root:    t.TempDir(),
		Environ: func() []string { return environ },
		Getenv: func(name string) string {
			for _, entry := range environ {
				if before, value, _ := strings.Cut(entry, "="); before == name {
					return value
				}
			}
			return ""
		},
	}
	return &template.Engine{
		Env: env, ConsulTemplate: true, Now: func() time.Time { return time.Unix(1700000000, 0) },
		Funcs: template.Funcs{"secret": func(path string) *secret { return &secret{data, 3600} }},
	}
}

// TestFunctionsAreConsulTemplates renders what consul-template itself has rendered.
func TestFunctionsAreConsulTemplates(t *testing.T) {
	table, err := os.ReadFile("testdata/consul-template.txt")
	if err != nil {
		t.Fatal(err)
	}
	rendered := 0
	for line := range strings.Lines(string(table)) {
		text, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		rendered++
		out, err := agent(t, "SET=value", "EMPTY=").Render(context.Background(), "t.ctmpl", text)
		got := strconv.Quote(string(out))
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s\n got %s, error %v\nwant %s", text, got, err, want)
		}
	}
	if rendered == 0 {
		t.Error("the table is empty")
	}
}

// TestFunctionsOfLaterVersions has what consul-template 0.29.5 does not have yet, as its documentation and tests say it.
func TestFunctionsOfLaterVersions(t *testing.T) {
	tests := []struct{ text, want string }{
		{`{{ mustEnv "SET" }}{{ mustEnv "EMPTY" }}`, "value"},
		{`{{ hmacSHA256Hex "somemessage" "somekey" }}`, "6116e95f2827172aa6ef8b22b883f6a77e966aefc129c6b8228ebd0aac74e98d"},
		{`{{ timestamp }} {{ timestamp "unix" }} {{ timestamp "2006-01-02" }}`, "2023-11-14T22:13:20Z 1700000000 2023-11-14"},
	}
	for _, test := range tests {
		got, err := agent(t, "SET=value", "EMPTY=").Render(context.Background(), "t.ctmpl", test.text)
		if err != nil || string(got) != test.want {
			t.Errorf("%s\n got %q, error %v\nwant %q", test.text, got, err, test.want)
		}
	}
}

func TestConsulTemplateFaults(t *testing.T) {
	tests := []struct{ text, want string }{
		{`{{ mustEnv "NONE" }}`, `t.ctmpl:1:3: <mustEnv "NONE">: the environment variable NONE is not set`},
		{`{{ nomadVar "a" }}`, `t.ctmpl:1:3: <nomadVar "a">: nomadVar is not there: it asks a Nomad server`},
		{`{{ range service "web" "any" }}{{ end }}`, `t.ctmpl:1:9: <service "web" "any">: service is not there: of Consul the keys alone are there: key, keyExists, keyOrDefault, ls and tree`},
		{`{{ "x" | plugin "p" }}`, `t.ctmpl:1:9: <plugin "p">: plugin is not there: it runs a program, which the image does not have; run one with the step exec`},
		{`{{ with secret "a" }}{{ .Data.data.missing }}{{ end }}`, `t.ctmpl:1:29: <.Data.data.missing>: map has no entry for key "missing"`},
		{`{{ with secret "a" }}{{ .Data.data.no }}{{ end }}`, `t.ctmpl:1:24: .Data.data.no is nil, or holds a nil`},
		{`{{ with secret "a" }}{{ parseInt .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <parseInt .Data.data.user>: a text is not a whole number of 64 bits`},
		{`{{ with secret "a" }}{{ parseBool .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <parseBool .Data.data.user>: a text is not a truth value`},
		{`{{ with secret "a" }}{{ parseFloat .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <parseFloat .Data.data.user>: a text is not a number`},
		{`{{ with secret "a" }}{{ parseUint .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <parseUint .Data.data.user>: a text is not a whole number of 64 bits without a sign`},
		{`{{ with secret "a" }}{{ parseJSON .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <parseJSON .Data.data.user>: it is not JSON at byte 1`},
		{`{{ loop 1000000 }}`, `t.ctmpl:1:3: <loop 1000000>: loop of over 100000 numbers`},
		{`{{ loop -9223372036854775808 9223372036854775807 }}`, `t.ctmpl:1:3: <loop -9223372036854775808 9223372036854775807>: loop of over 100000 numbers`},
		{`{{ 1 | divide 0.0 }}`, `t.ctmpl:1:7: <divide 0.0>: division by zero`},
		{`{{ 1 | modulo 0 }}`, `t.ctmpl:1:7: <modulo 0>: division by zero`},
		{`{{ scratch.Set "a" 1 }}{{ scratch.MapSet "a" "b" 1 }}`, `t.ctmpl:1:33: <scratch.MapSet>: what is noted by this name is not a map`},
		{`{{ with secret "a" }}{{ executeTemplate .Data.data.user }}{{ end }}`, `t.ctmpl:1:24: <executeTemplate .Data.data.user>: no template of this name is defined`},
		{`{{ define "x" }}{{ executeTemplate "x" }}{{ end }}{{ executeTemplate "x" }}`, `the templates are nested over 500 deep`},
		{`{{ range loop 100000 }}{{ scratch.Set (printf "%d" .) "0123456789012345678901234567890123456789" }}{{ end }}`, `what scratch was given is over 4194304 bytes`},
	}
	for _, test := range tests {
		got, err := agent(t).Render(context.Background(), "t.ctmpl", test.text)
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || fault.KindOf(err) != fault.Data || len(got) > 0 {
			t.Errorf("%s\n got %q, %v (%v)\nwant %v", test.text, got, err, fault.KindOf(err), test.want)
		}
	}
}

func TestCallsAreThoseThatARenderingIsCertainToMake(t *testing.T) {
	tests := []struct {
		text string
		want []template.Call
	}{
		{`plain`, nil},
		{`{{ with secret "a" }}{{ .Data }}{{ with secret "b" }}{{ end }}{{ else }}{{ secret "c" }}{{ end }}`, []template.Call{secret("a"), secret("b")}},
		{`{{ with secret "a" "k=v" | toJSON }}{{ secret "c" }}{{ end }}`, []template.Call{secret("a", "k=v")}},
		{`{{ if (secret "a").Data.x }}{{ secret "b" }}{{ else }}{{ secret "c" }}{{ end }}{{ secret "a" }}`, []template.Call{secret("a")}},
		{`{{ range (secret "a").Data }}{{ secret "b" }}{{ end }}`, []template.Call{secret("a")}},
		{`{{ or (secret "a") (secret "b") }}{{ and (secret "c").Data (secret "d").Data }}`, []template.Call{secret("a"), secret("c")}},
		{`{{ $p := "a" }}{{ secret $p }}{{ "b" | secret }}{{ secret (env "X") }}{{ secret . }}`, nil},
		{`{{ define "t" }}{{ secret "a" }}{{ template "t" }}{{ end }}{{ define "u" }}{{ secret "b" }}{{ end }}{{ template "t" secret "c" }}`, []template.Call{secret("c"), secret("a")}},
		{`{{ $x := secret "a" }}{{ $x.Data.k | toJSON | printf "%s" }}`, []template.Call{secret("a")}},
	}
	for _, test := range tests {
		parsed, err := agent(t, "X=y").Parse("t.ctmpl", test.text)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(parsed.Calls("secret"), func(c template.Call) bool { return c.Func != "secret" })
		same := func(a, b template.Call) bool { return a.Func == b.Func && slices.Equal(a.Args, b.Args) }
		if !slices.EqualFunc(got, test.want, same) {
			t.Errorf("%s\n got %v\nwant %v", test.text, got, test.want)
		}
	}
}

func TestCalledAreTheFunctionsThatATemplateNames(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{`plain key "x"`, nil},
		{`{{/* key */}}{{ "key" }}{{ .key }}{{ $key := 1 }}`, nil},
		{`{{ if env "X" }}{{ "x" | toUpper }}{{ else }}{{ (env "Y") | toLower }}{{ end }}`, []string{"env", "toLower", "toUpper"}},
		{`{{ define "t" }}{{ (secret "a").Data.k }}{{ end }}{{ range $k, $v := parseJSON "{}" }}{{ print scratch.Key timestamp }}{{ end }}`, []string{"parseJSON", "print", "scratch", "secret", "timestamp"}},
	} {
		parsed, err := agent(t).Parse("t.ctmpl", test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Called(); !slices.Equal(got, test.want) {
			t.Errorf("%s\n got %q\nwant %q", test.text, got, test.want)
		}
	}
}

// A template renders the same each time: what it counts and notes in one rendering is forgotten in the next.
func TestATemplateIsRenderedAgain(t *testing.T) {
	parsed, err := agent(t).Parse("t.ctmpl", `{{ with scratch.Key "seen" }}again{{ end }}{{ scratch.Set "seen" "x" }}{{ range loop 90000 }}{{ end }}.`)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 { // a million rounds and more in all
		if got, err := parsed.Render(t.Context()); string(got) != "." || err != nil {
			t.Fatalf("got %q, %v, want a full stop", got, err)
		}
	}
}

func secret(args ...string) template.Call { return template.Call{Func: "secret", Args: args} }

// TestNoErrorCitesASecret calls every function with a secret in each place where an argument may stand.
func TestNoErrorCitesASecret(t *testing.T) {
	named := map[string]string{ // what takes a name or a message, which its error is to tell
		"fail": "a message", "sprig_fail": "a message", "file": "a path", "mustEnv": "a variable",
	}
	called := 0
	for _, name := range slices.Concat(template.Names(), template.ConsulNames()) {
		if named[name] != "" {
			continue
		}
		for _, args := range []string{
			"$p", "$p $p", `"x" $p`, `$p "x"`, "$p $p $p", `"x" $p "x"`, "1 $p", "$p 1", "(list $p) 1", "1 (list $p)", "$p $p $p $p $p",
		} {
			text := `{{ $p := (secret "a").Data.data.pass }}{{ ` + name + " " + args + " }}"
			_, err := agent(t).Render(context.Background(), "t.ctmpl", text)
			called++
			if err != nil && strings.Contains(err.Error(), "s3") {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	if called == 0 {
		t.Error("nothing was called")
	}
}

func TestThePageListsEveryFunction(t *testing.T) {
	page, err := os.ReadFile("../../docs/vault-templates.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(page), func(r rune) bool { return strings.ContainsRune(" `|,.\n", r) })
	for _, name := range template.ConsulNames() {
		if !slices.Contains(words, strings.TrimPrefix(name, "sprig_")) {
			t.Errorf("docs/vault-templates.md does not list %s", name)
		}
	}
}

func FuzzConsulTemplate(f *testing.F) {
	table, err := os.ReadFile("testdata/consul-template.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		text, _, _ := strings.Cut(line, "\t")
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := agent(t)
		if parsed, err := e.Parse("t.ctmpl", text); err == nil {
			_, _ = parsed.Calls("secret"), parsed.Called()
		}
		out, err := e.Render(context.Background(), "t.ctmpl", text)
		if err != nil && (len(out) > 0 || fault.KindOf(err) == fault.Internal) {
			t.Errorf("got %q, %v (%v)", out, err, fault.KindOf(err))
		}
	})
}
