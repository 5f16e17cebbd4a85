package pack

import (
	"encoding/binary"
	"hash"
	"io"

	"github.com/klauspost/compress/zlib"

	"github.com/slipway-init/slipway/internal/git/object"
)

// Writer writes a pack of whole objects, without deltas.
type Writer struct {
	w   io.Writer
	sum hash.Hash
	z   *zlib.Writer
}

// NewWriter begins a pack of count objects.
func NewWriter(w io.Writer, f object.Format, count uint32) (*Writer, error) {
	p := &Writer{sum: checksum(f)}
	p.w = io.MultiWriter(w, p.sum)
	z, err := zlib.NewWriterLevel(p.w, zlib.BestSpeed)
	if err != nil {
		return nil, err
	}
	p.z = z
	head := binary.BigEndian.AppendUint32(append([]byte("PACK"), 0, 0, 0, 2), count)
	_, err = p.w.Write(head)
	return p, err
}

// Add writes one object.
func (p *Writer) Add(o *Object) error {
	size := o.Size
	b := byte(o.Type)<<4 | byte(size&0x0f)
	head := make([]byte, 0, 10)
	for size >>= 4; size > 0; size >>= 7 {
		head = append(head, b|0x80)
		b = byte(size & 0x7f)
	}
	if _, err := p.w.Write(append(head, b)); err != nil {
		return err
	}
	p.z.Reset(p.w)
	if _, err := o.WriteTo(p.z); err != nil {
		return err
	}
	return p.z.Close()
}

// Close writes the checksum at the end.
func (p *Writer) Close() error {
	_, err := p.w.Write(p.sum.Sum(nil))
	return err
}
