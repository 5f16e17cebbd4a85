package s3fetch_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
	"github.com/slipway-init/slipway/steps/s3fetch"
)

// made is when all objects of the server were made.
var made = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// object is what the server has of a key.
type object struct {
	content   []byte
	modified  time.Time
	version   string // "" has none
	checksums http.Header
}

// server is a bucket "bkt" as far as these tests need one: GET and HEAD with ranges, versions and checksums, and lists by pages.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]object
	page    int // keys of a page
	asked   []string
	spoil   func(n int, w http.ResponseWriter, r *http.Request) bool // true if it has answered the n-th request, from 1
}

// serve starts a server of objects.
func serve(t *testing.T, contents map[string]string) *server {
	t.Helper()
	s := &server{objects: make(map[string]object), page: 1000}
	for key, content := range contents {
		s.objects[key] = object{content: []byte(content), modified: made}
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// put sets an object.
func (s *server) put(key string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = o
}

// take returns what was asked since the last call, such as "GET key".
func (s *server) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/bkt/")
	s.mu.Lock()
	what := r.Method + " " + key
	if r.URL.Query().Has("list-type") {
		what = "LIST " + r.URL.Query().Get("prefix")
	}
	s.asked = append(s.asked, what)
	n, spoil := len(s.asked), s.spoil
	o, ok := s.objects[key]
	s.mu.Unlock()
	switch {
	case spoil != nil && spoil(n, w, r):
	case r.URL.Query().Has("list-type"):
		s.list(w, r.URL.Query())
	case !ok:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.URL.Query().Get("versionId") != "" && r.URL.Query().Get("versionId") != o.version:
		refuse(w, http.StatusNotFound, "NoSuchVersion")
	case len(o.content) == 0 && r.Header.Get("Range") != "":
		refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange") // as AWS does
	default:
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, crc32.ChecksumIEEE(o.content)))
		if o.version != "" {
			w.Header().Set("X-Amz-Version-Id", o.version)
		}
		if r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			maps.Copy(w.Header(), o.checksums)
		}
		http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.content))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>No.</Message></Error>", code)
}

// list answers with a page of the keys below a prefix.
func (s *server) list(w http.ResponseWriter, query url.Values) {
	type contents struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
	}
	var result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []contents
	}
	result.EncodingType = "url"
	s.mu.Lock()
	defer s.mu.Unlock()
	after := query.Get("start-after")
	if token := query.Get("continuation-token"); token != "" {
		after = token
	}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, query.Get("prefix")) || key <= after && after != "" {
			continue
		}
		if len(result.Contents) == s.page {
			result.IsTruncated = true
			break
		}
		o := s.objects[key]
		result.Contents = append(result.Contents, contents{url.QueryEscape(key), o.modified.Format(time.RFC3339Nano), fmt.Sprintf(`"%x"`, crc32.ChecksumIEEE(o.content)), len(o.content)})
		result.NextContinuationToken = key
	}
	if !result.IsTruncated {
		result.NextContinuationToken = ""
	}
	_ = xml.NewEncoder(w).Encode(result)
}

// crc32Of returns the header of a checksum over content.
func crc32Of(content []byte) http.Header {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(content))
	return http.Header{"X-Amz-Checksum-Crc32": {base64.StdEncoding.EncodeToString(sum)}, "X-Amz-Checksum-Type": {"FULL_OBJECT"}}
}

// at returns the options of an object or a prefix of the server.
func (s *server) at(key string, options ...string) steptest.Options {
	return append(steptest.Options{"url=s3://bkt/" + key, "endpoint-url=" + s.URL, "path-style=true", "no-sign-request=true"}, options...)
}

// fetch runs s3-fetch over root without long delays.
func fetch(t *testing.T, root string, options steptest.Options, environ ...string) run.TaskResult {
	t.Helper()
	task := steptest.Task(t, s3fetch.Kind, options)
	task.Policy.Backoff, task.Policy.MaxBackoff, task.Policy.Retries = time.Millisecond, time.Millisecond, 3
	return steptest.Run(context.Background(), task, root, append(environ, "AWS_EC2_METADATA_DISABLED=true")...)
}

// done checks that a run has succeeded, and returns its outputs.
func done(t *testing.T, result run.TaskResult) map[string]string {
	t.Helper()
	if result.State != run.Done {
		t.Fatalf("%v (hint: %s)", result.Err, fault.HintOf(result.Err))
	}
	return steptest.Outputs(result)
}

// failed checks that a run has failed with that kind and that text in its error.
func failed(t *testing.T, result run.TaskResult, kind fault.Kind, text string) {
	t.Helper()
	if result.State == run.Done || fault.KindOf(result.Err) != kind || !strings.Contains(result.Err.Error(), text) {
		t.Errorf("got %v (%v), want %s (%v)", result.Err, fault.KindOf(result.Err), text, kind)
	}
}

// is checks that the files below root are these alone: names and contents, in turn. Receipts are left out.
func is(t *testing.T, root string, want ...string) {
	t.Helper()
	left := make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasSuffix(name, ".receipt") {
			left[strings.TrimPrefix(name, root+"/")] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(want); i += 2 {
		content, err := os.ReadFile(filepath.Join(root, want[i]))
		if err != nil || string(content) != want[i+1] {
			t.Errorf("%s: got %.60q (%v), want %.60q", want[i], content, err, want[i+1])
		}
		delete(left, want[i])
	}
	for name := range left {
		t.Errorf("there is %s, too", name)
	}
}

// numbered returns objects below p/, with names and contents that are numbers.
func numbered(n int) map[string]string {
	objects := make(map[string]string)
	for i := range n {
		objects["p/"+strconv.Itoa(i%7)+"/"+strconv.Itoa(i)] = strconv.Itoa(i)
	}
	return objects
}
