package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zlib"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
)

const (
	maxAlternates = 50      // folders of objects, as far as one borrows from the other
	looseInMemory = 1 << 16 // bytes of a loose object that is read at once
)

// openObjects opens the packs of a folder of objects, and of those that it borrows from.
func (r *Repository) openObjects(dir string) error {
	if slices.Contains(r.loose, dir) || len(r.loose) == maxAlternates {
		return nil
	}
	r.loose = append(r.loose, dir)
	names, err := filepath.Glob(filepath.Join(escape(dir), "pack", "pack-*.idx"))
	if err != nil {
		return err
	}
	for _, idx := range names {
		if err := r.openPack(idx); err != nil {
			return fmt.Errorf("open %s: %w", idx, err)
		}
	}
	text, err := readSmall(filepath.Join(dir, "info", "alternates"), maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			if err := r.openObjects(resolve(dir, line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// escape makes path one that stands for itself in a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func (r *Repository) openPack(idx string) error {
	index, err := os.Open(idx)
	if err != nil {
		return err
	}
	r.files = append(r.files, index)
	file, err := os.Open(strings.TrimSuffix(idx, ".idx") + ".pack")
	if err != nil {
		return err
	}
	r.files = append(r.files, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p, err := pack.Open(file, info.Size(), index, r.format)
	if err != nil {
		return err
	}
	r.packs.Add(p)
	return nil
}

// reader reads the repository's objects, one after the other.
type reader struct {
	r     *Repository
	packs *pack.SetReader
	open  *os.File // the loose object that was asked for last
}

// NewReader returns a reader of the repository's objects. It stops when ctx ends.
func (r *Repository) NewReader(ctx context.Context) *reader {
	return &reader{r: r, packs: r.packs.NewReader(ctx)}
}

// Object returns the object with the given id, or pack.ErrNotFound. What it holds is not verified: whoever receives it
// does that.
func (r *reader) Object(id object.ID) (*pack.Object, error) {
	o, err := r.packs.Object(id)
	if !errors.Is(err, pack.ErrNotFound) {
		return o, err
	}
	for _, dir := range r.r.loose {
		name := id.String()
		f, err := os.Open(filepath.Join(dir, name[:2], name[2:]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.closeLoose()
		r.open = f
		return loose(f)
	}
	return nil, pack.ErrNotFound
}

// loose reads an object's file: "blob 12", a zero byte and the content, compressed.
func loose(f *os.File) (*pack.Object, error) {
	malformed := func() error { return fault.New(fault.Data, "read %s: it is no object", f.Name()) }
	z, err := zlib.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, malformed()
	}
	content := bufio.NewReader(z)
	head, err := content.ReadString(0)
	if err != nil || len(head) > 40 {
		return nil, malformed()
	}
	name, digits, _ := strings.Cut(strings.TrimSuffix(head, "\x00"), " ")
	size, err := strconv.ParseInt(digits, 10, 64)
	kind := object.ParseType(name)
	if err != nil || size < 0 || kind == 0 {
		return nil, malformed()
	}
	if size > looseInMemory {
		return pack.Streamed(kind, size, func(w io.Writer) error {
			n, err := io.Copy(w, content)
			if err != nil || n != size {
				return malformed()
			}
			return nil
		}), nil
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(content, data); err != nil {
		return nil, malformed()
	}
	return &pack.Object{Type: kind, Size: size, Data: data}, nil
}

func (r *reader) closeLoose() {
	if r.open != nil {
		_ = r.open.Close()
		r.open = nil
	}
}

// Close closes the reader's files.
func (r *reader) Close() {
	r.closeLoose()
	r.packs.Close()
}
