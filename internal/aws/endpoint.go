package aws

import (
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Service is one of AWS's services.
type Service struct {
	Name     string // the first part of its host's name, and what a signature calls it
	Variable string // the end of AWS_ENDPOINT_URL_…
}

// STS is the service of identities.
var STS = Service{Name: "sts", Variable: "STS"}

// domains are those of AWS's partitions, by the beginning of their regions: alone, and of the hosts that have IPv6 too.
var domains = []struct{ region, domain, dual string }{
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
}

// Endpoint returns the URL to ask a service at, with a slash at its end: that of AWS_ENDPOINT_URL_… or AWS_ENDPOINT_URL,
// else AWS's own. What is no URL is Data.
func (i *Identity) Endpoint(s Service) (string, error) {
	for _, variable := range []string{"AWS_ENDPOINT_URL_" + s.Variable, "AWS_ENDPOINT_URL"} {
		given := i.env.Getenv(variable)
		if given == "" {
			continue
		}
		u, err := url.Parse(given)
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
			return "", fault.New(fault.Data, "AWS: %s is no http:// or https:// URL", variable)
		}
		return strings.TrimSuffix(given, "/") + "/", nil
	}
	return "https://" + i.host(s, i.isSet("AWS_USE_FIPS_ENDPOINT"), i.isSet("AWS_USE_DUALSTACK_ENDPOINT")) + "/", nil
}

// Host returns the name of a service's host as everybody has it, whatever the environment says.
func (i *Identity) Host(s Service) string { return i.host(s, false, false) }

func (i *Identity) host(s Service, fips, dual bool) string {
	if i.region == "" {
		return s.Name + ".amazonaws.com"
	}
	name := s.Name
	if fips {
		name += "-fips"
	}
	at := 0
	for !strings.HasPrefix(i.region, domains[at].region) { // the last is every region's
		at++
	}
	domain := domains[at].domain
	if dual {
		domain = domains[at].dual
	}
	return name + "." + i.region + "." + domain
}

func (i *Identity) isSet(variable string) bool {
	return strings.EqualFold(i.env.Getenv(variable), "true")
}
