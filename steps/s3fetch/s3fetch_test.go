package s3fetch_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/s3fetch"
)

// random returns content that does not compress, the same for the same seed.
func random(size int, seed byte) string {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return string(b)
}

// sums returns a manifest: names and contents, in turn.
func sums(files ...string) string {
	var b strings.Builder
	for i := 0; i < len(files); i += 2 {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256([]byte(files[i+1])), files[i])
	}
	return b.String()
}

// packed returns a tar of one file.
func packed(t *testing.T, name, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_, err := w, error(nil)
	if err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err == nil {
		_, err = w.Write([]byte(content))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestConform(t *testing.T) {
	model := random(9<<20, 1)
	s := serve(t, map[string]string{
		"m.bin": "model\n", "empty": "", "large": model, "site.tar": packed(t, "top/index.html", "<p>"),
		"p/": "", "p/a.json": "{}", "p/sub/b.bin": "b", "p/sub/": "", "p/README.md": "read", "p/empty": "",
		"SUMS": sums("a.json", "{}", "sub/b.bin", "b", "empty", "", "README.md", "read"),
	})
	s.page = 2
	blocked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer blocked.Close()
	holds := func(want ...string) func(*testing.T, string) {
		return func(t *testing.T, root string) { t.Helper(); is(t, root, want...) }
	}
	digest := fmt.Sprintf("sha256=%x", sha256.Sum256([]byte("model\n")))
	all := []string{"d/a.json", "{}", "d/sub/b.bin", "b", "d/README.md", "read", "d/empty", ""}
	manifest := sums("README.md", "read", "a.json", "{}", "empty", "", "sub/b.bin", "b") // in the order of S3
	steptest.Conform(t, s3fetch.Kind, steptest.Options{"url=s3://bkt/x", "dest=/x", "endpoint-url=" + blocked.URL, "path-style=true", "no-sign-request=true"},
		steptest.Case{Name: "digest", Options: s.at("m.bin", "dest=/out", digest), Check: holds("out", "model\n")},
		steptest.Case{Name: "no digest", Options: s.at("m.bin", "dest=/out", "write-sha256=true"), Check: holds("out", "model\n", "out.sha256", sums("out", "model\n"))},
		steptest.Case{Name: "signed", Environ: []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s"}, Options: steptest.Options{"url=s3://bkt/m.bin", "dest=/out", "endpoint-url=" + s.URL, "path-style=true"}, Check: holds("out", "model\n")},
		steptest.Case{Name: "empty", Options: s.at("empty", "dest=/out"), Check: holds("out", "")},
		steptest.Case{Name: "large", Options: s.at("large", "dest=/out"), Check: holds("out", model)},
		steptest.Case{Name: "archive", Options: s.at("site.tar", "dest=/www", "extract=true", "strip-components=1"), Check: holds("www/index.html", "<p>")},
		steptest.Case{Name: "prefix", Options: s.at("p/", "dest=/d"), Check: holds(all...)},
		steptest.Case{Name: "prefix with a manifest", Options: s.at("p/", "dest=/d", "sha256-file=s3://bkt/SUMS", "mode=0600"), Check: holds(all...)},
		steptest.Case{Name: "prefix that writes a manifest", Options: s.at("p/", "dest=/d", "write-sha256=true"), Check: holds(append(all, "d/SHA256SUMS", manifest)...)},
		steptest.Case{Name: "a part of a prefix", Options: s.at("p/", "dest=/d", "include=*.{json,bin}", "exclude=sub"), Check: holds("d/a.json", "{}")},
	)
}

func TestWrongOptionsAreToldTogether(t *testing.T) {
	err := steptest.Fault(t, s3fetch.Kind, steptest.Options{
		"url=s3://bkt/p/", "dest=/d", "extract=true", "sha256=" + strings.Repeat("a", 64), "no-sign-request=true", "request-payer=true", "cert-file=c",
		"endpoint-url=s3.example.com", "connections=0", "version-id=v",
	})
	for _, text := range []string{
		"--extract is for one archive", "--sha256 is of one object", "nobody could be billed", "--cert-file and --key-file go together",
		"--endpoint-url is no http:// or https:// URL", "--connections 0 is not between 1 and 64", "--version-id is of one object",
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not told:\n%v", text, err)
		}
	}
	if fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v, want usage", fault.KindOf(err))
	}
	for text, options := range map[string]steptest.Options{
		"no url is given":                      {"dest=/d"},
		"http://bkt/k":                         {"url=http://bkt/k", "dest=/d"},
		"both name a version":                  {"url=s3://bkt/k?versionId=1", "version-id=2", "dest=/d"},
		"is a folder, and the URL has no name": {"url=s3://bkt/a/..", "dest=/d/"},
		"there is but one object":              {"url=s3://bkt/k", "dest=/d", "include=x"},
		"sums: ":                               {"url=s3://bkt/k", "dest=/d", "sha256-file=https://sums"},
	} {
		if text == "sums: " {
			text = "https://sums"
		}
		if err := steptest.Fault(t, s3fetch.Kind, options); !strings.Contains(err.Error(), text) {
			t.Errorf("%v: got %v, want %q", options, err, text)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name  string
		key   string
		more  []string
		spoil func(n int, w http.ResponseWriter, r *http.Request) bool
		kind  fault.Kind
		text  string
	}{
		{name: "wrong digest", key: "a", more: []string{"sha256=" + strings.Repeat("0", 64)}, kind: fault.Data, text: "s3://bkt/a: its SHA-256 is"},
		{name: "no object", key: "none", kind: fault.NoInput, text: "s3://bkt/none: NoSuchKey"},
		{name: "no version", key: "a", more: []string{"version-id=v9"}, kind: fault.NoInput, text: "NoSuchVersion"},
		{name: "denied", key: "a", kind: fault.Permission, text: "AccessDenied", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			refuse(w, http.StatusForbidden, "AccessDenied")
			return true
		}},
		{name: "slow down", key: "a", kind: fault.Temporary, text: "SlowDown", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			refuse(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}},
		{name: "wrong checksum", key: "wrong", kind: fault.Data, text: "s3://bkt/wrong: "},
		{name: "nothing below", key: "none/", kind: fault.NoInput, text: "s3://bkt/none/: there is no object below it"},
		{name: "nothing chosen", key: "p/", more: []string{"include=*.none"}, kind: fault.NoInput, text: "none that is chosen"},
		{name: "no manifest", key: "p/", more: []string{"sha256-file=s3://bkt/none"}, kind: fault.NoInput, text: "s3://bkt/none"},
		{name: "not in the manifest", key: "p/", more: []string{"sha256-file=s3://bkt/sums"}, kind: fault.Data, text: "s3://bkt/sums has no digest of b"},
		{name: "not what the manifest says", key: "q/", more: []string{"sha256-file=s3://bkt/sums"}, kind: fault.Data, text: "s3://bkt/q/a: its SHA-256 is"},
		{name: "no list", key: "p/", kind: fault.Data, text: "the answer is no list", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, "<html>")
			return true
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := serve(t, map[string]string{"a": "a", "p/a": "a", "p/b": "b", "q/a": "other", "sums": sums("a", "a")})
			defer s.Close()
			s.put("wrong", object{content: []byte("right"), modified: made, checksums: crc32Of([]byte("wrong"))})
			s.spoil = test.spoil
			root := t.TempDir()
			result := fetch(t, root, s.at(test.key, append(test.more, "dest=/out")...))
			failed(t, result, test.kind, test.text)
			for _, name := range []string{"out", "out/b", "out/SHA256SUMS"} {
				if info, err := os.Stat(filepath.Join(root, name)); err == nil && !info.IsDir() {
					t.Errorf("%s is there", name)
				}
			}
		})
	}
}

