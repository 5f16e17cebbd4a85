package e2e

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// renderStore renders an inline template without retries and returns the run and the file.
func renderStore(t *testing.T, template string, env ...string) (slipway.Result, string) {
	t.Helper()
	dest := filepath.Join(t.TempDir(), "out")
	r := slipway.Command{Args: []string{"render", "--inline", template, dest, "--mode", "0400", "--retries", "0"}, Env: env}.Run(t)
	hides(t, r, servers.Password)
	if r.Exit != 0 {
		return r, ""
	}
	return r, read(t, dest)
}

// renders checks what a template becomes.
func renders(t *testing.T, template, want string, env ...string) {
	t.Helper()
	r, got := renderStore(t, template, env...)
	expect(t, r, 0)
	if got != want {
		t.Errorf("%s: got %q, want %q", template, got, want)
	}
}

// refuses checks the exit code of a template that cannot be rendered.
func refuses(t *testing.T, template string, env []string, exit int, texts ...string) {
	t.Helper()
	r, _ := renderStore(t, template, env...)
	expect(t, r, exit, texts...)
}

func TestRenderFromEtcd(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	e := servers.StartEtcd(t, authority.Issue(t, "server"))
	e.Put(t, "app/db/password", servers.Password)
	e.Put(t, "app/port", "8080")
	e.Put(t, "other/key", "x")
	base := []string{"ETCDCTL_ENDPOINTS=" + e.URL, "ETCDCTL_CACERT=" + authority.File}
	renders(t, `{{ etcdKey "app/port" }} {{ etcdKeyOr "app/none" "1" }}{{ range etcdTree "app" }} {{ .Key }}{{ end }}`, "8080 1 db/password port", base...)
	refuses(t, `{{ etcdKey "app/prot" }}`, base, 66, "etcd has no key app/prot; beside it are app/db/password, app/port")
	refuses(t, `{{ etcdKey "app/port" }}`, base[:1], 77, "certificate")

	e.NeedLogin(t, "app/")
	refuses(t, `{{ etcdKey "app/port" }}`, base, 77, "user name is empty", "ETCDCTL_USER")
	refuses(t, `{{ etcdKey "app/port" }}`, append(base, "ETCDCTL_USER="+servers.User+":wrong"), 77, "authentication failed")
	login := append(base, "ETCDCTL_USER="+servers.User, "ETCDCTL_PASSWORD="+servers.Password)
	renders(t, `{{ etcdKey "app/db/password" }}`, servers.Password, login...)
	refuses(t, `{{ etcdKey "other/key" }}`, login, 77, "permission denied", "etcdctl role grant-permission ROLE read other/key")
	e.Stop(t)
	refuses(t, `{{ etcdKey "app/port" }}`, login, 69, "connection refused")
}

func TestRenderFromConsul(t *testing.T) {
	t.Parallel()
	c := servers.StartConsul(t)
	c.Put(t, "app/db/password", servers.Password)
	c.Put(t, "app/port", "8080")
	c.Put(t, "other/key", "x")
	base := []string{"CONSUL_HTTP_ADDR=" + c.URL, "CONSUL_HTTP_TOKEN=" + servers.ConsulToken}
	renders(t, `{{ key "app/port" }} {{ keyOrDefault "app/none" "1" }} {{ keyExists "app/port" }}`, "8080 1 true", base...)
	renders(t, `{{ range ls "app" }}{{ .Key }} {{ end }}{{ range tree "app" }}{{ .Key }} {{ end }}`, "port db/password port ", base...)
	renders(t, `{{ key "app/db/password" }}`, servers.Password, base...)
	refuses(t, `{{ key "app/prot" }}`, base, 66, "Consul has no key app/prot; beside it are app/db/, app/port")
	refuses(t, `{{ key "other/key" }}`, base, 77, "Consul answered 403", `key "other/key" { policy = "read" }`)
	refuses(t, `{{ key "app/port" }}`, base[:1], 77, "Consul answered 403")
	c.Stop(t)
	refuses(t, `{{ key "app/port" }}`, base, 69, "connection refused")
}

// A template of vault-render may join a secret of Vault with a key of Consul. A key that is not there leaves no file and no
// token.
func TestVaultRenderJoinsVaultAndConsul(t *testing.T) {
	t.Parallel()
	s := startVaultStore(t)
	c := servers.StartConsul(t)
	c.Put(t, "app/port", "8080")
	run := func(template, dest string) slipway.Result {
		return slipway.Command{
			Args: append([]string{"vault-render", s.source(t, template), s.path(dest)}, s.login()...),
			Env:  []string{"CONSUL_HTTP_ADDR=" + c.URL, "CONSUL_HTTP_TOKEN=" + servers.ConsulToken},
		}.Run(t)
	}
	r := run(appTemplate+`@db:{{ key "app/port" }}`, "joined")
	expect(t, r, 0)
	hides(t, r, s.password)
	s.holds(t, "joined", "bob:"+s.password+"@db:8080")
	expect(t, run(appTemplate+`@db:{{ key "app/prot" }}`, "none"), 66, "Consul has no key app/prot; beside it is app/port")
	if slices.Contains(names(t, s.dir), "none") {
		t.Error("there is a file, although a key was missing")
	}
	s.nobodysTokens(t)
}

// The emulator gives what AWS gives; what AWS refuses is in the unit tests, as AWS documents it.
func TestRenderFromAnEmulatorOfAWS(t *testing.T) {
	t.Parallel()
	m := servers.StartMoto(t)
	m.Do(t, "secretsmanager", "secretsmanager.CreateSecret", map[string]any{
		"Name": "prod/db", "SecretString": `{"username":"app","password":"` + servers.Password + `"}`,
	})
	for _, name := range []string{"/app/port", "/app/limits/cpu"} {
		m.Do(t, "ssm", "AmazonSSM.PutParameter", map[string]any{"Name": name, "Value": "value of " + name, "Type": "SecureString"})
	}
	base := []string{"AWS_ENDPOINT_URL=" + m.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}
	renders(t, `{{ awsSecret "prod/db" "username" }} {{ awsSecret "prod/db" "password" }}`, "app "+servers.Password, base...)
	renders(t, `{{ awsParameter "/app/port" }}{{ range awsParameters "/app" }} {{ .Key }}{{ end }}`, "value of /app/port limits/cpu port", base...)
	refuses(t, `{{ awsSecret "prod/none" }}`, base, 66, "AWS Secrets Manager has no secret prod/none; beside it is prod/db")
	refuses(t, `{{ awsSecret "prod/db" "pass" }}`, base, 65, "AWS secret prod/db: it has no key pass; beside it are password, username")
	refuses(t, `{{ awsParameter "/app/none" }}`, base, 66, "AWS Parameter Store has no parameter /app/none; beside it are /app/limits/cpu, /app/port")
	m.Stop(t)
	refuses(t, `{{ awsParameter "/app/port" }}`, base, 69, "connection refused")
}
