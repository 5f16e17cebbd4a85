package vaultrender_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/secret"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/internal/vault"
	"github.com/slipway-init/slipway/steps/vaultrender"
)

// server is a Vault that lives in the test. Its secrets have what a real one answers as Data, in JSON.
type server struct {
	secrets map[string]string
	write   func(path string, data map[string]any) (*vault.Secret, error)
	login   error

	mu    sync.Mutex
	asked []string // everything that was asked for, in order
	ended []string // how the sessions ended
}

// newServer returns a server with a secret of either version of KV.
func newServer() *server {
	return &server{secrets: map[string]string{
		"secret/data/app": `{"data": {"user": "bob", "pass": "s3cret", "port": 5432}, "metadata": {"version": 1}}`,
		"secret/data/api": `{"data": {"key": "k'ey"}, "metadata": {"version": 2}}`,
		"kv1/app":         `{"user": "old"}`,
	}}
}

func (v *server) kind() step.Kind {
	return vaultrender.With(func(context.Context) (vaultrender.Session, error) {
		if v.login != nil {
			return nil, v.login
		}
		return &session{server: v}, nil
	})
}

func (v *server) ask(question string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, question)
}

func (v *server) read(path string) (*vault.Secret, error) {
	text, ok := v.secrets[path]
	if !ok {
		return nil, fault.New(fault.NoInput, "read %s: there is no secret", path)
	}
	if text == "forbidden" {
		return nil, fault.Hint(fault.New(fault.Permission, "read %s: permission denied", path), "path %q { capabilities = [\"read\"] }", path)
	}
	s := new(vault.Secret)
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return s, decoder.Decode(&s.Data)
}

// session keeps what it was told, as a real one does.
type session struct {
	*server
	reads sync.Map
	kept  bool
}

func (s *session) Read(_ context.Context, path string, params url.Values) (*vault.Secret, error) {
	question := path
	if len(params) > 0 {
		question += "?" + params.Encode()
	}
	once, _ := s.reads.LoadOrStore(question, sync.OnceValues(func() (*vault.Secret, error) {
		s.ask("read " + question)
		return s.server.read(path)
	}))
	return once.(func() (*vault.Secret, error))()
}

func (s *session) Write(_ context.Context, path string, data map[string]any) (*vault.Secret, error) {
	s.ask("write " + path)
	if s.server.write == nil {
		return nil, nil
	}
	return s.server.write(path, data)
}

func (s *session) List(_ context.Context, path string) ([]string, error) {
	s.ask("list " + path)
	return []string{"app", "more/"}, nil
}

