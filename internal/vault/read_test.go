package vault

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestReadFindsTheVersionOfKV(t *testing.T) {
	for _, mounts := range []bool{true, false} {
		for path, want := range map[string]map[string]any{
			"secret/app":      {"pass": "s3cret", "user": "bob", "port": json.Number("5432")},
			"secret/data/app": {"pass": "s3cret", "user": "bob", "port": json.Number("5432")},
			"/secret/app/":    {"pass": "s3cret", "user": "bob", "port": json.Number("5432")},
			"kv1/app":         {"user": "old"},
		} {
			f := newFake(t)
			f.mounts = mounts
			p := newPod(t, f)
			s := p.open()
			got, err := s.KV(t.Context(), path)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s, mounts told: %v: %v (-want +got):\n%s", path, mounts, err, diff)
			}
			p.close(s, false)
		}
	}
}

func TestPathsBelowAMount(t *testing.T) {
	v2 := mount{path: "a/kv/", kv: true, version: 2}
	for _, test := range []struct{ folder, name, want string }{
		{"data", "a/kv/app", "a/kv/data/app"},
		{"data", "a/kv/data/app", "a/kv/data/app"},
		{"data", "a/kv/metadata/app", "a/kv/metadata/app"},
		{"data", "a/kv/database", "a/kv/data/database"},
		{"metadata", "a/kv", "a/kv/metadata"},
		{"metadata", "a/kv/apps", "a/kv/metadata/apps"},
		{"metadata", "a/kv/data/apps", "a/kv/metadata/apps"},
	} {
		if got := v2.below(test.folder, test.name); got != test.want {
			t.Errorf("%s of %s: got %s, want %s", test.folder, test.name, got, test.want)
		}
	}
	for _, test := range []struct {
		name, told string
		want       mount
	}{
		{"secret/app", "secret/", mount{path: "secret/", kv: true, version: 2}},
		{"team/secret/app", "secret/", mount{path: "team/secret/", kv: true, version: 2}},
		{"notsecret/app", "secret/", mount{}},
		{"secret/app", "", mount{}},
	} {
		got := mountFrom(map[string]any{"path": test.told, "type": "kv", "options": map[string]any{"version": "2"}}, test.name)
		if got != test.want {
			t.Errorf("%s in %q: got %v, want %v", test.name, test.told, got, test.want)
		}
	}
}

