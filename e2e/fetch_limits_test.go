package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/e2e/internal/cgroup"
	"github.com/slipway-init/slipway/e2e/internal/s3put"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// confined runs a command in a memory cgroup of 64 MiB, on one CPU, and checks that it suffices.
func confined(t *testing.T, c slipway.Command) {
	t.Helper()
	m := cgroup.NewMemory(t, 64<<20)
	c.Prefix = m.Prefix()
	r := c.Run(t)
	expect(t, r, 0)
	t.Logf("%s, at most %d MB with the page cache", r.Elapsed.Round(time.Millisecond), m.Peak(t)>>20)
	if kills := m.Kills(t); kills > 0 {
		t.Errorf("the kernel killed %d processes for want of memory", kills)
	}
}

// In the 64 MiB and one CPU of a small init container: a large object, many small ones, and an archive.
func TestFetchInASmallContainer(t *testing.T) {
	t.Parallel()
	gateway := servers.StartVersitygw(t)
	bucket := s3put.Create(t, gateway, "bucket")
	folder := servers.Dir(t)
	web := servers.StartNginx(t, "", servers.Files(t, folder))

	t.Run("2 GiB", func(t *testing.T) {
		path := filepath.Join(folder, "large")
		sum := fill(t, path, 2<<30)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		bucket.PutParts(t, "large", f, 2<<30, s3put.Parts{Size: 64 << 20})
		for name, c := range map[string]slipway.Command{
			"s3":   s3Fetch(gateway, bucket.URL("large"), "", "--sha256", sum),
			"http": {Args: []string{"http-fetch", "http://" + web.Addr + "/large", "", "--sha256", sum}},
		} {
			t.Run(name, func(t *testing.T) {
				dest := filepath.Join(t.TempDir(), "large")
				c.Args[2] = dest
				confined(t, c)
				info, err := os.Stat(dest)
				if err != nil {
					t.Fatal(err)
				}
				if info.Size() != 2<<30 {
					t.Errorf("got %d bytes, want 2 GiB", info.Size())
				}
			})
		}
	})
	t.Run("1,000 objects", func(t *testing.T) {
		var sums strings.Builder
		content := noise(50, 1000*64<<10)
		for i := range 1000 {
			one := content[i*64<<10 : (i+1)*64<<10]
			bucket.Put(t, fmt.Sprintf("small/%04d", i), one)
			fmt.Fprintf(&sums, "%s  %04d\n", digest(one), i)
		}
		bucket.Put(t, "small.SHA256SUMS", []byte(sums.String()))
		dir := filepath.Join(t.TempDir(), "small")
		confined(t, s3Fetch(gateway, bucket.URL("small/"), dir, "--sha256-file", bucket.URL("small.SHA256SUMS")))
		if got := len(fetched(t, dir)); got != 1000 {
			t.Errorf("got %d files, want 1,000", got)
		}
		for i := range 1000 {
			holds(t, filepath.Join(dir, fmt.Sprintf("%04d", i)), content[i*64<<10:(i+1)*64<<10])
		}
	})
	t.Run("500 MiB tar.zst", func(t *testing.T) {
		archive := filepath.Join(folder, "archive.tar.zst")
		const files, size = 50, 10 << 20
		sum, wrote := pack(t, archive, files, size)
		t.Logf("the archive has %d MB", wrote>>20)
		f, err := os.Open(archive)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		bucket.PutParts(t, "archive.tar.zst", f, wrote, s3put.Parts{Size: 64 << 20})
		for name, c := range map[string]slipway.Command{
			"s3":   s3Fetch(gateway, bucket.URL("archive.tar.zst"), "", "--sha256", sum, "--extract"),
			"http": {Args: []string{"http-fetch", "http://" + web.Addr + "/archive.tar.zst", "", "--sha256", sum, "--extract"}},
		} {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "tree")
				c.Args[2] = dir
				confined(t, c)
				if got := len(fetched(t, dir)); got != files+1 {
					t.Fatalf("got %d names, want %d", got, files+1)
				}
				for i := range files {
					holds(t, filepath.Join(dir, "data", fmt.Sprintf("%02d", i)), noise(byte(i), size))
				}
			})
		}
	})
}

// fill writes a file of noise and returns its digest.
func fill(t *testing.T, path string, size int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{51}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// pack writes a tar.zst of files of noise and returns its digest and its size.
func pack(t *testing.T, path string, files, size int) (sum string, wrote int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(f, h), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	a := tar.NewWriter(z)
	err = a.WriteHeader(&tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o755})
	for i := range files {
		header := &tar.Header{Name: fmt.Sprintf("data/%02d", i), Mode: 0o644, Size: int64(size)}
		if err == nil {
			err = a.WriteHeader(header)
		}
		if err == nil {
			_, err = a.Write(noise(byte(i), size))
		}
	}
	if err := errors.Join(err, a.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil)), info.Size()
}

// A disk that is too small, and one that is read-only, are told before, or as soon as, it shows; nothing is left.
func TestFetchToAFullOrReadOnlyDisk(t *testing.T) {
	needRoot(t, "mount")
	t.Parallel()
	content := noise(52, 20<<20)
	var archive bytes.Buffer
	a := tar.NewWriter(&archive)
	if err := errors.Join(a.WriteHeader(&tar.Header{Name: "object", Mode: 0o644, Size: int64(len(content))}), func() error { _, err := a.Write(content); return err }(), a.Close()); err != nil {
		t.Fatal(err)
	}
	for _, o := range origins(t) {
		o.put(t, "object", content)
		o.put(t, "archive.tar", archive.Bytes())
		for _, c := range []struct {
			name, mount, text string
			key, dest         string
			options           []string
		}{
			{"full disk", "size=8m", "no space left on device", "object", "object", nil},
			{"full disk, with a digest", "size=8m", "no space left on device", "object", "object", []string{"--sha256", digest(content)}},
			{"full disk, from an archive", "size=8m", "no space left on device", "archive.tar", "tree", []string{"--extract"}},
			{"read-only disk", "ro", "read-only file system", "object", "object", nil},
			{"read-only disk, from an archive", "ro", "read-only file system", "archive.tar", "tree", []string{"--extract"}},
		} {
			t.Run(o.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				fetch := o.fetch(o.addr, c.key, filepath.Join(dir, c.dest), c.options...)
				command := mounted(dir, c.mount, fetch.Args...)
				command.Env = fetch.Env
				r := command.Run(t)
				expect(t, r, 73)
				report(t, r, c.text, "")
				if r.Stdout != "" {
					t.Errorf("%q is left", r.Stdout)
				}
			})
		}
	}
}
