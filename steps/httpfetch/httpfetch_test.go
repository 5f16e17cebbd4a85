package httpfetch_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/httpfetch"
)

// random returns bytes that do not compress, the same for the same seed.
func random(size int, seed byte) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestConform(t *testing.T) {
	hello := []byte("hello\n")
	site := []file{{name: "top/"}, {name: "top/index.html", content: "<p>"}, {name: "top/js/a.js", content: "a()"}, {name: "top/js/a.js.map", content: "{}"}}
	s := serve(t, map[string][]byte{
		"a.bin": hello, "empty": {}, "large": random(9<<20, 1),
		"SHA256SUMS": fmt.Appendf(nil, "%x  a.bin\n%x *large\n", sha256.Sum256(hello), sha256.Sum256(random(9<<20, 1))),
		"site.tar":   tarOf(t, site...), "site.tgz": gzipped(t, tarOf(t, site...)), "site.tar.zst": zstandard(t, tarOf(t, site...)), "site.zip": zipOf(t, site...),
	})
	blocked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer blocked.Close()
	holds := func(want ...string) func(*testing.T, string) {
		return func(t *testing.T, root string) { t.Helper(); is(t, root, want...) }
	}
	folder := func(t *testing.T, root string) steptest.Options {
		if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	unpacked := holds("www/index.html", "<p>", "www/js/a.js", "a()")
	unpack := func(name string, options ...string) steptest.Case {
		return steptest.Case{
			Name:    name,
			Options: append(steptest.Options{"url=" + s.URL + "/" + name, "dest=/www", "extract=true", "strip-components=1", "exclude=*.map", digest(s.files[name])}, options...),
			Check:   unpacked,
		}
	}
	sum := fmt.Sprintf("%x  out\n", sha256.Sum256(hello))
	steptest.Conform(t, httpfetch.Kind, steptest.Options{"url=" + blocked.URL + "/x", "dest=/x"},
		steptest.Case{Name: "digest", Options: steptest.Options{"url=" + s.URL + "/a.bin", "dest=/out", digest(hello)}, Check: holds("out", "hello\n")},
		steptest.Case{Name: "no digest", Options: steptest.Options{"url=" + s.URL + "/a.bin", "dest=/out"}, Check: holds("out", "hello\n")},
		steptest.Case{Name: "empty", Options: steptest.Options{"url=" + s.URL + "/empty", "dest=/out"}, Check: holds("out", "")},
		steptest.Case{Name: "large", Options: steptest.Options{"url=" + s.URL + "/large", "dest=/out", digest(random(9<<20, 1))}, Check: holds("out", string(random(9<<20, 1)))},
		steptest.Case{Name: "folder", Setup: folder, Options: steptest.Options{"url=" + s.URL + "/a.bin?x=y#z", "dest=/data/"}, Check: holds("data/a.bin", "hello\n")},
		steptest.Case{
			Name: "write digest", Options: steptest.Options{"url=" + s.URL + "/a.bin", "dest=/out", "write-sha256=true", "mode=0600"},
			Check: holds("out", "hello\n", "out.sha256", sum),
		},
		steptest.Case{Name: "manifest by URL", Options: steptest.Options{"url=" + s.URL + "/large", "dest=/out", "sha256-file=" + s.URL + "/SHA256SUMS"}, Check: holds("out", string(random(9<<20, 1)))},
		steptest.Case{
			Name: "manifest by file", Setup: func(t *testing.T, root string) steptest.Options {
				write(t, root, "sums", strings.ReplaceAll(sum, "out", "./a.bin"))
				return nil
			},
			Options: steptest.Options{"url=" + s.URL + "/a.bin", "dest=/out", "sha256-file=/sums"},
			Check:   holds("out", "hello\n", "sums", strings.ReplaceAll(sum, "out", "./a.bin")),
		},
		unpack("site.tar"), unpack("site.tgz"), unpack("site.tar.zst", "extract=tar.zst"), unpack("site.zip", "mode=0700"),
		steptest.Case{Name: "archive without digest", Options: steptest.Options{"url=" + s.URL + "/site.tgz", "dest=/www", "extract=auto", "include=*.{html,js}"}, Check: holds("www/top/index.html", "<p>", "www/top/js/a.js", "a()")},
	)
}

func TestWrongOptionsAreToldTogether(t *testing.T) {
	err := steptest.Fault(t, httpfetch.Kind, steptest.Options{
		"url=ftp://h/x", "dest=", "sha256=" + strings.Repeat("a", 64), "sha256-file=http://u:s3cret@h/", "strip-components=2", "force=true", "extract-limits=ratio=5",
		"connections=65", "include=[", "username=u", "header=Authorization: s3cret", "header=s3cret", "header-from=X=s3cret", "cert-file=c",
	})
	for _, text := range []string{
		"--url ftp://h/x is neither http:// nor https://", "--sha256-file http://u:xxxxx@h/: a URL is no place for a password",
		"--sha256 and --sha256-file both say", "--strip-components is for --extract", "--force is for --extract", "--extract-limits is for --extract",
		"--connections 65 is not between 1 and 64", `--include "[" is not a pattern`, "--username and --password-file go together",
		"--username and a header Authorization both log in", "--header number 2 is not", "--header-from number 1", "--cert-file and --key-file go together", "dest",
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not told:\n%v", text, err)
		}
	}
	if fault.KindOf(err) != fault.Usage || strings.Contains(fault.Describe(err), "s3cret") {
		t.Errorf("got %v, or a secret: %s", fault.KindOf(err), fault.Describe(err))
	}
	for text, options := range map[string]steptest.Options{
		"no url is given":                        {"dest=/x"},
		"--url is no URL":                        {"url=http://[s3cret", "dest=/x"},
		"--url http:/x has no host":              {"url=http:/x", "dest=/x"},
		"the URL has no name for the file in it": {"url=http://h/a%2F..", "dest=/x/"},
		"is a folder, and the URL has no name":   {"url=http://h", "dest=/x/"},
		"there is but one object":                {"url=http://h/x", "dest=/x", "exclude=*.md"},
		"--extract leaves none":                  {"url=http://h/x", "dest=/x", "extract=true", "write-sha256=true"},
		"--strip-components -1 is below 0":       {"url=http://h/x", "dest=/x", "extract=true", "strip-components=-1"},
		"it has 64 hexadecimal digits":           {"url=http://h/x", "dest=/x", "sha256=abc"},
	} {
		if err := steptest.Fault(t, httpfetch.Kind, options); !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: got %v, want %q", options, err, text)
		}
	}
}

