package archive

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/intree"
)

// source counts what is read, ends with ctx, and remembers how it failed, so that its errors are told from those that a
// decompressor makes of them.
type source struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// verdict says whose fault err is: the reader's, whose error is passed on, or the archive's.
func (s *source) verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case s.err != nil:
		return s.err
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Data, "the archive ends too early")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fault.Hint(fault.New(fault.Data, "the archive needs more memory to unpack than is allowed: %w", err),
			"pack it without --long or --ultra, or raise the limit: --%s window=…", LimitsOption)
	}
	return fault.New(fault.Data, "the archive is damaged: %w", err)
}

// decompress returns what is packed in src.
func decompress(src *source, format Format, limits Limits) (io.ReadCloser, error) {
	head := bufio.NewReaderSize(src, 64<<10)
	if format == None || format == Auto {
		start, err := head.Peek(HeadSize)
		if err != nil && err != io.EOF {
			return nil, err
		}
		if len(start) == 0 {
			return nil, fault.New(fault.Data, "the archive is empty: not a single byte")
		}
		if format = Detect(start); format == None {
			return nil, fault.New(fault.Data, "it is not an archive of a known format: %s", strings.Replace(names(), "auto, ", "", 1))
		}
	}
	switch format {
	case TarGzip:
		return gzip.NewReader(head)
	case TarZstd:
		d, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(limits.Window)))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case TarBzip2:
		return io.NopCloser(bzip2.NewReader(head)), nil
	case TarPlain:
		return io.NopCloser(head), nil
	}
	return nil, fault.New(fault.Data, "it is a %s, which cannot be unpacked from a stream", format)
}

// drain reads what follows the end of a tar, which has to be zeros: tar(1) fills its last record with them. Anything else
// would be lost unseen.
func drain(r *metered) error {
	if r.zeros < blockSize {
		return fault.New(fault.Data, "the archive ends without the zeros that end a tar: it may be a part of one")
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if !zeros(buffer[:n]) {
			return fault.Hint(fault.New(fault.Data, "the archive has data after its end"),
				"archives that cat(1) has put together are not one archive: unpack them one by one, or use tar -A")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// name returns the name that an entry gets in the tree; "" if it gets none.
func (o Options) name(told string) (string, error) {
	name, err := intree.Name(told)
	for range o.Strip {
		_, rest, _ := strings.Cut(name, "/")
		name = rest
	}
	return name, err
}

// about is verdict, with the name of the entry.
func (s *source) about(name string, err error) error {
	err = s.verdict(err)
	if e, ok := errors.AsType[*fault.Error](err); ok && s.err == nil {
		return fault.Hint(fault.New(e.Kind, "entry %q: %w", short(name), err), "%s", e.Hint)
	}
	return err
}

// short returns a name that people can read.
func short(name string) string {
	const most = 200
	if len(name) <= most {
		return name
	}
	return name[:most] + "…"
}
