package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/glob"
)

// moment is the modification time of everything in these archives.
var moment = time.Unix(1700000000, 123456789)

// entry is one entry of an archive.
type entry struct {
	name    string
	kind    byte   // of tar; 0 is a file, or a directory if the name ends in a slash
	content string // of a file, or the target of a link
	mode    int64  // 0 is 0644, or 0755
}

func (e entry) header() *tar.Header {
	h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, ModTime: moment, Format: tar.FormatPAX}
	switch {
	case e.kind == 0 && strings.HasSuffix(e.name, "/"):
		h.Typeflag = tar.TypeDir
	case e.kind == 0:
		h.Typeflag = tar.TypeReg
	}
	switch h.Typeflag {
	case tar.TypeReg:
		h.Size = int64(len(e.content))
	case tar.TypeSymlink, tar.TypeLink:
		h.Linkname = e.content
	}
	if h.Mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	return h
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.header()
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: moment}
		mode := e.header().FileInfo().Mode()
		if e.mode == -1 {
			mode = 0
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.name, "/") {
			continue
		}
		if _, err := io.WriteString(f, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t testing.TB, content []byte) []byte {
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

func zstdOf(t testing.TB, content []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack unpacks an archive of any format into a new directory.
func unpack(t testing.TB, content []byte, o archive.Options) (dir string, totals archive.Totals, err error) {
	t.Helper()
	dir = t.TempDir()
	totals, err = into(t, dir, content, o)
	return dir, totals, err
}

func into(t testing.TB, dir string, content []byte, o archive.Options) (archive.Totals, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if archive.Detect(content) == archive.ZipFile {
		return archive.Zip(context.Background(), root, bytes.NewReader(content), int64(len(content)), o)
	}
	return archive.Tar(context.Background(), root, bytes.NewReader(content), o)
}

// listing returns what is in dir: "MODE content", "dir MODE" or "-> target", by name.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			found[name] = fmt.Sprintf("dir %#o", info.Mode())
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		default:
			content, err := os.ReadFile(path)
			found[name] = fmt.Sprintf("%#o %.40s", info.Mode(), content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, what := range found {
		if bits, ok := strings.CutPrefix(what, "dir "); ok {
			var mode uint32
			_, _ = fmt.Sscanf(bits, "0%o", &mode)
			found[name] = fmt.Sprintf("dir %#o", fs.FileMode(mode).Perm()|fs.FileMode(mode)&(fs.ModeSetgid|fs.ModeSticky))
		}
	}
	return found
}

func check(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := listing(t, dir); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

var sample = []entry{
	{name: "./"},
	{name: "a.txt", content: "one"},
	{name: "bin/"},
	{name: "bin/run", content: "#!", mode: 0o755},
	{name: "deep/er/b.txt", content: "two"},
	{name: "deep/link", kind: tar.TypeSymlink, content: "../bin/run"},
	{name: "empty"},
}

var unpacked = map[string]string{
	"a.txt": "0644 one", "bin": "dir 0755", "bin/run": "0755 #!", "deep": "dir 0755", "deep/er": "dir 0755",
	"deep/er/b.txt": "0644 two", "deep/link": "-> ../bin/run", "empty": "0644 ",
}

func TestEveryFormatIsToldByItsContent(t *testing.T) {
	plain := tarOf(t, sample...)
	for format, content := range map[archive.Format][]byte{
		archive.TarPlain: plain, archive.TarGzip: gzipOf(t, plain), archive.TarZstd: zstdOf(t, plain),
		archive.TarBzip2: bzip2Sample(t), archive.ZipFile: zipOf(t, sample[1:]...),
	} {
		t.Run(string(format), func(t *testing.T) {
			if got := archive.Detect(content[:min(len(content), archive.HeadSize)]); got != format {
				t.Fatalf("got %q, want %q", got, format)
			}
			for _, o := range []archive.Options{{}, {Format: archive.Auto}, {Format: format}} {
				dir, totals, err := unpack(t, content, o)
				if err != nil {
					t.Fatal(err)
				}
				check(t, dir, unpacked)
				if want := (archive.Totals{Entries: 6, Bytes: 8}); totals != want {
					t.Errorf("got %v, want %v", totals, want)
				}
				for _, name := range []string{"a.txt", "bin", "bin/run"} {
					info, err := os.Lstat(filepath.Join(dir, name))
					if want := moment.Truncate(time.Second); err != nil || !info.ModTime().Truncate(time.Second).Equal(want) {
						t.Errorf("%s: got time %v (%v), want %v", name, info.ModTime(), err, want)
					}
				}
			}
		})
	}
}

func TestWhatIsNoArchiveIsToldSo(t *testing.T) {
	for _, test := range []struct{ content, want string }{
		{"", "the archive is empty: not a single byte"},
		{"<html>404</html>", "it is not an archive of a known format: tar, tar.gz, tar.zst, tar.bz2, zip"},
		{strings.Repeat("x", 4096), "it is not an archive of a known format: tar, tar.gz, tar.zst, tar.bz2, zip"},
		{string(gzipOf(t, []byte("just text"))), "the archive ends too early"},
		{string(gzipOf(t, []byte(strings.Repeat("just text", 100)))), "the archive is damaged: archive/tar: invalid tar header"},
		{"PK\x03\x04", "it is not a zip, or not the whole of one"},
	} {
		_, _, err := unpack(t, []byte(test.content), archive.Options{})
		if err == nil || err.Error() != test.want || fault.KindOf(err) != fault.Data {
			t.Errorf("%.20q: got %v (%v), want %s", test.content, err, fault.KindOf(err), test.want)
		}
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	_, err = archive.Tar(context.Background(), root, bytes.NewReader(zipOf(t, sample[1])), archive.Options{})
	if got, want := fmt.Sprint(err), "it is a zip, which cannot be unpacked from a stream"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyArchives(t *testing.T) {
	for _, content := range [][]byte{tarOf(t), gzipOf(t, tarOf(t)), zipOf(t)} {
		dir, totals, err := unpack(t, content, archive.Options{})
		if err != nil || totals != (archive.Totals{}) {
			t.Errorf("got %v, %v, want nothing", totals, err)
		}
		check(t, dir, map[string]string{})
	}
}

func TestWhatIsRefused(t *testing.T) {
	long := strings.Repeat("x", 300)
	up := strings.Repeat("../", 40)
	tests := []struct {
		name    string
		entries []entry
		want    string
		tarOnly bool // zip cannot say it
	}{
		{"absolute name", []entry{{name: "/etc/passwd"}}, `entry "/etc/passwd": its name is an absolute path`, false},
		{"upwards", []entry{{name: "a/../../b"}}, `entry "a/../../b": its name leads upwards`, false},
		{"upwards within", []entry{{name: "a/../b"}}, `entry "a/../b": its name leads upwards`, false},
		{"the directory above", []entry{{name: ".."}}, `entry "..": its name leads upwards`, false},
		{"a long element", []entry{{name: long}}, `…": an element of its name is longer than 255 bytes`, false},
		{"a long name", []entry{{name: strings.Repeat("abcdefg/", 500) + "x"}}, `…": its name is longer than 3840 bytes`, false},
		{"deep", []entry{{name: strings.Repeat("a/", 128) + "x"}}, "names of more than 128 elements", false},
		{"link upwards", []entry{{"l", tar.TypeSymlink, "../x", 0}}, `entry "l": its target "../x" is out of the tree`, false},
		{"absolute link", []entry{{"l", tar.TypeSymlink, "/etc", 0}}, `entry "l": its target "/etc" is an absolute path, out of the tree`, false},
		{"link that climbs", []entry{{"a/b/l", tar.TypeSymlink, up + "x", 0}}, "is out of the tree", false},
		{"link by a name", []entry{{"a/l", tar.TypeSymlink, "b/../../c", 0}}, `has ".." after a name, which may lead out of the tree`, false},
		{"empty link", []entry{{"l", tar.TypeSymlink, "", 0}}, "its target is empty", true},
		{
			"written through a link",
			[]entry{{"d/", 0, "", 0}, {"l", tar.TypeSymlink, "d", 0}, {"l/x", 0, "planted", 0}},
			`entry "l/x": it goes through "l", which is a link of the archive's`, false,
		},
		{
			"a directory through a link",
			[]entry{{"d/", 0, "", 0}, {"l", tar.TypeSymlink, "d", 0}, {"l/", 0, "", 0}},
			`entry "l/": it goes through "l", which is a link of the archive's`, false,
		},
		{
			"a chain of links",
			[]entry{{"a/b/c/", 0, "", 0}, {"a/b/c/up", tar.TypeSymlink, "../../..", 0}, {"out", tar.TypeSymlink, "a/b/c/up/../x", 0}},
			`has ".." after a name`, false,
		},
		{"hard link outside", []entry{{"l", tar.TypeLink, "../../etc/passwd", 0}}, `it is a hard link to "../../etc/passwd": its name leads upwards`, true},
		{"absolute hard link", []entry{{"l", tar.TypeLink, "/etc/passwd", 0}}, `it is a hard link to "/etc/passwd": its name is an absolute path`, true},
		{"hard link to nothing", []entry{{"l", tar.TypeLink, "x", 0}}, `it is a hard link to "x", which was not unpacked before it`, true},
		{
			"hard link to a link",
			[]entry{{"s", tar.TypeSymlink, "x", 0}, {"l", tar.TypeLink, "s", 0}},
			`it is a hard link to "s", which is no file of the archive's`, true,
		},
		{
			"hard link through a link",
			[]entry{{"d/x", 0, "", 0}, {"s", tar.TypeSymlink, "d", 0}, {"l", tar.TypeLink, "s/x", 0}},
			`it is a hard link to "s/x", which is no file of the archive's`, true,
		},
		{"hard link to a directory", []entry{{"d/", 0, "", 0}, {"l", tar.TypeLink, "d", 0}}, "which is no file of the archive's", true},
		{"character device", []entry{{"dev", tar.TypeChar, "", 0}}, `entry "dev": it is a device`, true},
		{"block device", []entry{{"dev", tar.TypeBlock, "", 0}}, `entry "dev": it is a device`, true},
		{"named pipe", []entry{{"pipe", tar.TypeFifo, "", 0}}, `entry "pipe": it is a named pipe`, true},
		{"a type of nobody", []entry{{"x", 'Z', "", 0}}, `entry "x": its type 'Z' is not known`, true},
		{"a file and a directory", []entry{{"x", 0, "1", 0}, {"x/y", 0, "2", 0}}, `entry "x/y": "x" is a file of the archive's and a directory, too`, false},
		{"a directory and a file", []entry{{"x/y", 0, "2", 0}, {"x", 0, "1", 0}}, `entry "x": it is a directory of the archive's and something else, too`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			archives := map[string][]byte{"tar": tarOf(t, test.entries...)}
			if !test.tarOnly {
				archives["zip"] = zipOf(t, test.entries...)
			}
			for format, content := range archives {
				parent := t.TempDir()
				dir := filepath.Join(parent, "x/y/z")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				_, err := into(t, dir, content, archive.Options{})
				if fault.KindOf(err) != fault.Data || !strings.Contains(fmt.Sprint(err), test.want) {
					t.Errorf("%s: got %v (%v), want %s", format, err, fault.KindOf(err), test.want)
				}
				if err == nil || !strings.HasPrefix(err.Error(), `entry "`) {
					t.Errorf("%s: %v does not name the entry", format, err)
				}
				entries, _ := os.ReadDir(parent)
				if len(entries) != 1 {
					t.Errorf("%s: something was written outside: %v", format, entries)
				}
			}
		})
	}
}

func TestZipsOwnFaults(t *testing.T) {
	damaged := zipOf(t, entry{name: "a", content: strings.Repeat("abc", 100)})
	damaged[40] ^= 0xff
	secret := zipOf(t, entry{name: "a", content: "x"})
	for i := range len(secret) - 4 {
		if string(secret[i:i+4]) == "PK\x01\x02" {
			secret[i+8] |= 1
		}
	}
	for _, test := range []struct {
		name, want string
		content    []byte
	}{
		{"twice", `entry "a": it is there twice`, zipOf(t, entry{name: "a", content: "1"}, entry{name: "a", content: "2"})},
		{"backslash", `entry "..\\x": its name has a backslash`, zipOf(t, entry{name: `..\x`})},
		{"damaged", `entry "a": the archive is damaged`, damaged},
		{"encrypted", `entry "a": it is encrypted`, secret},
		{"cut", "it is not a zip, or not the whole of one", zipOf(t, sample[1:]...)[:300]},
		{"device", `entry "d": it is neither a file nor a directory nor a link`, zipOf(t, entry{name: "d", kind: tar.TypeChar})},
	} {
		_, _, err := unpack(t, test.content, archive.Options{})
		if fault.KindOf(err) != fault.Data || !strings.HasPrefix(fmt.Sprint(err), test.want) {
			t.Errorf("%s: got %v (%v), want %s", test.name, err, fault.KindOf(err), test.want)
		}
	}
}

func TestWhatTarAllows(t *testing.T) {
	long := strings.Repeat("l", 200)
	tests := []struct {
		name    string
		entries []entry
		want    map[string]string
	}{
		{"the later entry wins", []entry{{"a", 0, "1", 0}, {"a", 0, "2", 0o600}}, map[string]string{"a": "0600 2"}},
		{
			"a link gives way to a file and is not followed",
			[]entry{{"b", 0, "safe", 0}, {"a", tar.TypeSymlink, "b", 0}, {"a", 0, "2", 0}},
			map[string]string{"a": "0644 2", "b": "0644 safe"},
		},
		{"hard link", []entry{{"a", 0, "1", 0}, {"d/b", tar.TypeLink, "a", 0}}, map[string]string{"a": "0644 1", "d": "dir 0755", "d/b": "0644 1"}},
		{"hard link to itself", []entry{{"a", 0, "1", 0}, {"a", tar.TypeLink, "./a", 0}}, map[string]string{"a": "0644 1"}},
		{"set-ID and others' write", []entry{{"a", 0, "1", 0o6777}, {"d/", 0, "", 0o1777}}, map[string]string{"a": "0755 1", "d": "dir 0755"}},
		{"a read-only directory", []entry{{"d/", 0, "", 0o555}, {"d/e/", 0, "", 0o500}, {"d/e/a", 0, "1", 0o400}}, map[string]string{"d": "dir 0555", "d/e": "dir 0500", "d/e/a": "0400 1"}},
		{"no mode", []entry{{"a", 0, "1", 1 << 12}, {"d/", 0, "", 1 << 12}}, map[string]string{"a": "0644 1", "d": "dir 0755"}},
		{"long names", []entry{{long + "/" + long, 0, "1", 0}, {"l", tar.TypeSymlink, long + "/" + long, 0}}, map[string]string{long: "dir 0755", long + "/" + long: "0644 1", "l": "-> " + long + "/" + long}},
		{"odd names", []entry{{"a\nb", 0, "1", 0}, {`dev-x\x2dy`, 0, "2", 0}, {"\xff", 0, "3", 0}, {"...", 0, "4", 0}, {"A", 0, "5", 0}, {"a", 0, "6", 0}}, map[string]string{
			"a\nb": "0644 1", `dev-x\x2dy`: "0644 2", "\xff": "0644 3", "...": "0644 4", "A": "0644 5", "a": "0644 6",
		}},
		{"links that dangle or turn in circles", []entry{{"a", tar.TypeSymlink, "b", 0}, {"b", tar.TypeSymlink, "a", 0}, {"c/d", tar.TypeSymlink, "../none", 0}}, map[string]string{"a": "-> b", "b": "-> a", "c": "dir 0755", "c/d": "-> ../none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, _, err := unpack(t, tarOf(t, test.entries...), archive.Options{})
			if err != nil {
				t.Fatal(err)
			}
			check(t, dir, test.want)
		})
	}
}

func TestUmaskTakesNothingAway(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir, _, err := unpack(t, tarOf(t, sample...), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, dir, unpacked)
}

func TestTheGroupOfAVolumeIsHandedOn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o775|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if _, err := into(t, dir, tarOf(t, sample...), archive.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin", "deep", "deep/er"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if want := fs.ModeDir | fs.ModeSetgid | 0o755; err != nil || info.Mode() != want {
			t.Errorf("%s: got mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

func TestWindowsZipsHaveTheUsualModes(t *testing.T) {
	content := zipOf(t, entry{name: "a", content: "1", mode: -1})
	dir, _, err := unpack(t, content, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, dir, map[string]string{"a": "0644 1"})
}

func TestStripAndFilter(t *testing.T) {
	entries := []entry{
		{"top/", 0, "", 0},
		{"top/a.json", 0, "1", 0},
		{"top/d/b.json", 0, "2", 0},
		{"top/d/c.bin", 0, "3", 0},
		{"top/l", tar.TypeLink, "top/a.json", 0},
		{"README", 0, "4", 0},
	}
	for _, test := range []struct {
		strip            int
		include, exclude []string
		want             map[string]string
	}{
		{1, nil, nil, map[string]string{"a.json": "0644 1", "d": "dir 0755", "d/b.json": "0644 2", "d/c.bin": "0644 3", "l": "0644 1"}},
		{2, nil, nil, map[string]string{"b.json": "0644 2", "c.bin": "0644 3"}},
		{9, nil, nil, map[string]string{}},
		{1, []string{"*.json"}, nil, map[string]string{"a.json": "0644 1", "d": "dir 0755", "d/b.json": "0644 2"}},
		{0, nil, []string{"top/d", "l"}, map[string]string{"README": "0644 4", "top": "dir 0755", "top/a.json": "0644 1"}},
	} {
		filter, err := glob.New(test.include, test.exclude)
		if err != nil {
			t.Fatal(err)
		}
		o := archive.Options{Strip: test.strip, Filter: filter}
		dir, _, err := unpack(t, tarOf(t, entries...), o)
		if err != nil {
			t.Errorf("%v: %v", test, err)
			continue
		}
		check(t, dir, test.want)
	}
}

func TestTruncatedArchivesAreToldFromFailingReaders(t *testing.T) {
	plain := tarOf(t, sample...)
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, content := range map[string][]byte{
		"tar": plain, "tar.gz": gzipOf(t, plain), "tar.zst": zstdOf(t, plain, zstd.WithEncoderCRC(true)),
	} {
		for cut := 1; cut < len(content); cut += 1 + len(content)/31 {
			if name == "tar" && cut >= len(plain)-512 {
				break // one block of zeros is an end, too
			}
			part := content[:cut]
			_, err := archive.Tar(context.Background(), root, bytes.NewReader(part), archive.Options{Format: archive.Format(name)})
			if got, want := fault.KindOf(err), fault.Data; err == nil || got != want {
				t.Fatalf("%s cut at %d of %d: got %v (%v), want %v", name, cut, len(content), err, got, want)
			}
			broken := io.MultiReader(bytes.NewReader(part), iotest.ErrReader(syscall.ECONNRESET))
			_, err = archive.Tar(context.Background(), root, broken, archive.Options{Format: archive.Format(name)})
			if !errors.Is(err, syscall.ECONNRESET) || fault.KindOf(err) != fault.IO {
				t.Fatalf("%s reset at %d of %d: got %v (%v), want the reader's error", name, cut, len(content), err, fault.KindOf(err))
			}
		}
	}
}

func TestWhatFollowsTheEnd(t *testing.T) {
	plain := tarOf(t, sample[1])
	for _, test := range []struct {
		name, want string
		content    []byte
	}{
		{"zeros", "", append(slices.Clone(plain), make([]byte, 20<<10)...)},
		{"another archive", "the archive has data after its end", append(slices.Clone(plain), plain...)},
		{"garbage", "the archive has data after its end", append(slices.Clone(plain), "x"...)},
		{"no end", "the archive ends without the zeros that end a tar: it may be a part of one", plain[:1024]},
		{"two members of gzip", "", append(gzipOf(t, plain[:512]), gzipOf(t, plain[512:])...)},
		{"garbage behind gzip", "the archive is damaged: gzip: invalid header", append(gzipOf(t, plain), "garbage that is long enough"...)},
		{"two frames of zstd", "", append(zstdOf(t, plain[:512]), zstdOf(t, plain[512:])...)},
		{"garbage behind zstd", "the archive is damaged: invalid input: magic number mismatch", append(zstdOf(t, plain), "garbage"...)},
	} {
		read := bytes.NewReader(test.content)
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_, err = archive.Tar(context.Background(), root, read, archive.Options{})
		if test.want == "" && (err != nil || read.Len() != 0) {
			t.Errorf("%s: got %v, %d bytes unread, want all of it", test.name, err, read.Len())
		}
		if test.want != "" && (fmt.Sprint(err) != test.want || fault.KindOf(err) != fault.Data) {
			t.Errorf("%s: got %v (%v), want %s", test.name, err, fault.KindOf(err), test.want)
		}
	}
}

func TestLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 65<<20)
	plain := tarOf(t, entry{name: "a", content: zeros})
	bomb := gzipOf(t, plain)
	many := make([]entry, 20)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf("d%d/f", i), content: "0123456789"}
	}
	window := zstdOf(t, tarOf(t, entry{name: "a", content: strings.Repeat("0123456789abcdef", 1<<20)}), zstd.WithWindowSize(16<<20))
	none, err := glob.New([]string{"nothing"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		content    []byte
		o          archive.Options
	}{
		{"a bomb of gzip", "more than 100 times its own size", bomb, archive.Options{}},
		{"a bomb of zstd", "more than 100 times its own size", zstdOf(t, plain), archive.Options{}},
		{"a bomb of zip", "more than 100 times its own size", zipOf(t, entry{name: "a", content: zeros}), archive.Options{}},
		{"a bomb in what is left out", "more than 100 times its own size", bomb, archive.Options{Filter: none}},
		{"a bomb behind the end", "more than 100 times its own size", zstdOf(t, append(tarOf(t), zeros...)), archive.Options{}},
		{"a bomb that is allowed", "", bomb, archive.Options{Limits: archive.Limits{Ratio: 2000}}},
		{"bytes", "more than 100 bytes", tarOf(t, many...), archive.Options{Limits: archive.Limits{Bytes: 100}}},
		{"bytes of zip", "more than 100 bytes", zipOf(t, many...), archive.Options{Limits: archive.Limits{Bytes: 100}}},
		{"entries", "more than 19 entries", tarOf(t, many...), archive.Options{Limits: archive.Limits{Entries: 19}}},
		{"entries of zip", "more than 19 entries", zipOf(t, many...), archive.Options{Limits: archive.Limits{Entries: 19}}},
		{"entries, just as many", "", tarOf(t, many...), archive.Options{Limits: archive.Limits{Entries: 20}}},
		{"entries that are left out", "more than 19 entries", tarOf(t, many...), archive.Options{Limits: archive.Limits{Entries: 19}, Filter: none}},
		{"directories", "more than 19 directories", tarOf(t, many...), archive.Options{Limits: archive.Limits{Directories: 19}}},
		{"depth", "names of more than 1 elements", tarOf(t, many...), archive.Options{Limits: archive.Limits{Depth: 1}}},
		{"window", "the archive needs more memory to unpack than is allowed", window, archive.Options{}},
		{"window that is allowed", "", window, archive.Options{Limits: archive.Limits{Window: 16 << 20}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := unpack(t, test.content, test.o)
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if !strings.Contains(fmt.Sprint(err), test.want) || fault.KindOf(err) != fault.Data {
				t.Errorf("got %v (%v), want %s", err, fault.KindOf(err), test.want)
			}
			if !strings.Contains(fault.HintOf(err), "--extract-limits ") {
				t.Errorf("got hint %q, want one that names the option", fault.HintOf(err))
			}
		})
	}
}

func TestAZipsDirectoryIsBounded(t *testing.T) {
	// 3,000 entries, and the end of the directory lies about their number.
	entries := make([]entry, 3000)
	for i := range entries {
		entries[i].name = fmt.Sprintf("a-name-that-is-as-long-as-names-often-are-or-even-a-bit-longer-than-that-%d", i)
	}
	content := zipOf(t, entries...)
	for _, count := range []byte{0, 1, 0xff} {
		end := content[len(content)-22:]
		end[8], end[9], end[10], end[11] = count, 0, count, 0
		_, _, err := unpack(t, content, archive.Options{Limits: archive.Limits{Entries: 10}})
		if want := "the archive unpacks to more than 10 entries, or long names for them"; fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSparseFilesKeepTheirHoles(t *testing.T) {
	content, err := os.ReadFile("testdata/sparse.tar")
	if err != nil {
		t.Fatal(err)
	}
	dir, totals, err := unpack(t, content, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (archive.Totals{Entries: 3, Bytes: 3 * (8<<20 + 3)}); totals != want {
		t.Errorf("got %v, want %v", totals, want)
	}
	want := make([]byte, 8<<20+3)
	copy(want[4<<20:], "mid")
	copy(want[8<<20:], "end")
	for _, name := range []string{"gnu", "pax0.1", "pax1.0"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the content differs (%v)", name, err)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks > 2048 {
			t.Errorf("%s: it takes %d blocks, want holes", name, blocks)
		}
	}
}

func TestUnpackingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	content := tarOf(t, sample...)
	cancel()
	if _, err := archive.Tar(ctx, root, bytes.NewReader(content), archive.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("tar: got %v, want that it was cancelled", err)
	}
	content = zipOf(t, sample[1:]...)
	if _, err := archive.Zip(ctx, root, bytes.NewReader(content), int64(len(content)), archive.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("zip: got %v, want that it was cancelled", err)
	}
}

func TestProgressIsTold(t *testing.T) {
	var told []archive.Totals
	content := tarOf(t, entry{name: "a", content: strings.Repeat("x", 20<<20)}, entry{name: "b", content: "x"})
	_, totals, err := unpack(t, content, archive.Options{Progress: func(n archive.Totals) { told = append(told, n) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 3 || told[2] != totals {
		t.Errorf("got %v, want two steps and the end %v", told, totals)
	}
}

func TestFormatsAndLimitsAreOptions(t *testing.T) {
	var f archive.Format
	if err := f.Set("tar.zst"); err != nil || f != archive.TarZstd {
		t.Errorf("got %v, %v", f, err)
	}
	if err := f.Set("rar"); err == nil || f != archive.TarZstd {
		t.Errorf("rar: got %v, %v", f, err)
	}
	var l archive.Limits
	for _, text := range []string{"bytes=20Gi,ratio=1000", "entries=2", "depth=1,window=64Mi,directories=9"} {
		if err := l.Set(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	want := archive.Limits{Bytes: 20 << 30, Ratio: 1000, Entries: 2, Depth: 1, Window: 64 << 20, Directories: 9}
	var again archive.Limits
	if err := again.Set(l.String()); err != nil || l != want || again != want {
		t.Errorf("got %v, %v (%v), want %v", l, again, err, want)
	}
	for _, text := range []string{"", "bytes", "bytes=", "bytes=0", "bytes=-1", "bytes=9999999Ti", "size=1", "bytes=1,", "bytes=1K"} {
		if err := l.Set(text); err == nil || l != want {
			t.Errorf("%q was taken: %v", text, l)
		}
	}
}

func bzip2Sample(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/sample.tar.bz2")
	if err != nil {
		t.Fatal(err)
	}
	return content
}