func TestFailuresLeaveNothing(t *testing.T) {
	content := []byte("content")
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(code); return true }
	}
	for _, test := range []struct {
		name    string
		options []string
		setup   func(t *testing.T, root string)
		spoil   func(http.ResponseWriter, *http.Request) bool
		kind    fault.Kind
		text    string
		left    []string // names and contents
	}{
		{name: "wrong digest", options: []string{digest([]byte("other"))}, kind: fault.Data, text: "its SHA-256 is"},
		{
			name: "wrong digest over an old file", options: []string{digest([]byte("other"))}, kind: fault.Data, text: "its SHA-256 is",
			setup: func(t *testing.T, root string) { write(t, root, "out", "old") }, left: []string{"out", "old"},
		},
		{name: "404", spoil: status(404), kind: fault.NoInput, text: "the server answered 404 Not Found"},
		{name: "401", spoil: status(401), kind: fault.Permission, text: "the server answered 401 Unauthorized"},
		{name: "403", spoil: status(403), kind: fault.Permission, text: "the server answered 403 Forbidden"},
		{name: "503", spoil: status(503), kind: fault.Temporary, text: "the server answered 503 Service Unavailable"},
		{name: "418", spoil: status(418), kind: fault.Data, text: "the server answered 418 I'm a teapot"},
		{
			name: "breaks off", kind: fault.IO, text: "unexpected EOF",
			spoil: func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "short")
				return true
			},
		},
		{
			name: "broken chunks", kind: fault.IO, text: "invalid byte in chunk length",
			spoil: func(w http.ResponseWriter, r *http.Request) bool {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n")
					conn.Close()
				}
				return true
			},
		},
		{
			name: "a part instead of the manifest", options: []string{"sha256-file=URL/sums"}, kind: fault.Data, text: "/sums: the whole object was asked for",
			spoil: func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 0-0/9")
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
		},
		{name: "no manifest", options: []string{"sha256-file=URL/sums"}, kind: fault.NoInput, text: "/sums: the server answered 404"},
		{name: "no manifest file", options: []string{"sha256-file=/sums"}, kind: fault.NoInput, text: "read /sums: no such file or directory"},
		{
			name: "a manifest that is a folder", options: []string{"sha256-file=/sums/"}, kind: fault.CantCreate, text: "read /sums/: is a directory",
			setup: func(t *testing.T, root string) { write(t, root, "sums/x", "") }, left: []string{"sums/x", ""},
		},
		{
			name: "a manifest without the name", options: []string{"sha256-file=/sums"}, kind: fault.Data, text: "/sums has no digest of a",
			setup: func(t *testing.T, root string) { write(t, root, "sums", strings.Repeat("0", 64)+"  b\n") },
			left:  []string{"sums", strings.Repeat("0", 64) + "  b\n"},
		},
		{
			name: "a manifest that is none", options: []string{"sha256-file=/sums"}, kind: fault.Data, text: "/sums: line 1 is not of the form of sha256sum",
			setup: func(t *testing.T, root string) { write(t, root, "sums", "<html>") }, left: []string{"sums", "<html>"},
		},
		{name: "no folder", options: []string{"dest=/no/such/out"}, kind: fault.CantCreate, text: "no such file or directory"},
		{
			name: "a folder in its place", setup: func(t *testing.T, root string) { write(t, root, "out/x", "") }, kind: fault.CantCreate,
			text: "it is a directory", left: []string{"out/x", ""},
		},
		{
			name: "a link in its place", setup: func(t *testing.T, root string) {
				write(t, root, "real", "old")
				if err := os.Symlink("real", filepath.Join(root, "out")); err != nil {
					t.Fatal(err)
				}
			},
			kind: fault.Conflict, text: "it is a symbolic link", left: []string{"real", "old", "out", "old"},
		},
		{name: "no password", options: []string{"username=u", "password-file=/none"}, kind: fault.NoInput, text: "read /none: no such file or directory"},
		{name: "no secret", options: []string{"header-from=X-Token=env:NONE"}, kind: fault.NoInput, text: "header X-Token: the environment variable NONE is not set"},
		{
			name: "no CA", options: []string{"ca-file=/ca"}, setup: func(t *testing.T, root string) { write(t, root, "ca", "x") }, left: []string{"ca", "x"},
			kind: fault.Data, text: "read /ca: it holds no PEM certificate",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := serve(t, map[string][]byte{"a": content})
			defer s.Close()
			s.spoil = test.spoil
			root := t.TempDir()
			if test.setup != nil {
				test.setup(t, root)
			}
			options := []string{"url=" + s.URL + "/a?token=s3cret", "dest=/out"}
			for _, option := range test.options {
				options = append(options, strings.ReplaceAll(option, "URL", s.URL))
			}
			result := fetch(t, root, options...)
			failed(t, result, test.kind, test.text)
			if test.kind.Transient() {
				return // what came may be kept for the next run
			}
			is(t, root, test.left...)
		})
	}
}

