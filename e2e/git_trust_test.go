package e2e

import (
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

// What the real gpg has signed is taken from whom it is trusted, and from nobody else.
func TestGitSignedByGPG(t *testing.T) {
	t.Parallel()
	home := servers.Dir(t) // short, for the socket of gpg's agent
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	environ := []string{"GNUPGHOME=" + home, "HOME=" + home}
	gpg := func(args ...string) string {
		cmd := exec.Command(tools.Installed(t, "gpg"), append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
		cmd.Env = append(gitrepo.Environ(), environ...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "gpg-agent")
		stop.Env = append(gitrepo.Environ(), environ...)
		_ = stop.Run() // it ends by itself, too, when its folder is gone
	})
	for _, name := range []string{"dev", "other"} {
		gpg("--faked-system-time", "1600000000!", "--quick-gen-key", name+"@example.org", "ed25519", "sign", "never")
	}
	root, dir := servers.Dir(t), t.TempDir()
	r := gitrepo.New(t)
	r.Write("x", []byte("x"), 0o644)
	r.Git("add", "-A")
	r.GitWith("", environ, "-c", "user.signingkey=dev@example.org", "commit", "-q", "-S", "-m", "signed")
	r.GitWith("", environ, "-c", "user.signingkey=dev@example.org", "tag", "-s", "-m", "signed", "v1")
	r.Git("checkout", "-q", "-b", "unsigned")
	r.Commit("not signed")
	r.Git("checkout", "-q", "main")
	r.Publish(root, "repository")
	way := []string{"git://" + servers.StartGitDaemon(t, root)}
	for _, name := range []string{"dev", "other"} {
		write(t, filepath.Join(dir, name), gpg("--armor", "--export", name+"@example.org"))
	}
	for _, c := range []struct {
		ref, key string
		exit     int
		text     string
	}{
		{"main", "dev", 0, "signer"},
		{"v1", "dev", 0, "dev@example.org"},
		{"main", "other", 65, "not trusted"},
		{"unsigned", "dev", 65, "not signed"},
	} {
		tree := filepath.Join(t.TempDir(), "tree")
		expect(t, gitClone(way, "repository", tree, "--ref", c.ref, "--verify-signature", filepath.Join(dir, c.key)).Run(t), c.exit, c.text)
	}
}

// A submodule on another server gets what is meant for that one, and not the token of the first.
func TestGitSubmoduleOnAnotherServer(t *testing.T) {
	t.Parallel()
	root, dir := servers.Dir(t), t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(servers.Dir(t), name)
		write(t, path, content)
		return path
	}
	guard := func(user string) string {
		return "auth_basic git; auth_basic_user_file " + file("htpasswd", user+"\n") + ";"
	}
	first := servers.StartGitHTTP(t, root, "", guard("bob:{PLAIN}first-secret"))
	second := servers.StartGitHTTP(t, root, "", guard("carol:{PLAIN}second-secret"))
	there := strings.Replace(second.Addr, "127.0.0.1", "localhost", 1)

	library := gitrepo.New(t)
	library.Write("library.txt", []byte("library"), 0o644)
	library.Commit("library")
	library.Publish(root, "library")
	r := gitrepo.New(t)
	r.Write("main.txt", []byte("main"), 0o644)
	for name, url := range map[string]string{"near": "../library", "far": "http://" + there + "/library"} {
		r.Git("submodule", "--quiet", "add", library.Dir, name)
		r.Git("config", "-f", ".gitmodules", "submodule."+name+".url", url)
	}
	r.Commit("with submodules")
	r.Publish(root, "repository")

	args := []string{
		"git-clone", "http://" + first.Addr + "/repository", filepath.Join(dir, "tree"), "--submodules",
		"--username", "bob", "--password-file", file("password", "first-secret"),
	}
	result := slipway.Command{Args: args}.Run(t)
	expect(t, result, 77, "far", "401")
	hides(t, result, "first-secret")
	netrc := file("netrc", "machine localhost login carol password second-secret\nmachine 127.0.0.1 login x password y\n")
	expect(t, slipway.Command{Args: append(args, "--netrc-file", netrc)}.Run(t), 0)
	for name, want := range map[string]string{"main.txt": "main", "near/library.txt": "library", "far/library.txt": "library"} {
		if got := read(t, filepath.Join(dir, "tree", name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Proxies are those of the environment, and what is for them is not for the server.
func TestGitThroughAProxy(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	r := gitrepo.New(t)
	r.Write("x", []byte("x"), 0o644)
	r.Commit("one")
	r.Publish(root, "one")
	server := servers.StartGitHTTP(t, root, "", "")
	proxy := servers.StartNginx(t, "", "location / { proxy_pass http://"+server.Addr+"; proxy_set_header Host $host; }")
	dir := filepath.Join(t.TempDir(), "tree")
	command := slipway.Command{
		Args: []string{"git-clone", "http://git.example.org/one", dir},
		Env:  []string{"HTTP_PROXY=http://" + proxy.Addr},
	}
	expect(t, command.Run(t), 0)
	if got := read(t, dir+"/x"); got != "x" {
		t.Errorf("got %q", got)
	}
}
