package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// look runs wait-for with the right password in $RIGHT and a wrong one in $WRONG, and checks that neither is shown.
func look(t *testing.T, args ...string) slipway.Result {
	t.Helper()
	r := slipway.Command{
		Args: append([]string{"wait-for"}, args...),
		Env:  []string{"RIGHT=" + servers.Password, "WRONG=battery staple"},
	}.Run(t)
	hides(t, r, servers.Password)
	hides(t, r, "battery staple")
	return r
}

// The options that log in, rightly and wrongly.
var (
	login = []string{"--username", servers.User, "--password-from", "env:RIGHT"}
	wrong = []string{"--username", servers.User, "--password-from", "env:WRONG"}
)

func TestWaitForPostgres(t *testing.T) {
	t.Parallel()
	p := servers.StartPostgres(t, servers.PostgresOptions{})
	expect(t, look(t, "postgres://"+p.Addr), 0)
	expect(t, look(t, append(login, "postgres://"+p.Addr+"/postgres")...), 0)
	expect(t, look(t, append(login, "--fail-fast", "postgres://"+p.Addr+"/postgres")...), 0)
	expect(t, look(t, append(wrong, "--fail-fast", "postgres://"+p.Addr+"/postgres")...), 77,
		"password authentication failed", `"hint"`)
	expect(t, look(t, append(wrong, "--timeout", "300ms", "postgres://"+p.Addr+"/postgres")...), 69,
		"timed out after 300ms", "password authentication failed")
	expect(t, look(t, append(login, "--timeout", "300ms", "postgres://"+p.Addr+"/nosuch")...), 69, `nosuch`)
	expect(t, look(t, "unix://"+filepath.Join(p.Dir, ".s.PGSQL."+strings.TrimPrefix(p.Addr, "127.0.0.1:"))), 0)
	p.Stop(t)
	expect(t, look(t, "--timeout", "300ms", "postgres://"+p.Addr), 69, "connection refused")
	expect(t, look(t, "--not", "postgres://"+p.Addr), 0)
}

func TestWaitForPostgresKnowsEveryLogin(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{"md5", "password"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			p := servers.StartPostgres(t, servers.PostgresOptions{Auth: auth})
			expect(t, look(t, append(login, "postgres://"+p.Addr+"/postgres")...), 0)
			expect(t, look(t, append(wrong, "--fail-fast", "postgres://"+p.Addr+"/postgres")...), 77)
		})
	}
}

func TestWaitForPostgresOverTLS(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	stranger := pki.New(t, servers.Dir(t))
	p := servers.StartPostgres(t, servers.PostgresOptions{TLS: authority.Issue(t, "server")})
	target := "postgres://" + p.Addr + "/postgres?sslmode="
	expect(t, look(t, append(login, target+"require")...), 0)
	expect(t, look(t, append(login, "--ca-file", authority.File, target+"verify-full")...), 0)
	expect(t, look(t, append(login, "--ca-file", stranger.File, "--fail-fast", target+"verify-full")...), 77, "certificate")
	expect(t, look(t, append(login, "--timeout", "300ms", target+"disable")...), 69, "no pg_hba.conf entry")
}

// A PostgreSQL that recovers accepts connections and answers 57P03: it is there, but not ready.
func TestWaitForPostgresThatIsStillStarting(t *testing.T) {
	t.Parallel()
	p := servers.StartPostgres(t, servers.PostgresOptions{Standby: true})
	expect(t, look(t, "tcp://"+p.Addr), 0)
	expect(t, look(t, "--timeout", "300ms", "--fail-fast", "postgres://"+p.Addr), 69, "database system")
	waiting := slipway.Command{Args: []string{"wait-for", "--timeout", "60s", "postgres://" + p.Addr}}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	p.Promote(t)
	expect(t, waiting.Wait(t), 0)
}

// The server starts while slipway waits: refused, starting up, ready.
func TestWaitForPostgresFromBeforeItsStart(t *testing.T) {
	t.Parallel()
	p := servers.StartPostgres(t, servers.PostgresOptions{Stopped: true})
	waiting := slipway.Command{
		Args: append(append([]string{"wait-for", "--timeout", "60s", "--fail-fast"}, login...), "postgres://"+p.Addr+"/postgres"),
		Env:  []string{"RIGHT=" + servers.Password},
	}.Start(t)
	waiting.AwaitStderr(t, "trying again")
	p.Start(t)
	expect(t, waiting.Wait(t), 0)
}

func TestWaitForMariaDB(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	m := servers.StartMariaDB(t, authority.Issue(t, "server"))
	expect(t, look(t, "mysql://"+m.Addr), 0)
	expect(t, look(t, append(login, "mysql://"+m.Addr+"/app")...), 0)
	expect(t, look(t, append(login, "mariadb://"+m.Addr)...), 0)
	expect(t, look(t, append(login, "--ca-file", authority.File, "mysql://"+m.Addr+"/app?tls=true")...), 0)
	expect(t, look(t, append(wrong, "--fail-fast", "mysql://"+m.Addr+"/app")...), 77, "Access denied")
	expect(t, look(t, append(login, "--fail-fast", "mysql://"+m.Addr+"/mysql")...), 77, "Access denied")
	expect(t, look(t, append(wrong, "--timeout", "300ms", "mysql://"+m.Addr+"/app")...), 69, "Access denied")
	expect(t, look(t, "--timeout", "300ms", "postgres://"+m.Addr), 69)
	m.Stop(t)
	expect(t, look(t, "--not", "mysql://"+m.Addr), 0)
}

func TestWaitForRedis(t *testing.T) {
	t.Parallel()
	r := servers.StartRedis(t, pki.Pair{})
	expect(t, look(t, "redis://"+r.Addr), 0)
	expect(t, look(t, "unix://"+filepath.Join(r.Dir, "redis.sock")), 0)
	expect(t, look(t, "--password-from", "env:RIGHT", "redis://"+r.Addr), 0)
	expect(t, look(t, "--password-from", "env:WRONG", "--fail-fast", "redis://"+r.Addr), 77, "WRONGPASS")
	expect(t, look(t, "--timeout", "300ms", "mysql://"+r.Addr), 69)
	r.Stop(t)
	expect(t, look(t, "--not", "redis://"+r.Addr), 0)
}

func TestWaitForRedisOverTLS(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	r := servers.StartRedis(t, authority.Issue(t, "server"))
	expect(t, look(t, "--ca-file", authority.File, "--password-from", "env:RIGHT", "rediss://"+r.Addr), 0)
	expect(t, look(t, "--fail-fast", "--password-from", "env:RIGHT", "rediss://"+r.Addr), 77, "certificate")
	expect(t, look(t, "--timeout", "300ms", "redis://"+r.Addr), 69)
}

func TestWaitForRedisThatIsLoading(t *testing.T) {
	t.Parallel()
	r := servers.StartRedisLoading(t)
	expect(t, look(t, "--password-from", "env:RIGHT", "--timeout", "500ms", "--fail-fast", "redis://"+r.Addr), 69, "LOADING")
	waiting := slipway.Command{
		Args: []string{"wait-for", "--timeout", "60s", "--password-from", "env:RIGHT", "redis://" + r.Addr},
		Env:  []string{"RIGHT=" + servers.Password},
	}.Start(t)
	waiting.AwaitStderr(t, "LOADING")
	r.Load(t)
	expect(t, waiting.Wait(t), 0)
}
