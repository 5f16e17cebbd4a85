package aws_test

import (
	"testing"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

func TestEndpoints(t *testing.T) {
	ssm := aws.Service{Name: "ssm", Variable: "SSM"}
	for _, test := range []struct {
		region  string
		service aws.Service
		env     []string
		want    string
		host    string
	}{
		{"eu-west-1", ssm, nil, "https://ssm.eu-west-1.amazonaws.com/", "ssm.eu-west-1.amazonaws.com"},
		{"us-gov-west-1", ssm, []string{"AWS_USE_FIPS_ENDPOINT", "true"}, "https://ssm-fips.us-gov-west-1.amazonaws.com/", "ssm.us-gov-west-1.amazonaws.com"},
		{"cn-north-1", ssm, nil, "https://ssm.cn-north-1.amazonaws.com.cn/", "ssm.cn-north-1.amazonaws.com.cn"},
		{"eu-west-1", ssm, []string{"AWS_USE_DUALSTACK_ENDPOINT", "True"}, "https://ssm.eu-west-1.api.aws/", "ssm.eu-west-1.amazonaws.com"},
		{"us-isob-east-1", aws.STS, nil, "https://sts.us-isob-east-1.sc2s.sgov.gov/", "sts.us-isob-east-1.sc2s.sgov.gov"},
		{"eusc-de-east-1", aws.STS, nil, "https://sts.eusc-de-east-1.amazonaws.eu/", "sts.eusc-de-east-1.amazonaws.eu"},
		{"", aws.STS, nil, "https://sts.amazonaws.com/", "sts.amazonaws.com"},
		{"eu-west-1", ssm, []string{"AWS_ENDPOINT_URL", "http://all", "AWS_ENDPOINT_URL_SSM", "http://one/sub"}, "http://one/sub/", "ssm.eu-west-1.amazonaws.com"},
		{"eu-west-1", ssm, []string{"AWS_ENDPOINT_URL", "http://all/", "AWS_ENDPOINT_URL_STS", "http://other"}, "http://all/", "ssm.eu-west-1.amazonaws.com"},
	} {
		i, err := open(aws.Options{Region: test.region, Global: true}, test.env...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := i.Endpoint(test.service); err != nil || got != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
		if got := i.Host(test.service); got != test.host {
			t.Errorf("got %s, want %s", got, test.host)
		}
	}
}

func TestAnEndpointThatIsNoURL(t *testing.T) {
	i, err := open(aws.Options{Region: "eu-west-1"}, "AWS_ENDPOINT_URL_STS", "http://u:hunter2@host")
	if err != nil {
		t.Fatal(err)
	}
	const want = "AWS: AWS_ENDPOINT_URL_STS is no http:// or https:// URL"
	if _, err := i.Endpoint(aws.STS); err == nil || err.Error() != want || fault.KindOf(err) != fault.Data {
		t.Errorf("got %v (%v), want %s", err, fault.KindOf(err), want)
	}
}