func TestTheServersChecksumIsAProof(t *testing.T) {
	for _, content := range []string{"small", random(9<<20, 2)} {
		s := serve(t, nil)
		s.put("k", object{content: []byte(content), modified: made, checksums: crc32Of([]byte(content))})
		root := t.TempDir()
		if outputs := done(t, fetch(t, root, s.at("k", "dest=/out"))); outputs["verified"] != "true" {
			t.Errorf("got %v", outputs)
		}
		is(t, root, "out", content)
		s.put("k", object{content: []byte(content), modified: made})
		if outputs := done(t, fetch(t, t.TempDir(), s.at("k", "dest=/out"))); outputs["verified"] != "false" {
			t.Errorf("without a checksum: got %v", outputs)
		}
	}
}

func TestVersions(t *testing.T) {
	s := serve(t, nil)
	s.put("k", object{content: []byte("one"), modified: made, version: "v1"})
	root := t.TempDir()
	if outputs := done(t, fetch(t, root, s.at("k", "dest=/out"))); outputs["version"] != "v1" {
		t.Errorf("got %v", outputs)
	}
	s.take()
	if outputs := done(t, fetch(t, root, s.at("k", "dest=/out"))); outputs["skipped"] == "" || !slices.Equal(s.take(), []string{"HEAD k"}) {
		t.Errorf("got %v", outputs)
	}
	s.put("k", object{content: []byte("two"), modified: made, version: "v2"})
	done(t, fetch(t, root, s.at("k", "dest=/out")))
	is(t, root, "out", "two")
	// Of a version that is named nobody has to ask again.
	done(t, fetch(t, root, s.at("k", "dest=/out", "version-id=v2")))
	s.take()
	if outputs := done(t, fetch(t, root, s.at("k", "dest=/out", "version-id=v2"))); outputs["skipped"] == "" || len(s.take()) > 0 {
		t.Errorf("got %v", outputs)
	}
}

