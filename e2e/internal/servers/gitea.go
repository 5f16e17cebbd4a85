package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Gitea is a forge: repositories over HTTP and SSH, private unless somebody says otherwise, with git LFS and tokens. Its
// database is PostgreSQL. User is its administrator, by Password.
type Gitea struct {
	*Server
	URL     string // of its pages and of git over HTTP, without a slash at the end
	SSH     string // the beginning of git's URLs over SSH, without a slash at the end
	SSHAddr string
}

// StartGitea starts a forge.
func StartGitea(t testing.TB) *Gitea {
	t.Helper()
	program, assets := tools.Built(t, "gitea"), tools.ModuleDir(t, "gitea", "code.gitea.io/gitea")
	database := StartPostgres(t, PostgresOptions{})
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, port, sshPort := Dir(t), FreePort(t), FreePort(t)
	g := &Gitea{
		URL: "http://" + net.JoinHostPort("127.0.0.1", port), SSHAddr: net.JoinHostPort("127.0.0.1", sshPort),
		SSH: "ssh://git@" + net.JoinHostPort("127.0.0.1", sshPort),
	}
	config := filepath.Join(dir, "app.ini")
	writeFile(t, config, lines(
		"RUN_USER = "+account.Username, "RUN_MODE = prod", "WORK_PATH = "+dir,
		fmt.Sprintf("I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = %t", os.Geteuid() == 0),
		"[server]", "HTTP_ADDR = 127.0.0.1", "HTTP_PORT = "+port, "ROOT_URL = "+g.URL+"/", "STATIC_ROOT_PATH = "+assets,
		"START_SSH_SERVER = true", "SSH_LISTEN_HOST = 127.0.0.1", "SSH_LISTEN_PORT = "+sshPort, "SSH_PORT = "+sshPort,
		"SSH_DOMAIN = 127.0.0.1", "BUILTIN_SSH_SERVER_USER = git", "LFS_START_SERVER = true",
		"LFS_JWT_SECRET = "+strings.Repeat("c2xpcHdheXNsaXB3YXlz", 2)+"c2w", "OFFLINE_MODE = true",
		"[database]", "DB_TYPE = postgres", "HOST = "+database.Addr, "NAME = postgres", "USER = "+User, "PASSWD = `"+Password+"`",
		"[security]", "INSTALL_LOCK = true", "SECRET_KEY = slipway", "PASSWORD_HASH_ALGO = pbkdf2_v2",
		"[service]", "DISABLE_REGISTRATION = true", "[repository]", "ENABLE_PUSH_CREATE_USER = true", "DEFAULT_PRIVATE = private",
		"[log]", "LEVEL = Warn", "[actions]", "ENABLED = false", "[cron]", "ENABLED = false", "[indexer]", "ISSUE_INDEXER_TYPE = db",
	), 0o600)
	gitea := func(args ...string) spec {
		return spec{dir: dir, args: append([]string{program, "--config", config, "--work-path", dir}, args...)}
	}
	runAs(t, gitea("migrate"))
	runAs(t, gitea("admin", "user", "create", "--username", User, "--password", Password, "--email", User+"@example.org",
		"--admin", "--must-change-password=false"))
	g.Server = start(t, gitea("web"))
	g.awaitPort(t, sshPort)
	g.await(t, "healthy", func() bool {
		response, err := http.Get(g.URL + "/api/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return g
}

// API posts to the forge's API as its administrator, and reads the answer into the last argument unless that is nil.
func (g *Gitea) API(t testing.TB, path string, body map[string]any, answer any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, g.URL+"/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(User, Password)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %s", path, response.Status)
	}
	if answer != nil {
		if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
}

// KnownHosts returns a file with the forge's host keys, as ssh-keyscan finds them.
func (g *Gitea) KnownHosts(t testing.TB) string {
	t.Helper()
	host, port, err := net.SplitHostPort(g.SSHAddr)
	if err != nil {
		t.Fatal(err)
	}
	found, err := command(t, spec{dir: g.Dir, args: []string{tools.Installed(t, "ssh-keyscan"), "-p", port, host}}).Output()
	if err != nil || len(found) == 0 {
		t.Fatalf("ssh-keyscan: %v", err)
	}
	file := filepath.Join(Dir(t), "known_hosts")
	writeFile(t, file, found, 0o644)
	return file
}