func (s *session) KV(ctx context.Context, path string) (map[string]any, error) {
	secret, err := s.Read(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	if inner, ok := secret.Data["data"].(map[string]any); ok {
		return inner, nil
	}
	return secret.Data, nil
}

func (s *session) Token() string { return "hvs.token" }
func (s *session) Keep()         { s.kept = true }

func (s *session) Close(_ context.Context, failed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := "done"
	if failed {
		end = "failed"
	}
	if s.kept {
		end += ", token kept"
	}
	s.ended = append(s.ended, end)
	return nil
}

// write puts files below root, by their names.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// content returns the files below a folder with their modes, by name.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[strings.TrimPrefix(path, dir+"/")] = info.Mode().String() + " " + string(text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const app = `{{ with secret "secret/data/app" }}{{ .Data.data.user }}:{{ .Data.data.pass }}@{{ .Data.data.port }}{{ end }}`

// expect returns a check that the folder /out below root has just these files.
func expect(want map[string]string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		if got := content(t, root+"/out"); !maps.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// prepare returns a setup with templates and an empty folder /out.
func prepare(templates map[string]string) func(*testing.T, string) steptest.Options {
	return func(t *testing.T, root string) steptest.Options {
		t.Helper()
		write(t, root+"/t", templates)
		if err := os.Mkdir(root+"/out", 0o755); err != nil {
			t.Fatal(err)
		}
		return nil
	}
}

func TestConformance(t *testing.T) {
	v := newServer()
	steptest.Conform(t, v.kind(), nil,
		steptest.Case{
			Name: "one template", Options: steptest.Options{"template=/t/a", "dest=/out/a"},
			Setup: prepare(map[string]string{"a": app}), Check: expect(map[string]string{"a": "-r-------- bob:s3cret@5432"}),
		},
		steptest.Case{
			Name: "several", Options: steptest.Options{"template=/t/a=/out/a", "template=/t/b=/out/b", "mode=0440"},
			Setup:   prepare(map[string]string{"a": app, "b": `{{ with secret "kv1/app" }}{{ .Data.user }}{{ end }} {{ env "A" }}|{{ env "B" }}`}),
			Environ: []string{"A=x"},
			Check:   expect(map[string]string{"a": "-r--r----- bob:s3cret@5432", "b": "-r--r----- old x|"}),
		},
		steptest.Case{
			Name: "inline", Options: steptest.Options{"inline=true", "template=" + app, "dest=/out/a"},
			Setup: prepare(nil), Check: expect(map[string]string{"a": "-r-------- bob:s3cret@5432"}),
		},
		steptest.Case{
			Name: "env", Options: steptest.Options{"secret=secret/data/app", "secret=secret/data/api", "dest=/out/env"},
			Setup: prepare(nil), Check: expect(map[string]string{"env": "-r-------- key='k'\\''ey'\npass=s3cret\nport=5432\nuser=bob\n"}),
		},
		steptest.Case{
			Name: "json", Options: steptest.Options{"secret=secret/data/app", "format=json", "dest=/out/j"},
			Setup: prepare(nil),
			Check: expect(map[string]string{"j": "-r-------- {\n  \"pass\": \"s3cret\",\n  \"port\": 5432,\n  \"user\": \"bob\"\n}\n"}),
		},
		steptest.Case{
			Name: "yaml", Options: steptest.Options{"secret=secret/data/app", "format=yaml", "dest=/out/y"},
			Setup: prepare(nil), Check: expect(map[string]string{"y": "-r-------- pass: s3cret\nport: 5432\nuser: bob\n"}),
		},
		steptest.Case{
			Name: "files beside a template", Options: steptest.Options{"secret=secret/data/app", "format=files", "dest=/out", "template=/t/a=/out/a"},
			Setup: prepare(map[string]string{"a": "{{ range secrets \"secret\" }}{{ . }} {{ end }}"}),
			Check: expect(map[string]string{
				"a": "-r-------- app more/ ", "pass": "-r-------- s3cret", "port": "-r-------- 5432", "user": "-r-------- bob",
			}),
		},
		steptest.Case{
			Name: "further files", Options: steptest.Options{"template=/t/a", "dest=/out/a", "files-below=/out/more"},
			Setup: func(t *testing.T, root string) steptest.Options {
				prepare(map[string]string{"a": `{{ with secret "kv1/app" }}{{ .Data.user | writeToFile "/out/more/b/c" "" "" "0440" "newline" }}` +
					`{{ .Data.user | writeToFile "/out/more/b/c" "" "" "0440" "append" }}{{ "x" | writeToFile "/out/more/d" "" "" "0400" }}{{ end }}`})(t, root)
				if err := os.Mkdir(root+"/out/more", 0o755); err != nil {
					t.Fatal(err)
				}
				return nil
			},
			Check: expect(map[string]string{"a": "-r-------- ", "more/b/c": "-r--r----- old\nold", "more/d": "-r-------- x"}),
		},
		steptest.Case{
			Name: "token sink", Options: steptest.Options{"inline=true", "template=x", "dest=/out/a", "token-sink=/out/token", "mode=0444"},
			Setup: prepare(nil), Check: expect(map[string]string{"a": "-r--r--r-- x", "token": "-r-------- hvs.token"}),
		},
	)
}

func TestALoginThatWaitsEndsWithItsContext(t *testing.T) {
	kind := vaultrender.With(func(ctx context.Context) (vaultrender.Session, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	steptest.Conform(t, kind, steptest.Options{"inline=true", "template=x", "dest=/a"})
}

func TestEffects(t *testing.T) {
	tests := []struct {
		options steptest.Options
		want    []step.Effect
	}{
		{
			steptest.Options{"template=/t//x.ctmpl", "dest=/s/x", "address=https://vault:8200", "owner=1"},
			[]step.Effect{
				{Verb: step.Dial, Object: "tcp://vault:8200"},
				{Verb: step.Read, Object: "/t/x.ctmpl"},
				{Verb: step.Write, Object: "/s/x"},
				{Verb: step.Own, Object: "/s/x"},
				{Verb: step.Write, Object: "/s/.vault-render-x"},
			},
		},
		{
			steptest.Options{"template=/t/a=/s/a", "template=/t/b=/s/b", "files-below=/s/more/", "token-sink=/s/token", "receipt=/s/receipt"},
			[]step.Effect{
				{Verb: step.Read, Object: "/t/a"},
				{Verb: step.Read, Object: "/t/b"},
				{Verb: step.Write, Object: "/s/a"},
				{Verb: step.Write, Object: "/s/b"},
				{Verb: step.Write, Object: "/s/more/..."},
				{Verb: step.Write, Object: "/s/token"},
				{Verb: step.Write, Object: "/s/receipt"},
			},
		},
		{
			steptest.Options{"secret=secret/app", "format=files", "dest=/s"},
			[]step.Effect{{Verb: step.Write, Object: "/s/..."}, {Verb: step.Write, Object: "/s/.vault-render"}},
		},
		{
			steptest.Options{"inline=true", `template={{ with secret "secret/app" }}{{ .Data.data.pass }}{{ key "port" }}{{ end }}{{ awsSecret "db" }}`, "dest=/s/x"},
			[]step.Effect{
				{Verb: step.Dial, Object: "aws:secretsmanager"},
				{Verb: step.Dial, Object: "consul:$CONSUL_HTTP_ADDR"},
				{Verb: step.Write, Object: "/s/x"},
				{Verb: step.Write, Object: "/s/.vault-render-x"},
			},
		},
	}
	for _, test := range tests {
		if got := steptest.Task(t, vaultrender.Kind, test.options).Effects; !slices.Equal(got, test.want) {
			t.Errorf("%q:\n got %v\nwant %v", test.options, got, test.want)
		}
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		options steptest.Options
		want    string
	}{
		{nil, "no template and no secret is given"},
		{steptest.Options{"template=/t"}, `template "/t" has no destination: write SRC=DEST`},
		{steptest.Options{"template=a=b", "template=c=d", "dest=e"}, "dest is for one template; write --template SRC=DEST for each of several"},
		{steptest.Options{"template=a=b", "template=c=./b"}, "dest ./b is written twice"},
		{steptest.Options{"template=a=b", "token-sink=b"}, "token-sink b is written twice"},
		{steptest.Options{"inline=true", "template={{ if }}", "dest=x"}, "inline template:1: missing value for if"},
		{steptest.Options{"inline=true", "template={{ sekret }}", "dest=x"}, `inline template:1: function "sekret" not defined`},
		{steptest.Options{"inline=true", "template=x"}, "inline needs one template and one dest"},
		{steptest.Options{"inline=true", "template=x", "secret=a", "dest=b"}, "inline and secret both need dest: use two steps"},
		{steptest.Options{"secret=a"}, "no dest is given"},
		{steptest.Options{"secret=/", "dest=b"}, `"/" is not the path of a secret, such as secret/app`},
		{steptest.Options{"secret=a?version=2", "dest=b"}, `secret "a?version=2": a template reads other versions, this the newest`},
		{steptest.Options{"secret=a", "dest=b", "format=xml"}, `format "xml" is none of env, json, yaml, files`},
		{steptest.Options{"template=a=b", "format=env"}, "format is for --secret, and none is given"},
	}
	for _, test := range tests {
		err := steptest.Fault(t, vaultrender.Kind, test.options)
		if got := err.Error(); got != test.want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: got %q (%v), want %q", test.options, got, fault.KindOf(err), test.want)
		}
	}
}

func TestFailuresLeaveTheOldFiles(t *testing.T) {
	tests := []struct {
		name    string
		options steptest.Options
		kind    fault.Kind
		want    string
		hint    string
	}{
		{
			"no template",
			steptest.Options{"template=/none", "dest=/out/a"},
			fault.NoInput, "read /none: no such file or directory", "",
		},
		{
			"a wrong template",
			steptest.Options{"template=/t/wrong", "dest=/out/a"},
			fault.Data, `/t/wrong:1: function "sekret" not defined`, "",
		},
		{
			"no secret",
			steptest.Options{"inline=true", `template={{ secret "secret/data/none" }}`, "dest=/out/a"},
			fault.NoInput, `inline template:1:3: <secret "secret/data/none">: read secret/data/none: there is no secret`, "",
		},
		{
			"no permission",
			steptest.Options{"inline=true", `template={{ secret "secret/data/forbidden" }}`, "dest=/out/a"},
			fault.Permission, `inline template:1:3: <secret "secret/data/forbidden">: read secret/data/forbidden: permission denied`,
			`path "secret/data/forbidden" { capabilities = ["read"] }`,
		},
		{
			"no key",
			steptest.Options{"inline=true", `template={{ with secret "secret/data/app" }}{{ .Data.data.passwd }}{{ end }}`, "dest=/out/a"},
			fault.Data, `inline template:1:43: <.Data.data.passwd>: map has no entry for key "passwd"; secret/data/app has "pass", "port", "user"`,
			`put the key into the secret, or if it may be missing: {{ with index .Data.data "passwd" }}…{{ end }}`,
		},
		{
			"no key in one of several",
			steptest.Options{"inline=true", `template={{ $a := secret "kv1/app" }}{{ $b := secret "secret/data/api" }}{{ $a.Data.pass }}`, "dest=/out/a"},
			fault.Data, `inline template:1:69: <$a.Data.pass>: map has no entry for key "pass"; secret/data/api has "key"; kv1/app has "user"`,
			`put the key into the secret, or if it may be missing: {{ with index .Data.data "pass" }}…{{ end }}`,
		},
		{
			"version 2 read as version 1",
			steptest.Options{"inline=true", `template={{ (secret "secret/data/app").Data.user }}`, "dest=/out/a"},
			fault.Data, `inline template:1:11: <"secret/data/app">: map has no entry for key "user"`,
			"secret/data/app is of KV version 2: write .Data.data.user",
		},
		{
			"version 1 read as version 2",
			steptest.Options{"inline=true", `template={{ with secret "kv1/app" }}{{ .Data.data.user }}{{ end }}`, "dest=/out/a"},
			fault.Data, `inline template:1:35: <.Data.data.user>: map has no entry for key "data"`,
			"kv1/app is not of KV version 2: write .Data.KEY, without the second .data",
		},
		{
			"a second template that fails",
			steptest.Options{"template=/t/right=/out/a", "template=/t/none=/out/b"},
			fault.Data, `/t/none:1:3: <mustEnv "NONE">: the environment variable NONE is not set`,
			`set it in the container's env, or write envOrDefault "NONE" "" if it may be missing`,
		},
		{
			"a second file that cannot be written",
			steptest.Options{"template=/t/right=/out/a", "template=/t/right=/none/b"},
			fault.CantCreate, "write ROOT/none/b: no such file or directory", "make the folder in an earlier step (mkdir DIR then …), or mount a volume there",
		},
		{
			"a file outside",
			steptest.Options{"inline=true", `template={{ writeToFile "/out/x" "" "" "0400" "x" }}`, "dest=/out/a", "files-below=/out/more"},
			fault.Conflict, `inline template:1:3: <writeToFile "/out/x" "" "" "0400" "x">: writeToFile /out/x: it is not below /out/more`, "choose another --files-below",
		},
		{
			"a file without a folder",
			steptest.Options{"inline=true", `template={{ writeToFile "/out/x" "" "" "0400" "x" }}`, "dest=/out/a"},
			fault.Conflict, `inline template:1:3: <writeToFile "/out/x" "" "" "0400" "x">: writeToFile /out/x: no folder is open to templates`, "give --files-below /out",
		},
		{
			"a file that is the destination",
			steptest.Options{"inline=true", `template={{ writeToFile "/out/a" "" "" "0400" "x" }}`, "dest=/out/a", "files-below=/out"},
			fault.Data, "/out/a is written twice", "",
		},
		{
			"a file that is the token sink",
			steptest.Options{"inline=true", `template={{ writeToFile "/out/./t" "" "" "0400" "x" }}`, "dest=/out/a", "files-below=/out", "token-sink=/out/t"},
			fault.Data, `inline template:1:3: <writeToFile "/out/./t" "" "" "0400" "x">: /out/./t is written twice`, "",
		},
		{
			"a key that is the receipt",
			steptest.Options{"secret=receipt", "format=files", "dest=/out"},
			fault.Data, "/out/.vault-render is written twice", "",
		},
		{
			"more than fits",
			steptest.Options{"template=/t/long=/out/a", "template=/t/long=/out/b", "template=/t/long=/out/c"},
			fault.Data, "the files of one step are over 16777216 bytes together", "",
		},
		{
			"a user's name",
			steptest.Options{"inline=true", `template={{ writeToFile "/out/x" "vault" "" "0400" "x" }}`, "dest=/out/a", "files-below=/out"},
			fault.Data, `inline template:1:3: <writeToFile "/out/x" "vault" "" "0400" "x">: the user and group of writeToFile are not numeric: write 65532, not a name`, "",
		},
		{
			"a secret for a mode",
			steptest.Options{"inline=true", `template={{ with secret "kv1/app" }}{{ writeToFile "/out/x" "" "" .Data.user "x" }}{{ end }}`, "dest=/out/a", "files-below=/out"},
			fault.Data, `inline template:1:30: <writeToFile "/out/x" "" "" .Data.user "x">: the fourth argument of writeToFile is not an octal mode, such as 0400`, "",
		},
		{
			"arguments of writeToFile in another order",
			steptest.Options{"inline=true", `template={{ with secret "kv1/app" }}{{ writeToFile "/out/x" "" "" "0400" .Data.user "append" }}{{ end }}`, "dest=/out/a", "files-below=/out"},
			fault.Data, `inline template:1:30: <writeToFile "/out/x" "" "" "0400" .Data.user "append">: the flags of writeToFile are append and newline`, "",
		},
		{
			"arguments that are no pairs",
			steptest.Options{"inline=true", `template={{ secret "a" "b=c" "s3cret" }}`, "dest=/out/a"},
			fault.Data, `inline template:1:3: <secret "a" "b=c" "s3cret">: argument 2 after the path is not KEY=VALUE`, "",
		},
		{
			"keys in two secrets",
			steptest.Options{"secret=secret/data/app", "secret=kv1/app", "dest=/out/a"},
			fault.Data, `the secrets secret/data/app and kv1/app both have the key "user"`, "write them to two files, or say in a template which one is meant",
		},
		{
			"a key that is no variable",
			steptest.Options{"secret=odd", "dest=/out/a"},
			fault.Data, `the key "../a-b" is no name of an environment variable`, "take --format json, yaml or files, or write a template",
		},
		{
			"a key that is no file",
			steptest.Options{"secret=odd", "format=files", "dest=/out"},
			fault.Data, `the key "../a-b" is no name of a file`, "take --format json or yaml, or write a template",
		},
		{
			"Consul's catalogue",
			steptest.Options{"inline=true", `template={{ services }}`, "dest=/out/a"},
			fault.Data, `inline template:1:3: <services>: services is not there: of Consul the keys alone are there: key, keyExists, keyOrDefault, ls and tree`, "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			prepare(map[string]string{"right": app, "wrong": "{{ sekret }}", "none": `{{ mustEnv "NONE" }}`, "long": `{{ range loop 7 }}{{ repeat 1000000 "x" }}{{ end }}`})(t, root)
			write(t, root, map[string]string{"out/a": "old"})
			v := newServer()
			v.secrets["secret/data/forbidden"] = "forbidden"
			v.secrets["receipt"] = `{".vault-render": "x"}`
			v.secrets["odd"] = `{"../a-b": "x"}`
			err := steptest.Run(context.Background(), steptest.Task(t, v.kind(), test.options), root).Err
			want := "vault-render: " + strings.ReplaceAll(test.want, "ROOT", root)
			if err == nil || err.Error() != want || fault.KindOf(err) != test.kind || fault.HintOf(err) != test.hint {
				t.Errorf("got %v (%v), hint %q\nwant %v (%v), hint %q", err, fault.KindOf(err), fault.HintOf(err), want, test.kind, test.hint)
			}
			expect(map[string]string{"a": "-rw-r--r-- old"})(t, root)
			for _, end := range v.ended {
				if end != "failed" {
					t.Errorf("the session ended as %s, want failed", end)
				}
			}
		})
	}
}

func TestAWrongTemplateCostsNoLogin(t *testing.T) {
	v := newServer()
	v.login = fault.New(fault.Internal, "a login")
	root := t.TempDir()
	prepare(map[string]string{"wrong": "{{ sekret }}"})(t, root)
	err := steptest.Run(context.Background(), steptest.Task(t, v.kind(), steptest.Options{"template=/t/wrong", "dest=/out/a"}), root).Err
	if fault.KindOf(err) != fault.Data {
		t.Errorf("got %v (%v), want a fault of kind %v", err, fault.KindOf(err), fault.Data)
	}
}

func TestEverySecretIsAskedForOnce(t *testing.T) {
	v := newServer()
	root := t.TempDir()
	prepare(map[string]string{
		"a": app + `{{ with secret "secret/data/app" }}{{ with secret "/secret/data/app?version=2" }}{{ end }}{{ end }}`,
		"b": app + `{{ if env "NONE" }}{{ secret "secret/data/forbidden" }}{{ end }}{{ with secret "kv1/app" }}{{ end }}`,
	})(t, root)
	task := steptest.Task(t, v.kind(), steptest.Options{"template=/t/a=/out/a", "template=/t/b=/out/b"})
	if result := steptest.Run(context.Background(), task, root); result.State != run.Done {
		t.Fatal(result.Err)
	}
	slices.Sort(v.asked)
	want := []string{"read kv1/app", "read secret/data/app", "read secret/data/app?version=2"}
	if !slices.Equal(v.asked, want) {
		t.Errorf("got %q, want %q", v.asked, want)
	}
	if want := []string{"done"}; !slices.Equal(v.ended, want) {
		t.Errorf("got %q, want %q", v.ended, want)
	}
}

// One template may name secrets of Vault and keys of another store, each of which is asked for once; what that refuses
// ends the session as a failed one.
func TestOtherStoresStandBesideVault(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		if r.URL.Path != "/v1/kv/app/port" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "8080")
	}))
	defer consul.Close()
	environ := "CONSUL_HTTP_ADDR=" + consul.URL
	root := t.TempDir()
	prepare(map[string]string{
		"a": `{{ key "app/port" }} {{ with secret "secret/data/app" }}{{ .Data.data.user }}{{ end }}`,
		"b": `{{ keyOrDefault "app/port" "1" }} {{ consulKey "app/port" }}`,
	})(t, root)
	v := newServer()
	both := steptest.Options{"template=/t/a=/out/a", "template=/t/b=/out/b"}
	if err := steptest.Run(t.Context(), steptest.Task(t, v.kind(), both), root, environ).Err; err != nil {
		t.Fatal(err)
	}
	expect(map[string]string{"a": "-r-------- 8080 bob", "b": "-r-------- 8080 8080"})(t, root)
	if want := []string{"/v1/kv/app/port"}; !slices.Equal(asked, want) {
		t.Errorf("Consul was asked for %q, want %q", asked, want)
	}
	none := steptest.Options{"inline=true", `template={{ key "app/none" }}`, "dest=/out/c"}
	err := steptest.Run(t.Context(), steptest.Task(t, v.kind(), none), root, environ).Err
	if fault.KindOf(err) != fault.NoInput || !strings.Contains(err.Error(), "Consul has no key app/none") {
		t.Errorf("got %v (%v), want a fault of kind %v", err, fault.KindOf(err), fault.NoInput)
	}
	if want := []string{"done", "failed"}; !slices.Equal(v.ended, want) {
		t.Errorf("the sessions ended as %q, want %q", v.ended, want)
	}
}

