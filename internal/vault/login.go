package vault

import "github.com/slipway-init/slipway/internal/fault"

// The login methods, by the names that --auth takes.
const (
	kubernetes = "kubernetes"
	jwt        = "jwt"
	approle    = "approle"
	cert       = "cert"
	tokenFile  = "token-file"
	userpass   = "userpass"
	aws        = "aws"
	gcp        = "gcp"
	azure      = "azure"
)

// serviceAccountToken is where Kubernetes mounts the token of the pod's service account.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// method is one way to log in.
type method struct {
	name  string
	role  bool     // needs --role
	dials []string // host:port of what else it asks
	check func(c *Config) []error
}

var methods = map[string]method{
	kubernetes: {name: kubernetes, role: true},
	jwt:        {name: jwt, check: needs("jwt-file", func(c *Config) bool { return c.jwtFile != "" })},
	approle:    {name: approle, check: checkAppRole},
	cert:       {name: cert},
	tokenFile:  {name: tokenFile},
	userpass:   {name: userpass, check: checkUserpass},
	aws:        {name: aws},
	gcp:        {name: gcp, role: true, dials: []string{"metadata.google.internal:80"}},
	azure:      {name: azure, role: true, dials: []string{"169.254.169.254:80"}},
}

func needs(option string, given func(*Config) bool) func(*Config) []error {
	return func(c *Config) []error {
		if given(c) {
			return nil
		}
		return []error{fault.New(fault.Usage, "--auth %s needs --%s", c.auth, option)}
	}
}

func checkAppRole(c *Config) []error {
	var faults []error
	if (c.roleID == "") == !c.roleIDFrom.Given() {
		faults = append(faults, fault.New(fault.Usage, "--auth approle needs --role-id or --role-id-from, one of them"))
	}
	if c.secretIDWrapped && !c.secretIDFrom.Given() {
		faults = append(faults, fault.New(fault.Usage, "--secret-id-wrapped needs --secret-id-from"))
	}
	return faults
}

func checkUserpass(c *Config) []error {
	var faults []error
	if c.username == "" {
		faults = append(faults, fault.New(fault.Usage, "--auth userpass needs --username"))
	}
	if !c.passwordFrom.Given() {
		faults = append(faults, fault.New(fault.Usage, "--auth userpass needs --password-from"))
	}
	return faults
}
