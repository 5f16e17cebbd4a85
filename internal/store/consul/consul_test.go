package consul_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
	"github.com/slipway-init/slipway/internal/store/consul"
)

// answers are what an agent of Consul 1.15 answered, by path and query.
var answers = map[string]string{
	"/v1/kv/app/port?raw=":                    "8080\n",
	"/v1/kv/app/port?dc=dc2&raw=":             "9090",
	"/v1/kv/app/empty?raw=":                   "",
	"/v1/kv/app/a%20b?raw=":                   "spaced",
	"/v1/kv/app/?keys=&separator=%2F":         `["app/","app/limits/","app/port"]`,
	"/v1/kv/app/?recurse=":                    `[{"LockIndex":0,"Key":"app/","Flags":0,"Value":null},{"Key":"app/port","Value":"ODA4MAo="},{"Key":"app/limits/cpu","Value":"Mg=="}]`,
	"/v1/kv/scoped?ns=team&partition=eu&raw=": "s",
}

// agent starts an agent that knows answers and wants the token hunter2 for what is below secret/.
func agent(t *testing.T, start func(http.Handler) *httptest.Server) *httptest.Server {
	t.Helper()
	server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/kv/secret/") {
			if user, password, _ := r.BasicAuth(); r.Header.Get("X-Consul-Token") != "hunter2" && user+password != "uhunter3" {
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte("Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission 'key:read' on \"secret/db\""))
				return
			}
			_, _ = w.Write([]byte("open sesame"))
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/kv/down") {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("No cluster leader"))
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/kv/busy") {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		answer, ok := answers[r.URL.RequestURI()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	return server
}

// open opens the store that an environment of pairs names.
func open(t *testing.T, pairs ...string) (*consul.Store, error) {
	t.Helper()
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return consul.Open(&step.Env{
		Getenv: func(name string) string { return values[name] },
		HTTP:   &http.Client{Transport: &http.Transport{}}, Dial: new(net.Dialer).DialContext,
	})
}

func TestGet(t *testing.T) {
	server := agent(t, httptest.NewServer)
	tests := []struct {
		key    string
		env    []string
		want   string
		fault  string
		kind   fault.Kind
		hinted string
	}{
		{key: "app/port", want: "8080\n"},
		{key: "/app/port", want: "8080\n"},
		{key: "app/port@dc2", want: "9090"},
		{key: "app/empty", want: ""},
		{key: "app/a b", want: "spaced"},
		{key: "scoped", env: []string{"CONSUL_NAMESPACE", "team", "CONSUL_PARTITION", "eu"}, want: "s"},
		{key: "secret/db", env: []string{"CONSUL_HTTP_TOKEN", "hunter2"}, want: "open sesame"},
		{key: "secret/db", env: []string{"CONSUL_HTTP_AUTH", "u:hunter3"}, want: "open sesame"},
		{
			key: "app/prot", fault: "Consul has no key app/prot; beside it are app/, app/limits/, app/port", kind: fault.NoInput,
		},
		{key: "none", fault: "Consul has no key none", kind: fault.NoInput},
		{
			key: "secret/db", env: []string{"CONSUL_HTTP_TOKEN", "wrong"}, kind: fault.Permission,
			fault:  `secret/db: Consul answered 403: Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission 'key:read' on "secret/db"`,
			hinted: `the token in CONSUL_HTTP_TOKEN needs the rule: key "secret/db" { policy = "read" }`,
		},
		{key: "down", fault: "down: Consul answered 500: No cluster leader", kind: fault.Temporary},
		{key: "busy", fault: "busy: Consul answered 429", kind: fault.Temporary},
	}
	for _, test := range tests {
		s, err := open(t, append(test.env, "CONSUL_HTTP_ADDR", server.URL)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(context.Background(), test.key)
		if test.fault == "" {
			if err != nil || got != test.want {
				t.Errorf("%s: got %q, %v, want %q", test.key, got, err, test.want)
			}
			continue
		}
		if err == nil || err.Error() != test.fault || fault.KindOf(err) != test.kind || fault.HintOf(err) != test.hinted {
			t.Errorf("%s:\n got %v (%v, %s)\nwant %s (%v, %s)", test.key, err, fault.KindOf(err), fault.HintOf(err), test.fault, test.kind, test.hinted)
		}
	}
}

func TestList(t *testing.T) {
	server := agent(t, httptest.NewServer)
	s, err := open(t, "CONSUL_HTTP_ADDR", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.List(context.Background(), "app")
	want := []store.Pair{{Path: "app/limits/cpu", Key: "limits/cpu", Value: "2"}, {Path: "app/port", Key: "port", Value: "8080\n"}}
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Errorf("error %v (- got, + want):\n%s", err, diff)
	}
	if got, err := s.List(context.Background(), "none"); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want nothing", got, err)
	}
	_, err = s.List(context.Background(), "secret/db")
	if want := `the token in CONSUL_HTTP_TOKEN needs the rule: key_prefix "secret/db/" { policy = "read" }`; fault.HintOf(err) != want {
		t.Errorf("got %v, hint %q, want %q", err, fault.HintOf(err), want)
	}
}