// A task that tries again tells once that secrets go to a disk.
func TestADiskIsToldOfOnce(t *testing.T) {
	root := t.TempDir()
	want := 1
	if memory, err := secret.OnTmpfs(root); memory || err != nil {
		want = 0
	}
	prepare(map[string]string{"a": app})(t, root)
	v := newServer()
	v.login = fault.New(fault.Temporary, "the server is sealed")
	var log strings.Builder
	runner := steptest.Runner(root)
	runner.World.Log = slog.New(slog.NewTextHandler(&log, nil))
	task := steptest.Task(t, v.kind(), steptest.Options{"template=/t/a=/out/a"})
	task.Policy.Retries, task.Policy.Backoff = 2, time.Millisecond
	runner.Run(t.Context(), &plan.Plan{Root: plan.Sequence{task}})
	if got := strings.Count(log.String(), "secrets are written to a disk"); got != want {
		t.Errorf("it was told %d times, want %d:\n%s", got, want, log.String())
	}
}

// gathering is a session whose answers wait until each of some secrets has been asked for.
type gathering struct {
	*session
	seen sync.Map
	all  sync.WaitGroup
}

func (s *gathering) Read(ctx context.Context, path string, params url.Values) (*vault.Secret, error) {
	if _, again := s.seen.LoadOrStore(path, true); !again {
		s.all.Done()
	}
	s.all.Wait()
	return s.session.Read(ctx, path, params)
}

