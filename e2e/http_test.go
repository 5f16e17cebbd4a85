package e2e

import (
	"fmt"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

func TestWaitForHTTP(t *testing.T) {
	t.Parallel()
	n := servers.StartNginx(t, "", `
    default_type application/json;
    location = /health { return 200 '{"status":"green","nodes":3,"components":[{"name":"db","state":"up"}]}'; }
    location = /teapot { return 418; }
    location = /down { return 503; }
    location = /moved { return 302 /health; }
    location = /elsewhere { return 302 http://localhost:1/; }
    location = /post { if ($request_method != POST) { return 405; } return 204; }
    location = /token { if ($http_authorization != "Bearer correct") { return 401; } return 200 ok; }
`)
	u := "http://" + n.Addr
	for _, c := range []struct {
		name string
		args []string
		exit int
		text string
	}{
		{"status", []string{u + "/health"}, 0, ""},
		{"unwanted status", []string{"--timeout", "300ms", u + "/down"}, 69, "503"},
		{"wanted status", []string{"--status", "418", u + "/teapot"}, 0, ""},
		{"status set", []string{"--status", "200-299,418", u + "/teapot"}, 0, ""},
		{"status outside the set", []string{"--timeout", "300ms", "--status", "201-299", u + "/health"}, 69, "200"},
		{"method", []string{"--method", "POST", u + "/post"}, 0, ""},
		{"wrong method", []string{"--timeout", "300ms", u + "/post"}, 69, "405"},
		{"header", []string{"--header", "Authorization: Bearer correct", u + "/token"}, 0, ""},
		{"header from a secret", []string{"--header-from", "Authorization=env:TOKEN", u + "/token"}, 0, ""},
		{"no header", []string{"--timeout", "300ms", u + "/token"}, 69, "401"},
		{"no header, fail fast", []string{"--fail-fast", u + "/token"}, 77, "401"},
		{"body", []string{"--body-regex", `"status":"gr[e]{2}n"`, u + "/health"}, 0, ""},
		{"other body", []string{"--timeout", "300ms", "--body-regex", "yellow", u + "/health"}, 69, "yellow"},
		{"json", []string{"--json-path", "status=green", u + "/health"}, 0, ""},
		{"deep json", []string{"--json-path", "$.components[0].state=up", u + "/health"}, 0, ""},
		{"other json", []string{"--timeout", "300ms", "--json-path", "status=red", u + "/health"}, 69, "green"},
		{"redirect", []string{u + "/moved"}, 0, ""},
		{"redirect not followed", []string{"--no-redirect", "--status", "302", u + "/moved"}, 0, ""},
		{"redirect to another host", []string{"--fail-fast", u + "/elsewhere"}, 77, "redirect to another host"},
		{"two targets", []string{u + "/health", "tcp://" + n.Addr}, 0, ""},
		{"any target", []string{"--any", u + "/down", u + "/health"}, 0, ""},
		{"stable", []string{"--stable", "3", u + "/health"}, 0, ""},
		{"not", []string{"--not", u + "/down"}, 0, ""},
		{"not, but there", []string{"--not", "--timeout", "300ms", u + "/health"}, 69, ""},
		{"one of two is missing", []string{"--timeout", "300ms", u + "/health", u + "/down"}, 69, "/down"},
		{"plain HTTP at https", []string{"--timeout", "300ms", "https://" + n.Addr}, 69, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := slipway.Command{Args: append([]string{"wait-for"}, c.args...), Env: []string{"TOKEN=Bearer correct"}}.Run(t)
			expect(t, r, c.exit, c.text)
		})
	}
}

// nginxTLS returns the lines of an nginx that speaks TLS.
func nginxTLS(pair pki.Pair) string {
	return fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; location / { return 200 ok; }", pair.Certificate, pair.Key)
}

func TestWaitForHTTPS(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	n := servers.StartNginx(t, "ssl", nginxTLS(authority.Issue(t, "server")))
	u := "https://" + n.Addr + "/"
	expect(t, slipway.Run(t, "wait-for", "--fail-fast", u), 77, "certificate", `"hint"`)
	expect(t, slipway.Run(t, "wait-for", "--timeout", "300ms", u), 69, "certificate")
	trusting := []string{"wait-for", "--ca-file", authority.File}
	expect(t, slipway.Run(t, append(trusting, u)...), 0)
	expect(t, slipway.Run(t, append(trusting, "tls://"+n.Addr)...), 0)
	expect(t, slipway.Run(t, append(trusting, "--min-validity", "1h", "tls://"+n.Addr)...), 0)
	expect(t, slipway.Run(t, append(trusting, "--min-validity", "48h", "--timeout", "300ms", "tls://"+n.Addr)...), 69)
	expect(t, slipway.Run(t, "wait-for", "--ca-file", "/nonexistent/ca.pem", u), 66, "/nonexistent/ca.pem")
}

func TestWaitForExpiredCertificate(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	n := servers.StartNginx(t, "ssl", nginxTLS(authority.IssueExpired(t, "server")))
	for _, target := range []string{"https://" + n.Addr + "/", "tls://" + n.Addr} {
		expect(t, slipway.Run(t, "wait-for", "--ca-file", authority.File, "--timeout", "300ms", target), 69, "expired")
	}
}

func TestWaitForHTTPSWithClientCertificate(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	client := authority.Issue(t, "client")
	n := servers.StartNginx(t, "ssl", nginxTLS(authority.Issue(t, "server"))+
		"ssl_client_certificate "+authority.File+"; ssl_verify_client on;")
	u := "https://" + n.Addr + "/"
	args := []string{"wait-for", "--ca-file", authority.File}
	expect(t, slipway.Run(t, append(args, "--cert-file", client.Certificate, "--key-file", client.Key, u)...), 0)
	expect(t, slipway.Run(t, append(args, "--timeout", "300ms", u)...), 69, "400")
	expect(t, slipway.Run(t, append(args, "--cert-file", client.Certificate, u)...), 64, "key-file")
}

func TestWaitForSlowAndBrokenServers(t *testing.T) {
	t.Parallel()
	n := servers.StartNginx(t, "", "location / { return 200 ok; }")
	for _, c := range []struct {
		name, toxic string
		attributes  map[string]any
		args        []string
		exit        int
	}{
		{"slow", "latency", map[string]any{"latency": 400}, nil, 0},
		{"too slow", "latency", map[string]any{"latency": 5000}, []string{"--look-timeout", "100ms", "--timeout", "500ms"}, 69},
		{"black hole", "timeout", map[string]any{"timeout": 0}, []string{"--look-timeout", "100ms", "--timeout", "500ms"}, 69},
		{"reset", "reset_peer", map[string]any{"timeout": 0}, []string{"--timeout", "500ms"}, 69},
		{"cut off", "limit_data", map[string]any{"bytes": 20}, []string{"--timeout", "500ms"}, 69},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy := servers.StartProxy(t, n.Addr)
			proxy.Spoil(t, c.toxic, c.attributes)
			expect(t, slipway.Run(t, append(append([]string{"wait-for"}, c.args...), "http://"+proxy.Addr+"/")...), c.exit)
		})
	}
}
