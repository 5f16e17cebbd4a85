package servers

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// The login that the database servers know.
const (
	User     = "app"
	Password = "correct horse"
)

// Postgres is a PostgreSQL server whose superuser is User, by SCRAM-SHA-256 with Password.
type Postgres struct {
	*Server
	Addr string
}

// PostgresOptions are the ways in which a test's PostgreSQL differs from a plain one.
type PostgresOptions struct {
	TLS     pki.Pair // empty is no TLS
	Standby bool     // it recovers, and says so to every client, until Promote
	Stopped bool     // it is prepared but not started: see Start
	Auth    string   // the method of pg_hba.conf; empty is scram-sha-256
}

// StartPostgres prepares a PostgreSQL server and starts it.
func StartPostgres(t testing.TB, options PostgresOptions) *Postgres {
	t.Helper()
	dir := Dir(t)
	data := filepath.Join(dir, "data")
	auth := options.Auth
	if auth == "" {
		auth = "scram-sha-256"
	}
	writeFile(t, filepath.Join(dir, "password"), []byte(Password+"\n"), 0o644)
	giveTo(t, "postgres", dir)
	runAs(t, spec{dir: dir, user: "postgres", args: []string{
		tools.Installed(t, "initdb"), "-D", data, "-U", User, "--auth=" + auth,
		"--pwfile=" + filepath.Join(dir, "password"), "--no-sync", "--no-locale", "-E", "UTF8",
	}})
	port := FreePort(t)
	config := lines("listen_addresses = '127.0.0.1'", "port = "+port, "unix_socket_directories = '"+dir+"'", "fsync = off")
	if options.TLS != (pki.Pair{}) {
		copyFile(t, options.TLS.Certificate, filepath.Join(data, "server.crt"))
		copyFile(t, options.TLS.Key, filepath.Join(data, "server.key"))
		config = append(config, lines("ssl = on")...)
		writeFile(t, filepath.Join(data, "pg_hba.conf"), lines("hostssl all all 127.0.0.1/32 "+auth), 0o600)
	}
	if options.Standby {
		config = append(config, lines("hot_standby = off")...)
		writeFile(t, filepath.Join(data, "standby.signal"), nil, 0o600)
	}
	writeFile(t, filepath.Join(data, "postgresql.auto.conf"), config, 0o600)
	giveTo(t, "postgres", data)
	p := &Postgres{Server: &Server{Dir: dir}, Addr: "127.0.0.1:" + port}
	if !options.Stopped {
		p.Start(t)
	}
	return p
}

// Start starts a server that was prepared but not started, and waits until it accepts connections.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	// SIGQUIT is PostgreSQL's immediate shutdown: the postmaster takes its children with it.
	p.Server = start(t, spec{dir: p.Dir, user: "postgres", stop: syscall.SIGQUIT, args: []string{
		tools.Installed(t, "postgres"), "-D", filepath.Join(p.Dir, "data"),
	}})
	p.awaitPort(t, p.Addr[len("127.0.0.1:"):])
}

// Promote ends the recovery of a standby.
func (p *Postgres) Promote(t testing.TB) {
	t.Helper()
	runAs(t, spec{dir: p.Dir, user: "postgres", args: []string{
		tools.Installed(t, "pg_ctl"), "promote", "-W", "-D", filepath.Join(p.Dir, "data"),
	}})
}
