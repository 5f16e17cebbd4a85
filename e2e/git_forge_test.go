package e2e

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/gitrepo"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// withLFS returns a repository with files of git LFS, and the environment in which git knows LFS.
func withLFS(t *testing.T) (r *gitrepo.Repository, environ []string) {
	t.Helper()
	tools.Installed(t, "git-lfs")
	r, environ = gitrepo.New(t), []string{"HOME=" + servers.Dir(t)}
	r.GitWith("", environ, "lfs", "install")
	r.GitWith("", environ, "lfs", "track", "*.bin")
	r.Write("small.bin", []byte("small"), 0o644)
	r.Write("dir/large.bin", noise(7, 20<<20), 0o755)
	r.Write("dir/copy.bin", noise(7, 20<<20), 0o644)
	r.Write("not-tracked.txt", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), 0o644)
	r.GitWith("", environ, "add", "-A")
	r.GitWith("", environ, "commit", "-q", "-m", "lfs")
	return r, environ
}

// withUser returns a URL with a user and password, for git alone: slipway refuses it.
func withUser(t *testing.T, text, user, password string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// A real forge gives a private repository to whoever has a password, a token or a key, with the objects of git LFS, over
// HTTP and over SSH; and to nobody else.
func TestGitForge(t *testing.T) {
	t.Parallel()
	forge := servers.StartGitea(t)
	dir := t.TempDir()
	key := servers.NewSSHKey(t, dir, "id", "")
	known := forge.KnownHosts(t)
	forge.API(t, "user/keys", map[string]any{"title": "key", "key": strings.TrimSpace(read(t, key+".pub"))}, nil)
	for _, name := range []string{"lfs", "outer"} {
		forge.API(t, "user/repos", map[string]any{"name": name, "private": true}, nil)
	}
	var made struct {
		SHA1 string `json:"sha1"`
	}
	forge.API(t, "users/"+servers.User+"/tokens", map[string]any{"name": "slipway", "scopes": []string{"read:repository"}}, &made)
	password, token := filepath.Join(dir, "password"), filepath.Join(dir, "token")
	write(t, password, servers.Password)
	write(t, token, made.SHA1+"\n")

	r, environ := withLFS(t)
	lfs := "/" + servers.User + "/lfs.git"
	r.GitWith("", environ, "push", "-q", withUser(t, forge.URL+lfs, servers.User, servers.Password), "main")
	outer := gitrepo.New(t)
	outer.Git("submodule", "--quiet", "add", r.Dir, "inner")
	outer.Git("config", "-f", ".gitmodules", "submodule.inner.url", "../lfs.git")
	outer.Commit("with a submodule")
	outer.Git("push", "-q", withUser(t, forge.URL+"/"+servers.User+"/outer.git", servers.User, servers.Password), "main")

	byGit := filepath.Join(servers.Dir(t), "by-git")
	r.GitWith("", environ, "clone", "-q", withUser(t, forge.URL+lfs, servers.User, servers.Password), byGit)
	ways := map[string][]string{
		"password": {forge.URL, "--username", servers.User, "--password-file", password},
		"token":    {forge.URL, "--password-file", token},
		"ssh":      {forge.SSH, "--ssh-key", key, "--known-hosts", known},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			tree := filepath.Join(t.TempDir(), "tree")
			clone := slipway.Command{Args: append([]string{"git-clone", way[0] + lfs, tree, "--lfs"}, way[1:]...)}
			result := clone.Run(t)
			expect(t, result, 0)
			hides(t, result, made.SHA1)
			sameTree(t, tree, byGit)
			expect(t, clone.Run(t), 0, "skipped")
			whole := filepath.Join(t.TempDir(), "outer")
			args := append([]string{"git-clone", way[0] + "/" + servers.User + "/outer.git", whole, "--lfs", "--submodules"}, way[1:]...)
			expect(t, slipway.Command{Args: args}.Run(t), 0)
			sameTree(t, filepath.Join(whole, "inner"), byGit)
		})
	}

	// Gitea takes a token by the Bearer scheme for git, not for LFS.
	pointers := filepath.Join(t.TempDir(), "tree")
	bearer := slipway.Command{Args: []string{"git-clone", forge.URL + lfs, pointers, "--bearer-file", token}}
	expect(t, bearer.Run(t), 0)
	if got := read(t, pointers+"/small.bin"); !strings.HasPrefix(got, "version https://git-lfs") {
		t.Errorf("by a bearer token: got %.100q, want the pointer", got)
	}

	nowhere := filepath.Join(t.TempDir(), "tree")
	stranger := servers.NewSSHKey(t, dir, "stranger", "")
	wrong := filepath.Join(dir, "wrong")
	write(t, wrong, "not the token")
	for name, way := range map[string][]string{
		"nobody":         {forge.URL},
		"a wrong token":  {forge.URL, "--password-file", wrong},
		"a stranger":     {forge.SSH, "--ssh-key", stranger, "--known-hosts", known},
		"a revoked word": {forge.URL, "--bearer-file", wrong},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"git-clone", way[0] + lfs, nowhere, "--lfs"}, way[1:]...)
			expect(t, slipway.Command{Args: args}.Run(t), 77)
			if _, err := os.Lstat(nowhere); err == nil {
				t.Error("there is a directory")
			}
		})
	}
}

