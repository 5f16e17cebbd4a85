package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/step"
)

// fake is as much of a Vault server as sessions see, over TLS. Its answers have the form that Vault 1.13 gave when it was
// asked the same; of tokens and leases it keeps account.
type fake struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	requests []request
	tokens   map[string]bool     // that live
	leases   map[string]string   // that live, by id: the token that they hang on
	counts   map[string]int      // of what was taken, by path
	answers  map[string]reply    // instead of the usual ones, by path
	tokenTTL int                 // in seconds
	tokenMax int                 // in seconds: what renewing may make of it
	leaseTTL int                 // in seconds
	revoking bool                // whether the policy allows sys/leases/revoke
	mounts   bool                // whether the policy allows sys/internal/ui/mounts
	lists    map[string][]string // by path
	authority
}

type request struct {
	Method, Path, Query, Token, Namespace string
	Body                                  map[string]any
}

type reply struct {
	status int
	body   string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		t: t, tokens: map[string]bool{"given": true}, leases: map[string]string{}, counts: map[string]int{}, answers: map[string]reply{},
		tokenTTL: 3600, tokenMax: 3600, leaseTTL: 600, revoking: true, mounts: true, authority: newAuthority(t),
		lists: map[string][]string{"secret/metadata": {"app", "db", "apps/"}, "kv1": {"app"}},
	}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	in := request{Method: r.Method, Path: path, Query: r.URL.RawQuery, Token: r.Header.Get("X-Vault-Token"), Namespace: r.Header.Get("X-Vault-Namespace")}
	body, _ := io.ReadAll(r.Body)
	if len(body) > 0 {
		_ = json.Unmarshal(body, &in.Body)
	}
	f.requests = append(f.requests, in)
	status, answer := f.answer(in)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func (f *fake) answer(in request) (int, string) {
	if canned, ok := f.answers[in.Path]; ok {
		return canned.status, canned.body
	}
	denied := `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`
	if strings.HasPrefix(in.Path, "auth/") && strings.Contains(in.Path, "/login") {
		token := fmt.Sprintf("hvs.fake-%d", f.count("login"))
		f.tokens[token] = true
		return 200, fmt.Sprintf(`{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,
			"auth":{"client_token":%q,"accessor":"acc-%s","policies":["app","default"],"lease_duration":%d,"renewable":true,"token_type":"service"}}`, token, token, f.tokenTTL)
	}
	if in.Path == "sys/wrapping/unwrap" {
		if in.Token != "wrapping" {
			return 400, `{"errors":["wrapping token is not valid or does not exist"]}`
		}
		return 200, `{"request_id":"r","data":{"secret_id":"unwrapped-secret-id","secret_id_accessor":"a"},"auth":null}`
	}
	if !f.tokens[in.Token] {
		return 403, `{"errors":["permission denied"]}`
	}
	mount, rest, _ := strings.Cut(in.Path, "/")
	switch {
	case in.Path == "auth/token/lookup-self":
		return 200, `{"request_id":"r","data":{"ttl":1199,"type":"service"},"auth":null}`
	case in.Path == "auth/token/renew-self":
		increment, _ := in.Body["increment"].(float64)
		return 200, fmt.Sprintf(`{"request_id":"r","auth":{"client_token":%q,"lease_duration":%d,"renewable":true,"token_type":"service"}}`, in.Token, min(int(increment), f.tokenMax))
	case in.Path == "auth/token/revoke-self":
		delete(f.tokens, in.Token)
		for id, token := range f.leases {
			if token == in.Token {
				delete(f.leases, id)
			}
		}
		return 204, ""
	case in.Path == "sys/leases/lookup", in.Path == "sys/leases/revoke":
		id, _ := in.Body["lease_id"].(string)
		if in.Path == "sys/leases/revoke" && !f.revoking {
			return 403, denied
		}
		if _, ok := f.leases[id]; !ok {
			return 400, `{"errors":["invalid lease"]}`
		}
		if in.Path == "sys/leases/revoke" {
			delete(f.leases, id)
			return 204, ""
		}
		return 200, `{"request_id":"r","data":{"id":"x","ttl":500},"auth":null}`
	case strings.HasPrefix(in.Path, "sys/internal/ui/mounts/"):
		return f.mount(strings.TrimPrefix(in.Path, "sys/internal/ui/mounts/"))
	case strings.Contains(in.Query, "list=true"):
		names, ok := f.lists[strings.TrimSuffix(in.Path, "/")]
		if !ok {
			return 404, `{"errors":[]}`
		}
		encoded, _ := json.Marshal(names)
		return 200, fmt.Sprintf(`{"request_id":"r","data":{"keys":%s},"auth":null}`, encoded)
	case in.Path == "secret/data/app":
		return 200, `{"request_id":"r","lease_id":"","data":{"data":{"pass":"s3cret","user":"bob","port":5432},"metadata":{"created_time":"2026-11-23T05:23:09Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"auth":null}`
	case in.Path == "secret/data/deleted":
		return 404, `{"request_id":"r","lease_id":"","data":{"data":null,"metadata":{"created_time":"2026-11-23T05:23:09Z","deletion_time":"2026-11-23T06:00:00Z","destroyed":false,"version":2}},"auth":null}`
	case in.Path == "secret/app":
		return 404, `{"request_id":"r","data":null,"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv get' for this operation."],"auth":null}`
	case in.Path == "secret/data/forbidden":
		return 403, denied
	case in.Path == "kv1/app":
		return 200, `{"request_id":"r","lease_id":"","lease_duration":2764800,"data":{"user":"old"},"auth":null}`
	case mount == "database" && rest == "creds/ro":
		n := f.count(in.Path)
		id := fmt.Sprintf("database/creds/ro/%d", n)
		f.leases[id] = in.Token
		return 200, fmt.Sprintf(`{"request_id":"r","lease_id":%q,"renewable":true,"lease_duration":%d,"data":{"username":"v-%d","password":"dynamic-password-%d"},"auth":null}`, id, f.leaseTTL, n, n)
	case in.Path == "pki/issue/web":
		f.count(in.Path)
		name, _ := in.Body["common_name"].(string)
		if !strings.HasSuffix(name, ".example.test") {
			return 400, fmt.Sprintf(`{"errors":["common name %s not allowed by this role"]}`, name)
		}
		certificate, key := f.issue(f.t, name, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
		data, _ := json.Marshal(map[string]any{"certificate": certificate, "private_key": key, "issuing_ca": f.root, "ca_chain": []string{f.root}})
		return 200, fmt.Sprintf(`{"request_id":"r","lease_id":"","lease_duration":0,"data":%s,"auth":null}`, data)
	case in.Path == "transit/decrypt/key":
		f.count(in.Path)
		return 200, `{"request_id":"r","lease_id":"","data":{"plaintext":"aGVsbG8="},"auth":null}`
	}
	return 404, `{"errors":[]}`
}

func (f *fake) mount(name string) (int, string) {
	first, _, _ := strings.Cut(name, "/")
	versions := map[string]string{"secret": `{"version":"2"}`, "kv1": `{"version":"1"}`, "database": "null", "pki": "null", "transit": "null"}
	options, ok := versions[first]
	if !ok || !f.mounts {
		return 403, fmt.Sprintf(`{"errors":["preflight capability check returned 403, please ensure client's policies grant access to path %s"]}`, first)
	}
	engine := map[string]string{"secret": "kv", "kv1": "kv"}[first]
	if engine == "" {
		engine = first
	}
	return 200, fmt.Sprintf(`{"request_id":"r","data":{"options":%s,"path":"%s/","type":%q},"auth":null}`, options, first, engine)
}

// count returns how often it was called with that key.
func (f *fake) count(key string) int {
	f.counts[key]++
	return f.counts[key]
}

// taken returns how often something was taken at path.
func (f *fake) taken(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[path]
}

// living returns the tokens of logins and the leases that live, sorted.
func (f *fake) living() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for token := range f.tokens {
		if token != "given" {
			all = append(all, token)
		}
	}
	for id := range f.leases {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// paths returns the paths of the requests so far, and forgets them.
func (f *fake) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var paths []string
	for _, r := range f.requests {
		paths = append(paths, r.Path)
	}
	f.requests = nil
	return paths
}

// reply makes the server answer requests for path so, from now on; status 0 takes it back.
func (f *fake) reply(path string, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if status == 0 {
		delete(f.answers, path)
		return
	}
	f.answers[path] = reply{status, body}
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	root        string // PEM
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue returns a certificate of that name, and its key, both in PEM.
func (a authority) issue(t *testing.T, name string, from, until time.Time) (certificate, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 7)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// pod is where slipway runs in a test: a root with the server's CA, an environment, and a log.
type pod struct {
	t       *testing.T
	f       *fake
	env     *step.Env
	root    string
	environ map[string]string
	log     *strings.Builder
	undos   []func(context.Context) error
}

func newPod(t *testing.T, f *fake) *pod {
	t.Helper()
	p := &pod{t: t, f: f, root: t.TempDir(), log: new(strings.Builder)}
	p.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})))
	p.write("jwt", "header.payload.signature\n")
	p.environ = map[string]string{"VAULT_ADDR": f.URL, "VAULT_CACERT": "/ca.pem"}
	dial := (&net.Dialer{}).DialContext
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.env.Dial(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	p.env = &step.Env{
		Log: slog.New(slog.NewTextHandler(p.log, nil)), Root: p.root, Dial: dial, HTTP: &http.Client{Transport: transport},
		Getenv: func(name string) string { return p.environ[name] }, Chown: os.Lchown,
		Undo:   func(undo func(context.Context) error) { p.undos = append(p.undos, undo) },
		Output: func(string, string) { t.Error("a session told the report something") },
	}
	return p
}

