package aws_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

// sources serves every source of credentials.
func sources(t *testing.T) string {
	t.Helper()
	const found = `{"Code":"Success","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/pod" && r.Header.Get("Authorization") == "pod-token",
			r.URL.Path == "/latest/meta-data/iam/security-credentials/node" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "imds":
			_, _ = io.WriteString(w, found)
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "imds":
			_, _ = io.WriteString(w, "node\n")
		case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut:
			_, _ = io.WriteString(w, "imds")
		case r.FormValue("Action") == "AssumeRoleWithWebIdentity" && r.FormValue("WebIdentityToken") == "jwt" && r.FormValue("RoleArn") == "arn:aws:iam::1:role/app":
			_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>`+
				`<Credentials><AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></Credentials>`+
				`</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
		case r.FormValue("Action") == "AssumeRole" && strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDSOURCE/") &&
			r.FormValue("RoleArn") == "arn:aws:iam::1:role/app" && r.FormValue("ExternalId") == "x" && r.FormValue("DurationSeconds") == "900":
			_, _ = io.WriteString(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>`+
				`<Credentials><AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>`+
				`<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		case r.FormValue("Action") != "":
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>`)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestCredentials(t *testing.T) {
	at := sources(t)
	dir := t.TempDir()
	jwt, pod := filepath.Join(dir, "jwt"), filepath.Join(dir, "pod")
	for path, text := range map[string]string{jwt: "jwt\n", pod: "pod-token"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		env  []string
		own  bool   // the machine's role is not asked for
		want string // a fault; empty is none
		kind fault.Kind
	}{
		{name: "keys", env: []string{"AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "s", "AWS_SESSION_TOKEN", "t"}},
		{name: "IRSA", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", jwt, "AWS_ROLE_ARN", "arn:aws:iam::1:role/app"}},
		{name: "EKS Pod Identity", env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", at + "/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", pod}},
		{name: "the machine's role", env: []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", at + "/"}},
		{
			name: "a role that does not trust the pod", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", jwt, "AWS_ROLE_ARN", "arn:other"},
			want: "AWS credentials: take the role arn:other: STS answered 403: AccessDenied", kind: fault.Permission,
		},
		{
			name: "no token", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "/none", "AWS_ROLE_ARN", "arn:aws:iam::1:role/app"},
			want: "AWS credentials: read /none: no such file or directory", kind: fault.NoInput,
		},
		{
			name: "a token for the world", env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/pod"},
			want: "AWS credentials: AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor an address of this machine", kind: fault.Data,
		},
		{
			name: "a token for no role", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", jwt},
			want: "AWS credentials: AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not", kind: fault.NoInput,
		},
		{
			name: "a machine's role that is not wanted", env: []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", at}, own: true,
			want: "AWS credentials: the environment has none", kind: fault.Permission,
		},
		{
			name: "none", env: []string{"AWS_EC2_METADATA_DISABLED", "true"},
			want: "AWS credentials: the environment has none", kind: fault.Permission,
		},
	} {
		i, err := open(aws.Options{Machine: !test.own}, append(test.env, "AWS_REGION", "eu-west-1", "AWS_ENDPOINT_URL", at)...)
		if err != nil {
			t.Fatal(err)
		}
		header, err := sign(i)
		switch {
		case test.want == "" && (err != nil || !strings.Contains(header.Get("Authorization"), "Credential=AKIDEXAMPLE/") || header.Get("X-Amz-Security-Token") != "t"):
			t.Errorf("%s: got %v, %v", test.name, header, err)
		case test.want != "" && (err == nil || err.Error() != test.want):
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		case test.want != "" && fault.KindOf(err) != test.kind:
			t.Errorf("%s: got %v, want %v", test.name, fault.KindOf(err), test.kind)
		}
	}
}

func TestMetadataThatIsNotThereIsNoOutage(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	i, err := open(aws.Options{Machine: true}, "AWS_REGION", "eu-west-1", "AWS_EC2_METADATA_SERVICE_ENDPOINT", gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign(i); fault.KindOf(err) != fault.Permission || !strings.Contains(fault.HintOf(err), "IRSA") {
		t.Errorf("got %v (%v, %s)", err, fault.KindOf(err), fault.HintOf(err))
	}
}

func TestMetadataIsNotBehindAProxy(t *testing.T) {
	proxied := env("AWS_REGION", "eu-west-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI", sources(t)+"/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
	proxied.HTTP.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("the proxy was asked") }
	i, err := aws.Open(proxied, aws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign(i); err != nil {
		t.Error(err)
	}
}

// lending returns an identity whose credentials come from an endpoint that gives them for a time, and how often it was asked.
func lending(t *testing.T, valid time.Duration, refuse *bool) (*aws.Identity, *int) {
	t.Helper()
	asked := new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*asked++
		if *refuse {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"AKID%d","SecretAccessKey":"s","Token":"t","Expiration":%q}`, *asked, time.Now().Add(valid).Format(time.RFC3339Nano))
	}))
	t.Cleanup(server.Close)
	i, err := open(aws.Options{}, "AWS_REGION", "eu-west-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return i, asked
}

func TestCredentialsAreKeptWhileTheyAreGood(t *testing.T) {
	i, asked := lending(t, time.Hour, new(bool))
	for range 3 {
		if _, err := sign(i); err != nil {
			t.Fatal(err)
		}
	}
	if *asked != 1 {
		t.Errorf("got %d questions, want 1", *asked)
	}
}

func TestExpiredCredentialsAreAskedForAgain(t *testing.T) {
	i, asked := lending(t, -time.Second, new(bool))
	for n := range 3 {
		header, err := sign(i)
		if want := fmt.Sprintf("Credential=AKID%d/", n+1); err != nil || !strings.Contains(header.Get("Authorization"), want) {
			t.Errorf("got %s, %v, want %s", header.Get("Authorization"), err, want)
		}
	}
	if *asked != 3 {
		t.Errorf("got %d questions, want 3", *asked)
	}
}

func TestRefusedCredentialsAreAskedForAgain(t *testing.T) {
	i, asked := lending(t, time.Hour, new(bool))
	first, err := signed(i)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // two requests are refused that the same credentials signed
		i.Forget(first)
		second, err := sign(i)
		if err != nil || !strings.Contains(second.Get("Authorization"), "Credential=AKID2/") {
			t.Errorf("got %s, %v, want the second ones", second.Get("Authorization"), err)
		}
	}
	if *asked != 2 {
		t.Errorf("got %d questions, want 2", *asked)
	}
}

func TestAnOutageOfWhoRenewsIsTransient(t *testing.T) {
	refuse := false
	i, _ := lending(t, -time.Second, &refuse)
	if _, err := sign(i); err != nil {
		t.Fatal(err)
	}
	refuse = true
	if _, err := sign(i); !fault.KindOf(err).Transient() {
		t.Errorf("got %v (%v), want what time may mend", err, fault.KindOf(err))
	}
}

func TestTheClockIsCorrected(t *testing.T) {
	i, err := open(aws.Options{}, "AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "s")
	if err != nil {
		t.Fatal(err)
	}
	theirs := time.Now().Add(-3 * time.Hour)
	for _, test := range []struct {
		date string
		want bool
	}{
		{time.Now().UTC().Format(http.TimeFormat), false},
		{"yesterday", false},
		{theirs.UTC().Format(http.TimeFormat), true},
		{theirs.UTC().Format(http.TimeFormat), false},
	} {
		if got := i.SetClock(test.date); got != test.want {
			t.Errorf("%s: got %v, want %v", test.date, got, test.want)
		}
	}
	header, err := sign(i)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := time.Parse("20060102T150405Z", header.Get("X-Amz-Date"))
	if err != nil || signed.Sub(theirs).Abs() > time.Minute {
		t.Errorf("got %v, %v, want about %v", signed, err, theirs)
	}
}
