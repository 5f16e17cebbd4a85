package vault

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

const (
	// defaultAddress is that of Vault's own clients.
	defaultAddress = "https://127.0.0.1:8200"
	// defaultTimeout is how long one request may take, as in Vault's own clients.
	defaultTimeout = time.Minute
	// maxAnswer bounds one answer, in bytes: it is the largest request that a server takes by default.
	maxAnswer = 32 << 20
)

// connection is a client of a server, which has no token yet, retries nothing and takes nothing from the process's
// environment.
type connection struct {
	*api.Client
	at   server
	http *http.Client
}

// connect returns a connection to the server that the options and VAULT_* variables name. It sends nothing yet.
func connect(env *step.Env, c *Config) (*connection, error) {
	at, err := parseAddress(cmp.Or(c.address, env.Getenv("VAULT_ADDR"), defaultAddress))
	if err != nil {
		return nil, err
	}
	secured, err := c.tlsConfig(env)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyOf(env)
	if err != nil {
		return nil, err
	}
	timeout, err := timeoutOf(env)
	if err != nil {
		return nil, err
	}
	derived := httpx.Derive(env.HTTP, func(t *http.Transport) {
		t.TLSClientConfig = secured
		if proxy != nil {
			t.Proxy = http.ProxyURL(proxy)
		}
		if at.socket != "" {
			t.Proxy = nil
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return env.Dial(ctx, "unix", env.Path(at.socket))
			}
		}
	})
	traced := &http.Client{
		Transport: bounded{derived.Transport},
		// The API's client follows one redirect itself, to the active node of a cluster, and none from https to http.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := api.NewClient(&api.Config{
		Address: at.url.String(), Timeout: timeout, HttpClient: traced,
		CheckRetry: func(_ context.Context, _ *http.Response, err error) (bool, error) { return false, err },
	})
	if err != nil {
		return nil, fault.New(fault.Usage, "the VAULT_* variables: %w", err)
	}
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	client.ClearToken()
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	if namespace := cmp.Or(c.namespace, env.Getenv("VAULT_NAMESPACE")); namespace != "" {
		client.SetNamespace(namespace)
	}
	return &connection{Client: client, at: at, http: traced}, nil
}

// tlsConfig returns the TLS configuration that options and variables describe, with the files that they name.
func (c *Config) tlsConfig(env *step.Env) (*tls.Config, error) {
	certFile, keyFile := c.clientCertificate(env)
	config, err := httpx.TLS{
		CertFile: certFile, KeyFile: keyFile,
		ServerName: cmp.Or(c.serverName, env.Getenv("VAULT_TLS_SERVER_NAME")), Insecure: c.insecure,
	}.Config(env)
	if err != nil {
		return nil, err
	}
	if text := env.Getenv("VAULT_SKIP_VERIFY"); text != "" && !c.insecure {
		if config.InsecureSkipVerify, err = strconv.ParseBool(text); err != nil {
			return nil, fault.New(fault.Usage, "VAULT_SKIP_VERIFY: %q is neither true nor false", text)
		}
	}
	if config.RootCAs, err = c.roots(env); err != nil {
		return nil, err
	}
	return config, nil
}

// clientCertificate returns the files of the client certificate and its key. They are not mixed: those of the options, or
// those of the variables.
func (c *Config) clientCertificate(env *step.Env) (certFile, keyFile string) {
	if c.certFile != "" {
		return c.certFile, c.keyFile
	}
	return env.Getenv("VAULT_CLIENT_CERT"), env.Getenv("VAULT_CLIENT_KEY")
}

// roots returns the certificates that the server's chain may end in, nil for the system's. The first of --ca-file,
// VAULT_CACERT_BYTES, VAULT_CACERT and VAULT_CAPATH counts.
func (c *Config) roots(env *step.Env) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	add := func(name string, bundle []byte) error {
		if !pool.AppendCertsFromPEM(bundle) {
			return fault.New(fault.Data, "read %s: it holds no PEM certificate", name)
		}
		return nil
	}
	if inline := env.Getenv("VAULT_CACERT_BYTES"); c.caFile == "" && inline != "" {
		return pool, add("VAULT_CACERT_BYTES", []byte(inline))
	}
	if file := cmp.Or(c.caFile, env.Getenv("VAULT_CACERT")); file != "" {
		bundle, err := httpx.ReadFile(env, file)
		if err != nil {
			return nil, err
		}
		return pool, add(file, bundle)
	}
	folder := env.Getenv("VAULT_CAPATH")
	if folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(env.Path(folder))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", folder, fault.Cause(err))
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		bundle, err := httpx.ReadFile(env, filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		pool.AppendCertsFromPEM(bundle) // other files may lie there
	}
	return pool, nil
}

// proxyOf returns the proxy of Vault's own variables; the usual ones, HTTPS_PROXY and NO_PROXY, hold otherwise.
func proxyOf(env *step.Env) (*url.URL, error) {
	text := cmp.Or(env.Getenv("VAULT_PROXY_ADDR"), env.Getenv("VAULT_HTTP_PROXY"))
	if text == "" {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Host == "" {
		return nil, fault.New(fault.Usage, "VAULT_PROXY_ADDR or VAULT_HTTP_PROXY is not the URL of a proxy")
	}
	return proxy, nil
}

// timeoutOf returns how long one request may take: VAULT_CLIENT_TIMEOUT, in seconds or as 1m30s.
func timeoutOf(env *step.Env) (time.Duration, error) {
	text := env.Getenv("VAULT_CLIENT_TIMEOUT")
	if text == "" {
		return defaultTimeout, nil
	}
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second, nil
	}
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 {
		return 0, fault.New(fault.Usage, "VAULT_CLIENT_TIMEOUT: %q is not a duration such as 60 or 1m30s", text)
	}
	return timeout, nil
}

// bounded is a transport whose answers end with an error after maxAnswer bytes.
type bounded struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: maxAnswer}
	return response, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (b bounded) CloseIdleConnections() { (&http.Client{Transport: b.base}).CloseIdleConnections() }

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fault.New(fault.Data, "the answer has over %d bytes", maxAnswer)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
