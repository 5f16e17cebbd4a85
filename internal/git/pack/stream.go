package pack

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"

	"github.com/slipway-init/slipway/internal/git/object"
)

// The types of entries that are deltas: against an entry earlier in the pack, or against an object by its id.
const (
	offsetDelta object.Type = 6
	refDelta    object.Type = 7
)

// header is the beginning of an entry, before its compressed bytes.
type header struct {
	kind object.Type
	size int64     // of the bytes when they are no longer compressed
	back int64     // of an offsetDelta: how far its base lies before it
	base object.ID // of a refDelta
}

// delta reports whether the entry is one.
func (h header) delta() bool { return h.kind == offsetDelta || h.kind == refDelta }

// readHeader reads the beginning of an entry.
func readHeader(r *bufio.Reader, f object.Format) (header, error) {
	b, err := r.ReadByte()
	if err != nil {
		return header{}, unexpected(err)
	}
	h := header{kind: object.Type(b >> 4 & 7), size: int64(b & 0x0f)}
	for shift := 4; b >= 0x80; shift += 7 {
		if b, err = r.ReadByte(); err != nil {
			return header{}, unexpected(err)
		}
		if shift > 55 {
			return header{}, malformed("an object's size is absurd")
		}
		h.size |= int64(b&0x7f) << shift
	}
	switch h.kind {
	case object.Commit, object.Tree, object.Blob, object.Tag:
	case offsetDelta:
		if h.back, err = readOffset(r); err != nil {
			return header{}, err
		}
	case refDelta:
		var raw [32]byte
		if _, err := io.ReadFull(r, raw[:f.Size()]); err != nil {
			return header{}, unexpected(err)
		}
		h.base = object.RawID(raw[:f.Size()])
	default:
		return header{}, malformed("an entry of type %d", h.kind)
	}
	return h, nil
}

// readOffset reads the distance of an offsetDelta: seven bits a byte, the highest first, each but the last one less than
// it stands for.
func readOffset(r io.ByteReader) (int64, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, unexpected(err)
	}
	n := int64(b & 0x7f)
	for b >= 0x80 {
		if n >= 1<<54 {
			return 0, malformed("a delta's base is absurdly far")
		}
		if b, err = r.ReadByte(); err != nil {
			return 0, unexpected(err)
		}
		n = (n+1)<<7 | int64(b&0x7f)
	}
	return n, nil
}

// unexpected says of an end of file that it came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inflater decompresses one entry after the other.
type inflater struct {
	z    io.ReadCloser
	left int64 // bytes that are still to come
}

// reset begins an entry of the given size, whose compressed bytes are next in r. It reads none beyond them.
func (i *inflater) reset(r *bufio.Reader, size int64) error {
	i.left = size
	if i.z == nil {
		z, err := zlib.NewReader(r)
		i.z = z
		return inflating(err)
	}
	return inflating(i.z.(zlib.Resetter).Reset(r, nil))
}

// Read implements io.Reader. The end comes when all bytes are there, no more of them, and the checksum is right.
func (i *inflater) Read(p []byte) (int, error) {
	n, err := i.z.Read(p)
	i.left -= int64(n)
	switch {
	case i.left < 0:
		return 0, malformed("an object is larger than it says")
	case errors.Is(err, io.EOF) && i.left > 0:
		return 0, malformed("an object is smaller than it says")
	case errors.Is(err, io.EOF):
		return n, io.EOF
	}
	return n, inflating(err)
}

// inflating marks an error of compressed bytes as the pack's; those of reading stay what they are.
func inflating(err error) error {
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, zlib.ErrDictionary) {
		return malformed("%w", err)
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return malformed("%w", err)
	}
	return unexpected(err)
}