func TestEachSecretIsAskedForOnce(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	f.paths()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := s.Read(t.Context(), "secret/app", nil); err != nil {
				t.Error(err)
			}
			if _, err := s.Read(t.Context(), "kv1/app", nil); err != nil {
				t.Error(err)
			}
			p.credential(s)
			if _, err := s.Write(t.Context(), "transit/decrypt/key", map[string]any{"ciphertext": "vault:v1:x"}); err != nil {
				t.Error(err)
			}
			if _, err := s.List(t.Context(), "secret"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got := f.paths()
	slices.Sort(got)
	// Which name asks for the mount first is not fixed.
	for i, path := range got {
		if strings.HasPrefix(path, "sys/internal/ui/mounts/secret") {
			got[i] = "sys/internal/ui/mounts/secret"
		}
	}
	want := []string{
		"database/creds/ro", "kv1/app", "secret/data/app", "secret/metadata", "sys/internal/ui/mounts/database/creds/ro",
		"sys/internal/ui/mounts/kv1/app", "sys/internal/ui/mounts/secret", "sys/internal/ui/mounts/transit/decrypt/key", "transit/decrypt/key",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	p.close(s, true)
}

func TestVersionsAreAskedForByTheirNumber(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	f.paths()
	if _, err := s.Read(t.Context(), "secret/app", url.Values{"version": {"1"}}); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(t.Context(), "secret/app?version=1", nil); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	last := f.requests[len(f.requests)-1]
	requests := len(f.requests)
	f.mu.Unlock()
	if last.Path != "secret/data/app" || last.Query != "version=1" || requests != 2 {
		t.Errorf("got %s?%s as the last of %d requests", last.Path, last.Query, requests)
	}
	p.close(s, false)
}

func TestErrorsSayWhatWouldHelp(t *testing.T) {
	broken := `{"errors":["1 error occurred:\n\t* something\n\n"]}`
	tests := []struct {
		name, path string
		reply      reply
		kind       fault.Kind
		want, hint string
	}{
		{
			"forbidden", "secret/forbidden",
			reply{},
			fault.Permission,
			"read secret/data/forbidden: permission denied (403)",
			`the token's policy lacks: path "secret/data/forbidden" { capabilities = ["read"] }`,
		},
		{"missing", "secret/ap", reply{}, fault.NoInput, "read secret/data/ap: there is nothing; beside it: app, db, apps/", ""},
		{"missing of version 1", "kv1/ap", reply{}, fault.NoInput, "read kv1/ap: there is nothing; beside it: app", ""},
		{"missing in a folder that is not there", "secret/x/y", reply{}, fault.NoInput, "read secret/data/x/y: there is nothing", ""},
		{
			"deleted", "secret/deleted",
			reply{},
			fault.NoInput,
			"read secret/data/deleted: the latest version was deleted at 2026-11-23T06:00:00Z; beside it: app, db, apps/", "",
		},
		{"no mount", "nope/x", reply{}, fault.NoInput, "read nope/x: there is nothing", "no engine is mounted there, as far as this token may know: is the path right, and the namespace?"},
		{"bad request", "secret/x", reply{400, broken}, fault.Data, "read secret/data/x: something (400)", ""},
		{"not supported", "secret/x", reply{405, `{"errors":["1 error occurred:\n\t* unsupported operation\n\n"]}`}, fault.Data, "read secret/data/x: unsupported operation (405)", ""},
		{"behind", "secret/x", reply{412, broken}, fault.Temporary, "read secret/data/x: something (412)", ""},
		{"too many", "secret/x", reply{429, `{"errors":["request path \"secret/data/x\": rate limit quota exceeded"]}`}, fault.Temporary, `read secret/data/x: request path "secret/data/x": rate limit quota exceeded (429)`, ""},
		{"standby", "secret/x", reply{473, ""}, fault.Temporary, "read secret/data/x: refused (473)", ""},
		{"broken", "secret/x", reply{500, broken}, fault.Temporary, "read secret/data/x: something (500)", ""},
		{"no leader", "secret/x", reply{500, `{"errors":["local node not active but active cluster node not found"]}`}, fault.Temporary, "read secret/data/x: local node not active but active cluster node not found (500)", ""},
		{"sealed", "secret/x", reply{503, `{"errors":["Vault is sealed"]}`}, fault.Temporary, "read secret/data/x: Vault is sealed (503)", "unseal the server: slipway tries again until its timeout"},
		{"a proxy's page", "secret/x", reply{502, "<html>" + strings.Repeat("x", 1000)}, fault.Temporary, "read secret/data/x: <html>" + strings.Repeat("x", maxMessage-6) + "… (502)", ""},
		{"not JSON", "secret/x", reply{200, "<html>"}, fault.Data, "read secret/data/x: the answer is not JSON: invalid character '<' looking for beginning of value", "is there a Vault server at that address, and not a proxy?"},
		{"a path out of its mount", "secret/../sys/x", reply{}, fault.Data, `the path "secret/../sys/x" has ".." in it`, ""},
		{"an empty path", "/", reply{}, fault.Data, "the path of a secret is empty", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			s := p.open()
			if test.reply.status != 0 {
				f.reply("secret/data/x", test.reply.status, test.reply.body)
			}
			_, err := s.Read(t.Context(), test.path, nil)
			if err == nil {
				t.Fatal("want an error")
			}
			if got := err.Error(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("got kind %s, want %s", got, test.kind)
			}
			if got := fault.HintOf(err); got != test.hint {
				t.Errorf("got hint %q, want %q", got, test.hint)
			}
			p.close(s, true)
		})
	}
}

func TestWritesThatAreRefused(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	_, err := s.Write(t.Context(), "pki/issue/web", map[string]any{"common_name": "a.other"})
	if got, want := err.Error(), "write pki/issue/web: common name a.other not allowed by this role (400)"; got != want || fault.KindOf(err) != fault.Data {
		t.Errorf("got %s of kind %s, want %s", got, fault.KindOf(err), want)
	}
	f.reply("pki/issue/api", 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
	_, err = s.Write(t.Context(), "pki/issue/api", map[string]any{"common_name": "a"})
	if got, want := fault.HintOf(err), `the token's policy lacks: path "pki/issue/api" { capabilities = ["create", "update"] }`; got != want {
		t.Errorf("got hint %q, want %q", got, want)
	}
	p.close(s, true)
}

func TestATokenThatHasExpiredIsTemporary(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	s.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	delete(f.tokens, "hvs.fake-1")
	_, err := s.Read(t.Context(), "secret/app", nil)
	if got, want := fault.KindOf(err), fault.Temporary; got != want || !strings.Contains(err.Error(), "the token has expired meanwhile") {
		t.Errorf("got %v of kind %s, want %s", err, got, want)
	}
}

func TestAServerThatCannotBeReached(t *testing.T) {
	f := newFake(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	tests := []struct {
		name, address, ca string
		kind              fault.Kind
		want, hint        string
	}{
		{"refused", "https://" + closed, "/ca.pem", fault.Unavailable, "connection refused", ""},
		{"another CA", f.URL, "/other.pem", fault.Permission, "certificate signed by unknown authority", "--ca-file"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), "/ca.pem", fault.Permission, "server gave HTTP response to HTTPS client", "write http:// if that is meant"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPod(t, f)
			p.write("other.pem", newAuthority(t).root)
			options := append([]string{"address=" + test.address, "ca-file=" + test.ca}, role...)
			_, err := Open(t.Context(), p.env, config(t, options...))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "log in to "+test.address+" by kubernetes") {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("got kind %s, want %s", got, test.kind)
			}
			if got := fault.HintOf(err); !strings.Contains(got, test.hint) {
				t.Errorf("got hint %q, want %q", got, test.hint)
			}
		})
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	body := &boundedBody{ReadCloser: http.NoBody, left: 0}
	if _, err := body.Read(make([]byte, 1)); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v, want an error of data", err)
	}
}

func TestNoSecretIsInALogOrAnError(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	_, err := s.Read(t.Context(), "secret/forbidden", nil)
	for _, secret := range []string{"header.payload.signature", "hvs.fake-1", "dynamic-password-1"} {
		if strings.Contains(p.log.String(), secret) || strings.Contains(err.Error()+fault.HintOf(err), secret) {
			t.Errorf("%s is in a log or an error", secret)
		}
	}
	p.close(s, true)
}
