package gitclone

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// sample returns a repository with a bit of everything.
func sample(t testing.TB, args ...string) *gittest.Repository {
	r := gittest.New(t, args...)
	for i := range 300 {
		r.Write(fmt.Sprintf("many/%d/file-%03d.txt", i%7, i), strings.Repeat(fmt.Sprintf("line %d\n", i), i))
	}
	r.Write("run.sh", "#!/bin/sh\n")
	check(t, os.Chmod(filepath.Join(r.Dir, "run.sh"), 0o755))
	r.Write("größe/ü\nü.txt", "a name in UTF-8 and with a line feed")
	check(t, os.Symlink("../run.sh", filepath.Join(r.Dir, "größe/link")))
	check(t, os.Symlink("nowhere", filepath.Join(r.Dir, "dangling")))
	r.Write("empty", "")
	r.Write("large.bin", random(1<<20))
	r.Commit("first")
	r.Git("tag", "-a", "-m", "a release", "v1")
	r.Write("many/0/file-000.txt", "changed\n")
	r.Write("large.bin", random(1<<20)+"a large file that is likely made of the other")
	r.Commit("second")
	r.Git("repack", "-adfq", "--depth=10", "--window=50")
	return r
}

// random returns n bytes that cannot be compressed, always the same.
func random(n int) string {
	b := make([]byte, n)
	state := uint64(88172645463325252)
	for i := range b {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b[i] = byte(state)
	}
	return string(b)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listing describes a tree: modes, links, contents. Git's own files and the step's are left out.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if entry.Name() == ".git" || name == commitName {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		case info.Mode().IsRegular():
			var text []byte
			text, err = os.ReadFile(path)
			content = string(text)
		}
		found[name] = info.Mode().String() + " " + content
		return err
	}))
	return found
}

// clones runs the step and returns its result with the directory.
func clones(t testing.TB, root, url string, options ...string) (run.TaskResult, string) {
	t.Helper()
	task := steptest.Task(t, Kind, append(steptest.Options{"url=" + url, "dir=/tree"}, options...))
	return steptest.Run(context.Background(), task, root), filepath.Join(root, "tree")
}

// gitClones has git clone the same, and returns the directory.
func gitClones(t testing.TB, r *gittest.Repository, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "by-git")
	r.Git(append(append([]string{"clone", "-q"}, args...), "file://"+r.Dir, dir)...)
	return dir
}

func TestConform(t *testing.T) {
	r := sample(t)
	u := gittest.Serve(t, r.Parent(), 2) + "/repository"
	file := func(t *testing.T, root string) {
		if text, err := os.ReadFile(root + "/tree/run.sh"); err != nil || string(text) != "#!/bin/sh\n" {
			t.Errorf("got %q, %v", text, err)
		}
	}
	steptest.Conform(t, Kind, nil,
		steptest.Case{Name: "http", Options: steptest.Options{"url=" + u, "dir=/tree"}, Check: file},
		steptest.Case{
			Name: "path on this machine", Options: steptest.Options{"url=/origin", "dir=/tree", "ref=v1"}, Check: file,
			Setup: func(t *testing.T, root string) steptest.Options {
				check(t, os.CopyFS(root+"/origin", os.DirFS(r.Dir+"/.git")))
				return nil
			},
		},
		steptest.Case{Name: "commit file", Options: steptest.Options{"url=" + u, "dir=/tree", "commit-file=/commit"}, Check: file},
		steptest.Case{Name: "git kept", Options: steptest.Options{"url=" + u, "dir=/tree", "keep-git=true"}, Check: file},
		steptest.Case{Name: "paths", Options: steptest.Options{"url=" + u, "dir=/tree", "path=run.sh", "path=many/3"}, Check: file},
	)
}

