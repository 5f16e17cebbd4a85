package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// entry is an entry of an archive: a header whose size is that of the content.
type entry struct {
	tar.Header
	content []byte
}

// tarball returns a tar of entries.
func tarball(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	a := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		err := a.WriteHeader(&e.Header)
		if err == nil {
			_, err = a.Write(e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packed returns content as a compressor makes it.
func packed(t *testing.T, content []byte, by func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := by(&b)
	if err == nil {
		_, err = w.Write(content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func zstandard(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }

// zipped returns a zip of entries.
func zipped(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.Name, Method: zip.Deflate}
		header.SetMode(e.FileInfo().Mode())
		w, err := z.CreateHeader(header)
		if err == nil {
			_, err = w.Write(e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A real archive in each form becomes a tree, which is whole from its first moment.
func TestFetchExtracts(t *testing.T) {
	t.Parallel()
	big := noise(60, 12<<20)
	entries := []entry{
		{tar.Header{Name: "app/", Typeflag: tar.TypeDir, Mode: 0o755}, nil},
		{tar.Header{Name: "app/run.sh", Typeflag: tar.TypeReg, Mode: 0o755}, []byte("#!/bin/sh\n")},
		{tar.Header{Name: "app/big", Typeflag: tar.TypeReg, Mode: 0o640}, big},
		{tar.Header{Name: "app/empty", Typeflag: tar.TypeReg, Mode: 0o644}, nil},
	}
	plain := tarball(t, entries...)
	archives := map[string][]byte{
		"a.tar": plain, "a.tar.gz": packed(t, plain, gzipped), "a.tgz": packed(t, plain, gzipped),
		"a.tar.zst": packed(t, plain, zstandard), "a.zip": zipped(t, entries...),
	}
	for _, o := range origins(t) {
		for name, archive := range archives {
			o.put(t, name, archive)
			t.Run(o.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				parent := t.TempDir()
				tree := filepath.Join(parent, "tree")
				fetch := o.fetch(o.addr, name, tree, "--extract", "--sha256", digest(archive))
				expect(t, fetch.Run(t), 0)
				if got, want := fetched(t, tree), []string{"app", "app/big", "app/empty", "app/run.sh"}; !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
				holds(t, filepath.Join(tree, "app/big"), big)
				mode(t, filepath.Join(tree, "app/run.sh"), 0o755)
				mode(t, filepath.Join(tree, "app/big"), 0o640)
				before := snapshot(t, tree)
				expect(t, fetch.Run(t), 0)
				if got := snapshot(t, tree); got != before {
					t.Errorf("the second run changed something: before\n%s\nafter\n%s", before, got)
				}
				wrong := filepath.Join(parent, "wrong")
				expect(t, o.fetch(o.addr, name, wrong, "--extract", "--sha256", digest(nil)).Run(t), 65, digest(archive))
				absent(t, wrong)
			})
		}
	}
}

// An archive that is not what it seems leaves no tree, and nothing outside of where one would be.
func TestFetchExtractsNoEvil(t *testing.T) {
	t.Parallel()
	web := fromNginx(t)
	file := entry{tar.Header{Name: "file", Typeflag: tar.TypeReg, Mode: 0o644}, noise(61, 1<<20)}
	link := func(name, target string, sort byte) entry {
		return entry{tar.Header{Name: name, Linkname: target, Typeflag: sort, Mode: 0o777}, nil}
	}
	named := func(name string) entry {
		return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, []byte("evil")}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	whole := packed(t, tarball(t, file), gzipped)
	bomb := packed(t, tarball(t, entry{tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644}, make([]byte, 300<<20)}), zstandard)
	for name, archive := range map[string][]byte{
		"out.tar":         tarball(t, file, named("../outside")),
		"deep.tar":        tarball(t, file, named("a/../../outside")),
		"absolute.tar":    tarball(t, file, named(outside)),
		"out.zip":         zipped(t, file, named("../outside")),
		"symlink.tar":     tarball(t, file, link("out", "../..", tar.TypeSymlink), named("out/outside")),
		"abslink.tar":     tarball(t, file, link("out", "/etc", tar.TypeSymlink)),
		"hardlink.tar":    tarball(t, file, link("out", "/etc/passwd", tar.TypeLink)),
		"device.tar":      tarball(t, file, entry{tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, nil}),
		"fifo.tar":        tarball(t, file, entry{tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o666}, nil}),
		"truncated.tgz":   whole[:len(whole)/2],
		"truncated.tar":   tarball(t, file)[:700_000],
		"bomb.tar.zst":    bomb,
		"noise.tar.zst":   noise(62, 100_000),
		"nothing.tar.gz":  nil,
		"notazip.zip":     noise(63, 100_000),
		"garbage.tar":     append(tarball(t, file)[:1<<20], noise(64, 100_000)...),
		"flippedgzip.tgz": flipped(whole, len(whole)/2),
	} {
		web.put(t, name, archive)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			r := web.fetch(web.addr, name, filepath.Join(parent, "tree"), "--extract", "--retries", "0").Run(t)
			expect(t, r, 65)
			report(t, r, "", "")
			alone(t, parent)
			absent(t, outside)
		})
	}
}

// flipped returns content with one byte inverted.
func flipped(content []byte, at int) []byte {
	content = bytes.Clone(content)
	content[at] ^= 0xff
	return content
}

// What tar(1) packs of a tree, links and long names among it, is the same tree again.
func TestFetchExtractsWhatTarPacks(t *testing.T) {
	t.Parallel()
	web := fromNginx(t)
	source := filepath.Join(t.TempDir(), "source")
	long := filepath.Join(source, "a-name-that-is-longer-than-the-hundred-bytes-of-the-old-header-of-tar", "and-goes-on-below", "until-it-ends")
	if err := os.MkdirAll(long, 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(long, "file"), "deep")
	write(t, filepath.Join(source, "file"), "shallow")
	if err := errors.Join(os.Symlink("file", filepath.Join(source, "symlink")), os.Link(filepath.Join(source, "file"), filepath.Join(source, "hardlink"))); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"gnu", "pax", "ustar"} {
		archive := filepath.Join(t.TempDir(), form+".tar")
		tools.Run(t, "tar", "--format="+form, "-C", source, "-cf", archive, ".")
		web.put(t, form+".tar", []byte(read(t, archive)))
		tree := filepath.Join(t.TempDir(), "tree")
		expect(t, web.fetch(web.addr, form+".tar", tree, "--extract").Run(t), 0)
		tools.Run(t, "diff", "-r", "--no-dereference", source, tree)
	}
}
