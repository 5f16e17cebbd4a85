package servers

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// MariaDB is a MariaDB server with the account User, Password, and the database "app".
type MariaDB struct {
	*Server
	Addr string
}

// StartMariaDB prepares a MariaDB server and starts it, with TLS on offer unless certificate is empty.
func StartMariaDB(t testing.TB, certificate pki.Pair) *MariaDB {
	t.Helper()
	dir := Dir(t)
	data := filepath.Join(dir, "data")
	giveTo(t, "mysql", dir)
	runAs(t, spec{dir: dir, user: "mysql", args: []string{
		tools.Installed(t, "mariadb-install-db"), "--no-defaults", "--datadir=" + data, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--skip-log-bin", "--innodb-flush-method=nosync",
	}})
	account := filepath.Join(dir, "account.sql")
	writeFile(t, account, lines(
		"CREATE DATABASE app;",
		fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s';", User, Password),
		fmt.Sprintf("GRANT ALL ON app.* TO '%s'@'%%';", User),
	), 0o644)
	port := FreePort(t)
	args := []string{
		tools.Installed(t, "mariadbd"), "--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1",
		"--port=" + port, "--socket=" + filepath.Join(dir, "s.sock"), "--pid-file=" + filepath.Join(dir, "pid"),
		"--init-file=" + account, "--innodb-flush-method=nosync", "--skip-name-resolve",
	}
	if certificate != (pki.Pair{}) {
		args = append(args, "--ssl-cert="+certificate.Certificate, "--ssl-key="+certificate.Key)
	}
	// SIGKILL, because a SIGTERM in the middle of the start is forgotten; nobody wants the data afterwards.
	server := start(t, spec{dir: dir, user: "mysql", args: args, stop: syscall.SIGKILL})
	server.awaitLog(t, "ready for connections")
	return &MariaDB{Server: server, Addr: "127.0.0.1:" + port}
}
