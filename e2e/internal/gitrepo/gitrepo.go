// Package gitrepo makes repositories with the real git, for servers to serve.
package gitrepo

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// Repository is a repository with a worktree, which Publish puts where a server finds it.
type Repository struct {
	Dir string // of the worktree

	t testing.TB
}

// New returns an empty repository; args are further ones of git init.
func New(t testing.TB, args ...string) *Repository {
	t.Helper()
	r := &Repository{Dir: filepath.Join(t.TempDir(), "work"), t: t}
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Git(append([]string{"init", "-q", "-b", "main"}, args...)...)
	return r
}

// Environ returns an environment in which git does the same on every machine.
func Environ() []string {
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.org", "GIT_COMMITTER_DATE=1700000000 +0000",
		"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always", "GIT_CONFIG_KEY_2=gc.auto", "GIT_CONFIG_VALUE_2=0",
	}
}

// Git runs git in the worktree and returns what it prints, without the last line feed.
func (r *Repository) Git(args ...string) string {
	r.t.Helper()
	return r.GitWith("", nil, args...)
}

// GitWith is Git with a standard input and a larger environment.
func (r *Repository) GitWith(stdin string, env []string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(tools.Installed(r.t, "git"), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.Dir, append(Environ(), env...), strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s%s", args, err, out, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Write writes a file of the worktree.
func (r *Repository) Write(name string, content []byte, mode fs.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		r.t.Fatal(err)
	}
}

// Commit commits all of the worktree and returns the commit's id.
func (r *Repository) Commit(message string) string {
	r.t.Helper()
	r.Git("add", "-A")
	r.Git("commit", "-q", "--allow-empty", "-m", message)
	return r.Git("rev-parse", "HEAD")
}

// Publish makes the repository available as NAME below root, bare and packed, and returns its path. Publishing it again
// brings that up to date.
func (r *Repository) Publish(root, name string) string {
	r.t.Helper()
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		r.Git("clone", "-q", "--mirror", r.Dir, path)
		r.Git("-C", path, "config", "uploadpack.allowFilter", "true")
		r.Git("-C", path, "repack", "-adq")
		return path
	}
	r.Git("-C", path, "fetch", "-q", "--prune")
	return path
}

// Clone has git clone a URL into a fresh folder of the test, which it returns.
func Clone(t testing.TB, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "by-git")
	cmd := exec.Command(tools.Installed(t, "git"), append(append([]string{"clone", "-q"}, args...), dir)...)
	cmd.Env = Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git clone %q: %v\n%s", args, err, out)
	}
	return dir
}
