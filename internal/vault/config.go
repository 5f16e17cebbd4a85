package vault

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Config is where the server is and how to log in. Its zero value is a working one in a pod whose environment holds
// VAULT_ADDR and, where it needs them, the other VAULT_* variables that docs/vault.md lists. An option goes before the
// variable of the same meaning.
type Config struct {
	// Receipt is the path of the receipt, as the user knows it: what a next run needs to reuse or to clean up what this
	// one took. Without one, dynamic secrets are taken anew by every run and a killed run leaves its token behind.
	Receipt string

	address, namespace                    string
	caFile, certFile, keyFile, serverName string
	insecure                              bool

	auth, authPath, role          string
	jwtFile, tokenFile            string
	roleID, username              string
	roleIDFrom, secretIDFrom      opt.Ref
	passwordFrom                  opt.Ref
	secretIDWrapped               bool
	unwrapped                     string // the secret id, once it was unwrapped: a later attempt could not do that again
	audience, resource, awsRegion string
}

// Flags binds the options to fs.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.address, "address", "", "the server: https://host:port, http://host:port or unix:///path (else VAULT_ADDR)")
	fs.StringVar(&c.namespace, "namespace", "", "the namespace of all paths and of the login (else VAULT_NAMESPACE)")
	fs.StringVar(&c.caFile, "ca-file", "", "certificates, in PEM, that the server's chain must end in (else VAULT_CACERT)")
	fs.StringVar(&c.certFile, "cert-file", "", "client certificate, in PEM (else VAULT_CLIENT_CERT)")
	fs.StringVar(&c.keyFile, "key-file", "", "key of the client certificate, in PEM (else VAULT_CLIENT_KEY)")
	fs.StringVar(&c.serverName, "server-name", "", "name that the server's certificate must have (else VAULT_TLS_SERVER_NAME)")
	fs.BoolVar(&c.insecure, "insecure-skip-tls-verify", false, "do not verify the server's certificate: for tests")

	fs.StringVar(&c.auth, "auth", "", "how to log in: "+strings.Join(methodNames(), ", ")+
		" (default token-file where a token is given, else kubernetes)")
	fs.StringVar(&c.authPath, "auth-path", "", "where the method is mounted, without auth/ (default the method's name)")
	fs.StringVar(&c.role, "role", "", "the role to log in as")
	fs.StringVar(&c.jwtFile, "jwt-file", "", "the token of kubernetes or jwt (default of kubernetes "+serviceAccountToken+")")
	fs.StringVar(&c.tokenFile, "token-file", "", "a file with a Vault token; slipway does not revoke it (else VAULT_TOKEN)")
	fs.StringVar(&c.roleID, "role-id", "", "the role id of approle")
	fs.Var(&c.roleIDFrom, "role-id-from", "where the role id of approle is: file:PATH or env:NAME")
	fs.Var(&c.secretIDFrom, "secret-id-from", "where the secret id of approle is: file:PATH or env:NAME")
	fs.BoolVar(&c.secretIDWrapped, "secret-id-wrapped", false, "what --secret-id-from gives is a wrapping token that holds the secret id")
	fs.StringVar(&c.username, "username", "", "the user of userpass, or of ldap with --auth userpass --auth-path ldap")
	fs.Var(&c.passwordFrom, "password-from", "where the password of userpass is: file:PATH or env:NAME")
	fs.StringVar(&c.awsRegion, "region", "", "the region whose STS endpoint aws signs for (else AWS_REGION; without one the global endpoint)")
	fs.StringVar(&c.audience, "audience", "", "the audience of gcp's token (default vault/ROLE), or the X-Vault-AWS-IAM-Server-ID of aws")
	fs.StringVar(&c.resource, "resource", "", "the resource of azure's token (default https://management.azure.com/)")
}

