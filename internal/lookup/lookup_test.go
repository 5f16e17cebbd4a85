package lookup_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lookup"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/template"
)

// world is an env with servers that note what they are asked for.
type world struct {
	*step.Env
	mu    sync.Mutex
	asked []string
}

// newWorld starts Consul with a few keys, and AWS with one secret. With environ, pairs, it may be changed.
func newWorld(t *testing.T, environ ...string) *world {
	t.Helper()
	w := &world{}
	keys := map[string]string{
		"app/port": "8080", "app/empty": "", "big/a": strings.Repeat("x", 2<<20), "big/b": strings.Repeat("y", 2<<20),
		"big/c": strings.Repeat("y", 2<<20), "big/d": strings.Repeat("y", 2<<20),
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, "/v1/kv/")
		w.mu.Lock()
		w.asked = append(w.asked, key)
		w.mu.Unlock()
		switch {
		case r.Header.Get("X-Amz-Target") != "":
			_, _ = out.Write([]byte(`{"SecretString":"{\"user\":\"app\",\"port\":5432}"}`))
		case r.URL.Query().Has("recurse"):
			_, _ = out.Write([]byte(`[{"Key":"app/port","Value":"ODA4MA=="},{"Key":"app/limits/cpu","Value":"Mg=="}]`))
		case key == "forbidden":
			out.WriteHeader(http.StatusForbidden)
		default:
			value, ok := keys[key]
			if !ok {
				out.WriteHeader(http.StatusNotFound)
			}
			_, _ = out.Write([]byte(value))
		}
	}))
	t.Cleanup(server.Close)
	values := map[string]string{
		"CONSUL_HTTP_ADDR": server.URL, "AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
	}
	for i := 0; i < len(environ); i += 2 {
		values[environ[i]] = environ[i+1]
	}
	w.Env = &step.Env{
		Getenv: func(name string) string { return values[name] },
		HTTP:   &http.Client{Transport: &http.Transport{}}, Dial: new(net.Dialer).DialContext,
	}
	return w
}

// render renders text once.
func (w *world) render(text string) (string, error) {
	stores := lookup.Open(context.Background(), w.Env)
	engine := &template.Engine{Env: w.Env, Funcs: stores.Funcs()}
	parsed, err := engine.Parse("t", text)
	if err != nil {
		return "", err
	}
	stores.Prefetch(parsed.Calls())
	out, err := parsed.Render(context.Background())
	return string(out), err
}

