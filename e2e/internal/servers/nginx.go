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
  access_log access.log; sendfile on;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  limit_req_zone $binary_remote_addr zone=throttle:1m rate=10r/s;
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

// Files returns the lines of an nginx that serves the files of a folder: at / with ranges, at /whole/ without, at /private/
// to who logs in as User, at /slow/ with 8 MiB a second for each connection, and at /throttled/ with 10 requests a second and
// S3's words for those that are too many.
func Files(t testing.TB, folder string) string {
	t.Helper()
	passwords := filepath.Join(Dir(t), "passwords")
	writeFile(t, passwords, lines(User+":{PLAIN}"+Password), 0o644)
	return fmt.Sprintf(`
    location / { root %[1]s; }
    location /whole/ { alias %[1]s/; max_ranges 0; }
    location /private/ { alias %[1]s/; auth_basic e2e; auth_basic_user_file %[2]s; }
    location /slow/ { alias %[1]s/; limit_rate 8m; }
    location /throttled/ { alias %[1]s/; %[3]s }
    %[4]s
`, folder, passwords, throttled, slowDown)
}

// Throttle returns the lines of an nginx in front of the S3 server at upstream ("127.0.0.1:9000") that answers 10 requests a
// second. Signatures hold, because the Host passes.
func Throttle(upstream string) string {
	return fmt.Sprintf(`
    location / {
      %s
      proxy_pass http://%s; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;
    }
    %s
`, throttled, upstream, slowDown)
}

const (
	throttled = "limit_req zone=throttle burst=2 nodelay; limit_req_status 503; error_page 503 @slow;"
	slowDown  = `location @slow {
      default_type application/xml; add_header Retry-After 1 always;
      return 503 '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>';
    }`
)
