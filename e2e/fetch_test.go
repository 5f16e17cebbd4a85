package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
	"github.com/slipway-init/slipway/e2e/internal/s3put"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/spans"
)

// noise returns bytes that nothing compresses. Each seed has its own; the same one begins always the same.
func noise(seed byte, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
	return content
}

// digest returns the SHA-256 of content as slipway takes it.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// origin is a server of objects, and how slipway is told to fetch one of them.
type origin struct {
	name string
	addr string // where it listens; a proxy in front of it listens elsewhere
	env  []string
	// put writes an object, in place of one that has the same key.
	put func(t *testing.T, key string, content []byte)
	// words are the step and its source, from the server at addr.
	words func(addr, key string) []string
}

// fetch returns the command that fetches an object from the server at addr.
func (o origin) fetch(addr, key, dest string, options ...string) slipway.Command {
	return slipway.Command{Args: append(append(o.words(addr, key), dest), options...), Env: o.env}
}

// origins starts a server of each sort.
func origins(t *testing.T) []origin {
	t.Helper()
	return []origin{
		fromS3(t, "versitygw", servers.StartVersitygw(t)),
		fromS3(t, "minio", servers.StartMinIO(t, nil)),
		fromNginx(t),
	}
}

// fromS3 is an S3 server with a bucket.
func fromS3(t *testing.T, name string, server *servers.S3) origin {
	t.Helper()
	bucket := s3put.Create(t, server, "bucket")
	bucket.Publish(t) // a proxy that ignores ranges asks as nobody, because Range is signed
	return origin{
		name: name, addr: server.Addr, env: server.Env(),
		put: func(t *testing.T, key string, content []byte) { bucket.Put(t, key, content) },
		words: func(addr, key string) []string {
			return []string{"s3-fetch", "--endpoint-url", "http://" + addr, "--path-style", bucket.URL(key)}
		},
	}
}

// fromNginx is an nginx over a folder.
func fromNginx(t *testing.T) origin {
	t.Helper()
	folder := servers.Dir(t)
	n := servers.StartNginx(t, "", servers.Files(t, folder))
	var puts atomic.Int64
	began := time.Now().Add(-time.Hour)
	return origin{
		name: "nginx", addr: n.Addr,
		put: func(t *testing.T, key string, content []byte) {
			t.Helper()
			fresh := filepath.Join(folder, ".fresh-"+key)
			if err := os.WriteFile(fresh, content, 0o644); err != nil {
				t.Fatal(err)
			}
			// nginx's ETag is of the size and of the time in seconds alone.
			modified := began.Add(time.Duration(puts.Add(1)) * time.Second)
			if err := os.Chtimes(fresh, modified, modified); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(fresh, filepath.Join(folder, key)); err != nil {
				t.Fatal(err)
			}
		},
		words: func(addr, key string) []string { return []string{"http-fetch", "http://" + addr + "/" + key} },
	}
}

// holds checks the content of a file, without printing it.
func holds(t *testing.T, path string, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	buffer := make([]byte, 1<<20)
	for at := 0; ; {
		n, err := io.ReadFull(f, buffer)
		if !bytes.Equal(buffer[:n], want[min(at, len(want)):min(at+n, len(want))]) {
			t.Errorf("%s is not what it should be, from %d on", path, at)
			return
		}
		at += n
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if at != len(want) {
				t.Errorf("%s has %d bytes, want %d", path, at, len(want))
			}
			return
		case err != nil:
			t.Error(err)
			return
		}
	}
}

// fetched returns the paths of all below a folder but the receipts of what was fetched.
func fetched(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, dir), func(name string) bool {
		return strings.HasPrefix(filepath.Base(name), ".slipway-") && strings.HasSuffix(name, ".receipt")
	})
}

// alone checks that a folder holds these names and nothing else.
func alone(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := fetched(t, dir); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got %q, want %q", dir, got, want)
	}
}

// absent checks that there is nothing at a path.
func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("there is something at %s (%v)", path, err)
	}
}

// A proxy of the pod's environment is asked for everything, and resolves the names.
func TestFetchThroughAProxy(t *testing.T) {
	t.Parallel()
	content := noise(33, 20<<20)
	for _, o := range origins(t) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.put(t, "object", content)
			proxy := faultproxy.Start(t, o.addr)
			dest := filepath.Join(t.TempDir(), "object")
			fetch := o.fetch("store.invalid", "object", dest, "--sha256", digest(content), "--retries", "0")
			expect(t, fetch.Run(t), 69, "store.invalid")
			fetch.Env = append(slices.Clone(fetch.Env), "HTTP_PROXY="+proxy.URL)
			expect(t, fetch.Run(t), 0)
			holds(t, dest, content)
			if proxy.Counts().Sent < int64(len(content)) {
				t.Errorf("the proxy saw %+v", proxy.Counts())
			}
		})
	}
}

// The span of a fetch says how much came, how, and how fast; each part that was asked for again is an event.
func TestTraceOfAFetch(t *testing.T) {
	t.Parallel()
	c := servers.StartCollector(t)
	web := fromNginx(t)
	content := noise(34, 40<<20)
	web.put(t, "object", content)
	proxy := faultproxy.Start(t, web.addr)
	proxy.Spoil(first(2, faultproxy.Fault{Cut: 1 << 20, Reset: true}))
	fetch := web.fetch(proxy.Addr, "object", filepath.Join(t.TempDir(), "object"), "--sha256", digest(content), "--backoff", "20ms")
	fetch.Env = endpoint("grpc", c.GRPC)
	expect(t, fetch.Run(t), 0)
	span := spans.Read(t, c.Received(t)).Find(t, "http-fetch")
	for key, want := range map[string]string{"bytes": fmt.Sprint(len(content)), "sha256": digest(content), "verified": "true"} {
		if got := span.Attributes["slipway.output."+key]; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"requests", "connections", "rate", "retried"} {
		if n, err := strconv.Atoi(span.Attributes["slipway.output."+key]); err != nil || n < 1 {
			t.Errorf("%s: got %q, want a number", key, span.Attributes["slipway.output."+key])
		}
	}
	if len(span.Events) < 2 || span.Events[0].Name != "retry" {
		t.Errorf("got events %+v, want two retries", span.Events)
	}
}

// slowDown is how S3 asks for patience.
var slowDown = fmt.Sprintf(s3Error, "SlowDown", "Please reduce your request rate.")

// s3Error is an error of S3, of a code and a message.
const s3Error = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><RequestId>e2e</RequestId></Error>`