// Whatever the server speaks, the files are those that git writes.
func TestTreeIsThatOfGit(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		r := sample(t, "--object-format="+format)
		want := map[string]map[string]string{"": listing(t, gitClones(t, r)), "v1": listing(t, gitClones(t, r, "-b", "v1"))}
		first := r.Git("rev-parse", "HEAD~1")
		want[first] = want["v1"]
		urls := map[string]string{"path": r.Dir, "file": "file://" + r.Dir}
		for version := range 3 {
			urls[fmt.Sprint("http ", version)] = gittest.Serve(t, r.Parent(), version) + "/repository"
		}
		for name, u := range urls {
			for ref, files := range want {
				t.Run(fmt.Sprintf("%s %s %.6s", format, name, ref), func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "tree")
					task := steptest.Task(t, Kind, steptest.Options{"url=" + u, "dir=" + dir, "ref=" + ref})
					result := steptest.Run(context.Background(), task, "/")
					check(t, result.Err)
					if difference := cmp.Diff(files, listing(t, dir)); difference != "" {
						t.Errorf("-git +slipway:\n%.2000s", difference)
					}
					commit, err := os.ReadFile(dir + "/" + commitName)
					check(t, err)
					want := r.Git("rev-parse", "HEAD")
					if ref != "" {
						want = first
					}
					if got := steptest.Outputs(result)["commit"]; got != want || string(commit) != want+"\n" {
						t.Errorf("got commit %s and %q in the file, want %s", got, commit, want)
					}
				})
			}
		}
	}
}

func TestSecondRun(t *testing.T) {
	r := sample(t)
	requests := 0
	backend := gittest.Backend(t, r.Parent(), 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		requests++
		backend.ServeHTTP(w, q)
	}))
	defer server.Close()
	u, root := server.URL+"/repository", t.TempDir()
	result, dir := clones(t, root, u)
	check(t, result.Err)

	requests = 0
	result, _ = clones(t, root, u)
	if got := steptest.Outputs(result); got[step.Skipped] == "" || requests != 2 {
		t.Errorf("untouched: got %v after %d requests, want skipped after 2", got, requests)
	}
	requests = 0
	result, _ = clones(t, root, u, "ref="+r.Git("rev-parse", "HEAD"))
	if got := steptest.Outputs(result); got[step.Skipped] == "" || requests != 0 {
		t.Errorf("pinned by its id: got %v after %d requests, want skipped after none", got, requests)
	}
	check(t, os.WriteFile(dir+"/run.sh", []byte("tampered\n"), 0o755))
	result, _ = clones(t, root, u)
	if text, _ := os.ReadFile(dir + "/run.sh"); steptest.Outputs(result)[step.Skipped] != "" || string(text) != "#!/bin/sh\n" {
		t.Errorf("tampered: got %q, want it mended", text)
	}
	r.Write("new", "new")
	check(t, os.Remove(r.Dir+"/empty"))
	r.Commit("third")
	result, _ = clones(t, root, u)
	check(t, result.Err)
	if difference := cmp.Diff(listing(t, gitClones(t, r)), listing(t, dir)); difference != "" {
		t.Errorf("moved on: -git +slipway:\n%.2000s", difference)
	}
}

func TestDirectoryOfSomebodyElse(t *testing.T) {
	r := sample(t)
	u, root := gittest.Serve(t, r.Parent(), 2)+"/repository", t.TempDir()
	check(t, os.MkdirAll(root+"/tree/precious", 0o755))
	result, dir := clones(t, root, u)
	if fault.ExitCode(result.Err) != 73 || !strings.Contains(fault.HintOf(result.Err), "--force") {
		t.Errorf("got %v (%s), want 73 with the way out", result.Err, fault.HintOf(result.Err))
	}
	if _, err := os.Stat(dir + "/precious"); err != nil {
		t.Error("it was wiped")
	}
	result, _ = clones(t, root, u, "force=true")
	check(t, result.Err)
	if _, err := os.Stat(dir + "/precious"); err == nil {
		t.Error("it was not replaced")
	}
}

