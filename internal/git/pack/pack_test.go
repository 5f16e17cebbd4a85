package pack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/gittest"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unnamed returns what makes files without a name.
func unnamed(t testing.TB) func() (*os.File, error) {
	dir := t.TempDir()
	return func() (*os.File, error) {
		f, err := os.CreateTemp(dir, "")
		if err == nil {
			err = os.Remove(f.Name())
		}
		return f, err
	}
}

// history returns a repository with long chains of deltas, of small files and of one that is too large for memory.
func history(t testing.TB, args ...string) *gittest.Repository {
	r := gittest.New(t, args...)
	var text strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&text, "line %d of a file that is larger than what is held in memory\n", i*7919%8009)
	}
	for i := range 6 {
		r.Write("large", text.String()[i*100:]+fmt.Sprint(i))
		for k := range 20 {
			r.Write(fmt.Sprintf("dir/%d", k), strings.Repeat(fmt.Sprintf("%d\n", k), 500+i*k)+fmt.Sprint(i))
		}
		r.Commit(fmt.Sprint(i))
	}
	return r
}

// packed returns a pack of the whole repository.
func packed(r *gittest.Repository, args ...string) []byte {
	return []byte(r.GitWith("", append([]string{"pack-objects", "--stdout", "--all", "--revs", "-q", "--depth=50", "--window=20"}, args...)...))
}

func receive(t testing.TB, content []byte, f object.Format) (*pack.Received, *os.File, error) {
	file, err := unnamed(t)()
	check(t, err)
	p, err := pack.Receive(context.Background(), bytes.NewReader(content), file, pack.Options{Format: f, Checksum: true, Temporary: unnamed(t)})
	return p, file, err
}

// Every object is found, and is what git says, by either kind of delta and in either format.
func TestObjectsAreThoseOfGit(t *testing.T) {
	for _, f := range []object.Format{object.SHA1, object.SHA256} {
		r := history(t, "--object-format="+f.String())
		for _, kind := range []string{"--delta-base-offset", "--no-reuse-delta"} {
			content := packed(r, kind)
			p, _, err := receive(t, content, f)
			check(t, err)
			reader := p.NewReader(t.Context(), unnamed(t))
			n := 0
			for line := range strings.Lines(r.Git("cat-file", "--batch-check", "--batch-all-objects")) {
				words := strings.Fields(line)
				id, _ := object.ParseID(words[0])
				o, err := reader.Object(id)
				check(t, err)
				hasher := object.NewHasher(f)
				hasher.Reset(o.Type, o.Size)
				_, err = o.WriteTo(hasher)
				check(t, err)
				got, err := hasher.ID()
				if got != id || o.Type.String() != words[1] || fmt.Sprint(o.Size) != words[2] || err != nil {
					t.Errorf("%s %s: got %s of %d bytes with the id %s, %v", f, line, o.Type, o.Size, got, err)
				}
				n++
			}
			if n != p.Len() || n < 50 {
				t.Errorf("got %d objects of %d", p.Len(), n)
			}
			reader.Close()
			if _, err := reader.Object(object.RawID(make([]byte, f.Size()))); !errors.Is(err, pack.ErrNotFound) {
				t.Errorf("an object that is not there: got %v", err)
			}
		}
	}
}

// The index is byte for byte what git index-pack writes, and what it says can be read back.
func TestIndexIsThatOfGit(t *testing.T) {
	for _, f := range []object.Format{object.SHA1, object.SHA256} {
		r := history(t, "--object-format="+f.String())
		content := packed(r, "--delta-base-offset")
		p, file, err := receive(t, content, f)
		check(t, err)
		var got bytes.Buffer
		check(t, p.WriteIndex(&got))
		name := filepath.Join(t.TempDir(), "x.pack")
		check(t, os.WriteFile(name, content, 0o644))
		r.Git("index-pack", "--object-format="+f.String(), name)
		want, err := os.ReadFile(strings.TrimSuffix(name, "pack") + "idx")
		check(t, err)
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: the index differs: %d bytes, want %d", f, got.Len(), len(want))
		}
		opened, err := pack.Open(file, int64(len(content)), bytes.NewReader(want), f)
		check(t, err)
		reader := opened.NewReader(t.Context(), unnamed(t))
		head, _ := object.ParseID(r.Git("rev-parse", "HEAD"))
		if o, err := reader.Object(head); err != nil || o.Type != object.Commit {
			t.Errorf("by the index: %v", err)
		}
		if opened.Contains(object.RawID(bytes.Repeat([]byte{0xff}, f.Size()))) {
			t.Error("the index has what is not there")
		}
	}
}

