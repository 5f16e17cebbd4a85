package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
	"github.com/slipway-init/slipway/e2e/internal/s3put"
	"github.com/slipway-init/slipway/e2e/internal/servers"
)

// After a SIGKILL at any moment of a fetch there is nothing at the target, or the whole. The next run ends right, and
// continues: little is asked for twice.
func TestFetchKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	const size, rounds = 256 << 20, 50 // of each server
	content := noise(40, size)
	for _, o := range origins(t) {
		if o.name == "minio" {
			continue // it costs the most and tells no more than the other S3 server
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.put(t, "object", content)
			proxy := faultproxy.Start(t, o.addr)
			dir := t.TempDir()
			dest := filepath.Join(dir, "object")
			fetch := o.fetch(proxy.Addr, "object", dest, "--sha256", digest(content))
			longest := fetch.Run(t)
			expect(t, longest, 0)
			holds(t, dest, content)
			died, asked, sent := 0, int64(0), int64(0)
			for range rounds {
				if err := os.Remove(dest); err != nil {
					t.Fatal(err)
				}
				before := proxy.Counts()
				run := fetch.Start(t)
				moment := rand.N(longest.Elapsed)
				time.Sleep(moment)
				if err := run.Kill(); err != nil && err != os.ErrProcessDone {
					t.Fatal(err)
				}
				killed := run.Wait(t).Exit == 128+int(syscall.SIGKILL)
				if _, err := os.Stat(dest); err == nil {
					holds(t, dest, content)
				}
				if again := fetch.Run(t); again.Exit != 0 {
					t.Fatalf("the run after SIGKILL at %s: exit code %d\n%s", moment, again.Exit, again.Stderr)
				}
				holds(t, dest, content)
				alone(t, dir, "object")
				if t.Failed() {
					t.Fatalf("after SIGKILL at %s", moment)
				}
				if killed {
					died++
					after := proxy.Counts()
					asked += after.Asked - before.Asked
					sent += after.Sent - before.Sent
				}
			}
			if died < rounds/4 {
				t.Fatalf("only %d of %d runs were killed in time", died, rounds)
			}
			mean := float64(asked) / float64(died) / size
			t.Logf("%d of %d runs died; a whole run takes %s; on average %.3f times the object was asked for and %.3f times sent",
				died, rounds, longest.Elapsed.Round(time.Millisecond), mean, float64(sent)/float64(died)/size)
			if mean >= 1.3 {
				t.Errorf("%.3f times the object was asked for, want less than 1.3", mean)
			}
		})
	}
}

// After a SIGKILL at any moment of a fetch of an archive there is no tree, or the whole; of a prefix there is none of its
// files, or it is whole. The next run ends right and leaves nothing beside them.
func TestFetchOfATreeKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	const files, size, rounds = 40, 1 << 20, 30
	server := servers.StartVersitygw(t)
	bucket := s3put.Create(t, server, "bucket")
	archive := filepath.Join(t.TempDir(), "archive.tar.zst")
	sum, _ := pack(t, archive, files, size)
	bucket.Put(t, "archive.tar.zst", []byte(read(t, archive)))
	var sums strings.Builder
	for i := range files {
		bucket.Put(t, fmt.Sprintf("tree/data/%02d", i), noise(byte(i), size))
		fmt.Fprintf(&sums, "%s  data/%02d\n", digest(noise(byte(i), size)), i)
	}
	bucket.Put(t, "SHA256SUMS", []byte(sums.String()))
	for _, c := range []struct {
		name, source string
		options      []string
		whole        bool // or else file by file
	}{
		{"archive", "archive.tar.zst", []string{"--sha256", sum, "--extract"}, true},
		{"archive of unknown digest", "archive.tar.zst", []string{"--extract"}, true},
		{"prefix", "tree/", []string{"--sha256-file", bucket.URL("SHA256SUMS")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			tree := filepath.Join(parent, "tree")
			fetch := s3Fetch(server, bucket.URL(c.source), tree, c.options...)
			// right checks every file that is there, and returns how many there are.
			right := func() (n int) {
				for i := range files {
					path := filepath.Join(tree, "data", fmt.Sprintf("%02d", i))
					if _, err := os.Stat(path); err == nil {
						holds(t, path, noise(byte(i), size))
						n++
					}
				}
				return n
			}
			longest := fetch.Run(t)
			expect(t, longest, 0)
			complete := fetched(t, parent)
			if n := right(); n != files {
				t.Fatalf("got %d files, want %d", n, files)
			}
			died := 0
			for range rounds {
				if err := os.RemoveAll(tree); err != nil {
					t.Fatal(err)
				}
				run := fetch.Start(t)
				moment := rand.N(longest.Elapsed)
				time.Sleep(moment)
				if err := run.Kill(); err != nil && err != os.ErrProcessDone {
					t.Fatal(err)
				}
				if run.Wait(t).Exit == 128+int(syscall.SIGKILL) {
					died++
				}
				n := right()
				if _, err := os.Stat(tree); err == nil && c.whole && n != files {
					t.Errorf("there is a tree of %d files, want %d", n, files)
				}
				again := fetch.Run(t)
				expect(t, again, 0)
				if n := right(); n != files {
					t.Errorf("after another run there are %d files, want %d", n, files)
				}
				if got := fetched(t, parent); !slices.Equal(got, complete) {
					t.Errorf("after another run: got %q, want %q", got, complete)
				}
				if t.Failed() {
					t.Fatalf("after SIGKILL at %s", moment)
				}
			}
			t.Logf("%d of %d runs died; a whole run takes %s", died, rounds, longest.Elapsed.Round(time.Millisecond))
			if died < rounds/4 {
				t.Errorf("only %d of %d runs were killed in time", died, rounds)
			}
		})
	}
}