func TestRefs(t *testing.T) {
	r := gittest.New(t)
	first := r.Commit("first")
	r.Git("tag", "same")
	second := r.Commit("second")
	r.Git("branch", "same")
	r.Git("branch", "release/1.x", first)
	r.Git("tag", "-a", "-m", "tag", "inner", first)
	r.Git("tag", "-a", "-m", "tag of a tag", "outer", "inner")
	r.Git("update-ref", "refs/pull/1/head", first)
	third := r.Commit("third")
	r.Git("reset", "-q", "--hard", second)
	u := gittest.Serve(t, r.Parent(), 2) + "/repository"
	for _, c := range []struct{ ref, want string }{
		{"", second},
		{"HEAD", second},
		{"main", second},
		{"refs/heads/main", second},
		{"same", second}, // the branch, as in git clone --branch
		{"refs/tags/same", first},
		{"release/1.x", first},
		{"inner", first},
		{"outer", first},
		{"refs/pull/1/head", first},
		{first, first},
		{strings.ToUpper(first), first},
	} {
		for _, version := range []int{0, 2} {
			u := gittest.Serve(t, r.Parent(), version) + "/repository"
			result, _ := clones(t, t.TempDir(), u, "ref="+c.ref)
			if got := steptest.Outputs(result)["commit"]; result.Err != nil || got != c.want {
				t.Errorf("version %d, %q: got %s, %v, want %s", version, c.ref, got, result.Err, c.want)
			}
		}
	}
	r.Git("reflog", "expire", "--expire=now", "--all")
	r.Git("gc", "-q", "--prune=now")
	for _, ref := range []string{"nothing", first[:8], third, strings.Repeat("1", 64)} {
		result, _ := clones(t, t.TempDir(), u, "ref="+ref)
		if fault.ExitCode(result.Err) != 66 || result.Attempts != 1 {
			t.Errorf("%q: got %v after %d attempts, want 66 after one", ref, result.Err, result.Attempts)
		}
	}
	empty := gittest.New(t)
	result, _ := clones(t, t.TempDir(), gittest.Serve(t, empty.Parent(), 2)+"/repository")
	if fault.ExitCode(result.Err) != 66 || !strings.Contains(result.Err.Error(), "empty") {
		t.Errorf("empty: got %v, want 66", result.Err)
	}
}

func TestExpectedCommit(t *testing.T) {
	r := gittest.New(t)
	first := r.Commit("first")
	second := r.Commit("second")
	u := gittest.Serve(t, r.Parent(), 2) + "/repository"
	result, _ := clones(t, t.TempDir(), u, "expect-commit="+second)
	check(t, result.Err)
	root := t.TempDir()
	result, dir := clones(t, root, u, "expect-commit="+first)
	if fault.ExitCode(result.Err) != 65 {
		t.Errorf("got %v, want 65", result.Err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the directory was made all the same")
	}
}

func TestPaths(t *testing.T) {
	r := sample(t)
	r.Write("docs/deep/many/0/x", "another one called many")
	r.Commit("docs")
	for _, filter := range []string{"true", "false"} {
		r.Git("config", "uploadpack.allowFilter", filter)
		u := gittest.Serve(t, r.Parent(), 2) + "/repository"
		result, dir := clones(t, t.TempDir(), u, "path=many/0", "path=/run.sh", "path=docs/**/x", "path=grö*")
		check(t, result.Err)
		want := make(map[string]string)
		for name, entry := range listing(t, gitClones(t, r)) {
			for _, chosen := range []string{".", "many", "many/0", "many/0/", "run.sh", "docs", "docs/", "größe"} {
				if name == chosen || (strings.Contains(chosen, "/") || chosen == "größe") && strings.HasPrefix(name, strings.TrimSuffix(chosen, "/")+"/") {
					want[name] = entry
				}
			}
		}
		if difference := cmp.Diff(want, listing(t, dir)); difference != "" {
			t.Errorf("filter %s: -want +got:\n%.2000s", filter, difference)
		}
		result, _ = clones(t, t.TempDir(), u, "path=nothing/here")
		if fault.ExitCode(result.Err) != 66 {
			t.Errorf("got %v, want 66", result.Err)
		}
	}
}

func TestKeptGitIsSound(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		r := sample(t, "--object-format="+format)
		u := gittest.Serve(t, r.Parent(), 2) + "/repository"
		for _, c := range []struct{ ref, depth, commits string }{{"", "1", "1"}, {"", "0", "2"}, {"v1", "1", "1"}, {"main", "2", "2"}} {
			result, dir := clones(t, t.TempDir(), u, "keep-git=true", "ref="+c.ref, "depth="+c.depth)
			check(t, result.Err)
			inside := func(args ...string) string { return r.Git(append([]string{"-C", dir}, args...)...) }
			if got := inside("status", "--porcelain"); got != "" {
				t.Errorf("%+v: git status says %q", c, got)
			}
			if got := inside("fsck", "--full", "--strict"); got != "" {
				t.Errorf("%+v: git fsck says %q", c, got)
			}
			if got := inside("rev-list", "--count", "HEAD"); got != c.commits {
				t.Errorf("%+v: got %s commits", c, got)
			}
			if got := inside("diff-files", "--name-only"); got != "" {
				t.Errorf("%+v: the index does not know the files: %q", c, got)
			}
			if got := inside("remote", "get-url", "origin"); got != u {
				t.Errorf("%+v: got the remote %q", c, got)
			}
			if inside("rev-parse", "--is-shallow-repository") == "true" {
				inside("fetch", "-q", "--unshallow", "origin", "main:refs/heads/all")
			}
		}
	}
}