// redirecting serves a redirect to where; "/kept" is what stands there.
func redirecting(t *testing.T, where string) *server {
	t.Helper()
	s := serve(t, map[string][]byte{"kept": []byte("content")})
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/kept" {
			return false
		}
		http.Redirect(w, r, where+"/kept?signature=s3cret", http.StatusFound)
		return true
	}
	return s
}

func TestRedirects(t *testing.T) {
	target := serve(t, map[string][]byte{"kept": []byte("content")})
	root := t.TempDir()
	write(t, root, "password", "s3cret\n")
	credentials := []string{"dest=/out", "username=u", "password-file=/password", "header=X-Custom: s3cret", "header-from=X-Token=env:TOKEN"}

	other := redirecting(t, target.URL)
	options := append([]string{"url=" + other.URL + "/a?key=s3cret"}, credentials...)
	result := fetch(t, root, options...)
	failed(t, result, fault.Permission, "redirect to another host, "+target.Listener.Addr().String()+", refused")
	if hint := fault.HintOf(result.Err); !strings.Contains(hint, "--allow-redirect-host 127.0.0.1") {
		t.Errorf("got the hint %q", hint)
	}
	if asked := target.take(); asked != nil {
		t.Errorf("the other host was asked: %v", asked[0])
	}

	done(t, fetch(t, root, append(options, "allow-redirect-host="+target.Listener.Addr().String())...))
	asked := target.take()
	if len(asked) == 0 {
		t.Fatal("the other host was not asked")
	}
	for name, values := range asked[0].Header {
		if strings.Contains(strings.Join(values, " "), "s3cret") || name == "Authorization" || name == "Referer" || strings.HasPrefix(name, "X-") {
			t.Errorf("the other host got %s: %v", name, values)
		}
	}
	if asked[0].Header.Get("Range") == "" {
		t.Error("the other host was not asked for a range")
	}
	if user, password, ok := other.take()[0].BasicAuth(); !ok || user != "u" || password != "s3cret" {
		t.Errorf("the URL's own host got %s:%s", user, password)
	}

	same := redirecting(t, "")
	done(t, fetch(t, root, append([]string{"url=" + same.URL + "/a"}, credentials...)...))
	for _, r := range same.take() {
		if _, _, ok := r.BasicAuth(); !ok || r.Header.Get("X-Custom") != "s3cret" || r.Header.Get("X-Token") != "s3cret" {
			t.Errorf("the same host got %v", r.Header)
		}
	}
	is(t, root, "out", "content", "password", "s3cret\n")
}

