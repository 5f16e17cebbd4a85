package httpfetch_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/httpfetch"
)

// server serves files with ranges and strong ETags, and remembers what it was asked for.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []*http.Request
	spoil func(w http.ResponseWriter, r *http.Request) bool // true if it has answered
}

// serve starts a server of files by their names.
func serve(t *testing.T, files map[string][]byte) *server {
	t.Helper()
	s := &server{files: files}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	spoil, content, ok := s.spoil, s.files[strings.TrimPrefix(r.URL.Path, "/")], false
	_, ok = s.files[strings.TrimPrefix(r.URL.Path, "/")]
	s.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, crc32.ChecksumIEEE(content)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// put sets what stands at a name.
func (s *server) put(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = content
}

// take returns what the server was asked since the last call.
func (s *server) take() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// fetch runs http-fetch over root.
func fetch(t *testing.T, root string, options ...string) run.TaskResult {
	t.Helper()
	return fetchIn(context.Background(), t, root, options...)
}

// fetchIn runs http-fetch over root without long delays.
func fetchIn(ctx context.Context, t *testing.T, root string, options ...string) run.TaskResult {
	t.Helper()
	task := steptest.Task(t, httpfetch.Kind, options)
	task.Policy.Backoff, task.Policy.MaxBackoff, task.Policy.Retries = time.Millisecond, time.Millisecond, 3
	return steptest.Run(ctx, task, root, "TOKEN=s3cret")
}

// done checks that a run has succeeded, and returns its outputs.
func done(t *testing.T, result run.TaskResult) map[string]string {
	t.Helper()
	if result.State != run.Done {
		t.Fatalf("%v (hint: %s)", result.Err, fault.HintOf(result.Err))
	}
	return steptest.Outputs(result)
}

// failed checks that a run has failed with that kind and those texts in its error.
func failed(t *testing.T, result run.TaskResult, kind fault.Kind, texts ...string) {
	t.Helper()
	if result.State == run.Done || fault.KindOf(result.Err) != kind {
		t.Fatalf("got %v (%v), want %v", result.Err, fault.KindOf(result.Err), kind)
	}
	for _, text := range texts {
		if !strings.Contains(result.Err.Error(), text) {
			t.Errorf("got %q, want %q in it", result.Err, text)
		}
	}
	if strings.Contains(fault.Describe(result.Err), "s3cret") {
		t.Errorf("a secret is in the error: %s", fault.Describe(result.Err))
	}
}

// tree returns the files below root by their names, with their content; those that slipway keeps for itself are left out.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".receipt") {
			return err
		}
		content, err := fs.ReadFile(os.DirFS(root), name)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// is checks that the files below root are these alone: names and contents, in turn.
func is(t *testing.T, root string, want ...string) {
	t.Helper()
	got := tree(t, root)
	var names []string
	for i := 0; i < len(want); i += 2 {
		names = append(names, want[i])
		if content, ok := got[want[i]]; !ok || content != want[i+1] {
			t.Errorf("%s: got %.40q (there: %v), want %.40q", want[i], content, ok, want[i+1])
		}
	}
	for name := range got {
		if !slices.Contains(names, name) {
			t.Errorf("there is %s, too", name)
		}
	}
}

// write writes a file below root.
func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// digest returns the option --sha256 of content.
func digest(content []byte) string { return fmt.Sprintf("sha256=%x", sha256.Sum256(content)) }

// file is an entry of an archive: a folder if its name ends in a slash, a link if it has a target.
type file struct{ name, content, link string }

// tarOf returns a tar of files.
func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(content, nil)
}

// zipOf returns a zip of files.
func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		entry, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