// Two stores may have a bucket of one name, and count their versions alike: one's receipt says nothing of the other.
func TestTwoStoresWithOneBucket(t *testing.T) {
	root := t.TempDir()
	for _, content := range []string{"of the first", "of the second"} {
		s := serve(t, nil)
		s.put("k", object{content: []byte(content), version: "1", modified: made})
		for _, want := range []string{"", "its receipt is right"} {
			if got := done(t, fetch(t, root, s.at("k", "dest=/out")))["skipped"]; got != want {
				t.Errorf("%s: got %q, want %q", content, got, want)
			}
			is(t, root, "out", content)
		}
	}
}

func TestAnETagWithoutQuotesIsNoVersion(t *testing.T) {
	content := random(9<<20, 3)
	s := serve(t, map[string]string{"k": content})
	s.spoil = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("versionId") {
			t.Errorf("it asked for the version %s", r.URL.Query().Get("versionId"))
		}
		http.ServeContent(bare{w}, r, "", made, strings.NewReader(content))
		return true
	}
	root := t.TempDir()
	done(t, fetch(t, root, s.at("k", "dest=/out")))
	is(t, root, "out", content)
}

// bare sends an ETag without its quotes.
type bare struct{ http.ResponseWriter }

func (b bare) WriteHeader(status int) {
	b.Header().Set("ETag", "0123456789abcdef")
	b.ResponseWriter.WriteHeader(status)
}

func TestAThousandObjectsOverPages(t *testing.T) {
	objects := numbered(1000)
	s := serve(t, objects)
	s.page = 300
	root := t.TempDir()
	outputs := done(t, fetch(t, root, s.at("p/", "dest=/d", "write-sha256=true")))
	if outputs["objects"] != "1000" || outputs["skipped"] != "" {
		t.Errorf("got %v", outputs)
	}
	if lists := len(slices.DeleteFunc(s.take(), func(what string) bool { return what != "LIST p/" })); lists != 4 {
		t.Errorf("got %d lists, want 4", lists)
	}
	var want []string
	var manifest strings.Builder
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		name := strings.TrimPrefix(key, "p/")
		want = append(want, "d/"+name, objects[key])
		manifest.WriteString(sums(name, objects[key]))
	}
	is(t, root, append(want, "d/SHA256SUMS", manifest.String())...)
	if sha256sum, err := exec.LookPath("sha256sum"); err == nil {
		check := exec.Command(sha256sum, "--check", "--strict", "--quiet", "SHA256SUMS")
		check.Dir = filepath.Join(root, "d")
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	outputs = done(t, fetch(t, root, s.at("p/", "dest=/d", "write-sha256=true")))
	if asked := s.take(); len(asked) != 4 || outputs["skipped"] == "" || outputs["fetched"] != "0" {
		t.Errorf("a second run asked %d times: %v", len(asked), outputs)
	}
}

func TestLargeObjectsBelowAPrefix(t *testing.T) {
	one, two := random(9<<20, 7), random(17<<20, 8)
	s := serve(t, map[string]string{"p/one": one, "p/small": "small", "p/two": two, "sums": sums("one", one, "small", "small", "two", two)})
	root := t.TempDir()
	broken := false
	s.spoil = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if s.mu.Lock(); !broken && strings.HasPrefix(r.Header.Get("Range"), "bytes=8388608-") {
			broken = true
			s.mu.Unlock()
			refuse(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}
		s.mu.Unlock()
		return false
	}
	outputs := done(t, fetch(t, root, s.at("p/", "dest=/d", "sha256-file=s3://bkt/sums")))
	if outputs["bytes"] != strconv.Itoa(len(one)+len(two)+5) || outputs["fetched"] != outputs["bytes"] || !broken {
		t.Errorf("got %v", outputs)
	}
	is(t, root, "d/one", one, "d/small", "small", "d/two", two)
}

