package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/gitrepo"
	"github.com/slipway-init/slipway/e2e/internal/servers"
)

// commitTree makes main a commit of a tree of the given entries, "100644 blob ID\tNAME", as they are: git itself would
// not make some of them.
func commitTree(r *gitrepo.Repository, entries ...string) {
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", "-m", "a tree", makeTree(r, entries...)))
}

func makeTree(r *gitrepo.Repository, entries ...string) string {
	return r.GitWith(strings.Join(entries, "\x00")+"\x00", nil, "mktree", "-z")
}

func blob(r *gitrepo.Repository, content string) string {
	return r.GitWith(content, nil, "hash-object", "-w", "--stdin")
}

// What is not to be written is refused by whatever way it comes, and there is no directory then. (What is odd and fine is
// in TestGitTreesAreThoseOfGit.)
func TestGitRefusesOddRepositories(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	type odd struct {
		name string
		exit int
		text string
		make func(r *gitrepo.Repository)
	}
	cases := []odd{
		{"empty", 66, "empty", func(*gitrepo.Repository) {}},
		{"link-out", 65, "--path", func(r *gitrepo.Repository) {
			r.Write("fine", []byte("x"), 0o644)
			if err := os.Symlink("../../etc/passwd", filepath.Join(r.Dir, "link")); err != nil {
				t.Fatal(err)
			}
			r.Commit("links")
		}},
		{"link-to-root", 65, "absolute", func(r *gitrepo.Repository) {
			commitTree(r, "120000 blob "+blob(r, "/etc/passwd")+"\tlink")
		}},
		{"modules-by-link", 65, ".gitmodules", func(r *gitrepo.Repository) {
			commitTree(r, "120000 blob "+blob(r, "x")+"\t.gitmodules")
		}},
		{"link-and-directory", 73, "twice", func(r *gitrepo.Repository) {
			entries := []string{
				"120000 blob " + blob(r, ".git") + "\ta",
				"040000 tree " + makeTree(r, "100755 blob "+blob(r, "#!/bin/sh\n")+"\thook") + "\ta",
			}
			empty := blob(r, "")
			for i := range 5000 {
				entries = append(entries, fmt.Sprintf("100644 blob %s\ta.%04d", empty, i))
			}
			commitTree(r, entries...)
		}},
	}
	for i, name := range []string{".git", ".GIT", "git~1", "GIT~1", ".git ", ".git. .", ".git::$INDEX_ALLOCATION", `x\.git\config`, ".g\u200cit", "\ufeff.git"} {
		cases = append(cases, odd{fmt.Sprint("disguised-", i), 65, "git's own", func(r *gitrepo.Repository) {
			commitTree(r, "040000 tree "+makeTree(r, "100644 blob "+blob(r, "x")+"\tconfig")+"\t"+name)
		}})
	}
	for _, c := range cases {
		r := gitrepo.New(t)
		c.make(r)
		r.Publish(root, c.name)
	}
	for way, by := range map[string][]string{
		"http": {"http://" + servers.StartGitHTTP(t, root, "", "").Addr}, "git": {"git://" + servers.StartGitDaemon(t, root)}, "file": {"file://" + root},
	} {
		for _, c := range cases {
			t.Run(c.name+" by "+way, func(t *testing.T) {
				parent := t.TempDir()
				dir := filepath.Join(parent, "tree")
				expect(t, gitClone(by, c.name, dir, "--keep-git").Run(t), c.exit, c.text)
				if left := names(t, parent); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
		dir := filepath.Join(t.TempDir(), "tree")
		expect(t, gitClone(by, "link-out", dir, "--path", "fine").Run(t), 0)
		if got := read(t, dir+"/fine"); got != "x" {
			t.Errorf("%s: without the link: got %q", way, got)
		}
	}
}

// Submodules in submodules, with URLs of either kind, are those that git clone --recurse-submodules writes; with --keep-git
// git finds them sound.
func TestGitSubmodulesInSubmodules(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	base := "http://" + servers.StartGitHTTP(t, root, "", "").Addr
	inside := ""
	for _, c := range []struct{ name, url string }{
		{"innermost", ""}, {"inner", "../innermost"}, {"middle", base + "/inner"}, {"outer", "../middle"},
	} {
		r := gitrepo.New(t)
		r.Write(c.name+".txt", []byte(c.name), 0o644)
		if inside != "" {
			r.Git("submodule", "--quiet", "add", inside, "deep/below")
			r.Git("config", "-f", ".gitmodules", "submodule.deep/below.url", c.url)
		}
		r.Commit(c.name)
		inside = r.Publish(root, c.name)
	}
	want := gitrepo.Clone(t, "--recurse-submodules", base+"/outer")
	for _, options := range [][]string{{"--submodules"}, {"--submodules", "--keep-git"}} {
		dir := filepath.Join(t.TempDir(), "tree")
		expect(t, gitClone([]string{base}, "outer", dir, options...).Run(t), 0)
		sameTree(t, dir, want)
		if got := read(t, dir+"/deep/below/deep/below/deep/below/innermost.txt"); got != "innermost" {
			t.Errorf("got %q", got)
		}
		if len(options) > 1 {
			git := gitrepo.New(t)
			if got := git.Git("-C", dir, "status", "--porcelain"); got != "" {
				t.Errorf("git status says %q", got)
			}
			if got := git.Git("-C", dir, "submodule", "status", "--recursive"); strings.Count(got, "\n") != 2 || strings.ContainsAny(got, "+-U") {
				t.Errorf("git submodule status says %q", got)
			}
		}
	}
}

// A server that has no git LFS says so in the words of a shell, and the hint what to do.
func TestGitLFSOverSSHWithoutIt(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	r, _ := withLFS(t)
	r.Publish(root, "repository")
	sshd := servers.StartSSHD(t)
	dir := filepath.Join(t.TempDir(), "tree")
	by := []string{"ssh://" + sshd.User + "@" + sshd.Addr + root, "--ssh-key", sshd.Key, "--known-hosts", sshd.KnownHosts}
	expect(t, gitClone(by, "repository", dir, "--lfs").Run(t), 66, "git-lfs-authenticate", "clone by https://")
}