// Names that mean something in git's configuration do not there.
func TestKeptGitOfAnOddBranch(t *testing.T) {
	r := gittest.New(t)
	r.Commit("one")
	const branch = "fix/#12;3"
	r.Git("checkout", "-q", "-b", branch)
	second := r.Commit("two")
	result, dir := clones(t, t.TempDir(), gittest.Serve(t, r.Parent(), 2)+"/repository", "keep-git=true", "ref="+branch)
	check(t, result.Err)
	third := r.Commit("three")
	r.Git("-C", dir, "fetch", "-q")
	got := r.Git("-C", dir, "rev-parse", "HEAD", "@{upstream}", "refs/remotes/origin/"+branch)
	if want := second + "\n" + third + "\n" + third; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAttributes(t *testing.T) {
	r := gittest.New(t)
	r.Write(".gitattributes", "*.bat eol=crlf\n*.txt text=auto eol=crlf\n*.bin binary\nno/*.bat -text\n[attr]dos text eol=crlf\n*.ini dos\n"+
		"\"with space\\040.bat\" -text\nid.c ident\n/top.cfg eol=crlf\ndir/ eol=crlf\n{a,b}.sh eol=crlf\n")
	r.Write("sub/.gitattributes", "*.bat !eol\nb* eol=crlf\n")
	for _, name := range []string{
		"a.bat", "a.txt", "a.bin", "no/a.bat", "no/deep/a.bat", "x.ini", "with space .bat", "top.cfg", "sub/top.cfg", "sub/x.bat", "sub/b.sh",
		"sub/b.bat", "dir/x", "a.sh", "{a,b}.sh",
	} {
		r.Write(name, "one\ntwo\n")
	}
	r.Git("config", "core.autocrlf", "false")
	r.Write("mixed.txt", "binary\x00\nno\n")
	r.Write("id.c", "/* $Id$ */ $Id: old $ $Identity$ $Id: a b c $\n")
	r.Commit("attributes")
	result, dir := clones(t, t.TempDir(), gittest.Serve(t, r.Parent(), 2)+"/repository")
	check(t, result.Err)
	if difference := cmp.Diff(listing(t, gitClones(t, r)), listing(t, dir)); difference != "" {
		t.Errorf("-git +slipway:\n%s", difference)
	}
}

func TestSubmodules(t *testing.T) {
	inner := gittest.New(t)
	inner.Write("inner.txt", "inner")
	inner.Commit("inner")
	middle := gittest.New(t)
	middle.Git("submodule", "--quiet", "add", inner.Dir, "deep/inner")
	middle.Commit("middle")
	outer := gittest.New(t)
	outer.Git("submodule", "--quiet", "add", middle.Dir, "lib")
	outer.Write("outer.txt", "outer")
	outer.Commit("outer")

	dir := filepath.Join(t.TempDir(), "by-git")
	outer.Git("clone", "-q", "--recurse-submodules", "file://"+outer.Dir, dir)
	for _, keep := range []string{"false", "true"} {
		target := filepath.Join(t.TempDir(), "tree")
		task := steptest.Task(t, Kind, steptest.Options{"url=" + outer.Dir, "dir=" + target, "submodules=true", "keep-git=" + keep, "commit-file=" + t.TempDir() + "/c"})
		check(t, steptest.Run(context.Background(), task, "/").Err)
		if difference := cmp.Diff(listing(t, dir), listing(t, target)); difference != "" {
			t.Errorf("-git +slipway:\n%s", difference)
		}
		if keep == "true" {
			for _, at := range []string{"", "lib", "lib/deep/inner"} {
				if got := outer.Git("-C", filepath.Join(target, at), "status", "--porcelain"); got != "" {
					t.Errorf("%q: git status says %q", at, got)
				}
			}
			if got := outer.Git("-C", target, "submodule", "status", "--recursive"); strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "+-U") {
				t.Errorf("git submodule status says %q", got)
			}
		}
	}

	// A repository from elsewhere must not reach for what is on this machine.
	u := gittest.Serve(t, outer.Parent(), 2) + "/repository"
	result, _ := clones(t, t.TempDir(), u, "submodules=true")
	if fault.ExitCode(result.Err) != 77 {
		t.Errorf("got %v, want 77", result.Err)
	}
	result, tree := clones(t, t.TempDir(), u)
	check(t, result.Err)
	if entries, err := os.ReadDir(tree + "/lib"); err != nil || len(entries) > 0 {
		t.Errorf("without --submodules: got %v, %v, want an empty directory", entries, err)
	}
}