func TestIndependentSecretsAreAskedForSideBySide(t *testing.T) {
	kind := vaultrender.With(func(context.Context) (vaultrender.Session, error) {
		s := &gathering{session: &session{server: newServer()}}
		s.all.Add(3)
		return s, nil
	})
	text := `{{ secret "kv1/app" | toJSON | len }}{{ secret "secret/data/app" | toJSON | len }}{{ secret "secret/data/api" | toJSON | len }}`
	task := steptest.Task(t, kind, steptest.Options{"inline=true", "template=" + text, "dest=/a"})
	if result := steptest.Run(context.Background(), task, t.TempDir()); result.State != run.Done {
		t.Fatal(result.Err)
	}
}

func TestTheTokenIsKeptForASinkAlone(t *testing.T) {
	for _, c := range []struct {
		options steptest.Options
		want    []string
	}{
		{steptest.Options{"inline=true", "template=x", "dest=/a"}, []string{"done"}},
		{steptest.Options{"inline=true", "template=x", "dest=/a", "token-sink=/token"}, []string{"done, token kept"}},
		{steptest.Options{"inline=true", "template=x", "dest=/a", "token-sink=/none/token"}, []string{"failed"}},
	} {
		v := newServer()
		steptest.Run(context.Background(), steptest.Task(t, v.kind(), c.options), t.TempDir())
		if !slices.Equal(v.ended, c.want) {
			t.Errorf("%q: got %q, want %q", c.options, v.ended, c.want)
		}
	}
}