func TestWrittenPackIsGood(t *testing.T) {
	r := history(t)
	p, _, err := receive(t, packed(r), object.SHA1)
	check(t, err)
	ids := strings.Fields(r.Git("rev-list", "--objects", "--no-object-names", "--all"))
	var b bytes.Buffer
	w, err := pack.NewWriter(&b, object.SHA1, uint32(len(ids)))
	check(t, err)
	reader := p.NewReader(t.Context(), unnamed(t))
	for _, text := range ids {
		id, _ := object.ParseID(text)
		o, err := reader.Object(id)
		check(t, err)
		check(t, w.Add(o))
	}
	check(t, w.Close())
	cmd := exec.Command("git", "index-pack", "--stdin", "--strict")
	cmd.Dir = r.Dir
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("git index-pack: %v\n%s", err, out)
	}
}

func TestWhatIsWrong(t *testing.T) {
	good := packed(gittestSmall(t))
	spoil := func(at int, b byte) []byte {
		content := bytes.Clone(good)
		content[at] = b
		return content
	}
	thin := []byte(gittestSmall(t).GitWith("HEAD\n^HEAD~1\n", "pack-objects", "--stdout", "--revs", "--thin", "-q"))
	for _, c := range []struct {
		name    string
		content []byte
		kind    fault.Kind
	}{
		{"no pack", []byte("hello, world, this is not a pack"), fault.Data},
		{"version", spoil(7, 9), fault.Data},
		{"more objects than there are", spoil(11, good[11]+1), fault.Data},
		{"fewer objects", spoil(11, good[11]-1), fault.Data},
		{"type 5", spoil(12, 0x50), fault.Data},
		{"checksum", spoil(len(good)-1, good[len(good)-1]^1), fault.Data},
		{"compressed bytes", spoil(40, good[40]^0x55), fault.Data},
		{"something follows", append(bytes.Clone(good), 'x'), fault.Data},
		{"end", good[:len(good)-30], fault.IO},
		{"nothing", nil, fault.IO},
		{"a base that is not there", thin, fault.Data},
	} {
		if _, _, err := receive(t, c.content, object.SHA1); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want %v", c.name, err, c.kind)
		}
	}
}

// gittestSmall returns a repository with a delta in its second commit.
func gittestSmall(t testing.TB) *gittest.Repository {
	r := gittest.New(t)
	r.Write("x", strings.Repeat("some text\n", 300))
	r.Commit("one")
	r.Write("x", strings.Repeat("some text\n", 300)+"more")
	r.Commit("two")
	return r
}

func FuzzReceive(f *testing.F) {
	f.Add(packed(gittestSmall(f), "--delta-base-offset"))
	f.Add(packed(gittestSmall(f)))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := unnamed(t)()
		check(t, err)
		defer file.Close()
		p, err := pack.Receive(context.Background(), bytes.NewReader(content), file, pack.Options{Temporary: unnamed(t)})
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Data && kind != fault.IO {
				t.Errorf("got %v of kind %v", err, kind)
			}
			return
		}
		check(t, p.WriteIndex(io.Discard))
	})
}

// A large object, whole or a delta, is not read to its end when nobody waits for it any more.
func TestReadingStops(t *testing.T) {
	r := history(t)
	p, _, err := receive(t, packed(r, "--delta-base-offset"), object.SHA1)
	check(t, err)
	for _, commit := range []string{"HEAD", "HEAD~1", "HEAD~2"} { // one is whole, the others are deltas
		ctx, cancel := context.WithCancel(t.Context())
		reader := p.NewReader(ctx, unnamed(t))
		id, _ := object.ParseID(r.Git("rev-parse", commit+":large"))
		o, err := reader.Object(id)
		check(t, err)
		written := 0
		_, err = o.WriteTo(writerFunc(func(b []byte) (int, error) {
			written += len(b)
			cancel()
			return len(b), nil
		}))
		if !errors.Is(err, context.Canceled) || int64(written) == o.Size {
			t.Errorf("%s: got %v after %d of %d bytes", commit, err, written, o.Size)
		}
		reader.Close()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What is made of a large base is read from where the base was left, not from the beginning of its chain.
func TestLargeChainIsNotReadAgain(t *testing.T) {
	r := history(t)
	p, _, err := receive(t, packed(r, "--delta-base-offset"), object.SHA1)
	check(t, err)
	var spilled []*os.File
	temporary := unnamed(t)
	reader := p.NewReader(t.Context(), func() (*os.File, error) {
		f, err := temporary()
		spilled = append(spilled, f)
		return f, err
	})
	defer reader.Close()
	text := func(commit string) string {
		id, _ := object.ParseID(r.Git("rev-parse", commit+":large"))
		o, err := reader.Object(id)
		check(t, err)
		var b strings.Builder
		_, err = o.WriteTo(&b)
		check(t, err)
		return b.String()
	}
	commit, want := "", ""
	for i := 0; len(spilled) == 0; i++ { // until one is a delta
		commit = fmt.Sprint("HEAD~", i)
		want = text(commit)
	}
	for _, f := range spilled {
		info, err := f.Stat()
		check(t, err)
		_, err = f.WriteAt([]byte(strings.Repeat("x", int(info.Size()))), 0)
		check(t, err)
	}
	if text(commit) == want {
		t.Error("the base was made again")
	}
}
