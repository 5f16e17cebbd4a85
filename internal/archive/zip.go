package archive

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
)

// Zip unpacks a zip of that size in bytes into root, which is to be empty. Its errors are those of Tar.
func Zip(ctx context.Context, root *os.Root, r io.ReaderAt, size int64, o Options) (Totals, error) {
	limits := o.Limits.or(zipLimits)
	src := &source{ctx: ctx}
	z, err := openZip(src, r, size, limits)
	if err != nil {
		return Totals{}, src.verdict(err)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(limits.Window))))
	t := newTree(ctx, root, meter{limits: limits, progress: o.Progress, read: func() int64 { return size }})
	defer t.close()
	t.unique = true // tar(1) makes archives that hold a file twice, to update it; no zip does that
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return t.totals, err
		}
		if err := t.zipEntry(f, o); err != nil {
			return t.totals, src.about(f.Name, err)
		}
	}
	return t.totals, src.verdict(t.finish())
}

// recordSize is the number of bytes of a zip's directory that each entry may take on average: 46, its name, and some fields
// more.
const recordSize = 160

// openZip reads the directory of a zip, and no more of it than the limits allow: package zip keeps it in memory, about 400
// bytes for each entry. What the zip itself says of their number is not believed.
func openZip(src *source, r io.ReaderAt, size int64, limits Limits) (*zip.Reader, error) {
	at := &sourceAt{source: src, at: r, left: limits.Entries*recordSize + 256<<10}
	z, err := zip.NewReader(at, size)
	switch {
	case at.left <= 0:
		return nil, over("entries", "more than %d entries, or long names for them", limits.Entries)
	case errors.Is(err, zip.ErrFormat):
		return nil, fault.New(fault.Data, "it is not a zip, or not the whole of one")
	case err != nil && !errors.Is(err, zip.ErrInsecurePath):
		return nil, err
	}
	at.left = math.MaxInt64
	return z, nil
}

// sourceAt is a source that is read at places.
type sourceAt struct {
	*source
	at   io.ReaderAt
	left int64 // the bytes that may yet be read
}

// ReadAt implements io.ReaderAt.
func (s *sourceAt) ReadAt(p []byte, offset int64) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	if s.left -= int64(len(p)); s.left <= 0 || offset < 0 { // package zip computes offsets from what a zip says
		return 0, io.ErrUnexpectedEOF
	}
	n, err := s.at.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// encrypted is the bit of the flags that says so: APPNOTE.TXT, section 4.4.4.
const encrypted = 0x1

func (t *tree) zipEntry(f *zip.File, o Options) error {
	if err := t.entry(); err != nil {
		return err
	}
	if strings.Contains(f.Name, `\`) {
		return fault.New(fault.Data, `its name has a backslash, which is a slash for some readers`)
	}
	name, err := o.name(f.Name)
	if err != nil {
		return err
	}
	if name == "" || !o.Filter.Match(name) {
		return nil
	}
	if f.Flags&encrypted != 0 {
		return fault.New(fault.Data, "it is encrypted")
	}
	told := f.Mode()
	switch told.Type() {
	case fs.ModeDir:
		return t.makeDir(name, mode(told, 0o755), f.Modified)
	case 0:
		content, err := f.Open()
		if errors.Is(err, zip.ErrAlgorithm) {
			return fault.New(fault.Data, "it is compressed by a method that is not known: %d", f.Method)
		}
		if err != nil {
			return err
		}
		defer content.Close()
		err = t.makeFile(name, mode(told, 0o644), f.Modified, content, false)
		if err == io.ErrUnexpectedEOF {
			return fault.New(fault.Data, "it has not the %d bytes that the zip tells", f.UncompressedSize64)
		}
		return err
	case fs.ModeSymlink:
		content, err := f.Open()
		if err != nil {
			return err
		}
		defer content.Close()
		target, err := io.ReadAll(io.LimitReader(content, intree.MaxPath+1))
		if err != nil {
			return err
		}
		return t.makeLink(name, string(target))
	}
	return fault.New(fault.Data, "it is neither a file nor a directory nor a link")
}