// progress keeps what an observer is told.
type progress struct {
	mu   sync.Mutex
	done []int64
}

func (p *progress) Start(*plan.Task)               {}
func (p *progress) Retry(*plan.Task, run.Retry)    {}
func (p *progress) End(*plan.Task, run.TaskResult) {}
func (p *progress) Progress(_ *plan.Task, done, _ int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, done)
}

// An object that takes long tells of its progress before it is there.
func TestProgressWithinALargeObject(t *testing.T) {
	content := random(40<<20, 9)
	s := serve(t, map[string]string{"p/large": content})
	s.spoil = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			time.Sleep(300 * time.Millisecond)
		}
		return false
	}
	var seen progress
	runner := steptest.Runner(t.TempDir(), "AWS_EC2_METADATA_DISABLED=true")
	runner.Observer = &seen
	task := steptest.Task(t, s3fetch.Kind, s.at("p/", "dest=/d"))
	if result := runner.Run(context.Background(), &plan.Plan{Root: plan.Sequence{task}}); result.Err != nil {
		t.Fatal(result.Err)
	}
	within := slices.ContainsFunc(seen.done, func(n int64) bool { return n > 0 && n < int64(len(content)) })
	if !within || seen.done[len(seen.done)-1] != int64(len(content)) {
		t.Errorf("got %v of %d", seen.done, len(content))
	}
}

func TestAbsurdNames(t *testing.T) {
	for _, key := range []string{"p/../evil", "p//etc/passwd", "p/a/../../evil", "p/a//b", "p/./a", "p/a/./b", "p/..", "p/nul\x00", "p/" + strings.Repeat("n", 256)} {
		t.Run(fmt.Sprintf("%.30q", key), func(t *testing.T) {
			s := serve(t, map[string]string{key: "evil"})
			root := t.TempDir()
			result := fetch(t, root, s.at("p/", "dest=/d", "write-sha256=true"))
			failed(t, result, fault.Data, "s3://bkt/p/")
			is(t, root)
		})
	}
	names := []string{"a b", "ü", "100%", "a+b", "a?b#c", `back\slash`, "new\nline", ".hidden", "-rf", "a:b", "*", "'q\"", strings.Repeat("n", 200)}
	objects, want := make(map[string]string), []string{}
	for i, name := range names {
		objects["p/x/"+name] = strconv.Itoa(i)
		want = append(want, "d/x/"+name, strconv.Itoa(i))
	}
	s := serve(t, objects)
	root := t.TempDir()
	done(t, fetch(t, root, s.at("p/", "dest=/d")))
	is(t, root, want...)
}

func TestAFileAndAFolderOfOneName(t *testing.T) {
	s := serve(t, map[string]string{"p/a": "file", "p/a/b": "below"})
	failed(t, fetch(t, t.TempDir(), s.at("p/", "dest=/d", "connections=1")), fault.CantCreate, "/d/a")
}

func TestFoldersHaveTheirModeAndOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	s := serve(t, map[string]string{"p/a/b/c": "c", "p/a/d": "d"})
	root := t.TempDir()
	if err := os.Mkdir(root+"/v", 0o755); err != nil {
		t.Fatal(err)
	}
	// As a volume that a pod's fsGroup owns.
	if err := os.Chmod(root+"/v", 0o755|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	done(t, fetch(t, root, s.at("p/", "dest=/v/d", "owner=12345:54321", "write-sha256=true")))
	for name, want := range map[string]fs.FileMode{
		"d": fs.ModeDir | fs.ModeSetgid | 0o755, "d/a": fs.ModeDir | fs.ModeSetgid | 0o755, "d/a/b": fs.ModeDir | fs.ModeSetgid | 0o755,
		"d/a/b/c": 0o644, "d/a/d": 0o644, "d/SHA256SUMS": 0o644,
	} {
		info, err := os.Lstat(root + "/v/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s: got the mode %v, want %v", name, info.Mode(), want)
		}
		if stat := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (stat.Uid != 12345 || stat.Gid != 54321) {
			t.Errorf("%s: got the owner %d:%d", name, stat.Uid, stat.Gid)
		}
	}
}

