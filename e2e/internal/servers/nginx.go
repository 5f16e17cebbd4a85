package servers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Nginx is an nginx server.
type Nginx struct {
	*Server
	Addr string
}

// StartNginx starts nginx with the given lines in its one server block, which listens on Addr with the given options
// ("ssl", or nothing).
func StartNginx(t testing.TB, listen, block string) *Nginx {
	t.Helper()
	return startNginx(t, FreePort(t), listen, block)
}

// StartNginxAt is StartNginx on a port of 127.0.0.1 that FreePort gave before.
func StartNginxAt(t testing.TB, port, block string) *Nginx {
	t.Helper()
	return startNginx(t, port, "", block)
}

func startNginx(t testing.TB, port, listen, block string) *Nginx {
	t.Helper()
	dir := Dir(t)
	var config bytes.Buffer
	fmt.Fprintln(&config, "daemon off; worker_processes 1; error_log stderr warn; pid nginx.pid;")
	if os.Geteuid() == 0 {
		fmt.Fprintln(&config, "user root;") // the worker reads folders that are root's alone
	}
	fmt.Fprintf(&config, `events {}
http {
  access_log access.log;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {
    listen %s %s;
    %s
  }
}
`, net.JoinHostPort("127.0.0.1", port), listen, block)
	path := filepath.Join(dir, "nginx.conf")
	writeFile(t, path, config.Bytes(), 0o644)
	server := start(t, spec{dir: dir, args: []string{tools.Installed(t, "nginx"), "-p", dir, "-e", "stderr", "-c", path}})
	server.awaitPort(t, port)
	return &Nginx{Server: server, Addr: net.JoinHostPort("127.0.0.1", port)}
}
