package e2e

import (
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// What the real git-lfs has pushed comes as the real git-lfs gets it, verified; an object that is another one, or missing,
// stops the run: a forge keeps no such objects, so the server is a stand-in (TestGitForge has a real one).
func TestGitLFS(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	backend, err := url.Parse("http://" + servers.StartGitHTTP(t, root, "", "").Addr)
	if err != nil {
		t.Fatal(err)
	}
	server := servers.StartLFS(t, "bob", "s3cret", httputil.NewSingleHostReverseProxy(backend))
	r, environ := withLFS(t)
	r.Publish(root, "repository.git")
	address := withUser(t, server.URL+"/repository.git", "bob", "s3cret")
	r.GitWith("", environ, "lfs", "push", address, "main")
	want := filepath.Join(servers.Dir(t), "by-git")
	r.GitWith("", environ, "clone", "-q", address, want)

	password := filepath.Join(t.TempDir(), "password")
	write(t, password, "s3cret")
	clone := func(name, dir string, options ...string) slipway.Result {
		args := append([]string{"git-clone", server.URL + "/" + name, dir, "--username", "bob", "--password-file", password}, options...)
		return slipway.Command{Args: args}.Run(t)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	expect(t, clone("repository.git", dir, "--lfs"), 0)
	sameTree(t, dir, want)
	expect(t, clone("repository.git", dir, "--lfs"), 0, "skipped")

	pointers := filepath.Join(t.TempDir(), "pointers")
	expect(t, clone("repository.git", pointers), 0)
	if got := read(t, pointers+"/small.bin"); !strings.HasPrefix(got, "version https://git-lfs") {
		t.Errorf("without --lfs: got %.100q, want the pointer", got)
	}
	part := filepath.Join(t.TempDir(), "part")
	expect(t, clone("repository.git", part, "--lfs", "--path", "small.bin"), 0)
	if got := read(t, part+"/small.bin"); got != "small" {
		t.Errorf("by --path: got %.100q", got)
	}

	object := filepath.Join(server.Objects, digest([]byte("small")))
	write(t, object, "smaLl")
	other := filepath.Join(t.TempDir(), "other")
	expect(t, clone("repository.git", other, "--lfs"), 65, "small.bin")
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	expect(t, clone("repository.git", other, "--lfs"), 66, "no such object")
	if _, err := os.Lstat(other); err == nil {
		t.Error("there is a directory")
	}
}
