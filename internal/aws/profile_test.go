package aws_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

const configuration = `
# of people and of volumes
[default]
region = eu-west-1
services = local
s3 =
  addressing_style = path
  max_concurrent_requests = 20

[profile role]
role_arn = arn:aws:iam::1:role/app ; of the application
source_profile = keys
external_id=x
duration_seconds = 900
[profile self]
role_arn = arn:aws:iam::1:role/app
source_profile = self
external_id = x
duration_seconds = 900
[profile "from the pod"]
role_arn = arn:aws:iam::1:role/app
credential_source = EcsContainer
[profile environment]
role_arn = arn:aws:iam::1:role/app
credential_source = Environment
external_id = x
duration_seconds = 900
[profile web]
role_arn = arn:aws:iam::1:role/app
web_identity_token_file = JWT
[profile process]
credential_process = printf '{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"s","SessionToken":"t"}'
[profile broken-process]
credential_process = echo hunter2
[profile failing-process]
credential_process = exit 3
[profile sso]
sso_session = corp
[profile mfa]
role_arn = arn:aws:iam::1:role/app
source_profile = keys
mfa_serial = arn:aws:iam::1:mfa/me
[profile circle]
role_arn = arn:aws:iam::1:role/app
source_profile = round
[profile round]
role_arn = arn:aws:iam::1:role/app
source_profile = circle
[profile empty]
region = eu-west-1
[profile of-empty]
role_arn = arn:aws:iam::1:role/app
source_profile = empty
[profile of-nobody]
role_arn = arn:aws:iam::1:role/app
source_profile = nobody
[profile roleless]
source_profile = keys
[profile odd]
role_arn = arn:aws:iam::1:role/app
credential_source = Moon
[services local]
s3 =
  endpoint_url = http://objects:9000
sts =
  endpoint_url = STS
[ignored]
region = mars
`

const keys = `[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = s
[keys]
aws_access_key_id = AKIDSOURCE
aws_secret_access_key = s
[self]
aws_access_key_id = AKIDSOURCE
aws_secret_access_key = s
`

// home returns a folder with both files, and the endpoint and token that they name.
func home(t *testing.T, at string) string {
	t.Helper()
	dir := t.TempDir()
	jwt := filepath.Join(dir, "jwt")
	for path, text := range map[string]string{
		".aws/config": strings.NewReplacer("JWT", jwt, "STS", at).Replace(configuration), ".aws/credentials": keys, "jwt": "jwt",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProfiles(t *testing.T) {
	at := sources(t)
	dir := home(t, at)
	for _, test := range []struct {
		env   []string
		want  string // the access key
		fault string
		kind  fault.Kind
	}{
		{nil, "AKIDDEFAULT", "", 0},
		{[]string{"AWS_ACCESS_KEY_ID", "AKIDENV", "AWS_SECRET_ACCESS_KEY", "s", "AWS_PROFILE", "keys"}, "AKIDENV", "", 0},
		{[]string{"AWS_PROFILE", "keys"}, "AKIDSOURCE", "", 0},
		{[]string{"AWS_DEFAULT_PROFILE", "role"}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "self"}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "web"}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "process"}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "empty", "AWS_CONTAINER_CREDENTIALS_FULL_URI", at + "/pod", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "empty", "AWS_EC2_METADATA_SERVICE_ENDPOINT", at}, "AKIDEXAMPLE", "", 0},
		{[]string{"AWS_PROFILE", "from the pod", "AWS_CONTAINER_CREDENTIALS_FULL_URI", at + "/none"}, "", "127.0.0.1", fault.Permission},
		{[]string{"AWS_PROFILE", "environment"}, "", "the environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", fault.Permission},
		{[]string{"AWS_PROFILE", "broken-process"}, "", `credential_process of profile "broken-process" printed no credentials`, fault.Data},
		{[]string{"AWS_PROFILE", "failing-process"}, "", `credential_process of profile "failing-process": exit status 3`, fault.Permission},
		{[]string{"AWS_PROFILE", "sso"}, "", `profile "sso" needs a browser to log in`, fault.Unsupported},
		{[]string{"AWS_PROFILE", "mfa"}, "", `profile "mfa" needs a code from a person (mfa_serial)`, fault.Unsupported},
		{[]string{"AWS_PROFILE", "circle"}, "", `more than 8 profiles in a row by source_profile`, fault.Data},
		{[]string{"AWS_PROFILE", "of-empty"}, "", `profile "empty", the source_profile of "of-empty", has no credentials`, fault.Data},
		{[]string{"AWS_PROFILE", "of-nobody"}, "", `source_profile of profile "of-nobody": AWS: there is no profile "nobody"`, fault.NoInput},
		{[]string{"AWS_PROFILE", "roleless"}, "", `profile "roleless" has a source_profile but no role_arn`, fault.Data},
		{[]string{"AWS_PROFILE", "odd"}, "", `credential_source "Moon" is none of Environment, EcsContainer and Ec2InstanceMetadata`, fault.Data},
	} {
		i, err := open(aws.Options{Machine: true}, append(test.env, "HOME", dir, "AWS_REGION", "eu-west-1", "AWS_ENDPOINT_URL_STS", at)...)
		if err != nil {
			t.Fatal(err)
		}
		header, err := sign(i)
		switch {
		case test.fault == "" && (err != nil || !strings.Contains(header.Get("Authorization"), "Credential="+test.want+"/")):
			t.Errorf("%v: got %s, %v, want %s", test.env, header.Get("Authorization"), err, test.want)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault) || fault.KindOf(err) != test.kind):
			t.Errorf("%v: got %v (%v), want %s (%v)", test.env, err, fault.KindOf(err), test.fault, test.kind)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: the error tells what a process printed: %v", test.env, err)
		}
	}
}

