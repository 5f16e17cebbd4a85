package servers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// The key pair that may do everything on an S3 server, and the region that it claims to be.
const (
	AccessKey = "AKIAE2E0000000000000"
	SecretKey = "correct-horse-battery-staple-0000000000"
	Region    = "us-east-1"
)

// S3 is an S3 server with no bucket.
type S3 struct {
	*Server
	URL  string // its endpoint
	Addr string
	CA   string // the file of the authority that signed its certificate; empty without TLS
	HTTP *http.Client
}

// Env returns the variables by which a client may do everything.
func (s *S3) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_REGION=" + Region}
}

// StartVersitygw starts Versity's S3 gateway (https://github.com/versity/versitygw) over a folder. It knows versions and
// checksums, and of SSE-C nothing: the keys are ignored without a word.
func StartVersitygw(t testing.TB) *S3 {
	t.Helper()
	dir, port := Dir(t), FreePort(t)
	for _, name := range []string{"objects", "versions"} {
		if err := os.Mkdir(dir+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &S3{Addr: net.JoinHostPort("127.0.0.1", port), HTTP: &http.Client{Transport: &http.Transport{}}}
	s.URL = "http://" + s.Addr
	s.Server = start(t, spec{
		dir: dir,
		args: []string{
			tools.Built(t, "versitygw"), "--port", s.Addr, "--region", Region, "--quiet",
			"posix", "--versioning-dir", dir + "/versions", dir + "/objects",
		},
		env: []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey},
	})
	s.awaitPort(t, port)
	return s
}

// StartMinIO starts MinIO over a folder, with TLS when the authority is not nil: SSE-C is refused without. It is under the
// AGPL: a process of its own, for tests alone, of which no part is in slipway.
func StartMinIO(t testing.TB, authority *pki.Authority) *S3 {
	t.Helper()
	dir, port := Dir(t), FreePort(t)
	if err := os.MkdirAll(dir+"/certs/CAs", 0o755); err != nil {
		t.Fatal(err)
	}
	s := &S3{Addr: net.JoinHostPort("127.0.0.1", port), HTTP: &http.Client{Transport: &http.Transport{}}}
	s.URL = "http://" + s.Addr
	if authority != nil {
		s.URL, s.CA, s.HTTP = "https://"+s.Addr, authority.File, authority.Client()
		pair := authority.Issue(t, "minio")
		copyFile(t, pair.Certificate, dir+"/certs/public.crt")
		copyFile(t, pair.Key, dir+"/certs/private.key")
	}
	s.Server = start(t, spec{
		dir: dir,
		args: []string{
			tools.Built(t, "minio"), "server", "--quiet", "--certs-dir", dir + "/certs", "--address", s.Addr, dir + "/objects",
		},
		env: []string{
			"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off",
		},
	})
	answers := func(path string, wanted func(status int) bool) bool {
		response, err := s.HTTP.Get(s.URL + path)
		return err == nil && response.Body.Close() == nil && wanted(response.StatusCode)
	}
	s.await(t, "ready", func() bool {
		// It calls itself ready a moment before it knows its buckets: until then it answers 503, and afterwards 403.
		return answers("/minio/health/ready", func(status int) bool { return status == http.StatusOK }) &&
			answers("/", func(status int) bool { return status == http.StatusForbidden })
	})
	return s
}

// AssumeRole returns the variables of a session of MinIO's token service, which lasts an hour: a session has a token beside
// its keys.
func (s *S3) AssumeRole(t testing.TB) []string {
	t.Helper()
	const body = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	keys := aws.Credentials{AccessKeyID: AccessKey, SecretAccessKey: SecretKey}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, request, hex.EncodeToString(sum[:]), "sts", Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	response, err := s.HTTP.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Key    string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		t.Fatalf("%s: %v: %s", response.Status, err, text)
	}
	return []string{
		"AWS_ACCESS_KEY_ID=" + answer.Key, "AWS_SECRET_ACCESS_KEY=" + answer.Secret, "AWS_SESSION_TOKEN=" + answer.Token, "AWS_REGION=" + Region,
	}
}