func TestTLS(t *testing.T) {
	content := []byte("content")
	plain := serve(t, map[string][]byte{"kept": content})
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL+"/kept", http.StatusFound)
			return
		}
		w.Write(content)
	}))
	secure.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	secure.StartTLS()
	defer secure.Close()
	root := t.TempDir()
	write(t, root, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))

	failed(t, fetch(t, root, "url="+secure.URL+"/a", "dest=/out"), fault.Permission, "certificate")
	done(t, fetch(t, root, "url="+secure.URL+"/a", "dest=/out", "ca-file=/ca.pem"))
	done(t, fetch(t, root, "url="+secure.URL+"/a", "dest=/insecure", "insecure-skip-tls-verify=true"))
	failed(t, fetch(t, root, "url="+secure.URL+"/a", "dest=/x", "ca-file=/ca.pem", "server-name=other.test"), fault.Permission, "other.test")
	failed(t, fetch(t, root, "url="+secure.URL+"/down", "dest=/x", "ca-file=/ca.pem", "allow-redirect-host=127.0.0.1"), fault.Permission, "redirect from https to http refused")
	failed(t, fetch(t, root, "url=https://"+plain.Listener.Addr().String()+"/kept", "dest=/x"), fault.IO, "/kept: ")
	if asked := plain.take(); asked != nil {
		t.Errorf("it was asked without TLS: %v", asked[0].URL)
	}
}

func TestAManifestElsewhereGetsNoSecrets(t *testing.T) {
	content := []byte("content")
	sums := fmt.Appendf(nil, "%x  a\n", sha256.Sum256(content))
	s := serve(t, map[string][]byte{"a": content, "sums": sums})
	other := serve(t, map[string][]byte{"sums": sums})
	for _, test := range []struct {
		of   *server
		want string
	}{{s, "s3cret"}, {other, ""}} {
		root := t.TempDir()
		done(t, fetch(t, root, "url="+s.URL+"/a", "dest=/out", "sha256-file="+test.of.URL+"/sums", "header-from=X-Token=env:TOKEN"))
		if got := test.of.take()[0]; got.URL.Path != "/sums" || got.Header.Get("X-Token") != test.want {
			t.Errorf("%s was asked with the token %q, want %q", got.URL, got.Header.Get("X-Token"), test.want)
		}
		is(t, root, "out", "content")
	}
}