func TestANamedProfileComesBeforeTheEnvironment(t *testing.T) {
	at := sources(t)
	i, err := open(aws.Options{Profile: "keys"}, "HOME", home(t, at), "AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "AKIDENV", "AWS_SECRET_ACCESS_KEY", "s")
	if err != nil {
		t.Fatal(err)
	}
	if header, err := sign(i); err != nil || !strings.Contains(header.Get("Authorization"), "Credential=AKIDSOURCE/") {
		t.Errorf("got %s, %v", header.Get("Authorization"), err)
	}
}

func TestAProfileThatIsNowhere(t *testing.T) {
	_, err := open(aws.Options{Global: true}, "HOME", home(t, ""), "AWS_PROFILE", "mars")
	if err == nil || err.Error() != `AWS: there is no profile "mars"` || fault.KindOf(err) != fault.NoInput {
		t.Errorf("got %v (%v)", err, fault.KindOf(err))
	}
}

func TestSettingsOfAProfile(t *testing.T) {
	dir := home(t, "http://sts:1")
	i, err := open(aws.Options{}, "AWS_CONFIG_FILE", filepath.Join(dir, ".aws/config"))
	if err != nil {
		t.Fatal(err)
	}
	if got := i.Region(); got != "eu-west-1" {
		t.Errorf("got the region %s", got)
	}
	if got := i.Setting("s3.addressing_style"); got != "path" {
		t.Errorf("got the style %q", got)
	}
	for _, test := range []struct {
		service aws.Service
		want    string
	}{{aws.S3, "http://objects:9000/"}, {aws.STS, "http://sts:1/"}} {
		if got, err := i.Endpoint(test.service); err != nil || got != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
	}
	ignored, err := open(aws.Options{}, "HOME", dir, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ignored.Given(aws.S3); err != nil || got != "" {
		t.Errorf("got %s, %v, want none", got, err)
	}
}

func TestCredentialsOfAFileAreReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("[default]\naws_access_key_id="+key+"\naws_secret_access_key=s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("AKIDOLD")
	i, err := open(aws.Options{}, "AWS_SHARED_CREDENTIALS_FILE", file, "AWS_REGION", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AKIDOLD", "AKIDNEW"} {
		request, err := signed(i)
		if err != nil || !strings.Contains(request.Header.Get("Authorization"), "Credential="+want+"/") {
			t.Errorf("got %s, %v, want %s", request.Header.Get("Authorization"), err, want)
		}
		write("AKIDNEW")
		i.Forget(request)
	}
}
