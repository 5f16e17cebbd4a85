package servers

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
)

// Microsoft is as much of Entra ID as logins to Vault need: it gives tokens for those of a cluster's service accounts, as AKS's
// workload identity has it, and tells the keys that it signs with. It answers over TLS, by its own name: Vault knows
// Microsoft's clouds alone.
type Microsoft struct {
	Hosts    map[string]string // for a proxy that leads to it
	Tenant   string
	Client   string // the application's id, which is also that of its principal
	Resource string // what its tokens are for

	cluster *Cluster
	key     *rsa.PrivateKey
	url     string
}

// entraID is the name that Vault and pods ask for it by.
const entraID = "login.microsoftonline.com"

// StartMicrosoft starts it, with a certificate that the authority issues. It trusts the tokens of the cluster.
func StartMicrosoft(t testing.TB, authority *pki.Authority, cluster *Cluster) *Microsoft {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	m := &Microsoft{
		Tenant: "00000000-0000-0000-0000-000000000001", Client: "00000000-0000-0000-0000-000000000002",
		Resource: "https://management.azure.com/", cluster: cluster, key: key,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+m.Tenant+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": m.issuer(), "jwks_uri": m.url + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		encode := base64.RawURLEncoding.EncodeToString
		answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
			"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("POST /"+m.Tenant+"/oauth2/v2.0/token", m.grant)
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "microsoft", entraID).Load(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	m.url = server.URL
	m.Hosts = map[string]string{entraID + ":443": server.Listener.Addr().String()}
	return m
}

func (m *Microsoft) issuer() string { return "https://sts.windows.net/" + m.Tenant + "/" }

// grant answers by https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
func (m *Microsoft) grant(w http.ResponseWriter, r *http.Request) {
	owner, err := m.cluster.verify(r.PostFormValue("client_assertion"))
	if err != nil || len(owner.Audience) != 1 || owner.Audience[0] != "api://AzureADTokenExchange" ||
		r.PostFormValue("client_id") != m.Client || r.PostFormValue("scope") != strings.TrimSuffix(m.Resource, "/")+"/.default" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	now := time.Now()
	token, err := signed(m.key, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "1"}, map[string]any{
		"iss": m.issuer(), "aud": m.Resource, "sub": m.Client, "oid": m.Client,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 600})
}