func TestSecondRuns(t *testing.T) {
	content, other := []byte("content"), []byte("another")
	replace := func(t *testing.T, s *server, root string) { s.put("a", other) }
	spoil := func(t *testing.T, s *server, root string) {
		path := filepath.Join(root, "out")
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		// As somebody would who wants it to look untouched.
		if err := errors.Join(os.WriteFile(path, []byte("CONTENT"), 0o644), os.Chtimes(path, before.ModTime(), before.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(t *testing.T, s *server, root string) {
		receipts, err := filepath.Glob(filepath.Join(root, ".slipway-*.receipt"))
		if err != nil || len(receipts) != 1 {
			t.Fatalf("got the receipts %v, %v", receipts, err)
		}
		if err := os.Remove(receipts[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name     string
		digest   []byte
		change   func(t *testing.T, s *server, root string)
		requests int
		skipped  string
		want     []byte
	}{
		{name: "digest and receipt", digest: content, skipped: "its receipt is right", want: content},
		{name: "digest and no receipt", digest: content, change: forget, skipped: "its SHA-256 is right already", want: content},
		{name: "digest and a changed file", digest: content, change: spoil, requests: 1, want: content},
		{name: "no digest", requests: 1, skipped: "its receipt is right", want: content},
		{name: "no digest and no receipt", change: forget, requests: 1, want: content},
		{name: "no digest and a changed file", change: spoil, requests: 1, want: content},
		{name: "no digest and another object", change: replace, requests: 2, want: other},
		{name: "another object with the old digest", digest: content, change: replace, skipped: "its receipt is right", want: content},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, map[string][]byte{"a": content})
			root := t.TempDir()
			options := []string{"url=" + s.URL + "/a", "dest=/out"}
			if test.digest != nil {
				options = append(options, digest(test.digest))
			}
			if outputs := done(t, fetch(t, root, options...)); outputs["skipped"] != "" || outputs["verified"] != strconv.FormatBool(test.digest != nil) {
				t.Fatalf("the first run: %v", outputs)
			}
			s.take()
			if test.change != nil {
				test.change(t, s, root)
			}
			outputs := done(t, fetch(t, root, options...))
			if asked := s.take(); len(asked) != test.requests {
				t.Errorf("it asked %d times, want %d", len(asked), test.requests)
			}
			if outputs["skipped"] != test.skipped || outputs["sha256"] != strings.TrimPrefix(digest(test.want), "sha256=") || outputs["bytes"] != "7" {
				t.Errorf("got the outputs %v", outputs)
			}
			is(t, root, "out", string(test.want))
			// Whatever it was, a third run is one that skips.
			if outputs := done(t, fetch(t, root, options...)); outputs["skipped"] == "" {
				t.Errorf("a third run: %v", outputs)
			}
		})
	}
}

func TestAReceiptIsOfOneURL(t *testing.T) {
	s := serve(t, map[string][]byte{"a": []byte("a"), "b": []byte("b")})
	root := t.TempDir()
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool { w.Header().Set("ETag", `"same"`); return false }
	done(t, fetch(t, root, "url="+s.URL+"/a", "dest=/out"))
	done(t, fetch(t, root, "url="+s.URL+"/b", "dest=/out"))
	is(t, root, "out", "b")
}

func TestAReceiptIsOfOneQuery(t *testing.T) {
	s := serve(t, nil)
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(r.URL.RawQuery))
		return true
	}
	root := t.TempDir()
	for _, query := range []string{"id=5", "id=6"} {
		done(t, fetch(t, root, "url="+s.URL+"/a?"+query, "dest=/out"))
		is(t, root, "out", query)
	}
}

// TestEndsInTheMiddle is about servers that send something and then nothing more.
func TestEndsInTheMiddle(t *testing.T) {
	archive := gzipped(t, tarOf(t, file{name: "x", content: string(random(300<<10, 6))}))
	for _, test := range []struct {
		name    string
		stuck   string // the path of what never ends
		options []string
	}{
		{"file", "/a", nil},
		{"archive", "/a", []string{"extract=true"}},
		{"manifest", "/sums", []string{"sha256-file=URL/sums"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := serve(t, map[string][]byte{"a": archive})
			defer s.Close()
			ctx, cancel := context.WithCancelCause(context.Background())
			s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != test.stuck {
					return false
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
				w.Write(archive[:200<<10])
				w.(http.Flusher).Flush()
				cancel(&fault.Signal{Signal: syscall.SIGTERM})
				<-r.Context().Done()
				return true
			}
			root := t.TempDir()
			options := []string{"url=" + s.URL + "/a", "dest=/out"}
			for _, option := range test.options {
				options = append(options, strings.ReplaceAll(option, "URL", s.URL))
			}
			task := steptest.Task(t, httpfetch.Kind, options)
			task.Policy.Grace = 10 * time.Second // so that a run that is late is seen, and not left behind
			began := time.Now()
			result := steptest.Run(ctx, task, root)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %s to end", took)
			}
			if result.State == run.Done || fault.ExitCode(result.Err) != 128+15 {
				t.Errorf("got %v (%d), want the signal", result.Err, fault.ExitCode(result.Err))
			}
			is(t, root)
		})
	}
}

