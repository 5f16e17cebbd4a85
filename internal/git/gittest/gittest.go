// Package gittest makes repositories with the real git, for tests, and serves them by git's own HTTP backend.
package gittest

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repository is a repository with a worktree.
type Repository struct {
	Dir string
	t   testing.TB
	env []string
}

// New returns an empty repository; args are further ones of git init.
func New(t testing.TB, args ...string) *Repository {
	t.Helper()
	r := &Repository{Dir: filepath.Join(t.TempDir(), "repository"), t: t}
	r.env = Environ(t)
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Git(append([]string{"init", "-q", "-b", "main"}, args...)...)
	return r
}

// Environ returns an environment in which git does the same on every machine.
func Environ(t testing.TB) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.org", "GIT_COMMITTER_DATE=1700000000 +0000",
		"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
		"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*", "GIT_CONFIG_KEY_2=gc.auto", "GIT_CONFIG_VALUE_2=0",
	}
}

// Git runs git in the repository and returns what it prints, without the last line feed.
func (r *Repository) Git(args ...string) string {
	r.t.Helper()
	return r.GitWith("", args...)
}

// GitWith is Git with a standard input.
func (r *Repository) GitWith(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.Dir, r.env, strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s%s", args, err, out, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Write writes a file of the worktree.
func (r *Repository) Write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
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

// Tree adds a tree of the given entries and returns its id. Git mktree takes them as they are, so that it may be one that
// git itself would not make: "100644 blob ID\tNAME".
func (r *Repository) Tree(entries ...string) string {
	r.t.Helper()
	return r.GitWith(strings.Join(entries, "\x00")+"\x00", "mktree", "-z")
}

// CommitTree commits a tree of the given entries, see Tree.
func (r *Repository) CommitTree(entries ...string) string {
	r.t.Helper()
	commit := r.Git("commit-tree", "-m", "a tree", r.Tree(entries...))
	r.Git("update-ref", "refs/heads/main", commit)
	return commit
}

// Blob adds an object and returns its id.
func (r *Repository) Blob(content string) string {
	r.t.Helper()
	return r.GitWith(content, "hash-object", "-w", "--stdin")
}

// Serve serves the folder that repositories lie in by git http-backend and returns its URL. Protocol is the highest
// version that is spoken.
func Serve(t testing.TB, root string, protocol int) string {
	t.Helper()
	server := httptest.NewServer(Backend(t, root, protocol))
	t.Cleanup(server.Close)
	return server.URL
}

// Backend is git http-backend, see Serve.
func Backend(t testing.TB, root string, protocol int) http.Handler {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	environ := append(Environ(t), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		env := environ
		if asked := r.Header.Get("Git-Protocol"); asked != "" && protocol > 0 {
			if protocol == 1 {
				asked = "version=1"
			}
			env = append(env[:len(env):len(env)], "GIT_PROTOCOL="+asked)
		}
		(&cgi.Handler{Path: backend, Env: env}).ServeHTTP(w, r)
	})
}

// Parent returns the folder that the repository lies in, to be served.
func (r *Repository) Parent() string { return filepath.Dir(r.Dir) }