func TestRelativeSubmodule(t *testing.T) {
	parent := t.TempDir()
	r := gittest.New(t)
	r.Write("lib.txt", "lib")
	r.Commit("lib")
	check(t, os.CopyFS(parent+"/lib.git", os.DirFS(r.Dir+"/.git")))
	outer := gittest.New(t)
	outer.Git("submodule", "--quiet", "add", parent+"/lib.git", "lib")
	outer.Git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	outer.Commit("outer")
	check(t, os.CopyFS(parent+"/group/outer.git", os.DirFS(outer.Dir+"/.git")))
	check(t, os.Rename(parent+"/lib.git", parent+"/group/lib.git"))
	result, dir := clones(t, t.TempDir(), gittest.Serve(t, parent, 2)+"/group/outer.git", "submodules=true")
	check(t, result.Err)
	if text, err := os.ReadFile(dir + "/lib/lib.txt"); string(text) != "lib" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestHTTPAccess(t *testing.T) {
	r := gittest.New(t)
	r.Write("x", "x")
	r.Commit("x")
	backend := gittest.Backend(t, r.Parent(), 2)
	var elsewhere string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, password, _ := q.BasicAuth()
		switch {
		case strings.HasPrefix(q.URL.Path, "/moved"):
			target := *q.URL
			target.Path = strings.TrimPrefix(target.Path, "/moved")
			http.Redirect(w, q, target.String(), http.StatusMovedPermanently)
		case strings.HasPrefix(q.URL.Path, "/away"):
			http.Redirect(w, q, elsewhere+q.URL.Path+"?"+q.URL.RawQuery, http.StatusFound)
		case strings.HasPrefix(q.URL.Path, "/page"):
			fmt.Fprint(w, "<html>log in</html>")
		case strings.HasPrefix(q.URL.Path, "/busy"):
			w.WriteHeader(http.StatusServiceUnavailable)
		case strings.HasPrefix(q.URL.Path, "/none"):
			w.WriteHeader(http.StatusNotFound)
		case user == "bob" && password == "s3cret", q.Header.Get("Authorization") == "Bearer t0ken", user == "git" && password == "t0ken":
			backend.ServeHTTP(w, q)
		case user != "":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		t.Errorf("the other host was asked: %s, %v", q.URL, q.Header)
	}))
	defer other.Close()
	elsewhere = other.URL
	u, _ := url.Parse(server.URL)
	for _, c := range []struct {
		name, path string
		options    []string
		code       int
	}{
		{"nobody", "/repository", nil, 77},
		{"basic", "/repository", []string{"username=bob", "password-file=/password"}, 0},
		{"a token alone", "/repository", []string{"password-file=/token"}, 0},
		{"wrong", "/repository", []string{"username=eve", "password-file=/password"}, 77},
		{"bearer", "/repository", []string{"bearer-file=/token"}, 0},
		{"netrc", "/repository", []string{"netrc-file=/netrc"}, 0},
		{"no such file", "/repository", []string{"netrc-file=/nothing"}, 66},
		{"moved on the same host", "/moved/repository", []string{"bearer-file=/token"}, 0},
		{"sent to another host", "/away/repository", []string{"bearer-file=/token"}, 77},
		{"a page", "/page/repository", nil, 65},
		{"not there", "/none/repository", nil, 66},
		{"busy", "/busy/repository", nil, 75},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			check(t, os.WriteFile(root+"/password", []byte("s3cret\n"), 0o600))
			check(t, os.WriteFile(root+"/token", []byte("t0ken"), 0o600))
			check(t, os.WriteFile(root+"/netrc", []byte("machine example.org login a password b\nmachine "+u.Hostname()+" login bob password s3cret\n"), 0o600))
			task := steptest.Task(t, Kind, append(steptest.Options{"url=" + server.URL + c.path, "dir=/tree"}, c.options...))
			task.Policy.Retries = 0
			result := steptest.Run(context.Background(), task, root)
			if got := fault.ExitCode(result.Err); got != c.code {
				t.Errorf("got %d: %v, want %d", got, result.Err, c.code)
			}
			if result.Err != nil && (strings.Contains(result.Err.Error(), "s3cret") || strings.Contains(result.Err.Error(), "t0ken")) {
				t.Errorf("the error tells a secret: %v", result.Err)
			}
		})
	}
}

