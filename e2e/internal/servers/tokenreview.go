package servers

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
)

// Cluster is as much of a Kubernetes API server as logins to Vault need: it signs tokens of service accounts, and its
// TokenReview says of a token whose it is.
type Cluster struct {
	URL string
	CA  string // the file of the authority that signed its certificate

	key *rsa.PrivateKey
}

// issuer is what the tokens name as theirs.
const issuer = "https://kubernetes.default.svc.cluster.local"

// claims are those of a projected token.
type claims struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audience   []string `json:"aud"`
	IssuedAt   int64    `json:"iat"`
	NotBefore  int64    `json:"nbf"`
	Expires    int64    `json:"exp"`
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// StartCluster starts the server, with a certificate that the authority issues.
func StartCluster(t testing.TB, authority *pki.Authority) *Cluster {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{CA: authority.File, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", c.review)
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "cluster").Load(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Token returns a token of a service account for an audience, valid for ten minutes.
func (c *Cluster) Token(t testing.TB, namespace, account, audience string) string {
	t.Helper()
	now := time.Now()
	cl := claims{
		Issuer: issuer, Subject: "system:serviceaccount:" + namespace + ":" + account, Audience: []string{audience},
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(10 * time.Minute).Unix(),
	}
	cl.Kubernetes.Namespace = namespace
	cl.Kubernetes.ServiceAccount.Name = account
	cl.Kubernetes.ServiceAccount.UID = "uid-of-" + account
	token, err := signed(c.key, map[string]any{"alg": "RS256", "typ": "JWT"}, cl)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// PublicKey returns the key that the tokens are signed with, in PEM.
func (c *Cluster) PublicKey(t testing.TB) string {
	t.Helper()
	return publicKey(t, c.key)
}

// review answers a TokenReview, of authentication.k8s.io/v1.
func (c *Cluster) review(w http.ResponseWriter, r *http.Request) {
	var in struct{ Spec struct{ Token string } }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false, "error": "invalid bearer token"}
	if cl, err := c.verify(in.Spec.Token); err == nil {
		account := cl.Kubernetes.ServiceAccount
		status = map[string]any{"authenticated": true, "audiences": cl.Audience, "user": map[string]any{
			"username": cl.Subject, "uid": account.UID,
			"groups": []string{"system:serviceaccounts", "system:serviceaccounts:" + cl.Kubernetes.Namespace, "system:authenticated"},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
	})
}

// verify returns the claims of a token that this cluster signed and whose time has not ended.
func (c *Cluster) verify(token string) (cl claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return cl, errors.New("not a JWT")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return cl, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
		return cl, err
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return cl, err
	}
	if err := json.Unmarshal(body, &cl); err != nil {
		return cl, err
	}
	if time.Now().Unix() >= cl.Expires {
		return cl, fmt.Errorf("expired at %d", cl.Expires)
	}
	return cl, nil
}