func TestRequireTmpfsRefusesADisk(t *testing.T) {
	root := t.TempDir()
	memory, err := secret.OnTmpfs(root)
	want, kind := run.Done, fault.Kind(0)
	switch {
	case err != nil:
		want, kind = run.Failed, fault.KindOf(err)
	case !memory:
		want, kind = run.Failed, fault.Conflict
	}
	v := newServer()
	result := steptest.Run(context.Background(), steptest.Task(t, v.kind(), steptest.Options{"inline=true", "template=x", "dest=/a", "require-tmpfs=true"}), root)
	if result.State != want || (kind != 0 && fault.KindOf(result.Err) != kind) {
		t.Errorf("got %v, %v, want %v (%v)", result.State, result.Err, want, kind)
	}
	if want == run.Failed && len(v.ended) > 0 {
		t.Error("it logged in before it looked")
	}
}

func TestOutputsHoldNoSecret(t *testing.T) {
	root := t.TempDir()
	want := map[string]string{"files": "1"}
	for range 2 {
		result := steptest.Run(context.Background(), steptest.Task(t, newServer().kind(), steptest.Options{"inline=true", "template=" + app, "dest=/a", "mode=0444"}), root)
		if result.State != run.Done {
			t.Fatal(result.Err)
		}
		if got := steptest.Outputs(result); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		want[step.Skipped] = "unchanged"
	}
}