func TestFunctions(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct{ text, want string }{
		{`{{ key "app/port" }} {{ consulKey "app/port" }}`, "8080 8080"},
		{`{{ keyOrDefault "app/port" "1" }} {{ keyOrDefault "app/none" "1" }} {{ consulKeyOr "app/empty" "2" }}`, "8080 1 2"},
		{`{{ keyExists "app/port" }} {{ consulKeyExists "app/none" }}`, "true false"},
		{`{{ range ls "app" }}{{ .Key }}={{ .Value }} {{ end }}`, "port=8080 "},
		{`{{ range tree "app" }}{{ .Path }}:{{ .Key }}={{ .Value }} {{ end }}`, "app/limits/cpu:limits/cpu=2 app/port:port=8080 "},
		{`{{ awsSecret "db" "user" }}:{{ awsSecret "db" "port" }}`, "app:5432"},
		{`{{ (awsSecret "db" | fromJSON).user }}`, "app"},
	} {
		if got, err := w.render(test.text); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

func TestEachValueIsReadOnce(t *testing.T) {
	w := newWorld(t)
	text := `{{ key "app/port" }}{{ key "app/port" }}{{ range seq 3 }}{{ keyOrDefault (print "app/" "port") "" }}{{ end }}` +
		`{{ range ls "app" }}{{ end }}{{ range tree "app" }}{{ end }}{{ awsSecret "db" "user" }}{{ awsSecret "db" "port" }}`
	if _, err := w.render(text); err != nil {
		t.Fatal(err)
	}
	slices.Sort(w.asked)
	if want := []string{"/", "app/", "app/port"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked for %q, want %q", w.asked, want)
	}
}

func TestWhatATemplateDoesNotNeedIsNotRead(t *testing.T) {
	w := newWorld(t, "CONSUL_HTTP_ADDR", "ftp://nonsense", "ETCDCTL_ENDPOINTS", "ftp://nonsense", "AWS_REGION", "")
	if got, err := w.render(`{{ if false }}{{ key "forbidden" }}{{ etcdKey "x" }}{{ awsParameter "x" }}{{ end }}text`); err != nil || got != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if len(w.asked) != 0 {
		t.Errorf("asked for %q", w.asked)
	}
}

func TestFaultsHaveTheirPlace(t *testing.T) {
	w := newWorld(t, "CONSUL_HTTP_TOKEN", "hunter2")
	for _, test := range []struct {
		text, want string
		kind       fault.Kind
	}{
		{"a\n{{ key \"app/none\" }}", `t:2:3: <key "app/none">: Consul has no key app/none`, fault.NoInput},
		{`{{ key "forbidden" }}`, `t:1:3: <key "forbidden">: forbidden: Consul answered 403`, fault.Permission},
		{`{{ keyOrDefault "forbidden" "x" }}`, `t:1:3: <keyOrDefault "forbidden" "x">: forbidden: Consul answered 403`, fault.Permission},
		{`{{ keyExists "forbidden" }}`, `t:1:3: <keyExists "forbidden">: forbidden: Consul answered 403`, fault.Permission},
		{`{{ awsSecret "db" "pass" }}`, `t:1:3: <awsSecret "db" "pass">: AWS secret db: it has no key pass; beside it are port, user`, fault.Data},
		{`{{ awsSecret "db" "a" "b" }}`, `t:1:3: <awsSecret "db" "a" "b">: awsSecret takes a name and at most one key`, fault.Data},
		{
			`{{ len (key "big/a") }}{{ len (key "big/b") }}{{ len (key "big/c") }}{{ len (key "big/d") }}`,
			`the stores' values are over 8388608 bytes together`, fault.Data,
		},
	} {
		_, err := w.render(test.text)
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || fault.KindOf(err) != test.kind {
			t.Errorf("%s:\n got %v (%v)\nwant %s (%v)", test.text, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

// A default is for a key that is not there, not for a store that cannot be asked.
func TestADefaultHidesNoOtherFault(t *testing.T) {
	w := newWorld(t, "CONSUL_CACERT", "/none.pem")
	for _, text := range []string{`{{ keyOrDefault "app/none" "x" }}`, `{{ keyExists "app/none" }}`} {
		if _, err := w.render(text); err == nil || !strings.HasSuffix(err.Error(), "read /none.pem: no such file or directory") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestIndependentReadsRunSideBySide(t *testing.T) {
	const keys = 5
	var meeting sync.WaitGroup
	meeting.Add(keys)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		meeting.Done()
		meeting.Wait() // all must be there at the same time, or this hangs
		_, _ = out.Write([]byte(r.URL.Path[len("/v1/kv/"):]))
	}))
	defer server.Close()
	w := newWorld(t, "CONSUL_HTTP_ADDR", server.URL)
	got, err := w.render(`{{ key "a" }}{{ key "b" }}{{ key "c" }}{{ with key "d" }}{{ . }}{{ end }}{{ key "e" | upper }}`)
	if err != nil || got != "abcdE" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestEffects(t *testing.T) {
	for text, want := range map[string][]string{
		`plain`:                               nil,
		`{{ "key" }}{{/* etcdKey */}}`:        nil,
		`{{ if false }}{{ ls "a" }}{{ end }}`: {"dial consul:$CONSUL_HTTP_ADDR"},
		`{{ etcdKey "a" }}{{ awsSecret "b" }}{{ awsParameter "c" }}`: {
			"dial aws:secretsmanager", "dial aws:ssm", "dial etcd:$ETCDCTL_ENDPOINTS",
		},
	} {
		parsed, err := (&template.Engine{Funcs: lookup.Open(context.Background(), nil).Funcs()}).Parse("t", text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, effect := range lookup.Effects(parsed) {
			got = append(got, effect.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
