package archive

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
)

// Zip unpacks a zip of that size in bytes into root, which is to be empty. Its errors are those of Tar.
func Zip(ctx context.Context, root *os.Root, r io.ReaderAt, size int64, o Options) (Totals, error) {
	limits := o.Limits.or(100_000)
	src := &source{ctx: ctx}
	z, err := zip.NewReader(&sourceAt{src, r}, size)
	if err != nil {
		return Totals{}, src.verdict(err)
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(limits.Window))))
	t := newTree(ctx, root, meter{limits: limits, progress: o.Progress, read: func() int64 { return size }})
	defer t.close()
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return t.totals, err
		}
		if err := t.zipEntry(f, o); err != nil {
			return t.totals, src.verdict(about(f.Name, err))
		}
	}
	return t.totals, src.verdict(t.finish())
}

// sourceAt is a source that is read at places.
type sourceAt struct {
	*source
	at io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (s *sourceAt) ReadAt(p []byte, offset int64) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.at.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (t *tree) zipEntry(f *zip.File, o Options) error {
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
	if err := t.entry(); err != nil {
		return err
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
		return t.makeFile(name, mode(told, 0o644), f.Modified, content)
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
