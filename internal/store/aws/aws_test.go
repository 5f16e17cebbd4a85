package aws_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

func TestWrongEnvironment(t *testing.T) {
	if _, err := open(); err == nil || err.Error() != "AWS: no region is set" {
		t.Errorf("got %v", err)
	}
	a := account(t, append(keys, "AWS_ENDPOINT_URL", "http://u:hunter2@host")...)
	if _, err := a.Secrets().Get(context.Background(), "x"); err == nil || err.Error() != "AWS secret x: AWS: AWS_ENDPOINT_URL is no http:// or https:// URL" {
		t.Errorf("got %v", err)
	}
}

func TestAPodWithoutCredentialsAsksForTheMachinesRole(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	a := account(t, "AWS_REGION", "eu-west-1", "AWS_EC2_METADATA_SERVICE_ENDPOINT", gone.URL)
	_, err := a.Parameters().Get(context.Background(), "p")
	const want = "AWS parameter p: AWS credentials: the environment has none, and the machine's role cannot be had: "
	if err == nil || !strings.HasPrefix(err.Error(), want) || fault.KindOf(err) != fault.Permission {
		t.Errorf("got %v (%v), want %s…", err, fault.KindOf(err), want)
	}
}
