package aws_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
	"github.com/slipway-init/slipway/internal/store/aws"
)

// keys are credentials in the environment.
var keys = []string{"AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "hunter2"}

// account returns the account of an environment of pairs.
func account(t *testing.T, pairs ...string) *aws.Account {
	t.Helper()
	a, err := open(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(pairs ...string) (*aws.Account, error) {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return aws.Open(&step.Env{
		Getenv: func(name string) string { return values[name] },
		HTTP:   &http.Client{Transport: &http.Transport{}}, Dial: new(net.Dialer).DialContext,
	})
}

// endpoint starts a server that answers an operation's question, both as AWS documents them; "400 {…}" is a refusal.
func endpoint(t *testing.T, answers map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
			t.Errorf("not signed: %v", r.Header)
		}
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		answer, ok := answers[operation+" "+string(question)]
		if !ok {
			answer, ok = answers[operation]
		}
		if !ok {
			answer = `400 {"__type":"AccessDeniedException"}`
		}
		for prefix, status := range map[string]int{"400 ": 400, "500 ": 500, "503 ": 503} {
			if rest, ok := strings.CutPrefix(answer, prefix); ok {
				w.WriteHeader(status)
				answer = rest
			}
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestGet(t *testing.T) {
	url := endpoint(t, map[string]string{
		`GetSecretValue {"SecretId":"prod/db"}`:                   `{"ARN":"a","Name":"prod/db","SecretString":"{\"password\":\"x\"}","VersionStages":["AWSCURRENT"]}`,
		`GetSecretValue {"SecretId":"binary"}`:                    `{"Name":"binary","SecretBinary":"AAEC"}`,
		`GetSecretValue {"SecretId":"prod/none"}`:                 `400 {"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`,
		`GetSecretValue {"SecretId":"none"}`:                      `400 {"__type":"com.amazonaws#ResourceNotFoundException"}`,
		`GetSecretValue {"SecretId":"denied"}`:                    `400 {"__type":"AccessDeniedException","Message":"User: arn:aws:sts::1:assumed-role/r/s is not authorized"}`,
		`GetSecretValue {"SecretId":"kms"}`:                       `400 {"__type":"AccessDeniedException","Message":"Access to KMS is not allowed: kms:Decrypt"}`,
		`GetSecretValue {"SecretId":"expired"}`:                   `400 {"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`,
		`GetSecretValue {"SecretId":"throttled"}`:                 `400 {"__type":"ThrottlingException","message":"Rate exceeded"}`,
		`GetSecretValue {"SecretId":"broken"}`:                    `500 {"__type":"InternalServiceError"}`,
		`GetSecretValue {"SecretId":"proxy"}`:                     `503 <html>`,
		`GetSecretValue {"SecretId":"odd"}`:                       `400 {"__type":"InvalidRequestException","Message":"it was deleted"}`,
		`ListSecrets`:                                             `{"SecretList":[{"Name":"prod/db"},{"Name":"prod/api"}]}`,
		`GetParameter {"Name":"/app/port","WithDecryption":true}`: `{"Parameter":{"Name":"/app/port","Type":"SecureString","Value":"8080","Version":3}}`,
		`GetParameter {"Name":"/app/none","WithDecryption":true}`: `400 {"__type":"ParameterNotFound"}`,
		`GetParameter {"Name":"/denied","WithDecryption":true}`:   `400 {"__type":"AccessDeniedException","Message":"no"}`,
		`DescribeParameters`:                                      `{"Parameters":[{"Name":"/app/port"}]}`,
	})
	a := account(t, append(keys, "AWS_ENDPOINT_URL", url)...)
	for _, test := range []struct {
		from      store.Getter
		key, want string
		fault     string
		kind      fault.Kind
		hinted    string
	}{
		{from: a.Secrets(), key: "prod/db", want: `{"password":"x"}`},
		{from: a.Secrets(), key: "binary", want: "\x00\x01\x02"},
		{from: a.Parameters(), key: "/app/port", want: "8080"},
		{from: a.Secrets(), key: "prod/none", fault: "AWS Secrets Manager has no secret prod/none; beside it are prod/api, prod/db", kind: fault.NoInput},
		{from: a.Secrets(), key: "none", fault: "AWS Secrets Manager has no secret none", kind: fault.NoInput},
		{from: a.Parameters(), key: "/app/none", fault: "AWS Parameter Store has no parameter /app/none; beside it is /app/port", kind: fault.NoInput},
		{
			from: a.Secrets(), key: "denied", kind: fault.Permission,
			fault:  "AWS secret denied: AccessDeniedException: User: arn:aws:sts::1:assumed-role/r/s is not authorized",
			hinted: "the pod's IAM role needs secretsmanager:GetSecretValue on arn:aws:secretsmanager:*:*:secret:denied-??????",
		},
		{
			from: a.Parameters(), key: "/denied", fault: "AWS parameter /denied: AccessDeniedException: no", kind: fault.Permission,
			hinted: "the pod's IAM role needs ssm:GetParameter on arn:aws:ssm:*:*:parameter/denied",
		},
		{
			from: a.Secrets(), key: "kms", kind: fault.Permission, hinted: "the pod's IAM role needs kms:Decrypt on the key that encrypts it",
			fault: "AWS secret kms: AccessDeniedException: Access to KMS is not allowed: kms:Decrypt",
		},
		{
			from: a.Secrets(), key: "expired", kind: fault.Permission,
			fault:  "AWS secret expired: ExpiredTokenException: The security token included in the request is expired",
			hinted: "the credentials are wrong or have expired, or the clock is; see where the pod has them from",
		},
		{from: a.Secrets(), key: "throttled", fault: "AWS secret throttled: ThrottlingException: Rate exceeded", kind: fault.Temporary},
		{from: a.Secrets(), key: "broken", fault: "AWS secret broken: InternalServiceError", kind: fault.Temporary},
		{from: a.Secrets(), key: "proxy", fault: "AWS secret proxy: AWS answered secretsmanager:GetSecretValue with 503", kind: fault.Temporary},
		{from: a.Secrets(), key: "odd", fault: "AWS secret odd: InvalidRequestException: it was deleted", kind: fault.Data},
	} {
		got, err := test.from.Get(context.Background(), test.key)
		if test.fault == "" {
			if err != nil || got != test.want {
				t.Errorf("%s: got %q, %v, want %q", test.key, got, err, test.want)
			}
			continue
		}
		if err == nil || err.Error() != test.fault || fault.KindOf(err) != test.kind || fault.HintOf(err) != test.hinted {
			t.Errorf("%s:\n got %v (%v, %s)\nwant %s (%v, %s)", test.key, err, fault.KindOf(err), fault.HintOf(err), test.fault, test.kind, test.hinted)
		}
	}
}

func TestListTurnsPages(t *testing.T) {
	url := endpoint(t, map[string]string{
		`GetParametersByPath {"Path":"/app","Recursive":true,"WithDecryption":true}`:                  `{"Parameters":[{"Name":"/app/z","Value":"1"}],"NextToken":"n"}`,
		`GetParametersByPath {"NextToken":"n","Path":"/app","Recursive":true,"WithDecryption":true}`:  `{"Parameters":[{"Name":"/app/a/b","Value":"2"}]}`,
		`GetParametersByPath {"Path":"/loop","Recursive":true,"WithDecryption":true}`:                 `{"NextToken":"l"}`,
		`GetParametersByPath {"NextToken":"l","Path":"/loop","Recursive":true,"WithDecryption":true}`: `{"NextToken":"l"}`,
	})
	p := account(t, append(keys, "AWS_ENDPOINT_URL_SSM", url)...).Parameters()
	got, err := p.List(context.Background(), "/app")
	want := []store.Pair{{Path: "/app/a/b", Key: "a/b", Value: "2"}, {Path: "/app/z", Key: "z", Value: "1"}}
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Errorf("error %v (- got, + want):\n%s", err, diff)
	}
	if _, err := p.List(context.Background(), "/loop"); err == nil || err.Error() != "AWS parameters /loop: there are over 1000" {
		t.Errorf("got %v", err)
	}
}

// identity serves every source of credentials, and Parameter Store.
func identity(t *testing.T) string {
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
		case r.FormValue("Action") != "":
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>`)
		case strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDEXAMPLE/") && r.Header.Get("X-Amz-Security-Token") == "t":
			_, _ = io.WriteString(w, `{"Parameter":{"Name":"p","Value":"v"}}`)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestCredentials(t *testing.T) {
	url := identity(t)
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
		want string // a fault; empty is none
		kind fault.Kind
	}{
		{name: "keys", env: []string{"AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "s", "AWS_SESSION_TOKEN", "t"}},
		{name: "IRSA", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", jwt, "AWS_ROLE_ARN", "arn:aws:iam::1:role/app"}},
		{name: "EKS Pod Identity", env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", url + "/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", pod}},
		{name: "the machine's role", env: []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", url + "/"}},
		{
			name: "a role that does not trust the pod", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", jwt, "AWS_ROLE_ARN", "arn:other"},
			want: "AWS parameter p: AWS credentials: take the role arn:other: STS answered 403: AccessDenied", kind: fault.Permission,
		},
		{
			name: "no token", env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "/none"},
			want: "AWS parameter p: AWS credentials: read /none: no such file or directory", kind: fault.NoInput,
		},
		{
			name: "a token for the world", env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/pod"},
			want: "AWS parameter p: AWS credentials: AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor an address of this machine", kind: fault.Data,
		},
		{
			name: "none", env: []string{"AWS_EC2_METADATA_DISABLED", "true"},
			want: "AWS parameter p: AWS credentials: the environment has none", kind: fault.Permission,
		},
	} {
		a := account(t, append(test.env, "AWS_REGION", "eu-west-1", "AWS_ENDPOINT_URL", url)...)
		value, err := a.Parameters().Get(context.Background(), "p")
		switch {
		case test.want == "" && (err != nil || value != "v"):
			t.Errorf("%s: got %q, %v", test.name, value, err)
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
	a := account(t, "AWS_REGION", "eu-west-1", "AWS_EC2_METADATA_SERVICE_ENDPOINT", gone.URL)
	_, err := a.Secrets().Get(context.Background(), "x")
	if fault.KindOf(err) != fault.Permission || !strings.Contains(fault.HintOf(err), "IRSA") {
		t.Errorf("got %v (%v, %s)", err, fault.KindOf(err), fault.HintOf(err))
	}
}

func TestWrongEnvironment(t *testing.T) {
	for _, test := range []struct {
		env  []string
		want string
		kind fault.Kind
	}{
		{nil, "AWS: no region is set", fault.NoInput},
		{[]string{"AWS_REGION", "x.example.com/"}, `AWS: "x.example.com/" is no region`, fault.Data},
		{[]string{"AWS_REGION", "eu-west-1", "AWS_CA_BUNDLE", "/none"}, "read /none: no such file or directory", fault.NoInput},
	} {
		if _, err := open(test.env...); err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%v: got %v (%v), want %s (%v)", test.env, err, fault.KindOf(err), test.want, test.kind)
		}
	}
	a := account(t, append(keys, "AWS_ENDPOINT_URL", "http://u:hunter2@host")...)
	if _, err := a.Secrets().Get(context.Background(), "x"); err == nil || err.Error() != "AWS secret x: AWS: AWS_ENDPOINT_URL is no http:// or https:// URL" {
		t.Errorf("got %v", err)
	}
}