// A pack that ends early is tried again; one that is wrong is not.
func TestBrokenPacks(t *testing.T) {
	r := sample(t)
	backend := gittest.Backend(t, r.Parent(), 2)
	for _, c := range []struct {
		name    string
		spoil   func(body []byte) []byte
		code    int
		retried bool
	}{
		{"cut off", func(body []byte) []byte { return body[:len(body)/2] }, 74, true},
		{"a bit is wrong", func(body []byte) []byte { body[len(body)*3/4] ^= 1; return body }, 65, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				recorder := httptest.NewRecorder()
				backend.ServeHTTP(recorder, q)
				body := recorder.Body.Bytes()
				if len(body) > 1<<20 {
					body = c.spoil(body)
				}
				for name, values := range recorder.Header() {
					w.Header()[name] = values
				}
				w.Header().Del("Content-Length")
				w.WriteHeader(recorder.Code)
				_, _ = w.Write(body)
			}))
			defer server.Close()
			root := t.TempDir()
			task := steptest.Task(t, Kind, steptest.Options{"url=" + server.URL + "/repository", "dir=/tree"})
			task.Policy.Retries, task.Policy.Backoff = 1, 1
			result := steptest.Run(context.Background(), task, root)
			if fault.ExitCode(result.Err) != c.code || (result.Attempts > 1) != c.retried {
				t.Errorf("got %v after %d attempts, want %d", result.Err, result.Attempts, c.code)
			}
			if left, _ := os.ReadDir(root); len(left) > 0 {
				t.Errorf("got %v left", left)
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	keys := t.TempDir()
	for _, name := range []string{"good", "other"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", keys+"/"+name).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	public := func(name string) string {
		text, err := os.ReadFile(keys + "/" + name + ".pub")
		check(t, err)
		return string(text)
	}
	r := gittest.New(t)
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingkey", keys+"/good")
	r.Write("x", "x")
	r.Commit("not signed")
	r.Git("branch", "unsigned")
	r.Git("tag", "-s", "-m", "signed", "signed-tag")
	r.Git("commit", "-q", "--allow-empty", "-S", "-m", "signed")
	// The tag's object under another name.
	r.Git("update-ref", "refs/tags/newer", r.Git("rev-parse", "signed-tag"))
	u := gittest.Serve(t, r.Parent(), 2) + "/repository"
	for _, c := range []struct {
		name, signers, ref string
		code               int
	}{
		{"commit", "dev@example.org " + public("good"), "main", 0},
		{"tag of a commit that is not signed", "dev@example.org " + public("good"), "signed-tag", 0},
		{"namespace", "dev@example.org namespaces=\"git\" " + public("good"), "main", 0},
		{"in its time", "dev@example.org valid-after=\"20200101Z\",valid-before=\"20300101Z\" " + public("good"), "main", 0},
		{"not signed", "dev@example.org " + public("good"), "unsigned", 65},
		{"unknown key", "dev@example.org " + public("other"), "main", 65},
		{"another namespace", "dev@example.org namespaces=\"file\" " + public("good"), "main", 65},
		{"expired", "dev@example.org valid-before=\"20200101Z\" " + public("good"), "main", 65},
		{"a tag by another name", "dev@example.org " + public("good"), "newer", 65},
		{"no keys", "# nobody\n", "main", 65},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			check(t, os.WriteFile(root+"/signers", []byte(c.signers), 0o644))
			result, _ := clones(t, root, u, "ref="+c.ref, "verify-signature=/signers")
			if fault.ExitCode(result.Err) != c.code {
				t.Errorf("got %v, want %d", result.Err, c.code)
			}
			if got := steptest.Outputs(result)["signer"]; c.code == 0 && got != "dev@example.org" {
				t.Errorf("got the signer %q", got)
			}
		})
	}
}

