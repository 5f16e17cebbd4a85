package servers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/pki"
)

// STS is as much of AWS's Security Token Service as logins to Vault need, over TLS: it says of a signed request whose it
// is, as Vault asks for it, and gives credentials for a service account's token, as EKS does (IRSA). It knows nothing of
// the SDK that slipway signs with, and verifies each signature itself.
type STS struct {
	URL string

	cluster *Cluster
	mu      sync.Mutex
	keys    map[string]awsKey // by id
}

type awsKey struct{ secret, token, arn, id string }

// stsTime is how requests and answers write a time; a request may be a quarter of an hour old.
const stsTime = "20060102T150405Z"

// StartSTS starts the service, with a certificate that the authority issues. It trusts the tokens of the cluster.
func StartSTS(t testing.TB, authority *pki.Authority, cluster *Cluster) *STS {
	t.Helper()
	s := &STS{cluster: cluster, keys: make(map[string]awsKey)}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, "sts").Load(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Key returns a new access key of an IAM role in the account 123456789012.
func (s *STS) Key(role string) (id, secret string) {
	key := s.key(role, "")
	return key.id, key.secret
}

func (s *STS) key(role, token string) awsKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := awsKey{
		secret: rand.Text(), token: token, arn: "arn:aws:sts::123456789012:assumed-role/" + role + "/pod", id: "AKIA" + rand.Text()[:16],
	}
	s.keys[key.id] = key
	return key
}

// ServeHTTP implements http.Handler: https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	var answer string
	switch action := form.Get("Action"); {
	case err != nil:
	case action == "GetCallerIdentity":
		var key awsKey
		if key, err = s.signer(r, body); err == nil {
			answer = "<Arn>" + key.arn + "</Arn><UserId>" + key.id + ":pod</UserId><Account>123456789012</Account>"
		}
	case action == "AssumeRoleWithWebIdentity":
		answer, err = s.assume(form)
	default:
		err = errors.New("InvalidAction")
	}
	w.Header().Set("Content-Type", "text/xml")
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>%v</Message></Error></ErrorResponse>", err)
		return
	}
	name := form.Get("Action")
	fmt.Fprintf(w, `<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%sResult>%s</%sResult></%sResponse>`, name, name, answer, name, name)
}

// assume gives credentials of the role that is named to whoever has a token of the cluster for AWS.
func (s *STS) assume(form url.Values) (string, error) {
	owner, err := s.cluster.verify(form.Get("WebIdentityToken"))
	if err != nil || len(owner.Audience) != 1 || owner.Audience[0] != "sts.amazonaws.com" {
		return "", errors.New("InvalidIdentityToken")
	}
	_, role, _ := strings.Cut(form.Get("RoleArn"), ":role/")
	key := s.key(role, rand.Text())
	return fmt.Sprintf("<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>",
		key.id, key.secret, key.token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), nil
}

// signer returns the key that a request is signed with, by Signature Version 4:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
func (s *STS) signer(r *http.Request, body []byte) (awsKey, error) {
	fields := make(map[string]string)
	for field := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	id, scope, _ := strings.Cut(fields["Credential"], "/")
	s.mu.Lock()
	key, known := s.keys[id]
	s.mu.Unlock()
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(stsTime, date)
	switch {
	case !known:
		return key, errors.New("InvalidClientTokenId")
	case err != nil || time.Since(at).Abs() > 15*time.Minute:
		return key, errors.New("RequestExpired")
	case r.Header.Get("X-Amz-Security-Token") != key.token:
		return key, errors.New("InvalidClientTokenId: the session token is another one's")
	}
	// Vault puts its own slash before that of the path: https://github.com/hashicorp/vault, builtin/credential/aws.
	canonical := r.Method + "\n/\n" + r.URL.RawQuery + "\n"
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + digest(body)
	signing := []byte("AWS4" + key.secret)
	for part := range strings.SplitSeq(scope, "/") {
		signing = mac(signing, part)
	}
	want := hex.EncodeToString(mac(signing, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+digest([]byte(canonical))))
	if !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		return key, errors.New("SignatureDoesNotMatch")
	}
	return key, nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
