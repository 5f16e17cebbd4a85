package aws

import (
	"testing"

	"github.com/slipway-init/slipway/internal/step"
)

func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		region, fips, dual string
		service            service
		want               string
	}{
		{"eu-west-1", "", "", secretsManager, "https://secretsmanager.eu-west-1.amazonaws.com/"},
		{"us-gov-west-1", "true", "", ssm, "https://ssm-fips.us-gov-west-1.amazonaws.com/"},
		{"cn-north-1", "", "", ssm, "https://ssm.cn-north-1.amazonaws.com.cn/"},
		{"eu-west-1", "", "true", secretsManager, "https://secretsmanager.eu-west-1.api.aws/"},
		{"us-isob-east-1", "", "", sts, "https://sts.us-isob-east-1.sc2s.sgov.gov/"},
		{"eusc-de-east-1", "", "", sts, "https://sts.eusc-de-east-1.amazonaws.eu/"},
	} {
		values := map[string]string{"AWS_USE_FIPS_ENDPOINT": test.fips, "AWS_USE_DUALSTACK_ENDPOINT": test.dual}
		a := &Account{region: test.region, env: &step.Env{Getenv: func(name string) string { return values[name] }}}
		if got, err := a.endpoint(test.service); err != nil || got != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
	}
}
