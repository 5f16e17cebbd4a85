package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/cgroup"
	"github.com/slipway-init/slipway/e2e/internal/gitrepo"
	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// tree describes a tree, one line for each name: mode, link, size and digest. Git's own files are left out, and the one in
// which slipway leaves the commit.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if name == ".git" && entry.IsDir() {
			return fs.SkipDir
		}
		if entry.Name() == ".git" || name == "GIT_COMMIT" || name == "." {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %s", name, info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + target
		case info.Mode().IsRegular():
			line += " " + digest([]byte(read(t, path)))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// sameTree checks that two trees are the same to the byte.
func sameTree(t *testing.T, got, want string) {
	t.Helper()
	a, b := tree(t, got), tree(t, want)
	if slices.Equal(a, b) {
		return
	}
	shown := 0
	for _, line := range a {
		if !slices.Contains(b, line) && shown < 10 {
			t.Errorf("only in slipway's tree: %s", line)
			shown++
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) && shown < 20 {
			t.Errorf("only in git's tree: %s", line)
			shown++
		}
	}
}

// ways are the servers that serve the same repositories, each with the options it needs.
func ways(t *testing.T, root string) map[string][]string {
	t.Helper()
	dir := servers.Dir(t)
	authority := pki.New(t, dir)
	pair := authority.Issue(t, "server")
	client := authority.Issue(t, "client")
	password := filepath.Join(dir, "password")
	write(t, password, "s3cret\n")
	write(t, filepath.Join(dir, "htpasswd"), "bob:{PLAIN}s3cret\n")
	netrc := filepath.Join(dir, "netrc")
	write(t, netrc, "machine 127.0.0.1 login bob password s3cret\n")
	basic := "auth_basic git; auth_basic_user_file " + filepath.Join(dir, "htpasswd") + ";"
	certificates := fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", pair.Certificate, pair.Key)
	open := servers.StartGitHTTP(t, root, "", "")
	guarded := servers.StartGitHTTP(t, root, "", basic)
	secure := servers.StartGitHTTP(t, root, "ssl http2", certificates+basic)
	mutual := servers.StartGitHTTP(t, root, "ssl", certificates+"ssl_verify_client on; ssl_client_certificate "+authority.File+";")
	sshd := servers.StartSSHD(t, "AcceptEnv GIT_PROTOCOL")
	old := servers.StartSSHD(t)
	keyed := filepath.Join(dir, "group-readable")
	write(t, keyed, strings.TrimSpace(read(t, sshd.Key))) // as a Secret often has it
	if err := os.Chmod(keyed, 0o440); err != nil {
		t.Fatal(err)
	}
	locked := servers.NewSSHKey(t, dir, "locked", "open sesame")
	sshd.Authorize(t, locked)
	write(t, filepath.Join(dir, "passphrase"), "open sesame")
	ssh := func(s *servers.SSHD) string { return "ssh://" + s.User + "@" + s.Addr + root }
	return map[string][]string{
		"http":               {"http://" + open.Addr},
		"http, basic":        {"http://" + guarded.Addr, "--username", "bob", "--password-file", password},
		"http, netrc":        {"http://" + guarded.Addr, "--netrc-file", netrc},
		"https, own CA":      {"https://" + secure.Addr, "--ca-file", authority.File, "--username", "bob", "--password-file", password},
		"https, client cert": {"https://" + mutual.Addr, "--ca-file", authority.File, "--cert-file", client.Certificate, "--key-file", client.Key},
		"ssh":                {ssh(sshd), "--ssh-key", keyed, "--known-hosts", sshd.KnownHosts},
		"ssh, passphrase": {
			ssh(sshd), "--ssh-key", locked, "--ssh-key-passphrase-file", filepath.Join(dir, "passphrase"), "--known-hosts", sshd.KnownHosts,
		},
		"ssh, version 0": {ssh(old), "--ssh-key", old.Key, "--known-hosts", old.KnownHosts},
		"git":            {"git://" + servers.StartGitDaemon(t, root)},
		"file":           {"file://" + root},
		"path":           {root},
	}
}

// gitClone returns the command that clones a repository into dir, by one of the ways.
func gitClone(way []string, name, dir string, options ...string) slipway.Command {
	args := append([]string{"git-clone", way[0] + "/" + name, dir}, way[1:]...)
	return slipway.Command{Args: append(args, options...)}
}

// The files are those that git clone --depth 1 writes, to the byte, for repositories of many shapes, however they are
// reached.
func TestGitTreesAreThoseOfGit(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	shapes := publishShapes(t, root)
	all := ways(t, root)
	for _, name := range shapes {
		want := gitrepo.Clone(t, "--depth", "1", "file://"+filepath.Join(root, name))
		for way, by := range all {
			if way != "http" && way != "ssh, version 0" && name != "sample" {
				continue // each way once, each shape by the new protocol and the old one
			}
			t.Run(name+" by "+way, func(t *testing.T) {
				dir := filepath.Join(inMemory(t), "tree") // a disk takes its time over 50,000 files
				expect(t, gitClone(by, name, dir).Run(t), 0)
				sameTree(t, dir, want)
			})
		}
	}
}

// publishShapes publishes repositories of different shapes and returns their names.
func publishShapes(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	shape := func(name string, make func(r *gitrepo.Repository), args ...string) {
		r := gitrepo.New(t, args...)
		make(r)
		r.Publish(root, name)
		names = append(names, name)
	}
	sample := func(r *gitrepo.Repository) {
		for i := range 200 {
			r.Write(fmt.Sprintf("d%d/f%d.txt", i%7, i), []byte(strings.Repeat(fmt.Sprintln("line", i), i)), 0o644)
		}
		r.Write("run.sh", []byte("#!/bin/sh\n"), 0o755)
		r.Write("empty", nil, 0o644)
		if err := os.Symlink("d1/f1.txt", filepath.Join(r.Dir, "link")); err != nil {
			t.Fatal(err)
		}
		r.Commit("sample")
	}
	shape("sample", sample)
	shape("sha256", sample, "--object-format=sha256")
	shape("one-commit", func(r *gitrepo.Repository) { r.Commit("nothing in it") })
	shape("octopus", func(r *gitrepo.Repository) {
		r.Commit("base")
		for _, branch := range []string{"a", "b", "c"} {
			r.Git("checkout", "-q", "-b", branch, "main")
			r.Write(branch, []byte(branch), 0o644)
			r.Commit(branch)
		}
		r.Git("checkout", "-q", "main")
		r.Git("merge", "-q", "-m", "octopus", "a", "b", "c")
	})
	shape("large-file", func(r *gitrepo.Repository) {
		r.Write("large", noise(1, 10<<20), 0o644)
		r.Commit("one")
		r.Write("large", append(noise(1, 10<<20), "and more, so that it is a delta"...), 0o644)
		r.Commit("two")
		r.Git("repack", "-adfq")
	})
	shape("names", func(r *gitrepo.Repository) {
		for _, name := range []string{"größe/日本語.txt", "with space", "line\nfeed", "tab\t", "quote\"'", "-dash", `back\slash`, "\xff\xfe not UTF-8", "con", "a:b", ".gitx/.git-not"} {
			r.Write(name, []byte(name), 0o644)
		}
		r.Commit("names")
	})
	shape("links", func(r *gitrepo.Repository) {
		r.Write("a/b/file", []byte("x"), 0o644)
		for link, target := range map[string]string{"up": "a/b/file", "a/b/out": "../../up", "dangling": "nothing/here", "self": "self", "dir": "a"} {
			if err := os.Symlink(target, filepath.Join(r.Dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		r.Commit("links")
	})
	shape("attributes", func(r *gitrepo.Repository) {
		r.Write(".gitattributes", []byte("*.bat eol=crlf\n*.txt text=auto eol=crlf\n*.bin -text\nid.c ident\n"), 0o644)
		r.Write("sub/.gitattributes", []byte("*.bat -text\n"), 0o644)
		for _, name := range []string{"a.bat", "a.txt", "a.bin", "sub/a.bat", "sub/a.txt"} {
			r.Write(name, []byte("one\ntwo\n"), 0o644)
		}
		r.Write("id.c", []byte("$Id$\n"), 0o644)
		r.Commit("attributes")
	})
	shape("many-files", func(r *gitrepo.Repository) {
		for i := range 50000 {
			r.Write(fmt.Sprintf("%02d/%02d/%d", i%50, i/50%50, i), []byte(fmt.Sprint(i)), 0o644)
		}
		r.Commit("50,000 files")
	})
	// The project's own history, as far as the checkout has it.
	shape("slipway", func(r *gitrepo.Repository) {
		top := filepath.Dir(workingDirectory(t))
		r.Git("fetch", "-q", "--update-head-ok", "file://"+top, "+HEAD:refs/heads/main")
		r.Git("reset", "-q", "--hard")
	})
	return names
}

func workingDirectory(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Whoever is not let in learns why, with the exit code that stops the pod.
func TestGitAccessRefused(t *testing.T) {
	t.Parallel()
	root := servers.Dir(t)
	r := gitrepo.New(t)
	r.Commit("one")
	r.Publish(root, "one")
	all := ways(t, root)
	dir := filepath.Join(t.TempDir(), "tree")
	other := servers.StartSSHD(t)
	wrong := filepath.Join(t.TempDir(), "wrong")
	write(t, wrong, "not the password")
	for _, c := range []struct {
		name string
		way  []string
		repo string
		exit int
		text string
	}{
		{"no password", all["http, basic"][:1], "one", 77, "--password-file"},
		{"a wrong one", []string{all["http, basic"][0], "--username", "bob", "--password-file", wrong}, "one", 77, "401"},
		{"unknown authority", []string{all["https, own CA"][0]}, "one", 77, "certificate"},
		{"no client certificate", all["https, client cert"][:3], "one", 65, "400"},
		{"no known_hosts", all["ssh"][:3], "one", 77, "known_hosts"},
		{"another host's key", append(slices.Clone(all["ssh"][:3]), "--known-hosts", knownAs(t, other, all["ssh"][0])), "one", 77, "another one"},
		{"an unknown host", append(slices.Clone(all["ssh"][:3]), "--known-hosts", other.KnownHosts), "one", 77, "not in known_hosts"},
		{"another key", append(slices.Clone(all["ssh"][:1]), "--ssh-key", other.Key, "--known-hosts", all["ssh"][4]), "one", 77, "unable to authenticate"},
		{"a passphrase", append(slices.Clone(all["ssh, passphrase"][:3]), "--known-hosts", all["ssh"][4]), "one", 77, "passphrase"},
		{"http: nothing there", all["http"], "nothing", 66, "404"},
		{"ssh: nothing there", all["ssh"], "nothing", 66, "does not appear"},
		{"git: nothing there", all["git"], "nothing", 66, "not exported"},
		{"file: nothing there", all["file"], "nothing", 66, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := gitClone(c.way, c.repo, dir).Run(t)
			expect(t, result, c.exit, c.text)
			hides(t, result, "s3cret")
			if _, err := os.Lstat(dir); err == nil {
				t.Error("there is a directory")
			}
		})
	}
}

// knownAs returns a known_hosts file that has a server's key under the address of another one, a URL.
func knownAs(t *testing.T, s *servers.SSHD, url string) string {
	t.Helper()
	_, at, _ := strings.Cut(url, "@")
	host, port, _ := strings.Cut(strings.SplitN(at, "/", 2)[0], ":")
	_, key, _ := strings.Cut(read(t, s.KnownHosts), " ")
	file := filepath.Join(t.TempDir(), "known_hosts")
	write(t, file, fmt.Sprintf("[%s]:%s %s", host, port, key))
	return file
}

// A random user without an entry in /etc/passwd clones over SSH: nothing looks there, or at the mode of the key.
func TestGitAsAnyUser(t *testing.T) {
	t.Parallel()
	needRoot(t, "to become another user")
	root := servers.Dir(t)
	r := gitrepo.New(t)
	r.Write("x", []byte("x"), 0o644)
	r.Commit("one")
	r.Publish(root, "one")
	sshd := servers.StartSSHD(t)
	dir := servers.Dir(t)
	for _, name := range []string{"key", "known"} {
		from := map[string]string{"key": sshd.Key, "known": sshd.KnownHosts}[name]
		write(t, filepath.Join(dir, name), read(t, from))
		if err := os.Chmod(filepath.Join(dir, name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	volume := filepath.Join(dir, "volume")
	if err := os.Mkdir(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	command := gitClone([]string{"ssh://" + sshd.User + "@" + sshd.Addr + root}, "one", volume+"/tree",
		"--ssh-key", dir+"/key", "--known-hosts", dir+"/known")
	command.Report = filepath.Join(volume, "report")
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234567, Gid: 1234567}}
	expect(t, command.Run(t), 0)
	if got := read(t, volume+"/tree/x"); got != "x" {
		t.Errorf("got %q", got)
	}
}

// Everything goes into 64 MiB, the page cache included: many small files, and large ones that cannot be compressed with a
// long history behind them.
func TestGitInASmallContainer(t *testing.T) {
	root := servers.Dir(t)
	small := gitrepo.New(t)
	for i := range 5000 {
		small.Write(fmt.Sprintf("d%02d/s%d/f%05d.txt", i%50, i/50%10, i), []byte(strings.Repeat(fmt.Sprintf("%d words of text, ", i*i), 500)), 0o644)
	}
	small.Commit("5,000 files")
	small.Publish(root, "small")
	large := gitrepo.New(t)
	for i := range 200 {
		large.Write("superseded", noise(byte(i), 256<<10), 0o644)
		large.Write("log", []byte(strings.Repeat("x", i)), 0o644)
		large.Write(fmt.Sprintf("big/%d", i), noise(byte(i), 1<<20), 0o644)
		large.Commit(fmt.Sprint(i))
	}
	large.Publish(root, "large")
	server := servers.StartGitHTTP(t, root, "", "")
	for _, c := range []struct{ name, option string }{{"small", ""}, {"large", ""}, {"small", "--keep-git"}, {"large", "--keep-git"}} {
		t.Run(c.name+c.option, func(t *testing.T) {
			memory := cgroup.NewMemory(t, 64<<20)
			dir := filepath.Join(t.TempDir(), "tree")
			command := slipway.Command{Args: []string{"git-clone", "http://" + server.Addr + "/" + c.name, dir}, Prefix: memory.Prefix()}
			if c.option != "" {
				command.Args = append(command.Args, c.option, "--depth", "0")
			}
			expect(t, command.Run(t), 0)
			if kills := memory.Kills(t); kills > 0 {
				t.Errorf("the kernel killed %d processes", kills)
			}
			t.Logf("peak of the cgroup, with its page cache: %.1f MiB", float64(memory.Peak(t))/(1<<20))
			sameTree(t, dir, gitrepo.Clone(t, "--depth", "1", "file://"+filepath.Join(root, c.name)))
		})
	}
}