// TestNoErrorCitesASecret calls the step's functions with a secret wherever it may stand by mistake; the path, which the
// server's log has too, is not such a place.
func TestNoErrorCitesASecret(t *testing.T) {
	for _, call := range []string{
		`secret "kv1/app" $p`, `secret "kv1/app" "a=b" $p`, `$p | pkiCert "pki/issue/web"`, `pkiCert "pki/issue/web" $p`,
		`$p | writeToFile "/f/x"`, `$p | writeToFile "/f/x" ""`, `$p | writeToFile "/f/x" "" ""`, `$p | writeToFile "/f/x" "" "" ""`,
		`writeToFile "/f/x" $p "" "0400" "x"`, `writeToFile "/f/x" "" $p "0400" "x"`, `writeToFile "/f/x" "" "" $p "x"`,
		`writeToFile "/f/x" "" "" "0400" $p "x"`, `writeToFile "/f/x" "" "" "0400" "x" "x" $p`, `(secret "kv1/app").Data.x.y`,
		`index (secret "kv1/app") $p`, `template $p`, `(secret "kv1/app" "a=b").Data.x`,
	} {
		text := `{{ $p := (secret "secret/data/app").Data.data.pass }}{{ ` + call + ` }}`
		options := steptest.Options{"inline=true", "template=" + text, "dest=/a", "files-below=/f"}
		if strings.HasPrefix(call, "template ") {
			if err := steptest.Fault(t, newServer().kind(), options); strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v", call, err)
			}
			continue
		}
		root := t.TempDir()
		if err := os.Mkdir(root+"/f", 0o755); err != nil {
			t.Fatal(err)
		}
		err := steptest.Run(context.Background(), steptest.Task(t, newServer().kind(), options), root).Err
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(fault.HintOf(err), "s3cret") {
			t.Errorf("%s: got %v, want an error without the secret", call, err)
		}
	}
}
