package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// vaultStore is a Vault server with secrets, roles that may read them, and a folder for what slipway makes of them.
type vaultStore struct {
	*servers.Vault
	dir       string
	authority *pki.Authority
	password  string // of secret/app, which nobody may see but the target
	roleID    string // of the approle "app"
	secretID  string // the file of its secret id
}

// appPolicy is what the role "app" may do.
const appPolicy = `
path "secret/data/app" { capabilities = ["read"] }
path "secret/data/app/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
path "old/*" { capabilities = ["read", "list"] }
path "nowhere/*" { capabilities = ["read"] }
path "pki/issue/web" { capabilities = ["update"] }
path "database/creds/*" { capabilities = ["read"] }
`

// startVaultStore starts a server with key-value engines of both versions and an approle.
func startVaultStore(t *testing.T) *vaultStore {
	t.Helper()
	return startVaultStoreWith(t, pki.New(t, servers.Dir(t)))
}

// startVaultStoreWith is startVaultStore for a server with an authority that is there already, and further variables.
func startVaultStoreWith(t *testing.T, authority *pki.Authority, env ...string) *vaultStore {
	t.Helper()
	dir := servers.Dir(t)
	s := &vaultStore{Vault: servers.StartVault(t, authority, env...), dir: dir, authority: authority, password: rand.Text()}
	s.Write(t, "sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	s.Write(t, "sys/mounts/old", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	s.Write(t, "sys/policies/acl/app", map[string]any{"policy": appPolicy})
	// A version-2 engine that was just mounted upgrades itself for a moment and refuses writes.
	s.awaitWrite(t, "secret/data/app", map[string]any{"data": map[string]any{"user": "bob", "password": "the first one"}})
	s.Write(t, "secret/data/app", map[string]any{"data": map[string]any{"user": "bob", "password": s.password}})
	s.Write(t, "secret/data/app/mail", map[string]any{"data": map[string]any{"host": "mail.internal"}})
	s.Write(t, "secret/data/forbidden", map[string]any{"data": map[string]any{"key": "never read"}})
	s.Write(t, "old/app", map[string]any{"user": "alice", "password": s.password})

	s.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	s.role(t, "app", nil)
	s.roleID, s.secretID = s.approle(t, "app")
	return s
}

// awaitWrite writes as soon as the engine takes it.
func (s *vaultStore) awaitWrite(t *testing.T, path string, fields map[string]any) {
	t.Helper()
	await(t, "a write to "+path, func() bool {
		_, err := s.Client.Do(t.Context(), http.MethodPut, path, fields)
		return err == nil
	})
}

// role makes an approle with the policy "app"; its tokens live for a quarter of an hour unless fields say otherwise.
func (s *vaultStore) role(t *testing.T, name string, fields map[string]any) {
	t.Helper()
	all := map[string]any{"token_policies": "app", "token_ttl": "15m"}
	for key, value := range fields {
		all[key] = value
	}
	s.Write(t, "auth/approle/role/"+name, all)
}

// approle returns a role's id, and a file with a secret id.
func (s *vaultStore) approle(t *testing.T, name string) (roleID, secretID string) {
	t.Helper()
	secretID = filepath.Join(s.authorityDir(), "secret-id-"+rand.Text())
	answer := s.Write(t, "auth/approle/role/"+name+"/secret-id", nil)
	write(t, secretID, fmt.Sprint(answer.Data["secret_id"]))
	return s.Read(t, "auth/approle/role/"+name+"/role-id", "role_id"), secretID
}

// authorityDir is the folder of the credentials, apart from what slipway writes.
func (s *vaultStore) authorityDir() string { return filepath.Dir(s.CA) }

// path returns a path in the folder of what slipway makes.
func (s *vaultStore) path(name string) string { return filepath.Join(s.dir, name) }

// source writes a template, apart from what slipway makes, and returns its path.
func (s *vaultStore) source(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(s.authorityDir(), rand.Text()+".ctmpl")
	write(t, path, text)
	return path
}

// server are the options that find the server.
func (s *vaultStore) server() []string { return []string{"--address", s.Address, "--ca-file", s.CA} }

// login are the options that find the server and log in as the approle "app".
func (s *vaultStore) login() []string { return s.loginAs(s.roleID, s.secretID) }

func (s *vaultStore) loginAs(roleID, secretID string) []string {
	return append(s.server(), "--auth", "approle", "--role-id", roleID, "--secret-id-from", "file:"+secretID)
}

// render renders one template to a file of the store's folder, with the approle's login unless other options are given.
func (s *vaultStore) render(t *testing.T, text, dest string, options ...string) slipway.Result {
	t.Helper()
	if len(options) == 0 {
		options = s.login()
	}
	return slipway.Run(t, append([]string{"vault-render", s.source(t, text), s.path(dest)}, options...)...)
}

// holds checks what a file of the store's folder holds, and that nobody but its owner may read it.
func (s *vaultStore) holds(t *testing.T, name, want string) {
	t.Helper()
	if got := read(t, s.path(name)); got != want {
		t.Errorf("%s holds %q, want %q", name, got, want)
	}
	mode(t, s.path(name), 0o400)
}

// nobodysTokens checks that the server knows no token but the root's, and no lease below the given paths.
func (s *vaultStore) nobodysTokens(t *testing.T, leases ...string) {
	t.Helper()
	if left := s.Accessors(t); len(left) > 0 {
		t.Errorf("the server still knows the tokens with the accessors %q", left)
	}
	for _, path := range leases {
		if left := s.Leases(t, path); len(left) > 0 {
			t.Errorf("the server still holds the leases %q", left)
		}
	}
}

// appTemplate renders what all logins may read.
const appTemplate = `{{ with secret "secret/data/app" }}{{ .Data.data.user }}:{{ .Data.data.password }}{{ end }}`

// Each method logs in, renders, and leaves no token behind.
func TestVaultRenderLogsInBy(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	cluster := servers.StartCluster(t, authority)
	google, microsoft := servers.StartGoogle(t, authority), servers.StartMicrosoft(t, authority, cluster)
	proxy := "HTTPS_PROXY=" + servers.StartTunnel(t, google.Hosts, microsoft.Hosts)
	s := startVaultStoreWith(t, authority, proxy)
	logins := filepath.Join(s.authorityDir(), "logins")
	if err := os.Mkdir(logins, 0o700); err != nil {
		t.Fatal(err)
	}
	file := func(name, content string) string {
		path := filepath.Join(logins, name)
		write(t, path, content)
		return path
	}
	role := map[string]any{"token_policies": "app", "token_ttl": "15m"}
	with := func(fields map[string]any) map[string]any {
		for key, value := range role {
			fields[key] = value
		}
		return fields
	}
	for _, method := range []string{"kubernetes", "jwt", "cert", "userpass"} {
		s.Write(t, "sys/auth/"+method, map[string]any{"type": method})
	}
	s.Write(t, "sys/auth/clusters/eu", map[string]any{"type": "kubernetes"})
	for _, mount := range []string{"kubernetes", "clusters/eu"} {
		s.Write(t, "auth/"+mount+"/config", map[string]any{
			"kubernetes_host": cluster.URL, "kubernetes_ca_cert": read(t, cluster.CA),
			"token_reviewer_jwt": cluster.Token(t, "vault", "reviewer", "vault"), "disable_local_ca_jwt": true,
		})
		s.Write(t, "auth/"+mount+"/role/web", with(map[string]any{
			"bound_service_account_names": "web", "bound_service_account_namespaces": "shop", "audience": "vault",
		}))
	}
	s.Write(t, "auth/jwt/config", map[string]any{
		"jwt_validation_pubkeys": cluster.PublicKey(t), "jwt_supported_algs": "RS256",
	})
	s.Write(t, "auth/jwt/role/web", with(map[string]any{
		"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub", "bound_subject": "system:serviceaccount:shop:web",
	}))
	sts := servers.StartSTS(t, s.authority, cluster)
	s.Write(t, "sys/auth/aws", map[string]any{"type": "aws"})
	s.Write(t, "auth/aws/config/client", map[string]any{"sts_endpoint": sts.URL, "iam_server_id_header_value": "vault.example.test"})
	s.Write(t, "auth/aws/role/web", with(map[string]any{
		"auth_type": "iam", "bound_iam_principal_arn": "arn:aws:iam::123456789012:role/web", "resolve_aws_unique_ids": false,
	}))
	keys := func(role string) []string {
		id, secret := sts.Key(role)
		return []string{"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret}
	}
	signing := []string{"--auth", "aws", "--role", "web", "--audience", "vault.example.test"}
	pod := file("aws-token", cluster.Token(t, "shop", "web", "sts.amazonaws.com"))
	s.Write(t, "sys/auth/gcp", map[string]any{"type": "gcp"})
	s.Write(t, "auth/gcp/config", map[string]any{
		"credentials": google.Credentials(t), "custom_endpoint": map[string]any{"api": google.URL, "iam": google.URL},
	})
	for name, account := range map[string]string{"web": google.Account, "other": "other@shop.iam.gserviceaccount.com"} {
		s.Write(t, "auth/gcp/role/"+name, with(map[string]any{"type": "iam", "bound_service_accounts": account}))
	}
	s.Write(t, "sys/auth/azure", map[string]any{"type": "azure"})
	s.Write(t, "auth/azure/config", map[string]any{"tenant_id": microsoft.Tenant, "resource": microsoft.Resource})
	for name, principal := range map[string]string{"web": microsoft.Client, "other": "00000000-0000-0000-0000-000000000003"} {
		s.Write(t, "auth/azure/role/"+name, with(map[string]any{"bound_service_principal_ids": principal}))
	}
	workload := []string{
		"AZURE_FEDERATED_TOKEN_FILE=" + file("azure-token", cluster.Token(t, "shop", "web", "api://AzureADTokenExchange")),
		"AZURE_CLIENT_ID=" + microsoft.Client, "AZURE_TENANT_ID=" + microsoft.Tenant,
		proxy, "SSL_CERT_FILE=" + s.CA,
	}
	client := s.authority.Issue(t, "client")
	s.Write(t, "auth/cert/certs/web", with(map[string]any{"certificate": read(t, s.CA), "allowed_common_names": "client"}))
	s.Write(t, "auth/userpass/users/web", with(map[string]any{"password": "battery staple"}))

	account := file("account-token", cluster.Token(t, "shop", "web", "vault"))
	stranger := file("stranger-token", cluster.Token(t, "shop", "stranger", "vault"))
	wrapping := s.Client
	wrapping.WrapTTL = "5m"
	once := filepath.Join(logins, "wrapped")
	wrap := func() {
		answer, err := wrapping.Do(t.Context(), http.MethodPut, "auth/approle/role/app/secret-id", nil)
		if err != nil {
			t.Fatal(err)
		}
		write(t, once, answer.WrapInfo.Token)
	}
	for _, c := range []struct {
		name    string
		prepare func()
		options []string
		env     []string
		exit    int
		texts   []string // in log and report of what fails
	}{
		{name: "kubernetes", options: []string{"--auth", "kubernetes", "--role", "web", "--jwt-file", account}},
		{name: "kubernetes at another mount", options: []string{"--auth", "kubernetes", "--auth-path", "clusters/eu", "--role", "web", "--jwt-file", account}},
		{
			name: "kubernetes as somebody else", options: []string{"--auth", "kubernetes", "--role", "web", "--jwt-file", stranger},
			exit: 77, texts: []string{"kubernetes", "web"},
		},
		{
			name: "kubernetes with an unknown role", options: []string{"--auth", "kubernetes", "--role", "wbe", "--jwt-file", account},
			exit: 77, texts: []string{"kubernetes", "wbe"},
		},
		{name: "jwt", options: []string{"--auth", "jwt", "--role", "web", "--jwt-file", account}},
		{
			name: "jwt as somebody else", options: []string{"--auth", "jwt", "--role", "web", "--jwt-file", stranger},
			exit: 77, texts: []string{"jwt", "web"},
		},
		{name: "approle", options: []string{"--auth", "approle", "--role-id", s.roleID, "--secret-id-from", "file:" + s.secretID}},
		{
			name: "approle with a wrong secret id", options: []string{"--auth", "approle", "--role-id", s.roleID, "--secret-id-from", "env:WRONG"},
			env: []string{"WRONG=battery staple"}, exit: 77, texts: []string{"approle"},
		},
		{
			name: "approle with a wrapped secret id", prepare: wrap,
			options: []string{"--auth", "approle", "--role-id", s.roleID, "--secret-id-from", "file:" + once, "--secret-id-wrapped"},
		},
		{
			name:    "approle with a wrapped secret id that was unwrapped before",
			options: []string{"--auth", "approle", "--role-id", s.roleID, "--secret-id-from", "file:" + once, "--secret-id-wrapped"},
			exit:    77, texts: []string{"approle", "unwrap"},
		},
		{name: "cert", options: []string{"--auth", "cert", "--role", "web", "--cert-file", client.Certificate, "--key-file", client.Key}},
		{name: "cert without one", options: []string{"--auth", "cert", "--role", "web"}, exit: 64, texts: []string{"cert-file"}},
		{
			name:    "userpass",
			options: []string{"--auth", "userpass", "--username", "web", "--password-from", "env:RIGHT"}, env: []string{"RIGHT=battery staple"},
		},
		{
			name:    "userpass with a wrong password",
			options: []string{"--auth", "userpass", "--username", "web", "--password-from", "env:WRONG"}, env: []string{"WRONG=correct horse"},
			exit: 77, texts: []string{"userpass", "web"},
		},
		{name: "aws", options: signing, env: keys("web")},
		{name: "aws in a region", options: append(signing, "--region", "eu-central-1"), env: keys("web")},
		{name: "aws for another server", options: append(signing[:4:4], "--audience", "other.example.test"), env: keys("web"), exit: 77, texts: []string{"aws", "web"}},
		{name: "aws as somebody else", options: signing, env: keys("stranger"), exit: 77, texts: []string{"aws", "web"}},
		{
			name: "aws with a wrong key", options: signing, env: append(keys("web"), "AWS_SECRET_ACCESS_KEY=correct horse"),
			exit: 77, texts: []string{"aws", "web"},
		},
		{
			name: "aws with a service account's token", options: signing, env: []string{
				"AWS_WEB_IDENTITY_TOKEN_FILE=" + pod, "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/web", "AWS_REGION=eu-central-1",
				"AWS_ENDPOINT_URL_STS=" + sts.URL, "AWS_CA_BUNDLE=" + s.CA,
			},
		},
		{name: "gcp", options: []string{"--auth", "gcp", "--role", "web"}, env: []string{"GCE_METADATA_HOST=" + google.Metadata}},
		{
			name: "gcp as somebody else", options: []string{"--auth", "gcp", "--role", "other"}, env: []string{"GCE_METADATA_HOST=" + google.Metadata},
			exit: 77, texts: []string{"gcp", "other"},
		},
		{
			name: "gcp for another server", options: []string{"--auth", "gcp", "--role", "web", "--audience", "other"}, env: []string{"GCE_METADATA_HOST=" + google.Metadata},
			exit: 77, texts: []string{"gcp", "web"},
		},
		{name: "azure", options: []string{"--auth", "azure", "--role", "web"}, env: workload},
		{
			name: "azure as somebody else", options: []string{"--auth", "azure", "--role", "other"}, env: workload,
			exit: 77, texts: []string{"azure", "other"},
		},
		{
			name: "azure for another resource", options: []string{"--auth", "azure", "--role", "web", "--resource", "https://other.example.test/"}, env: workload,
			exit: 77, texts: []string{"azure", "web"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prepare != nil {
				c.prepare()
			}
			dest := strings.ReplaceAll(c.name, " ", "-")
			r := slipway.Command{
				Args: append(append([]string{"vault-render", s.source(t, appTemplate), s.path(dest)}, s.server()...), c.options...),
				Env:  c.env,
			}.Run(t)
			expect(t, r, c.exit, c.texts...)
			for _, secret := range []string{s.password, "battery staple", "correct horse", read(t, account), read(t, s.secretID)} {
				hides(t, r, secret)
			}
			if c.exit == 0 {
				s.holds(t, dest, "bob:"+s.password)
			} else if slices.Contains(names(t, s.dir), dest) {
				t.Error("there is a file, although nobody logged in")
			}
			s.nobodysTokens(t)
		})
	}
}

// A token that was given is used, and is not slipway's to revoke.
func TestVaultRenderUsesTheTokenThatItIsGiven(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	token := s.Write(t, "auth/token/create", map[string]any{"policies": []string{"app"}, "ttl": "15m"}).Auth.Token
	file := filepath.Join(s.authorityDir(), "token")
	write(t, file, token+"\n")
	for _, c := range []struct {
		name    string
		options []string
		env     []string
	}{
		{"file", append(s.server(), "--token-file", file), nil},
		{"variable", s.server(), []string{"VAULT_TOKEN=" + token}},
		{"only variables", nil, []string{"VAULT_TOKEN=" + token, "VAULT_ADDR=" + s.Address, "VAULT_CACERT=" + s.CA}},
	} {
		dest := strings.ReplaceAll(c.name, " ", "-")
		r := slipway.Command{
			Args: append([]string{"vault-render", s.source(t, appTemplate), s.path(dest)}, c.options...), Env: c.env,
		}.Run(t)
		expect(t, r, 0)
		hides(t, r, token)
		s.holds(t, dest, "bob:"+s.password)
	}
	if got := s.Accessors(t); len(got) != 1 {
		t.Errorf("the server knows the accessors %q, want the given token's alone", got)
	}
}

// The token that slipway logged in with is written for the application only if asked, and then lives on.
func TestVaultRenderSinksTheTokenOnRequest(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	r := s.render(t, appTemplate, "out", append(s.login(), "--token-sink", s.path("token"))...)
	expect(t, r, 0)
	mode(t, s.path("token"), 0o400)
	token := strings.TrimSpace(read(t, s.path("token")))
	hides(t, r, token)
	own := s.Client
	own.Token = token
	if _, err := own.Do(t.Context(), http.MethodGet, "secret/data/app", nil); err != nil {
		t.Errorf("the token in the sink: %v", err)
	}
}