func TestOverTLSAndASocket(t *testing.T) {
	dir := t.TempDir()
	server := agent(t, httptest.NewTLSServer)
	ca := filepath.Join(dir, "ca.pem")
	token := filepath.Join(dir, "token")
	for path, text := range map[string][]byte{
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), token: []byte("hunter2\n"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	agent(t, func(handler http.Handler) *httptest.Server {
		s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
		s.Start()
		return s
	})
	address := strings.TrimPrefix(server.URL, "https://")
	for _, env := range [][]string{
		{"CONSUL_HTTP_ADDR", server.URL, "CONSUL_CACERT", ca},
		{"CONSUL_HTTP_ADDR", address, "CONSUL_HTTP_SSL", "true", "CONSUL_CACERT", ca, "CONSUL_TLS_SERVER_NAME", "example.com"},
		{"CONSUL_HTTP_ADDR", server.URL, "CONSUL_HTTP_SSL_VERIFY", "false"},
		{"CONSUL_HTTP_ADDR", "unix://" + socket},
	} {
		s, err := open(t, append(env, "CONSUL_HTTP_TOKEN_FILE", token)...)
		if err != nil {
			t.Errorf("%v: %v", env, err)
			continue
		}
		if got, err := s.Get(context.Background(), "secret/db"); err != nil || got != "open sesame" {
			t.Errorf("%v: got %q, %v", env, got, err)
		}
	}
	s, err := open(t, "CONSUL_HTTP_ADDR", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), "app/port"); fault.KindOf(err) != fault.Permission {
		t.Errorf("an authority that nobody knows: got %v (%v)", err, fault.KindOf(err))
	}
}

func TestWrongEnvironment(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env  []string
		want string
		kind fault.Kind
	}{
		{[]string{"CONSUL_HTTP_ADDR", "ftp://host"}, "CONSUL_HTTP_ADDR has a scheme that is none of http, https and unix", fault.Data},
		{[]string{"CONSUL_HTTP_ADDR", "http://u:hunter2@host"}, "CONSUL_HTTP_ADDR is no address", fault.Data},
		{[]string{"CONSUL_HTTP_SSL", "perhaps"}, "CONSUL_HTTP_SSL is neither true nor false", fault.Data},
		{[]string{"CONSUL_HTTP_SSL_VERIFY", "perhaps"}, "CONSUL_HTTP_SSL_VERIFY is neither true nor false", fault.Data},
		{[]string{"CONSUL_CACERT", "/none.pem"}, "read /none.pem: no such file or directory", fault.NoInput},
		{[]string{"CONSUL_CACERT", notPEM}, "read " + notPEM + ": it holds no PEM certificate", fault.Data},
		{[]string{"CONSUL_CLIENT_CERT", notPEM}, "a client certificate needs a file for its key, and a key one for its certificate", fault.Data},
		{[]string{"CONSUL_CLIENT_CERT", notPEM, "CONSUL_CLIENT_KEY", notPEM}, "read " + notPEM + " and " + notPEM + ": tls: failed to find any PEM data in certificate input", fault.Data},
		{[]string{"CONSUL_HTTP_TOKEN_FILE", "/none"}, "read /none: no such file or directory", fault.NoInput},
	} {
		_, err := open(t, test.env...)
		if err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%v: got %v (%v), want %s (%v)", test.env, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := open(t, "CONSUL_HTTP_ADDR", address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(context.Background(), "app/port")
	if want := "dial tcp " + address + ": connect: connection refused"; err == nil || err.Error() != want || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v (%v), want %s", err, fault.KindOf(err), want)
	}
}

func TestAnAnswerWithoutEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	s, err := open(t, "CONSUL_HTTP_ADDR", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), "x"); fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), "is over 2097152 bytes") {
		t.Errorf("got %v", err)
	}
}
