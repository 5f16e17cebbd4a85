package servers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
)

// Google is as much of Google Cloud as logins to Vault need: the metadata service that gives a pod its identity, and over TLS
// the keys that this is signed with, OAuth for Vault's own credentials, and the service accounts.
type Google struct {
	URL      string            // of all but the metadata service
	Hosts    map[string]string // for a proxy that leads to its OAuth, which has one name for Vault
	Metadata string            // host and port of the metadata service
	Account  string            // the service account whose identity that gives

	key *rsa.PrivateKey
}

// googleAccount is the number of the service account, which stands in tokens as their subject.
const googleAccount = "100000000000000000001"

// googleOAuth is where Vault asks for a token of its own, whatever its credentials say.
const googleOAuth = "oauth2.googleapis.com"

// StartGoogle starts the services, with a certificate that the authority issues.
func StartGoogle(t testing.TB, authority *pki.Authority) *Google {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	g := &Google{key: key, Account: "web@shop.iam.gserviceaccount.com"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth2/v1/certs", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"1": certificate})
	})
	access := rand.Text()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600})
	})
	mux.HandleFunc("GET /v1/projects/-/serviceAccounts/{account}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+access || r.PathValue("account") != googleAccount {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		answer(w, map[string]any{"email": g.Account, "uniqueId": googleAccount, "projectId": "shop"})
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "google", googleOAuth).Load(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	metadata := httptest.NewServer(http.HandlerFunc(g.identity))
	t.Cleanup(metadata.Close)
	g.Hosts = map[string]string{googleOAuth + ":443": server.Listener.Addr().String()}
	g.URL, g.Metadata = server.URL, strings.TrimPrefix(metadata.URL, "http://")
	return g
}

// identity answers as the metadata service of a pod with workload identity does:
// https://cloud.google.com/compute/docs/instances/verifying-instance-identity#request_signature.
func (g *Google) identity(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/identity" || r.Header.Get("Metadata-Flavor") != "Google" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	now := time.Now()
	token, err := signed(g.key, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "1"}, map[string]any{
		"iss": "https://accounts.google.com", "sub": googleAccount, "email": g.Account, "aud": r.URL.Query().Get("audience"),
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte(token))
}

// Credentials returns the file, in JSON, by which Vault asks for service accounts.
func (g *Google) Credentials(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(g.key)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]any{
		"type": "service_account", "project_id": "shop", "client_id": "2", "client_email": "vault@shop.iam.gserviceaccount.com",
		"private_key_id": "1", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://" + googleOAuth + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