func (p *pod) write(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.root, name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// config returns a Config with the options set, "name=value", and the receipt /receipt.
func config(t *testing.T, options ...string) *Config {
	t.Helper()
	c := &Config{Receipt: "/receipt"}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags(fs)
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		if err := fs.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// role are the options of a login by the service account's token.
var role = []string{"auth=kubernetes", "role=app", "jwt-file=/jwt"}

// open opens a session, by role if no options are given.
func (p *pod) open(options ...string) *Session {
	p.t.Helper()
	if len(options) == 0 {
		options = role
	}
	s, err := Open(context.Background(), p.env, config(p.t, options...))
	if err != nil {
		p.t.Fatalf("open: %v", err)
	}
	return s
}

// receipt returns the receipt's content, or "".
func (p *pod) receipt() string {
	content, err := os.ReadFile(filepath.Join(p.root, "receipt"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	return string(content)
}

func (p *pod) close(s *Session, failed bool) {
	p.t.Helper()
	if err := s.Close(context.Background(), failed); err != nil {
		p.t.Fatalf("close: %v", err)
	}
}

// credential reads the dynamic secret, and returns its password.
func (p *pod) credential(s *Session) string {
	p.t.Helper()
	secret, err := s.Read(context.Background(), "database/creds/ro", nil)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return secret.Data["password"].(string)
}