// Effects checks the options against each other and says what a session will read and dial. What VAULT_* variables say is
// not known yet: without --address there is no dial among the effects but those of the login method. It does no I/O.
func (c *Config) Effects() ([]step.Effect, error) {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	var effects []step.Effect
	if c.address != "" {
		server, err := parseAddress(c.address)
		if err != nil {
			faults = append(faults, err)
		} else {
			effects = append(effects, step.Effect{Verb: step.Dial, Object: server.object()})
		}
	}
	if (c.certFile == "") != (c.keyFile == "") {
		fail("--cert-file and --key-file go together")
	}
	m, known := methodOf(c.auth)
	switch {
	case c.auth == "" && c.tokenFile != "":
		m, known = methodOf(tokenFile)
	case c.auth == "":
		m, known = methodOf(kubernetes)
		m.role = false // VAULT_TOKEN may be set, which needs none; Open knows
	}
	if !known {
		fail("--auth %q is none of %s", c.auth, strings.Join(methodNames(), ", "))
		return nil, errors.Join(faults...)
	}
	for _, o := range c.loginOptions() {
		if o.given && !slices.Contains(o.methods, m.name) {
			fail("--%s is not for --auth %s: it is for %s", o.name, m.name, strings.Join(o.methods, ", "))
		}
	}
	if m.role && c.role == "" {
		fail("--auth %s needs a --role", m.name)
	}
	if m.check != nil {
		faults = append(faults, m.check(c)...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return append(effects, c.reads(m)...), nil
}

// loginOption is an option that belongs to some methods alone.
type loginOption struct {
	name    string
	given   bool
	methods []string
}

func (c *Config) loginOptions() []loginOption {
	return []loginOption{
		{"jwt-file", c.jwtFile != "", []string{kubernetes, jwt}},
		{"token-file", c.tokenFile != "", []string{tokenFile}},
		{"role-id", c.roleID != "", []string{approle}},
		{"role-id-from", c.roleIDFrom.Given(), []string{approle}},
		{"secret-id-from", c.secretIDFrom.Given(), []string{approle}},
		{"secret-id-wrapped", c.secretIDWrapped, []string{approle}},
		{"username", c.username != "", []string{userpass}},
		{"password-from", c.passwordFrom.Given(), []string{userpass}},
		{"region", c.awsRegion != "", []string{aws}},
		{"audience", c.audience != "", []string{aws, gcp}},
		{"resource", c.resource != "", []string{azure}},
	}
}

// reads returns the files that the options name, and what the method m reads and dials by its nature.
func (c *Config) reads(m method) []step.Effect {
	var effects []step.Effect
	files := []string{c.caFile, c.certFile, c.keyFile, c.tokenFile, c.jwtFile}
	if m.name == kubernetes && c.jwtFile == "" && c.auth == kubernetes {
		files = append(files, serviceAccountToken)
	}
	for _, file := range files {
		if file != "" {
			effects = append(effects, step.Effect{Verb: step.Read, Object: file})
		}
	}
	for _, ref := range []opt.Ref{c.roleIDFrom, c.secretIDFrom, c.passwordFrom} {
		effects = append(effects, ref.Effects()...)
	}
	for _, address := range m.dials {
		effects = append(effects, step.Effect{Verb: step.Dial, Object: "tcp://" + address})
	}
	return effects
}

// server is an address that was parsed: a URL, or a Unix socket over which HTTP is spoken.
type server struct {
	url    *url.URL
	socket string
}

// parseAddress parses an address as VAULT_ADDR has it.
func parseAddress(text string) (server, error) {
	wrong := func(why string) (server, error) {
		return server{}, fault.Hint(fault.New(fault.Usage, "the address of the Vault server %s", why),
			"write https://vault.example:8200 or unix:///run/vault/agent.sock")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return wrong("is not a URL") // the text may hold a password
	case u.User != nil:
		return wrong("has a user or a password in it")
	case u.RawQuery != "" || u.Fragment != "":
		return wrong("has a query or a fragment")
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return server{url: &url.URL{Scheme: "http", Host: "localhost"}, socket: u.Path}, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		return server{url: &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}}, nil
	}
	return wrong("is neither http://, https:// nor unix:///")
}

// object returns the server as the object of a dial.
func (s server) object() string {
	if s.socket != "" {
		return "unix://" + s.socket
	}
	return "tcp://" + httpx.Address(s.url)
}

// String returns the address as errors and the receipt have it.
func (s server) String() string {
	if s.socket != "" {
		return "unix://" + s.socket
	}
	return s.url.String()
}
