package aws_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// env returns an environment of pairs.
func env(pairs ...string) *step.Env {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return &step.Env{
		Getenv: func(name string) string { return values[name] }, Environ: func() []string { return []string{"PATH=" + os.Getenv("PATH")} },
		HTTP: &http.Client{Transport: &http.Transport{}}, Dial: new(net.Dialer).DialContext,
		Exec: func(_ context.Context, cmd *exec.Cmd) error { return cmd.Run() },
	}
}

func open(o aws.Options, pairs ...string) (*aws.Identity, error) { return aws.Open(env(pairs...), o) }

// sign returns the header of a question to STS.
func sign(i *aws.Identity) (http.Header, error) {
	request, err := signed(i)
	return request.Header, err
}

// signed returns a question to STS.
func signed(i *aws.Identity) (*http.Request, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+i.Host(aws.STS)+"/", nil)
	if err != nil {
		return nil, err
	}
	err = i.Sign(context.Background(), request, aws.STS, []byte("Action=GetCallerIdentity&Version=2011-06-15"))
	return request, err
}

func TestSignaturesNameTheRegion(t *testing.T) {
	for _, test := range []struct {
		options aws.Options
		region  string // AWS_REGION
		want    string
	}{
		{aws.Options{}, "eu-west-1", "eu-west-1"},
		{aws.Options{Region: "cn-north-1"}, "eu-west-1", "cn-north-1"},
		{aws.Options{Global: true}, "eu-west-1", "eu-west-1"},
		{aws.Options{Global: true}, "", "us-east-1"},
	} {
		i, err := open(test.options, "AWS_REGION", test.region, "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "hunter2")
		if err != nil {
			t.Fatal(err)
		}
		header, err := sign(i)
		if got, want := header.Get("Authorization"), "/"+test.want+"/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature="; err != nil || !strings.Contains(got, want) {
			t.Errorf("%+v: got %s, %v, want %s in it", test, got, err, want)
		}
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
		if _, err := open(aws.Options{}, test.env...); err == nil || err.Error() != test.want || fault.KindOf(err) != test.kind {
			t.Errorf("%v: got %v (%v), want %s (%v)", test.env, err, fault.KindOf(err), test.want, test.kind)
		}
	}
}

func BenchmarkSignObject(b *testing.B) {
	i, err := open(aws.Options{}, "AWS_REGION", "eu-west-1", "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY", "hunter2")
	if err != nil {
		b.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, "https://models.s3.eu-west-1.amazonaws.com/models/shard-00001.bin", nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Range", "bytes=0-8388607")
	b.ReportAllocs()
	for b.Loop() {
		if err := i.SignObject(context.Background(), request, "eu-west-1"); err != nil {
			b.Fatal(err)
		}
	}
}
