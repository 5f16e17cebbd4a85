// Package githubapp gets a token for a GitHub App's installation, by which it clones private repositories for an hour. See
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app.
package githubapp

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// User is the user that goes with a token where a user is asked for.
const User = "x-access-token"

// App is an installation of an app.
type App struct {
	ID           string // of the app: its client id, or its number
	Installation string // the number of the installation
	Key          []byte // the app's private key, in PEM
	API          *url.URL
}

// APIOf returns the API of the GitHub at host: github.com, or an Enterprise Server.
func APIOf(host string) *url.URL {
	if host == "github.com" {
		return &url.URL{Scheme: "https", Host: "api.github.com"}
	}
	return &url.URL{Scheme: "https", Host: host, Path: "/api/v3"}
}

const (
	maxAnswer = 1 << 20 // bytes
	// skew is by how much the clocks may differ; lifetime is how long the app's own token is good, ten minutes at most.
	skew     = time.Minute
	lifetime = 8 * time.Minute
)

// Token returns a token.
func (a *App) Token(ctx context.Context, client *http.Client) (string, error) {
	assertion, err := a.assertion(time.Now())
	if err != nil {
		return "", err
	}
	u := a.API.JoinPath("app/installations", url.PathEscape(a.Installation), "access_tokens")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return "", fault.As(fault.Usage, err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+assertion)
	status, body, err := httpx.Do(client, request, maxAnswer)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token   string `json:"token"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &answer); err != nil && status == http.StatusCreated {
		return "", fault.New(fault.Data, "ask %s for an app's token: the answer is no JSON", u.Host)
	}
	if status != http.StatusCreated || answer.Token == "" {
		return "", fault.Hint(fault.New(kind(status), "ask %s for an app's token: status %d%s", u.Host, status, httpx.Says([]byte(answer.Message))),
			"are the app, its installation and its key those of each other?")
	}
	return answer.Token, nil
}

// kind returns the kind of a refusal.
func kind(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Permission
	case status == http.StatusNotFound:
		return fault.NoInput
	case status == http.StatusTooManyRequests, status >= 500:
		return fault.Temporary
	}
	return fault.Data
}

// assertion returns what proves to GitHub that it is the app that asks: a JSON Web Token (RFC 7519), signed with RS256.
func (a *App) assertion(now time.Time) (string, error) {
	key, err := parseKey(a.Key)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{"iat": now.Add(-skew).Unix(), "exp": now.Add(lifetime).Unix(), "iss": a.ID})
	if err != nil {
		return "", err
	}
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fault.New(fault.Data, "sign with the app's key: %w", err)
	}
	return text + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// parseKey reads the key as GitHub gives it (PKCS #1), or as openssl writes it today (PKCS #8).
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.New(fault.Data, "the app's key is not in PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := any.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fault.New(fault.Data, "the app's key is no private key of RSA")
	}
	return key, nil
}
