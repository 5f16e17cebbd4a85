package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpobject"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/transfer"
)

// content returns size bytes that do not repeat, the same for the same seed.
func content(size int, seed byte) []byte {
	bytes := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(bytes)
	return bytes
}

// server serves one object whose requests a test may spoil.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	content []byte
	etag    string
	spoil   func(n int, w http.ResponseWriter, r *http.Request) bool // true if it has answered the n-th request, from 1
	count   int
	asked   atomic.Int64 // bytes of ranges
}

func serve(t *testing.T, content []byte, spoil func(n int, w http.ResponseWriter, r *http.Request) bool) *server {
	t.Helper()
	s := &server{spoil: spoil}
	s.replace(content)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.count++
	n, content, etag := s.count, s.content, s.etag
	s.mu.Unlock()
	if from, to, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); ok {
		first, _ := strconv.ParseInt(from, 10, 64)
		last, _ := strconv.ParseInt(to, 10, 64)
		s.asked.Add(min(last, int64(len(content))-1) - first + 1)
	}
	if s.spoil != nil && s.spoil(n, w, r) {
		return
	}
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// replace puts other content in the object's place.
func (s *server) replace(content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.etag = content, fmt.Sprintf(`"%x"`, sha256.Sum256(content))
}

// object returns the server's object, with a client of its own.
func (s *server) object(t *testing.T) *httpobject.Object {
	t.Helper()
	transport := &http.Transport{DialContext: new(net.Dialer).DialContext, MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	u, err := url.Parse(s.URL + "/object")
	if err != nil {
		t.Fatal(err)
	}
	return &httpobject.Object{Client: &http.Client{Transport: transport}, URL: u}
}

// env returns an env whose retries do not wait.
func env() *step.Env {
	return &step.Env{Retry: func(ctx context.Context, part string, attempt func(context.Context) error) error {
		var err error
		for range 5 {
			if err = attempt(ctx); err == nil || ctx.Err() != nil || !fault.KindOf(err).Transient() {
				return err
			}
		}
		return err
	}}
}

// fetch fetches the object to path and publishes it.
func fetch(ctx context.Context, source transfer.Source, path string, o transfer.Options) (transfer.Result, error) {
	f, err := transfer.Open(env(), path, atomicfile.Attributes{Mode: 0o644})
	if err != nil {
		return transfer.Result{}, err
	}
	defer f.Close()
	result, err := f.Fetch(ctx, source, o)
	if err != nil {
		return result, err
	}
	return result, f.Commit()
}

// holds checks that the folder of path has the file with that content, and nothing else.
func holds(t *testing.T, path string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, want %d, or others", len(got), len(content))
	}
	if names := list(t, filepath.Dir(path)); len(names) != 1 {
		t.Errorf("got %v, want the file alone", names)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSizes(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, size := range []int{0, 1, 4095, 256 << 10, 8<<20 - 1, 8 << 20, 8<<20 + 1, 9<<20 + 12345, 30 << 20} {
		for _, connections := range []int{0, 1, 3} {
			t.Run(fmt.Sprint(size, "/", connections), func(t *testing.T) {
				want := content(size, 1)
				s := serve(t, want, nil)
				path := filepath.Join(t.TempDir(), "object")
				result, err := fetch(t.Context(), s.object(t), path, transfer.Options{Connections: connections})
				if err != nil {
					t.Fatal(err)
				}
				holds(t, path, want)
				digest := sha256.Sum256(want)
				if result.Size != int64(size) || string(result.SHA256) != string(digest[:]) || result.Proven {
					t.Errorf("got %+v, want size %d, SHA-256 %x and no proof", result, size, digest)
				}
				if connections > 0 && result.Most > connections {
					t.Errorf("got %d connections, want %d at most", result.Most, connections)
				}
			})
		}
	}
}

func TestFaultsOfTheServer(t *testing.T) {
	const size = 20 << 20
	want := content(size, 2)
	digest := sha256.Sum256(want)
	hijack := func(w http.ResponseWriter) net.Conn {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		return conn
	}
	// short answers a range with its whole header and some of its bytes.
	short := func(w http.ResponseWriter, r *http.Request, length int) {
		var first, last int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, digest))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
		w.Header().Set("Content-Length", strconv.Itoa(last-first+1))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(want[first:min(first+length, last+1)])
		w.(http.Flusher).Flush()
	}
	for _, test := range []struct {
		name  string
		spoil func(n int, w http.ResponseWriter, r *http.Request) bool
		kind  fault.Kind // 0 is none
		want  string     // in the error
	}{
		{name: "reset in the middle of every third part", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n%3 != 0 {
				return false
			}
			short(w, r, 1<<20+77)
			conn := hijack(w)
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			return true
		}},
		{name: "truncated after 100 kB, always", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			short(w, r, 900_000)
			hijack(w).Close()
			return true
		}},
		{name: "503 for the first requests", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 4 {
				return false
			}
			http.Error(w, "SlowDown", http.StatusServiceUnavailable)
			return true
		}},
		{name: "503 for every second one", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n%2 == 1 {
				return false
			}
			http.Error(w, "SlowDown", http.StatusServiceUnavailable)
			return true
		}},
		{name: "503 for ever", kind: fault.Temporary, want: "/object: the server answered 503 Service Unavailable", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "SlowDown", http.StatusServiceUnavailable)
			return true
		}},
		{name: "404", kind: fault.NoInput, want: "/object: the server answered 404 Not Found", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			http.NotFound(w, r)
			return true
		}},
		{name: "403 half-way", kind: fault.Permission, want: "the server answered 403 Forbidden", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n < 2 {
				return false
			}
			http.Error(w, "no", http.StatusForbidden)
			return true
		}},
		{name: "ranges ignored", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Write(want)
			return true
		}},
		{name: "ranges ignored, and reset once", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			if n == 1 {
				w.Write(want[:size/2])
				hijack(w).Close()
				return true
			}
			w.Write(want)
			return true
		}},
		{name: "size unknown", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Write(want[:size/2])
			w.(http.Flusher).Flush()
			w.Write(want[size/2:])
			return true
		}},
		{name: "ranges of other bytes", kind: fault.IO, want: "on were asked for, and the answer has 100 from 0 on", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				return false
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, digest))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-99/%d", size))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(want[:100])
			return true
		}},
		{name: "a Content-Range that is none", kind: fault.Data, want: `Content-Range "bytes 9-3/1" is none`, spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 9-3/1")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}},
		{name: "a Content-Length that is longer than the body", kind: fault.IO, want: "unexpected EOF", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", strconv.Itoa(size+1))
			w.Write(want)
			hijack(w).Close()
			return true
		}},
		{name: "a Content-Length that is shorter than the object", kind: fault.Data, want: "its SHA-256 is", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", strconv.Itoa(size-1))
			w.Write(want[:size-1])
			return true
		}},
		{name: "a wrong byte", kind: fault.Data, want: "its SHA-256 is", spoil: func(n int, w http.ResponseWriter, r *http.Request) bool {
			wrong := bytes.Clone(want)
			wrong[15<<20]++
			w.Header().Set("ETag", `"x"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong))
			return true
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := serve(t, want, test.spoil)
			path := filepath.Join(t.TempDir(), "object")
			_, err := fetch(t.Context(), s.object(t), path, transfer.Options{SHA256: digest[:]})
			s.Close()
			if test.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				holds(t, path, want)
				return
			}
			if err == nil || fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v (%v), want %s (%v)", err, fault.KindOf(err), test.want, test.kind)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something is at the target: %v", err)
			}
			if names := list(t, filepath.Dir(path)); !test.kind.Transient() && len(names) > 0 {
				t.Errorf("it left %v behind", names)
			}
		})
	}
}

func TestAbsurdSizes(t *testing.T) {
	for _, size := range []int64{1 << 62, 1<<63 - 1, 1<<63 - 100} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprint(size, "/", whole), func(t *testing.T) {
				s := serve(t, nil, func(n int, w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
					if !whole {
						w.Header().Set("Content-Length", strconv.Itoa(8<<20))
						w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 8<<20-1, size))
						w.WriteHeader(http.StatusPartialContent)
					}
					w.Write(make([]byte, 1000))
					return true
				})
				path := filepath.Join(t.TempDir(), "object")
				_, err := fetch(t.Context(), s.object(t), path, transfer.Options{})
				if fault.KindOf(err) != fault.CantCreate {
					t.Errorf("got %v (%v), want CantCreate", err, fault.KindOf(err))
				}
				if names := list(t, filepath.Dir(path)); len(names) > 0 {
					t.Errorf("it left %v behind", names)
				}
			})
		}
	}
}

func TestReplacedHalfWay(t *testing.T) {
	before, after := content(40<<20, 3), content(41<<20, 4)
	var s *server
	s = serve(t, before, func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 2 {
			s.replace(after)
		}
		return false
	})
	path := filepath.Join(t.TempDir(), "object")
	// One part after the other, so that the replacement falls between two of them.
	if _, err := fetch(t.Context(), s.object(t), path, transfer.Options{Connections: 1}); err != nil {
		t.Fatal(err)
	}
	holds(t, path, after)
}

func TestReplacedForEver(t *testing.T) {
	var s *server
	s = serve(t, content(20<<20, 0), func(n int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
		return true
	})
	path := filepath.Join(t.TempDir(), "object")
	_, err := fetch(t.Context(), s.object(t), path, transfer.Options{})
	if fault.KindOf(err) != fault.Temporary || !strings.Contains(err.Error(), "was replaced by another version meanwhile, 4 times") {
		t.Errorf("got %v (%v), want a Temporary that says so", err, fault.KindOf(err))
	}
}

// interrupted fetches until the server has been asked n times, and stops then.
func interrupted(t *testing.T, s *server, path string, n int, o transfer.Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.spoil = func(count int, w http.ResponseWriter, r *http.Request) bool {
		if count < n {
			return false
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	if _, err := fetch(ctx, s.object(t), path, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want a fetch that was stopped", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil, s.count = nil, 0
}

func TestContinued(t *testing.T) {
	want := content(40<<20, 5)
	digest := sha256.Sum256(want)
	for _, test := range []struct {
		name      string
		change    func(t *testing.T, s *server, partial string)
		options   transfer.Options // with one connection, so that no byte is asked for twice
		continued bool
		want      []byte
	}{
		{name: "the same object", continued: true, want: want},
		{name: "the same object by digest", options: transfer.Options{SHA256: digest[:]}, continued: true, want: want},
		{name: "another version", change: func(t *testing.T, s *server, partial string) { s.replace(content(40<<20, 6)) }, want: content(40<<20, 6)},
		{name: "a shorter one", change: func(t *testing.T, s *server, partial string) { s.replace(content(5, 6)) }, want: content(5, 6)},
		{name: "a journal that was cut", change: func(t *testing.T, s *server, partial string) {
			info, err := os.Stat(partial)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(partial, info.Size()-1); err != nil {
				t.Fatal(err)
			}
		}, want: want},
		{name: "bytes that somebody has changed", change: func(t *testing.T, s *server, partial string) {
			f, err := os.OpenFile(partial, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("wrong"), 3); err != nil {
				t.Fatal(err)
			}
		}, options: transfer.Options{SHA256: digest[:]}, want: want},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, want, nil)
			path := filepath.Join(t.TempDir(), "object")
			test.options.Connections = 1
			interrupted(t, s, path, 3, test.options)
			names := list(t, filepath.Dir(path))
			if len(names) != 1 {
				t.Fatalf("got %v, want a partial file", names)
			}
			if test.change != nil {
				test.change(t, s, filepath.Join(filepath.Dir(path), names[0]))
			}
			s.asked.Store(0)
			result, err := fetch(t.Context(), s.object(t), path, test.options)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, path, test.want)
			if test.continued != (result.Continued > 0) {
				t.Errorf("it continued %d bytes", result.Continued)
			}
			if test.continued && s.asked.Load()+result.Continued != int64(len(want)) {
				t.Errorf("it continued %d bytes and asked for %d, of %d", result.Continued, s.asked.Load(), len(want))
			}
		})
	}
}

func TestWholeButUnpublishedIsFetchedFromDisk(t *testing.T) {
	want := content(20<<20, 7)
	digest := sha256.Sum256(want)
	for _, test := range []struct {
		name   string
		sha256 []byte
		asked  int64 // for bytes, by the second run
	}{
		{"by its digest", digest[:], 0},
		{"by its version", nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, want, nil)
			path := filepath.Join(t.TempDir(), "object")
			// The follower is stopped when everything has arrived.
			ctx, cancel := context.WithCancel(t.Context())
			f, err := transfer.Open(env(), path, atomicfile.Attributes{Mode: 0o600})
			if err != nil {
				t.Fatal(err)
			}
			last := func() transfer.Follower {
				return follower{write: func(p []byte, at int64) error {
					if at+int64(len(p)) == int64(len(want)) {
						cancel()
						return ctx.Err()
					}
					return nil
				}, at: new(int64)}
			}
			if _, err := f.Fetch(ctx, s.object(t), transfer.Options{Follow: last, SHA256: test.sha256}); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want a fetch that was stopped", err)
			}
			f.Close()
			s.asked.Store(0)
			result, err := fetch(t.Context(), s.object(t), path, transfer.Options{SHA256: test.sha256})
			if err != nil {
				t.Fatal(err)
			}
			holds(t, path, want)
			if got := s.asked.Load(); got != test.asked || result.Continued != int64(len(want)) {
				t.Errorf("it asked for %d bytes and continued %d, want %d and %d", got, result.Continued, test.asked, len(want))
			}
		})
	}
}

type follower struct {
	write func(p []byte, at int64) error
	close func(err error) error
	at    *int64
}

func (f follower) Write(p []byte) (int, error) {
	err := f.write(p, *f.at)
	*f.at += int64(len(p))
	return len(p), err
}

func (f follower) Close(err error) error {
	if f.close != nil {
		return f.close(err)
	}
	return nil
}

func TestFollowerGetsTheBytesInOrder(t *testing.T) {
	want := content(50<<20, 8)
	s := serve(t, want, nil)
	var got bytes.Buffer
	ended := errors.New("not ended")
	follow := func() transfer.Follower {
		return follower{
			write: func(p []byte, _ int64) error { got.Write(p); return nil },
			close: func(err error) error { ended = err; return nil },
			at:    new(int64),
		}
	}
	if _, err := fetch(t.Context(), s.object(t), filepath.Join(t.TempDir(), "object"), transfer.Options{Follow: follow}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) || ended != nil {
		t.Errorf("the follower got %d bytes of %d, or others, and the end %v", got.Len(), len(want), ended)
	}
}

func TestFollowersErrorIsTheFetchs(t *testing.T) {
	full := fault.New(fault.CantCreate, "no room")
	for _, test := range []struct {
		name     string
		follower follower
	}{
		{"in the middle", follower{write: func(p []byte, at int64) error {
			if at > 10<<20 {
				return full
			}
			return nil
		}}},
		{"at the end", follower{write: func([]byte, int64) error { return nil }, close: func(err error) error {
			if err == nil {
				return full
			}
			return nil
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, content(50<<20, 9), nil)
			test.follower.at = new(int64)
			_, err := fetch(t.Context(), s.object(t), filepath.Join(t.TempDir(), "object"), transfer.Options{
				Follow: func() transfer.Follower { return test.follower },
			})
			if !errors.Is(err, full) {
				t.Errorf("got %v, want %v", err, full)
			}
		})
	}
}

func TestASlowConnectionOutOfEight(t *testing.T) {
	want := content(64<<20, 10)
	s := serve(t, want, func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n != 3 {
			return false
		}
		w = &dripping{w, r.Context()}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content(64<<20, 10))))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(want))
		return true
	})
	path := filepath.Join(t.TempDir(), "object")
	result, err := fetch(t.Context(), s.object(t), path, transfer.Options{Connections: 8})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, path, want)
	if result.Stalls == 0 {
		t.Errorf("got %+v, want a connection that was given up", result)
	}
}

// dripping writes a few bytes at a time until its request is given up.
type dripping struct {
	http.ResponseWriter
	ctx context.Context
}

func (d *dripping) Write(p []byte) (int, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; n < len(p); n++ {
		select {
		case <-d.ctx.Done():
			return n, d.ctx.Err()
		case <-ticker.C:
		}
		if _, err := d.ResponseWriter.Write(p[n : n+1]); err != nil {
			return n, err
		}
		d.ResponseWriter.(http.Flusher).Flush()
	}
	return len(p), nil
}

func TestNoRoom(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = 10 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	s := serve(t, content(40<<20, 11), nil)
	path := filepath.Join(t.TempDir(), "object")
	_, err := fetch(t.Context(), s.object(t), path, transfer.Options{})
	if fault.KindOf(err) != fault.CantCreate {
		t.Errorf("got %v (%v), want CantCreate", err, fault.KindOf(err))
	}
	if names := list(t, filepath.Dir(path)); len(names) > 0 {
		t.Errorf("it left %v behind", names)
	}
}

func TestTwoAtOnce(t *testing.T) {
	want := content(30<<20, 12)
	s := serve(t, want, nil)
	path := filepath.Join(t.TempDir(), "object")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, err := fetch(t.Context(), s.object(t), path, transfer.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	holds(t, path, want)
}

// proof is what a server says of its object's first byte.
type proof struct {
	want, got byte
	seen      bool
}

func (p *proof) Write(b []byte) (int, error) {
	if !p.seen && len(b) > 0 {
		p.got, p.seen = b[0], true
	}
	return len(b), nil
}

func (p *proof) Verify(context.Context, io.Reader) error {
	if p.got != p.want {
		return fault.New(fault.Data, "its first byte is %d, not %d", p.got, p.want)
	}
	return nil
}

// proven is a source whose server proves its objects.
type proven struct {
	transfer.Source
	first byte
}

func (p proven) Get(ctx context.Context, r transfer.Range, version string) (*transfer.Answer, error) {
	answer, err := p.Source.Get(ctx, r, version)
	if err == nil {
		answer.Proofs = func(context.Context) ([]transfer.Proof, error) { return []transfer.Proof{&proof{want: p.first}}, nil }
	}
	return answer, err
}

func TestTheServersOwnProofs(t *testing.T) {
	for _, size := range []int{1000, 20 << 20} {
		want := content(size, 13)
		s := serve(t, want, nil)
		path := filepath.Join(t.TempDir(), "object")
		result, err := fetch(t.Context(), proven{s.object(t), want[0]}, path, transfer.Options{})
		if err != nil || !result.Proven {
			t.Fatalf("got %+v, %v, want a proof", result, err)
		}
		path = filepath.Join(t.TempDir(), "object")
		_, err = fetch(t.Context(), proven{s.object(t), want[0] + 1}, path, transfer.Options{})
		if fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), "its first byte is") {
			t.Errorf("got %v, want a Data fault", err)
		}
		if names := list(t, filepath.Dir(path)); len(names) > 0 {
			t.Errorf("it left %v behind", names)
		}
	}
}

// hesitant is a source whose server tells of its objects when it is asked a second time.
type hesitant struct {
	transfer.Source
	asked *atomic.Int64
}

func (h hesitant) Get(ctx context.Context, r transfer.Range, version string) (*transfer.Answer, error) {
	answer, err := h.Source.Get(ctx, r, version)
	if err == nil {
		answer.Proofs = func(context.Context) ([]transfer.Proof, error) {
			if h.asked.Add(1) == 1 {
				return nil, fault.New(fault.Temporary, "slow down")
			}
			return nil, nil
		}
	}
	return answer, err
}

func TestProofsAreAskedForAgain(t *testing.T) {
	for _, size := range []int{1000, 20 << 20} {
		want := content(size, 15)
		s := serve(t, want, nil)
		path := filepath.Join(t.TempDir(), "object")
		if _, err := fetch(t.Context(), hesitant{s.object(t), new(atomic.Int64)}, path, transfer.Options{}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		holds(t, path, want)
	}
}

var _ io.Writer = (*proof)(nil)