func TestLinksInTheFolderLeadNowhere(t *testing.T) {
	s := serve(t, map[string]string{"p/l/x": "evil", "p/ok": "ok"})
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(root+"/d", 0o755), os.Mkdir(root+"/outside", 0o755), os.Symlink("../outside", root+"/d/l")); err != nil {
		t.Fatal(err)
	}
	if result := fetch(t, root, s.at("p/", "dest=/d")); result.State == run.Done {
		t.Error("it went through a link")
	}
	if names, err := os.ReadDir(root + "/outside"); err != nil || len(names) > 0 {
		t.Errorf("it wrote %v (%v)", names, err)
	}
}

func TestWhatOfAPrefixIsFetchedAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		more   []string
		change func(t *testing.T, s *server, dir string)
		asked  []string // GETs
		b      string
	}{
		{name: "nothing", b: "bb"},
		{name: "another size", change: func(t *testing.T, s *server, dir string) {
			s.put("p/b", object{content: []byte("bbb"), modified: made})
		}, asked: []string{"GET p/b"}, b: "bbb"},
		{name: "another date", change: func(t *testing.T, s *server, dir string) {
			s.put("p/b", object{content: []byte("BB"), modified: made.Add(time.Second)})
		}, asked: []string{"GET p/b"}, b: "BB"},
		{name: "a file that is gone", change: func(t *testing.T, s *server, dir string) { os.Remove(dir + "/b") }, asked: []string{"GET p/b"}, b: "bb"},
		{name: "a file that was changed", change: func(t *testing.T, s *server, dir string) { os.WriteFile(dir+"/b", []byte("xx"), 0o644) }, asked: []string{"GET p/b"}, b: "bb"},
		{name: "a file that a digest tells is wrong", more: []string{"sha256-file=s3://bkt/sums"}, change: func(t *testing.T, s *server, dir string) {
			os.WriteFile(dir+"/b", []byte("xx"), 0o644)
			os.Chtimes(dir+"/b", made, made)
		}, asked: []string{"GET p/b", "GET sums"}, b: "bb"},
		{name: "a file that a digest tells is right", more: []string{"sha256-file=s3://bkt/sums"}, change: func(t *testing.T, s *server, dir string) {
			os.Chtimes(dir+"/b", time.Now(), time.Now())
		}, asked: []string{"GET sums"}, b: "bb"},
		{name: "a mode", more: []string{"mode=0600"}, change: func(t *testing.T, s *server, dir string) { os.Chmod(dir+"/b", 0o777) }, b: "bb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, map[string]string{"p/a": "a", "p/b": "bb", "sums": sums("a", "a", "b", "bb")})
			root := t.TempDir()
			options := s.at("p/", append(test.more, "dest=/d")...)
			done(t, fetch(t, root, options))
			if info, err := os.Stat(root + "/d/b"); err != nil || !info.ModTime().Equal(made) {
				t.Errorf("got the date %v (%v), want %v", info.ModTime(), err, made)
			}
			s.take()
			if test.change != nil {
				test.change(t, s, root+"/d")
			}
			done(t, fetch(t, root, options))
			asked := slices.DeleteFunc(s.take(), func(what string) bool { return what == "LIST p/" })
			slices.Sort(asked)
			if !slices.Equal(asked, test.asked) {
				t.Errorf("it asked %q, want %q", asked, test.asked)
			}
			is(t, root, "d/a", "a", "d/b", test.b)
			mode := fs.FileMode(0o644)
			if slices.Contains(test.more, "mode=0600") {
				mode = 0o600
			}
			if info, err := os.Stat(root + "/d/b"); err != nil || info.Mode() != mode {
				t.Errorf("got the mode %v (%v), want %v", info.Mode(), err, mode)
			}
		})
	}
}