func TestAServerWithoutVersionsReplacesNothingThatIsTheSame(t *testing.T) {
	archive := gzipped(t, tarOf(t, file{name: "x", content: "x"}))
	for _, extract := range []string{"false", "true"} {
		content := archive
		var mu sync.Mutex
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			w.Write(content)
		}))
		defer s.Close()
		root := t.TempDir()
		fetched := func() (uint64, string) {
			t.Helper()
			outputs := done(t, fetch(t, root, "url="+s.URL+"/a", "dest=/out", "extract="+extract))
			info, err := os.Stat(filepath.Join(root, "out"))
			if err != nil {
				t.Fatal(err)
			}
			return info.Sys().(*syscall.Stat_t).Ino, outputs["skipped"]
		}
		before, skipped := fetched()
		if skipped != "" {
			t.Fatalf("the first run skipped: %s", skipped)
		}
		if after, skipped := fetched(); after != before || !strings.Contains(skipped, "its content is the same") {
			t.Errorf("extract=%s: what was right was replaced (%q)", extract, skipped)
		}
		mu.Lock()
		content = gzipped(t, tarOf(t, file{name: "y", content: "y"}))
		mu.Unlock()
		if _, skipped := fetched(); skipped != "" {
			t.Errorf("extract=%s: what was new was left out: %s", extract, skipped)
		}
	}
}

func TestANewVersionOfTheSameContentIsKnownNextTime(t *testing.T) {
	archive := gzipped(t, tarOf(t, file{name: "x", content: "x"}))
	for _, extract := range []string{"false", "true"} {
		s := serve(t, map[string][]byte{"a": archive})
		version := `"1"`
		s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-Range") == version {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-0/%d", len(archive)))
				w.Header().Set("ETag", version)
				w.WriteHeader(http.StatusPartialContent)
				w.Write(archive[:1])
				return true
			}
			w.Header().Set("ETag", version)
			w.Write(archive)
			return true
		}
		root := t.TempDir()
		options := []string{"url=" + s.URL + "/a", "dest=/out", "extract=" + extract}
		done(t, fetch(t, root, options...))
		version = `"2"`
		s.take()
		for i, want := range []int{2, 1} {
			outputs := done(t, fetch(t, root, options...))
			if asked := len(s.take()); asked != want || outputs["skipped"] == "" || outputs["version"] != version {
				t.Errorf("extract=%s: run %d asked %d times, want %d: %v", extract, i+2, asked, want, outputs)
			}
		}
	}
}

func TestModeAndOwnerAreMended(t *testing.T) {
	content := []byte("content")
	s := serve(t, map[string][]byte{"a": content})
	for _, options := range [][]string{{digest(content)}, nil} {
		root := t.TempDir()
		options = append(options, "url="+s.URL+"/a", "dest=/out")
		done(t, fetch(t, root, options...))
		s.take()
		outputs := done(t, fetch(t, root, append(options, "mode=0640", fmt.Sprintf("owner=%d:%d", os.Getuid(), os.Getgid()))...))
		info, err := os.Stat(filepath.Join(root, "out"))
		if err != nil || info.Mode() != 0o640 || outputs["skipped"] == "" {
			t.Errorf("got %v, %v, %v", info.Mode(), err, outputs)
		}
		// The receipt is of the mended file.
		s.take()
		if outputs := done(t, fetch(t, root, append(options, "mode=0640")...)); outputs["skipped"] != "its receipt is right" {
			t.Errorf("a third run: %v", outputs)
		}
	}
}

