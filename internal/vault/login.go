package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// The login methods, by the names that --auth takes. Each is also the name of the method's mount, but for token-file,
// which has none.
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
	// body returns what is sent to the method's login, and what that path ends in beside "login"; nil for token-file.
	body func(ctx context.Context, s *Session, c *Config) (data map[string]any, below string, err error)
	hint string // what to look at when the login is refused
}

// methodOf returns the method of that name.
func methodOf(name string) (method, bool) {
	m, ok := map[string]method{
		kubernetes: {
			role: true, body: bodyKubernetes,
			hint: "the role must bind the pod's service account and namespace, and the audience of its token",
		},
		jwt: {
			check: needs("jwt-file", func(c *Config) bool { return c.jwtFile != "" }), body: bodyJWT,
			hint: "the role must bind the token's audience, subject and claims, and the token must not have expired",
		},
		approle: {
			check: checkAppRole, body: bodyAppRole,
			hint: "the secret id may have expired or been used up: take a new one",
		},
		cert: {
			body: bodyCert,
			hint: "the role must trust the client certificate, and the server's listener must ask for one",
		},
		userpass:  {check: checkUserpass, body: bodyUserpass},
		aws:       {body: bodyAWS, hint: "the role must bind the ARN of this pod's IAM role"},
		gcp:       {role: true, dials: []string{gcpMetadata}, body: bodyGCP, hint: "the role must bind this pod's service account"},
		azure:     {role: true, dials: []string{azureMetadata}, body: bodyAzure, hint: "the role must bind this pod's managed identity"},
		tokenFile: {},
	}[name]
	m.name = name
	return m, ok
}

// methodNames returns the login methods by name, as --auth takes them.
func methodNames() []string {
	return []string{approle, aws, azure, cert, gcp, jwt, kubernetes, tokenFile, userpass}
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

// method returns how to log in, now that the environment is known.
func (c *Config) method(env *step.Env) (method, error) {
	name := c.auth
	if name == "" {
		name = kubernetes
		if c.tokenFile != "" || env.Getenv("VAULT_TOKEN") != "" {
			name = tokenFile
		}
	}
	m, ok := methodOf(name)
	switch {
	case !ok:
		return m, fault.New(fault.Usage, "--auth %q is none of %s", name, strings.Join(methodNames(), ", "))
	case m.role && c.role == "":
		return m, fault.Hint(fault.New(fault.Usage, "--auth %s needs a --role", name),
			"or give a token by VAULT_TOKEN or --token-file")
	}
	return m, nil
}

// login is which identity a session has where. Two runs with the same one may share a token.
type login struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	Method    string `json:"method"`
	Mount     string `json:"mount,omitempty"` // without auth/
	Role      string `json:"role,omitempty"`
	User      string `json:"user,omitempty"`
}

func (c *Config) login(at server, namespace string, m method) login {
	l := login{Address: at.String(), Namespace: namespace, Method: m.name, Role: c.role, User: c.username}
	if m.name != tokenFile {
		l.Mount = strings.Trim(strings.TrimPrefix(cmp.Or(c.authPath, m.name), "auth/"), "/")
	}
	return l
}

// String returns the login as errors have it.
func (l login) String() string {
	text := "log in to " + l.Address + " by " + l.Method + " at auth/" + l.Mount
	if l.Role != "" {
		text += " as the role " + l.Role
	}
	if l.User != "" {
		text += " as " + l.User
	}
	if l.Namespace != "" {
		text += " in the namespace " + l.Namespace
	}
	return text
}

// authenticate returns the token that the method m gives. Its errors name the login and never the credential, not even
// where the server does.
func (s *Session) authenticate(ctx context.Context, c *Config, m method) (*api.SecretAuth, error) {
	if m.name == tokenFile {
		token, err := givenToken(s.env, c)
		return &api.SecretAuth{ClientToken: token}, err
	}
	data, below, err := m.body(ctx, s, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.login, err)
	}
	path := "auth/" + s.login.Mount + "/login"
	if below != "" {
		path += "/" + below
	}
	answer, err := s.client.Logical().WriteWithContext(ctx, path, data)
	if err != nil {
		return nil, s.turnedAway(err, m, data)
	}
	if answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "" {
		return nil, fault.Hint(fault.New(fault.Permission, "%s: the server gave no token", s.login),
			"a login that asks for a second factor is not for machines: enforce it for people alone")
	}
	return answer.Auth, nil
}

// turnedAway explains the error of a login.
func (s *Session) turnedAway(err error, m method, data map[string]any) error {
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		redact(answer.Errors, data)
	}
	explained := explain(err)
	refusal := status(err) >= 400 && !fault.KindOf(explained).Transient()
	for _, words := range refusals {
		refusal = refusal || status(err) == http.StatusInternalServerError && strings.Contains(explained.Error(), words)
	}
	if !refusal {
		return fmt.Errorf("%s: %w", s.login, explained)
	}
	explained = fmt.Errorf("%s: %w", s.login, fault.As(fault.Permission, explained))
	// What is not mounted is answered as what is forbidden.
	advice := fmt.Sprintf("the method must be mounted at auth/%s, or --auth-path say where", s.login.Mount)
	if m.hint != "" {
		advice = m.hint + "; " + advice
	}
	return fault.Hint(explained, "%s", advice)
}

// refusals are the words by which a 500 is one: so servers up to 1.13 answer a wrong credential, and later ones some of a
// cloud.
var refusals = []string{
	"invalid username or password", "invalid secret id",
	"not authorized", "oidc: expected audience", "oidc: token is expired", "oidc: id token issued by a different provider", // azure
}