// Without a key file the keys are those of an agent.
func TestGitBySSHAgent(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	r := gitrepo.New(t)
	r.Write("x", []byte("x"), 0o644)
	r.Commit("one")
	r.Publish(root, "one")
	sshd := servers.StartSSHD(t)
	agent := servers.StartSSHAgent(t)
	clone := func(socket string) slipway.Result {
		return slipway.Command{
			Args: []string{
				"git-clone", "ssh://" + sshd.User + "@" + sshd.Addr + root + "/one", filepath.Join(t.TempDir(), "tree"),
				"--known-hosts", sshd.KnownHosts,
			},
			Env: []string{"SSH_AUTH_SOCK=" + socket},
		}.Run(t)
	}
	expect(t, clone(agent.Socket), 77, "key")
	agent.Add(t, servers.NewSSHKey(t, t.TempDir(), "stranger", ""))
	expect(t, clone(agent.Socket), 77, "unable to authenticate")
	agent.Add(t, sshd.Key)
	expect(t, clone(agent.Socket), 0)
	expect(t, clone(filepath.Join(t.TempDir(), "no-agent")), 66, "SSH agent")
}

// An app's installation clones a private repository by a token for an hour. GitHub itself cannot be had here: a server of
// this test's gives the token, as its documentation says, once the app has proved itself; git's own server asks for it.
func TestGitByGitHubApp(t *testing.T) {
	t.Parallel()
	root, dir := servers.Dir(t), t.TempDir()
	r := gitrepo.New(t)
	r.Write("x", []byte("x"), 0o644)
	r.Commit("one")
	r.Publish(root, "one")
	users := filepath.Join(servers.Dir(t), "htpasswd")
	write(t, users, "x-access-token:{PLAIN}ghs_installation\n")
	server := servers.StartGitHTTP(t, root, "", "auth_basic git; auth_basic_user_file "+users+";")

	key := filepath.Join(dir, "key")
	output, err := exec.Command("openssl", "genrsa", "-traditional", "-out", key, "2048").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
	var asked int
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		asked++
		assertion, _ := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
		if request.Method != http.MethodPost || request.URL.Path != "/app/installations/7/access_tokens" || !signedBy(t, assertion, key) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"message": "A JSON web token could not be decoded"}`))
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token": "ghs_installation"}`))
	}))
	t.Cleanup(api.Close)
	clone := func(key string) slipway.Result {
		return slipway.Command{Args: []string{
			"git-clone", "http://" + server.Addr + "/one", filepath.Join(dir, "tree"), "--github-app", "Iv1.slipway", "--github-installation", "7",
			"--github-app-key", key, "--github-api", api.URL,
		}}.Run(t)
	}
	other := filepath.Join(dir, "other")
	if output, err := exec.Command("openssl", "genrsa", "-out", other, "2048").CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
	expect(t, clone(other), 77, "401", "installation")
	result := clone(key)
	expect(t, result, 0)
	hides(t, result, "ghs_installation")
	if got := read(t, dir+"/tree/x"); got != "x" || asked < 2 {
		t.Errorf("got %q, asked %d times", got, asked)
	}
}

// signedBy reports whether openssl finds a JSON Web Token signed by a private key with RS256.
func signedBy(t *testing.T, token, key string) bool {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	dir := t.TempDir()
	text, signature, public := filepath.Join(dir, "text"), filepath.Join(dir, "signature"), filepath.Join(dir, "public")
	write(t, text, parts[0]+"."+parts[1])
	write(t, signature, string(base64URL(t, parts[2])))
	if output, err := exec.Command("openssl", "rsa", "-in", key, "-pubout", "-out", public).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v\n%s", err, output)
	}
	return exec.Command("openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, text).Run() == nil
}

func base64URL(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Error(err)
	}
	return b
}