func TestAFolderForAnotherOwnerOrModeIsUnpackedAnew(t *testing.T) {
	archive := tarOf(t, file{name: "x", content: "x"})
	s := serve(t, map[string][]byte{"a": archive})
	root := t.TempDir()
	options := []string{"url=" + s.URL + "/a", "dest=/out", "extract=true", digest(archive)}
	done(t, fetch(t, root, options...))
	for _, changed := range []string{"mode=0700", fmt.Sprintf("owner=%d", os.Getuid())} {
		options = append(options, changed)
		if outputs := done(t, fetch(t, root, options...)); outputs["skipped"] != "" {
			t.Errorf("%s: it was skipped: %s", changed, outputs["skipped"])
		}
		if outputs := done(t, fetch(t, root, options...)); outputs["skipped"] == "" {
			t.Errorf("%s: a second run: %v", changed, outputs)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "out")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestForeignFoldersAreLeftAlone(t *testing.T) {
	s := serve(t, map[string][]byte{"a": zipOf(t, file{name: "x", content: "x"}), "b": tarOf(t, file{name: "x", content: "x"})})
	for name := range s.files {
		root := t.TempDir()
		write(t, root, "out/mine", "mine")
		options := []string{"url=" + s.URL + "/" + name, "dest=/out", "extract=true"}
		result := fetch(t, root, options...)
		if result.State == run.Done || !strings.Contains(fault.HintOf(result.Err), "--force") {
			t.Fatalf("%s: got %v (hint: %s)", name, result.Err, fault.HintOf(result.Err))
		}
		if kind := fault.KindOf(result.Err); kind != fault.CantCreate && kind != fault.Conflict {
			t.Errorf("%s: got %v", name, kind)
		}
		is(t, root, "out/mine", "mine")
		done(t, fetch(t, root, append(options, "force=true")...))
		is(t, root, "out/x", "x")
	}
}

func TestHostileArchives(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	whole := gzipped(t, tarOf(t, file{name: "x", content: string(random(200<<10, 2))}))
	for _, test := range []struct {
		name    string
		content []byte
		options []string
		text    string
	}{
		{name: "upwards", content: tarOf(t, file{name: "a", content: "a"}, file{name: "../out2", content: "evil"}), text: "its name leads upwards"},
		{name: "upwards in a zip", content: zipOf(t, file{name: "a", content: "a"}, file{name: "../out2", content: "evil"}), text: "its name leads upwards"},
		{name: "absolute", content: tarOf(t, file{name: "/etc/passwd", content: "evil"}), text: "its name is an absolute path"},
		{name: "a link outside", content: tarOf(t, file{name: "l", link: "../../etc"}), text: `entry "l"`},
		{name: "through a link", content: tarOf(t, file{name: "d/"}, file{name: "l", link: "d"}, file{name: "l/x", content: "x"}), text: `entry "l/x"`},
		{name: "too many bytes", content: gzipped(t, tarOf(t, file{name: "x", content: zeros})), options: []string{"extract-limits=bytes=1000"}, text: "extract-limits"},
		{name: "too many entries", content: tarOf(t, file{name: "a"}, file{name: "b"}, file{name: "c"}), options: []string{"extract-limits=entries=2"}, text: "2"},
		{name: "truncated", content: whole[:len(whole)/2], text: "the archive ends too early"},
		{name: "truncated zip", content: zipOf(t, file{name: "x", content: "x"})[:60], options: []string{"extract=zip"}, text: "zip"},
		{name: "damaged", content: append([]byte{0x1f, 0x8b, 8, 0}, random(2000, 3)...), text: "unpack: "},
		{name: "no archive", content: []byte("hello"), text: "it is no archive that slipway knows"},
		{name: "empty", content: nil, text: "it is no archive that slipway knows"},
		{name: "another format", content: zipOf(t, file{name: "x"}), options: []string{"extract=tar.gz"}, text: "unpack: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := serve(t, map[string][]byte{"a": test.content})
			defer s.Close()
			root := t.TempDir()
			options := append([]string{"url=" + s.URL + "/a?token=s3cret", "dest=/out", "extract=true", digest(test.content)}, test.options...)
			result := fetch(t, root, options...)
			failed(t, result, fault.Data, "fetch "+s.URL+"/a", "unpack: ")
			if told := fault.Describe(result.Err); !strings.Contains(told, test.text) {
				t.Errorf("got %s, want %s", told, test.text)
			}
			is(t, root)
			if names, err := os.ReadDir(root); err != nil || len(names) > 0 {
				t.Errorf("it left %v (%v)", names, err)
			}
		})
	}
}

func TestABrokenArchiveLeavesTheOldOne(t *testing.T) {
	s := serve(t, map[string][]byte{"a": gzipped(t, tarOf(t, file{name: "x", content: "old"}))})
	root := t.TempDir()
	options := []string{"url=" + s.URL + "/a", "dest=/out", "extract=true"}
	done(t, fetch(t, root, options...))
	whole := gzipped(t, tarOf(t, file{name: "x", content: "new"}))
	s.put("a", whole[:len(whole)-9])
	failed(t, fetch(t, root, options...), fault.Data)
	is(t, root, "out/x", "old")
	failed(t, fetch(t, root, append(options, digest([]byte("another")))...), fault.Data)
	is(t, root, "out/x", "old")
	s.put("a", whole)
	done(t, fetch(t, root, options...))
	is(t, root, "out/x", "new")
}

// interrupted runs http-fetch until the server is asked for a later part than its third, and stops it then.
func interrupted(t *testing.T, s *server, root string, options ...string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	count := 0
	var mu sync.Mutex
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		count++
		n := count
		mu.Unlock()
		if n < 3 {
			return false
		}
		cancel(&fault.Signal{Signal: syscall.SIGTERM})
		<-r.Context().Done()
		return true
	}
	if result := fetchIn(ctx, t, root, options...); result.State == run.Done {
		t.Fatal("it was not stopped")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil, s.asked = nil, nil
}

// askedFor returns the bytes that were asked for in ranges.
func askedFor(t *testing.T, size int, asked []*http.Request) int {
	t.Helper()
	sum := 0
	for _, r := range asked {
		var first, last int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			t.Fatalf("%q: %v", r.Header.Get("Range"), err)
		}
		sum += min(last, size-1) - first + 1
	}
	return sum
}