func TestFilesThatThePrefixDoesNotHaveStay(t *testing.T) {
	s := serve(t, map[string]string{"p/a": "a", "p/SHA256SUMS": "of others\n"})
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(root+"/d", 0o755), os.WriteFile(root+"/d/mine", []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	done(t, fetch(t, root, s.at("p/", "dest=/d")))
	is(t, root, "d/a", "a", "d/mine", "mine", "d/SHA256SUMS", "of others\n")
	// The one that is written takes the other's place, and stays there.
	for range 2 {
		done(t, fetch(t, root, s.at("p/", "dest=/d", "write-sha256=true")))
		is(t, root, "d/a", "a", "d/mine", "mine", "d/SHA256SUMS", sums("a", "a"))
	}
}

func TestWhatKilledRunsLeftOfAPrefixIsRemoved(t *testing.T) {
	s := serve(t, map[string]string{"p/sub/a": "a"})
	root := t.TempDir()
	if err := os.MkdirAll(root+"/d/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf(".slipway-%x-LEFT", sha256.Sum256([]byte("a")))[:len(".slipway-")+16] + "-LEFT"
	if err := os.WriteFile(root+"/d/sub/"+name, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, fetch(t, root, s.at("p/", "dest=/d")))
	is(t, root, "d/sub/a", "a")
}

func TestAListThatBreaksOffIsTakenUpAgain(t *testing.T) {
	s := serve(t, numbered(30))
	s.page = 10
	broken := false
	s.spoil = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if broken || !r.URL.Query().Has("continuation-token") {
			return false
		}
		broken = true
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "<ListBucketResult>")
		return true
	}
	root := t.TempDir()
	if outputs := done(t, fetch(t, root, s.at("p/", "dest=/d"))); outputs["objects"] != "30" || !broken {
		t.Errorf("got %v", outputs)
	}
}

func TestAListThatFailsLeavesNoManifest(t *testing.T) {
	s := serve(t, numbered(30))
	s.page = 10
	s.spoil = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("continuation-token") {
			return false
		}
		refuse(w, http.StatusForbidden, "AccessDenied")
		return true
	}
	for range 20 { // it is a matter of who is quicker
		root := t.TempDir()
		failed(t, fetch(t, root, s.at("p/", "dest=/d", "write-sha256=true")), fault.Permission, "AccessDenied")
		if _, err := os.Stat(root + "/d/SHA256SUMS"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it wrote a manifest of what it had: %v", err)
		}
	}
}

func TestAManifestInAnotherBucket(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := serve(t, map[string]string{"k": "k"})
	defer s.Close()
	s.spoil = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/other/sums" {
			return false
		}
		fmt.Fprint(w, sums("k", "k"))
		return true
	}
	root := t.TempDir()
	if outputs := done(t, fetch(t, root, s.at("k", "dest=/out", "sha256-file=s3://other/sums"))); outputs["verified"] != "true" {
		t.Errorf("got %v", outputs)
	}
	is(t, root, "out", "k")
}

func TestTheCustomersKey(t *testing.T) {
	key := random(32, 4)
	root := t.TempDir()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key") != base64.StdEncoding.EncodeToString([]byte(key)) {
			refuse(w, http.StatusBadRequest, "InvalidRequest")
			return
		}
		fmt.Fprint(w, "secret")
	}))
	defer s.Close()
	options := steptest.Options{"url=s3://bkt/k", "dest=/out", "endpoint-url=" + s.URL, "path-style=true", "no-sign-request=true", "insecure-skip-tls-verify=true", "sse-c-key-file=/key"}
	for _, form := range []string{key, base64.StdEncoding.EncodeToString([]byte(key)) + "\n"} {
		if err := os.WriteFile(root+"/key", []byte(form), 0o600); err != nil {
			t.Fatal(err)
		}
		done(t, fetch(t, root, options))
		is(t, root, "out", "secret", "key", form)
	}
	if err := os.WriteFile(root+"/key", []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	result := fetch(t, root, options)
	failed(t, result, fault.Data, "--sse-c-key-file has neither 32 bytes nor their base64")
	if strings.Contains(result.Err.Error(), "s3cret") {
		t.Errorf("the key is in the error: %v", result.Err)
	}
}

func TestPrefixesAtOnce(t *testing.T) {
	s := serve(t, numbered(50))
	root := t.TempDir()
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			task := steptest.Task(t, s3fetch.Kind, s.at("p/", "dest=/d", "write-sha256=true"))
			if result := steptest.Run(context.Background(), task, root); result.State != run.Done {
				t.Error(result.Err)
			}
		})
	}
	wait.Wait()
	var want []string
	for key, content := range numbered(50) {
		want = append(want, "d/"+strings.TrimPrefix(key, "p/"), content)
	}
	manifest, err := os.ReadFile(root + "/d/SHA256SUMS")
	if err != nil || strings.Count(string(manifest), "\n") != 50 {
		t.Errorf("got %v, %s", err, manifest)
	}
	is(t, root, append(want, "d/SHA256SUMS", string(manifest))...)
}
