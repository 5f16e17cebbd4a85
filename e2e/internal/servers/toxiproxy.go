package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Proxy stands between slipway and a server, and spoils the connections on demand.
type Proxy struct {
	*Server
	Addr string // where clients connect to

	api string
}

// StartProxy starts toxiproxy in front of the server at upstream ("127.0.0.1:80").
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	dir := Dir(t)
	port := FreePort(t)
	p := &Proxy{Addr: "127.0.0.1:" + FreePort(t), api: "http://" + net.JoinHostPort("127.0.0.1", port)}
	p.Server = start(t, spec{dir: dir, args: []string{tools.Built(t, "toxiproxy"), "-host", "127.0.0.1", "-port", port}})
	p.awaitPort(t, port)
	p.post(t, "/proxies", map[string]any{"name": "p", "listen": p.Addr, "upstream": upstream, "enabled": true})
	return p
}

// Spoil adds a toxic to what the server sends, such as "latency" with the attribute "latency" in milliseconds, or
// "reset_peer". See toxiproxy's list.
func (p *Proxy) Spoil(t testing.TB, toxic string, attributes map[string]any) {
	t.Helper()
	p.post(t, "/proxies/p/toxics", map[string]any{"name": toxic, "type": toxic, "attributes": attributes})
}

func (p *Proxy) post(t testing.TB, path string, body map[string]any) {
	t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(p.api+path, "application/json", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		t.Fatal(fmt.Errorf("toxiproxy: %s: %s", path, response.Status))
	}
}