func TestAnInterruptedRunIsContinued(t *testing.T) {
	archive := tarOf(t, file{name: "x", content: string(random(30<<20, 4))})
	for _, extract := range []string{"false", "true"} {
		s := serve(t, map[string][]byte{"a": archive})
		root := t.TempDir()
		options := []string{"url=" + s.URL + "/a", "dest=/out", "extract=" + extract, digest(archive), "connections=1"}
		interrupted(t, s, root, options...)
		if _, err := os.Stat(filepath.Join(root, "out")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("extract=%s: something is there: %v", extract, err)
		}
		outputs := done(t, fetch(t, root, options...))
		continued, err := strconv.Atoi(outputs["continued"])
		if err != nil || continued == 0 || continued+askedFor(t, len(archive), s.take()) != len(archive) {
			t.Errorf("extract=%s: it went on from %q of %d bytes: %v", extract, outputs["continued"], len(archive), outputs)
		}
		if extract == "true" {
			is(t, root, "out/x", string(random(30<<20, 4)))
		} else {
			is(t, root, "out", string(archive))
		}
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	archive := gzipped(t, tarOf(t, file{name: "x", content: string(random(1<<20, 5))}))
	for _, extract := range []string{"false", "true"} {
		s := serve(t, map[string][]byte{"a": archive})
		root := t.TempDir()
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				task := steptest.Task(t, httpfetch.Kind, steptest.Options{"url=" + s.URL + "/a", "dest=/out", "extract=" + extract, digest(archive)})
				if result := steptest.Run(context.Background(), task, root); result.State != run.Done {
					t.Errorf("extract=%s: %v", extract, result.Err)
				}
			})
		}
		wait.Wait()
		if extract == "true" {
			is(t, root, "out/x", string(random(1<<20, 5)))
		} else {
			is(t, root, "out", string(archive))
		}
	}
}

func TestNothingIsLeftOpen(t *testing.T) {
	defer goleak.VerifyNone(t)
	archive := gzipped(t, tarOf(t, file{name: "x", content: "x"}))
	other := serve(t, map[string][]byte{"sums": fmt.Appendf(nil, "%x\n", sha256.Sum256(archive))})
	s := serve(t, map[string][]byte{"a": archive})
	defer s.Close()
	defer other.Close()
	root := t.TempDir()
	open := func() int {
		t.Helper()
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	run := func() {
		t.Helper()
		done(t, fetch(t, root, "url="+s.URL+"/a", "dest=/file", "sha256-file="+other.URL+"/sums"))
		done(t, fetch(t, root, "url="+s.URL+"/a", "dest=/out", "extract=true"))
	}
	run()
	s.CloseClientConnections()
	other.CloseClientConnections()
	before := open()
	for range 5 {
		if err := os.RemoveAll(filepath.Join(root, "out")); err != nil {
			t.Fatal(err)
		}
		run()
	}
	if after := open(); after > before+4 { // the server's own ends, which it closes in its own time
		t.Errorf("%d descriptors were open, and now there are %d", before, after)
	}
}
