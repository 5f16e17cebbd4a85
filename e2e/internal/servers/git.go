package servers

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// gitCore is where Debian keeps git's own programs.
const gitCore = "/usr/lib/git-core"

// StartGitHTTP starts nginx in front of git http-backend, which serves the repositories below root. Listen and block are
// StartNginx's; the block may hold what asks for a password.
func StartGitHTTP(t testing.TB, root, listen, block string) *Nginx {
	t.Helper()
	dir := Dir(t)
	socket := filepath.Join(dir, "fcgi")
	wrap := start(t, spec{
		dir:  dir,
		args: []string{tools.Installed(t, "fcgiwrap"), "-c", "4", "-s", "unix:" + socket},
		env: []string{
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
	})
	wrap.await(t, "listening", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	return StartNginx(t, listen, block+fmt.Sprintf(`
    client_max_body_size 0;
    location / {
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME %s/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT %s;
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_buffering off;
      fastcgi_read_timeout 600;
      fastcgi_pass unix:%s;
    }`, gitCore, root, socket))
}

// StartGitDaemon starts git daemon over the repositories below root and returns its address.
func StartGitDaemon(t testing.TB, root string) string {
	t.Helper()
	port := FreePort(t)
	server := start(t, spec{
		dir: Dir(t),
		args: []string{ // not by git, which would start it as a child
			gitCore + "/git-daemon", "--reuseaddr", "--listen=127.0.0.1", "--port=" + port, "--export-all", "--base-path=" + root,
		},
		env: []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	server.awaitPort(t, port)
	return net.JoinHostPort("127.0.0.1", port)
}

// SSHD is an OpenSSH server that lets one key in, as the user that runs the test.
type SSHD struct {
	*Server
	Addr       string
	User       string
	Key        string // the file of the private key
	KnownHosts string // the file with the server's key
}

// StartSSHD starts sshd. Extra are further lines of its configuration.
func StartSSHD(t testing.TB, extra ...string) *SSHD {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd asks for it when it is root's
			t.Fatal(err)
		}
	}
	dir, port := Dir(t), FreePort(t)
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHD{
		Addr: net.JoinHostPort("127.0.0.1", port), User: account.Username, Key: NewSSHKey(t, dir, "id", ""),
		KnownHosts: filepath.Join(dir, "known_hosts"),
	}
	host := NewSSHKey(t, dir, "host", "")
	public := func(key string) string {
		text, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	writeFile(t, filepath.Join(dir, "authorized_keys"), lines(public(s.Key)), 0o600)
	writeFile(t, s.KnownHosts, lines(fmt.Sprintf("[127.0.0.1]:%s %s", port, public(host))), 0o644)
	config := append([]string{
		"Port " + port, "ListenAddress 127.0.0.1", "HostKey " + host, "AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no", "StrictModes no", "PidFile none",
		"SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*",
	}, extra...)
	file := filepath.Join(dir, "sshd_config")
	writeFile(t, file, lines(config...), 0o600)
	s.Server = start(t, spec{dir: dir, args: []string{tools.Installed(t, "sshd"), "-D", "-e", "-f", file}})
	s.awaitPort(t, port)
	return s
}

// NewSSHKey makes a key in dir and returns its file; "" is no passphrase.
func NewSSHKey(t testing.TB, dir, name, passphrase string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	runAs(t, spec{dir: dir, args: []string{tools.Installed(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", file}})
	return file
}

// Authorize lets another key in.
func (s *SSHD) Authorize(t testing.TB, key string) {
	t.Helper()
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(s.Dir, "authorized_keys")
	before, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, known, append(before, public...), 0o600)
}

// SSHAgent is OpenSSH's agent.
type SSHAgent struct {
	*Server
	Socket string
}

// StartSSHAgent starts an agent that holds no keys yet.
func StartSSHAgent(t testing.TB) *SSHAgent {
	t.Helper()
	dir := Dir(t)
	a := &SSHAgent{Socket: filepath.Join(dir, "agent")}
	a.Server = start(t, spec{dir: dir, args: []string{tools.Installed(t, "ssh-agent"), "-D", "-a", a.Socket}})
	a.await(t, "listening", func() bool {
		_, err := os.Stat(a.Socket)
		return err == nil
	})
	return a
}

// Add gives the agent a key without a passphrase.
func (a *SSHAgent) Add(t testing.TB, key string) {
	t.Helper()
	runAs(t, spec{dir: a.Dir, args: []string{tools.Installed(t, "ssh-add"), "-q", key}, env: []string{"SSH_AUTH_SOCK=" + a.Socket}})
}
