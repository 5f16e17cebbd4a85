package githubapp_test

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
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/githubapp"
)

// proven reports whether a request shows that it is the app that asks, as GitHub checks it.
func proven(r *http.Request, key *rsa.PublicKey, app string) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(token, ".")
	if !ok || len(parts) != 3 {
		return fmt.Errorf("got %q", r.Header.Get("Authorization"))
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature); err != nil {
		return err
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	now := time.Now().Unix()
	if claims.Iss != app || claims.Iat > now || claims.Exp < now || claims.Exp > now+600 {
		return fmt.Errorf("got the claims %+v", claims)
	}
	return nil
}

func TestToken(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusCreated
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := proven(r, &key.PublicKey, "Iv1.app"); err != nil || r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/42/access_tokens" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"token":"ghs_secret","message":"said"}`)
	}))
	defer server.Close()
	api, _ := url.Parse(server.URL + "/api/v3")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []*pem.Block{
		{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}, {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		app := githubapp.App{ID: "Iv1.app", Installation: "42", Key: pem.EncodeToMemory(block), API: api}
		if token, err := app.Token(context.Background(), server.Client()); token != "ghs_secret" || err != nil {
			t.Errorf("%s: got %q, %v", block.Type, token, err)
		}
	}
	app := githubapp.App{ID: "Iv1.app", Installation: "42", Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), API: api}
	for code, want := range map[int]fault.Kind{401: fault.Permission, 404: fault.NoInput, 429: fault.Temporary, 502: fault.Temporary, 422: fault.Data} {
		status = code
		_, err := app.Token(context.Background(), server.Client())
		if err == nil || fault.KindOf(err) != want || strings.Contains(err.Error(), "ghs_secret") || !strings.Contains(err.Error(), "said") {
			t.Errorf("%d: got %v", code, err)
		}
	}
	for _, wrong := range []string{"", "-----BEGIN X-----\nAAAA\n-----END X-----\n"} {
		app.Key = []byte(wrong)
		if _, err := app.Token(context.Background(), server.Client()); fault.KindOf(err) != fault.Data {
			t.Errorf("the key %q: got %v", wrong, err)
		}
	}
}

func TestAPIOf(t *testing.T) {
	for host, want := range map[string]string{"github.com": "https://api.github.com", "git.example.org": "https://git.example.org/api/v3"} {
		if got := githubapp.APIOf(host).String(); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}