// redact takes what was sent as a credential out of what the server said.
func redact(messages []string, data map[string]any) {
	for name, value := range data {
		credential, ok := value.(string)
		if !ok || name == "role" || name == "name" || len(credential) < 4 {
			continue
		}
		for i := range messages {
			messages[i] = strings.ReplaceAll(messages[i], credential, "[redacted]")
		}
	}
}

// givenToken returns the token of --token-file, else that of VAULT_TOKEN.
func givenToken(env *step.Env, c *Config) (string, error) {
	token, from := env.Getenv("VAULT_TOKEN"), "VAULT_TOKEN"
	if c.tokenFile != "" {
		content, err := httpx.ReadFile(env, c.tokenFile)
		if err != nil {
			return "", err
		}
		token, from = string(content), c.tokenFile
	}
	token = strings.TrimSpace(token)
	if token == "" && from == c.tokenFile {
		return "", fault.New(fault.Data, "read %s: it is empty", from)
	}
	if token == "" {
		return "", fault.New(fault.Usage, "--auth token-file needs --token-file or VAULT_TOKEN")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.Data, "the token of %s has a character that no token has", from)
	}
	return token, nil
}

// bodyKubernetes sends the service account's token: https://developer.hashicorp.com/vault/api-docs/auth/kubernetes#login.
func bodyKubernetes(_ context.Context, s *Session, c *Config) (map[string]any, string, error) {
	file := cmp.Or(c.jwtFile, serviceAccountToken)
	token, err := httpx.ReadFile(s.env, file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(err, "mount a projected token for Vault into the container (volumes: projected: sources: "+
			"serviceAccountToken: {audience: vault, path: token}) and name it by --jwt-file, or leave automountServiceAccountToken on")
	}
	return map[string]any{"role": c.role, "jwt": strings.TrimSpace(string(token))}, "", err
}

// bodyJWT sends a token of another issuer: https://developer.hashicorp.com/vault/api-docs/auth/jwt#jwt-login.
func bodyJWT(_ context.Context, s *Session, c *Config) (map[string]any, string, error) {
	token, err := httpx.ReadFile(s.env, c.jwtFile)
	data := map[string]any{"jwt": strings.TrimSpace(string(token))}
	if c.role != "" {
		data["role"] = c.role // else the mount's default role
	}
	return data, "", err
}

// bodyAppRole sends role id and secret id: https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle.
func bodyAppRole(ctx context.Context, s *Session, c *Config) (map[string]any, string, error) {
	roleID, err := c.roleID, error(nil)
	if c.roleIDFrom.Given() {
		roleID, err = secretOfRef(s.env, c.roleIDFrom)
	}
	data := map[string]any{"role_id": roleID}
	if err != nil || !c.secretIDFrom.Given() {
		return data, "", err // a role may do without (bind_secret_id=false)
	}
	secretID, err := secretOfRef(s.env, c.secretIDFrom)
	if err == nil && c.secretIDWrapped {
		if c.unwrapped == "" {
			c.unwrapped, err = s.unwrap(ctx, secretID)
		}
		secretID = c.unwrapped
	}
	data["secret_id"] = secretID
	return data, "", err
}

// unwrap returns the secret id that a wrapping token stands for. It can be had once: whoever comes second learns that
// somebody was there before.
func (s *Session) unwrap(ctx context.Context, token string) (string, error) {
	client := s.client.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = token })
	answer, err := client.Logical().WriteWithContext(ctx, "sys/wrapping/unwrap", nil)
	if code := status(err); code >= 400 && code < 500 && !fault.KindOf(explain(err)).Transient() {
		return "", fault.Hint(fault.As(fault.Permission, fmt.Errorf("unwrap the secret id: %w", explain(err))),
			"a wrapping token can be used once and for its time to live: if no run of slipway used it, somebody else has read the secret id, so revoke that")
	}
	if err != nil {
		return "", fmt.Errorf("unwrap the secret id: %w", explain(err))
	}
	if answer != nil {
		if secretID, ok := answer.Data["secret_id"].(string); ok && secretID != "" {
			return secretID, nil
		}
	}
	return "", fault.New(fault.Data, "unwrap the secret id: the wrapping token holds no secret_id")
}

// bodyCert sends nothing but the role's name, as the certificate is the handshake's:
// https://developer.hashicorp.com/vault/api-docs/auth/cert#login-with-tls-certificate-method.
func bodyCert(_ context.Context, s *Session, c *Config) (map[string]any, string, error) {
	if certFile, _ := c.clientCertificate(s.env); certFile == "" {
		return nil, "", fault.New(fault.Usage, "--auth cert needs --cert-file and --key-file")
	}
	data := map[string]any{}
	if c.role != "" {
		data["name"] = c.role
	}
	return data, "", nil
}

// bodyUserpass sends a password: https://developer.hashicorp.com/vault/api-docs/auth/userpass#login. LDAP has the same form.
func bodyUserpass(_ context.Context, s *Session, c *Config) (map[string]any, string, error) {
	password, err := secretOfRef(s.env, c.passwordFrom)
	return map[string]any{"password": password}, c.username, err
}

// secretOfRef returns what a reference names, without the line feed that editors leave.
func secretOfRef(env *step.Env, ref opt.Ref) (string, error) {
	value, err := ref.Secret(env)
	if err != nil {
		return "", err
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return "", fault.New(fault.Data, "%s is empty", ref.String())
	}
	return value, nil
}
