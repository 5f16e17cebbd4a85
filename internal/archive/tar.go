package archive

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Tar unpacks a tar, plain or compressed, from a stream into root, which is to be empty, and reads the stream to its very
// end: who takes a digest of it on the way has that of all of it. It ends soon after ctx does.
//
// Errors of r are passed on as they are. What is wrong with the archive is a Data fault that names the entry, and what
// cannot be written is classified as an output's (see fault.Output).
func Tar(ctx context.Context, root *os.Root, r io.Reader, o Options) (Totals, error) {
	limits := o.Limits.or(tarLimits)
	src := &source{ctx: ctx, r: r}
	t := newTree(ctx, root, meter{limits: limits, progress: o.Progress, read: func() int64 { return src.n }})
	defer t.close()
	err := t.tarFrom(src, o)
	return t.totals, src.verdict(err)
}

func (t *tree) tarFrom(src *source, o Options) error {
	plain, err := decompress(src, o.Format, t.limits)
	if err != nil {
		return err
	}
	defer plain.Close()
	content := &metered{ReadCloser: plain, meter: &t.meter}
	if err := t.tar(src, content, o); err != nil {
		return err
	}
	if err := drain(content); err != nil {
		return err
	}
	return t.finish()
}

func (t *tree) tar(src *source, content io.Reader, o Options) error {
	r := tar.NewReader(content)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := t.tarEntry(r, h, o); err != nil {
			return src.about(h.Name, err)
		}
	}
}

func (t *tree) tarEntry(r io.Reader, h *tar.Header, o Options) error {
	if err := t.entry(); err != nil {
		return err
	}
	name, err := o.name(h.Name)
	if err != nil {
		return err
	}
	if name == "" || !o.Filter.Match(name) {
		return nil
	}
	told := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		return t.makeDir(name, mode(told, 0o755), h.ModTime)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return t.makeFile(name, mode(told, 0o644), h.ModTime, r, sparse(h))
	case tar.TypeSymlink:
		return t.makeLink(name, h.Linkname)
	case tar.TypeLink:
		old, err := o.name(h.Linkname)
		if err != nil {
			return fault.New(fault.Data, "it is a hard link to %q: %w", short(h.Linkname), err)
		}
		return t.makeHardLink(name, old)
	case tar.TypeChar, tar.TypeBlock:
		return fault.New(fault.Data, "it is a device")
	case tar.TypeFifo:
		return fault.New(fault.Data, "it is a named pipe")
	}
	return fault.New(fault.Data, "its type %q is not known", h.Typeflag)
}

// sparse reports whether the header is of a file with holes.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
