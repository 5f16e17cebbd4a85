// Package vault is a small client of Vault's HTTP API, for those who set a server up and ask it what it holds: the tests
// and the benchmark. It shares nothing with slipway's own client, so that a fault of one does not hide in the other.
package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Client talks to one server with one token.
type Client struct {
	Address string // "https://127.0.0.1:8200"
	Token   string // empty for what needs no login
	WrapTTL string // asks for the answer to be wrapped for so long; empty is no wrapping
	HTTP    *http.Client
}

// Answer is the answer of a server.
type Answer struct {
	Data    map[string]any
	LeaseID string `json:"lease_id"`
	Auth    struct {
		Token string `json:"client_token"`
	}
	WrapInfo struct{ Token string } `json:"wrap_info"`

	// Of sys/init, which answers without an envelope.
	Keys []string
	Root string `json:"root_token"`
}

// Refusal is an answer whose status is not one of success.
type Refusal struct {
	Status int
	Body   string
}

func (r *Refusal) Error() string { return fmt.Sprintf("status %d: %s", r.Status, r.Body) }

// Trusting returns an HTTP client that trusts the authorities of a PEM file.
func Trusting(file string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
		Timeout:   30 * time.Second,
	}, nil
}

// Do makes one request, with a body in JSON unless that is nil. A path is relative to /v1/.
func (c Client) Do(ctx context.Context, method, path string, body any) (Answer, error) {
	var answer Answer
	content, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	if body == nil {
		content = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Address+"/v1/"+path, bytes.NewReader(content))
	if err != nil {
		return answer, err
	}
	if c.Token != "" {
		request.Header.Set("X-Vault-Token", c.Token)
	}
	if c.WrapTTL != "" {
		request.Header.Set("X-Vault-Wrap-TTL", c.WrapTTL)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= 300 {
		return answer, fmt.Errorf("%s %s: %w", method, path, &Refusal{response.StatusCode, strings.TrimSpace(string(text))})
	}
	if len(text) == 0 {
		return answer, nil
	}
	return answer, json.Unmarshal(text, &answer)
}
