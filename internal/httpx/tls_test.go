package httpx_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// files returns an env over a folder with files, by their names.
func files(t *testing.T, texts map[string]string) *step.Env {
	t.Helper()
	root := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &step.Env{Root: root, HTTP: &http.Client{Transport: &http.Transport{}}}
}

func TestTLSTrustsItsAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	env := files(t, map[string]string{"ca.pem": ca})
	for _, test := range []struct {
		options httpx.TLS
		want    fault.Kind // 0 is an answer
	}{
		{httpx.TLS{CAFile: "/ca.pem"}, 0},
		{httpx.TLS{CAFile: "/ca.pem", ServerName: "example.com"}, 0},
		{httpx.TLS{CAFile: "/ca.pem", ServerName: "other.test"}, fault.Permission},
		{httpx.TLS{Insecure: true, ServerName: "other.test"}, 0},
		{httpx.TLS{ServerName: "example.com"}, fault.Permission},
	} {
		client, err := test.options.Client(env)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequest(http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, _, err := httpx.Do(client, request, 100)
		if (test.want == 0 && (err != nil || status != http.StatusNotFound)) || (test.want != 0 && fault.KindOf(err) != test.want) {
			t.Errorf("%+v: got %d, %v (%v), want %v", test.options, status, err, fault.KindOf(err), test.want)
		}
		client.CloseIdleConnections()
	}
}

func TestFilesThatAreNoCertificates(t *testing.T) {
	env := files(t, map[string]string{"text": "hello", "large": strings.Repeat("x", 4<<20+1)})
	if err := syscall.Mkfifo(env.Path("/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options httpx.TLS
		want    string
		kind    fault.Kind
	}{
		{httpx.TLS{CAFile: "/text"}, "read /text: it holds no PEM certificate", fault.Data},
		{httpx.TLS{CAFile: "/none"}, "read /none: no such file or directory", fault.NoInput},
		{httpx.TLS{CAFile: "/large"}, "read /large: over 4194304 bytes", fault.Data},
		{httpx.TLS{CAFile: "/pipe"}, "read /pipe: it holds no PEM certificate", fault.Data}, // nobody writes, and nobody waits
		{httpx.TLS{CertFile: "/text"}, "a client certificate needs a file for its key, and a key one for its certificate", fault.Data},
		{httpx.TLS{CertFile: "/text", KeyFile: "/text"}, "read /text and /text: tls: failed to find any PEM data in certificate input", fault.Data},
	} {
		if _, err := test.options.Client(env); err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%+v: got %v (%v), want %s (%v)", test.options, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func TestATokenEndsBeforeItsLineFeed(t *testing.T) {
	env := files(t, map[string]string{"token": "a b \r\n"})
	if got, err := httpx.ReadToken(env, "/token"); got != "a b " || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
