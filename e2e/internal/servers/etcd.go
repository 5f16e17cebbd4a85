package servers

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Etcd is an etcd server, a cluster of one.
type Etcd struct {
	*Server
	URL  string
	http *http.Client
}

// StartEtcd starts an etcd server with nothing in it, over TLS unless certificate is empty.
func StartEtcd(t testing.TB, certificate pki.Pair) *Etcd {
	t.Helper()
	dir, port := Dir(t), FreePort(t)
	peer := "http://127.0.0.1:" + FreePort(t)
	e := &Etcd{URL: "http://127.0.0.1:" + port, http: http.DefaultClient}
	var secured []string
	if certificate != (pki.Pair{}) {
		e.URL = "https://127.0.0.1:" + port
		e.http = &http.Client{Transport: &http.Transport{
			// The test's own look at its own server; what is tested has the authority.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		secured = []string{"--cert-file", certificate.Certificate, "--key-file", certificate.Key}
	}
	e.Server = start(t, spec{dir: dir, args: append([]string{
		tools.Installed(t, "etcd"), "--data-dir", dir + "/data", "--listen-client-urls", e.URL, "--advertise-client-urls", e.URL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}, secured...)})
	e.await(t, "a leader of itself", func() bool { return e.ask("/v3/kv/range", map[string]any{"key": []byte("x")}) == nil })
	return e
}

// Put writes a key.
func (e *Etcd) Put(t testing.TB, key, value string) {
	t.Helper()
	e.do(t, "/v3/kv/put", map[string]any{"key": []byte(key), "value": []byte(value)})
}

// NeedLogin makes a login necessary: User, with Password, may then read the keys below prefix and no others.
func (e *Etcd) NeedLogin(t testing.TB, prefix string) {
	t.Helper()
	end := []byte(prefix)
	end[len(end)-1]++
	for _, name := range []string{"root", User} {
		e.do(t, "/v3/auth/user/add", map[string]any{"name": name, "password": Password})
		e.do(t, "/v3/auth/role/add", map[string]any{"name": name})
		e.do(t, "/v3/auth/user/grant", map[string]any{"user": name, "role": name})
	}
	e.do(t, "/v3/auth/role/grant", map[string]any{
		"name": User, "perm": map[string]any{"permType": "READ", "key": []byte(prefix), "range_end": end},
	})
	e.do(t, "/v3/auth/enable", map[string]any{})
}

func (e *Etcd) do(t testing.TB, path string, question any) {
	t.Helper()
	if err := e.ask(path, question); err != nil {
		t.Fatal(err)
	}
}

func (e *Etcd) ask(path string, question any) error {
	return postJSON(e.http, e.URL+path, nil, question)
}

// postJSON sends one JSON value; what is not 200 is an error.
func postJSON(client *http.Client, url string, header http.Header, question any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{"Content-Type": {"application/json"}}
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	return nil
}
