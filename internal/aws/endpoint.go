package aws

import (
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Service is one of AWS's services.
type Service struct {
	Name     string // the first part of its host's name, and what a signature calls it
	Variable string // the end of AWS_ENDPOINT_URL_…; in lower case its name in a profile's services
}

// STS is the service of identities, and S3 that of objects.
var (
	STS = Service{Name: "sts", Variable: "STS"}
	S3  = Service{Name: "s3", Variable: "S3"}
)

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

// Domain returns the domain that a region's services are in: "amazonaws.com".
func Domain(region string) string {
	domain, _ := domainsOf(region)
	return domain
}

func domainsOf(region string) (domain, dual string) {
	at := 0
	for !strings.HasPrefix(region, domains[at].region) { // the last is every region's
		at++
	}
	return domains[at].domain, domains[at].dual
}

// Endpoint returns the URL to ask a service at, with a slash at its end: the one that was given (see Given), else AWS's own.
func (i *Identity) Endpoint(s Service) (string, error) {
	given, err := i.Given(s)
	if given != "" || err != nil {
		return given, err
	}
	return "https://" + i.host(s, i.FIPS(), i.DualStack()) + "/", nil
}

// Given returns the URL that the environment gives for a service, with a slash at its end: that of AWS_ENDPOINT_URL_… or
// AWS_ENDPOINT_URL, else that of the profile's services or its endpoint_url; "" is none. What is no URL is Data.
// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true turns all of it off.
func (i *Identity) Given(s Service) (string, error) {
	if i.isSet("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls") {
		return "", nil
	}
	for _, given := range []struct{ where, url string }{
		{"AWS_ENDPOINT_URL_" + s.Variable, i.env.Getenv("AWS_ENDPOINT_URL_" + s.Variable)},
		{"AWS_ENDPOINT_URL", i.env.Getenv("AWS_ENDPOINT_URL")},
		{"the endpoint_url of the profile's services", i.profile.services[strings.ToLower(s.Variable)+".endpoint_url"]},
		{"the endpoint_url of the profile", i.profile.settings["endpoint_url"]},
	} {
		if given.url != "" {
			return ParseEndpoint(given.where, given.url)
		}
	}
	return "", nil
}

// ParseEndpoint returns the URL of an endpoint with a slash at its end. The error, which is Data, says where it was given
// and not what it is: it may hold a password.
func ParseEndpoint(where, given string) (string, error) {
	u, err := url.Parse(given)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fault.New(fault.Data, "AWS: %s is no http:// or https:// URL", where)
	}
	return strings.TrimSuffix(given, "/") + "/", nil
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
	domain, dualDomain := domainsOf(i.region)
	if dual {
		domain = dualDomain
	}
	return name + "." + i.region + "." + domain
}

// FIPS reports whether hosts with validated cryptography are wanted.
func (i *Identity) FIPS() bool { return i.isSet("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint") }

// DualStack reports whether hosts are wanted that have IPv6 too.
func (i *Identity) DualStack() bool {
	return i.isSet("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
}

// Setting returns a setting of the profile, with its section before a dot if it is in one: "s3.addressing_style".
func (i *Identity) Setting(key string) string { return i.profile.settings[key] }

func (i *Identity) isSet(variable, key string) bool {
	text := i.env.Getenv(variable)
	if text == "" {
		text = i.profile.settings[key]
	}
	return strings.EqualFold(text, "true")
}