// A key that is no longer trusted is not made good by a run from the time when it was.
func TestSecondRunWithOtherKeys(t *testing.T) {
	keys, root := t.TempDir(), t.TempDir()
	for _, name := range []string{"good", "other"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", keys+"/"+name).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	trust := func(name string) {
		text, err := os.ReadFile(keys + "/" + name + ".pub")
		check(t, err)
		check(t, os.WriteFile(root+"/signers", append([]byte("dev@example.org "), text...), 0o644))
	}
	r := gittest.New(t)
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingkey", keys+"/good")
	r.Git("commit", "-q", "--allow-empty", "-S", "-m", "signed")
	u := gittest.Serve(t, r.Parent(), 2) + "/repository"
	for i, c := range []struct {
		trusted, skipped string
		code             int
	}{{"good", "", 0}, {"good", "unchanged", 0}, {"other", "", 65}} {
		trust(c.trusted)
		result, _ := clones(t, root, u, "verify-signature=/signers")
		if got := steptest.Outputs(result)[step.Skipped]; got != c.skipped || fault.ExitCode(result.Err) != c.code {
			t.Errorf("run %d: got %v, skipped %q, want %d, %q", i, result.Err, got, c.code, c.skipped)
		}
	}
}

func TestFaultsOfOptions(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"", "no url is given\nno dir is given"},
		{"url=https://bob:s3cret@example.org/x dir=/x", "password in it"},
		{"url=relative dir=/x", "relative path"},
		{"url=gopher://example.org/x dir=/x", `scheme "gopher"`},
		{"url=https://example.org/x dir=/x ref=a..b", "--ref"},
		{"url=https://example.org/x dir=/x expect-commit=abc", "--expect-commit"},
		{"url=https://example.org/x dir=/x depth=-1", "--depth"},
		{"url=https://example.org/x dir=/x keep-git=true path=a", "--keep-git"},
		{"url=https://example.org/x dir=/x username=bob", "--password-file"},
		{"url=ssh://example.org/x dir=/x password-file=/p", "https://"},
		{"url=https://example.org/x dir=/x password-file=/p bearer-file=/b", "exclude each other"},
		{"url=https://example.org/x dir=/x github-app=1", "need each other"},
		{"url=https://example.org/x dir=/x path=[", "--path"},
		{"url=https://example.org/x dir=/x cert-file=/c", "--key-file"},
	} {
		err := steptest.Fault(t, Kind, strings.Fields(c.options))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want %q in it", c.options, err, c.want)
		}
	}
}
