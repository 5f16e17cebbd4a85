package pack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"sort"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// idxMagic begins an .idx file of version 2, the only one that git has written since 2007.
var idxMagic = []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}

const (
	fanoutSize = 256 * 4
	largeMark  = 1 << 31 // an offset that is in the table of the large ones
)

// Open returns the pack in file, of size bytes, whose objects are found by git's .idx file.
func Open(file io.ReaderAt, size int64, idx io.ReaderAt, f object.Format) (*Pack, error) {
	x := &idxFile{r: idx, format: f}
	var head [8 + fanoutSize]byte
	if _, err := idx.ReadAt(head[:], 0); err != nil {
		return nil, unexpected(err)
	}
	if !bytes.Equal(head[:8], idxMagic) {
		return nil, fault.New(fault.Unsupported, "an .idx file is not of version 2; git index-pack writes one")
	}
	previous := uint32(0)
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(head[8+4*i:])
		if x.fanout[i] < previous {
			return nil, malformed("its .idx file is not in order")
		}
		previous = x.fanout[i]
	}
	return &Pack{file: file, end: size - int64(f.Size()), format: f, index: x}, nil
}

// idxFile finds objects by an .idx file, which is read where it has to be.
type idxFile struct {
	r      io.ReaderAt
	format object.Format
	fanout [256]uint32 // how many ids begin with a byte up to this one
}

// find implements index.
func (x *idxFile) find(id object.ID) (int64, bool) {
	raw := id.Bytes()
	size, count := x.format.Size(), int64(x.fanout[255])
	if len(raw) != size {
		return 0, false
	}
	from := uint32(0)
	if raw[0] > 0 {
		from = x.fanout[raw[0]-1]
	}
	ids := int64(8 + fanoutSize)
	var found [32]byte
	n := int(x.fanout[raw[0]] - from)
	i := sort.Search(n, func(i int) bool {
		_, err := x.r.ReadAt(found[:size], ids+int64(int(from)+i)*int64(size))
		return err != nil || bytes.Compare(found[:size], raw) >= 0
	})
	at := int64(from) + int64(i)
	if _, err := x.r.ReadAt(found[:size], ids+at*int64(size)); i == n || err != nil || !bytes.Equal(found[:size], raw) {
		return 0, false
	}
	offsets := ids + count*int64(size+4)
	var word [8]byte
	if _, err := x.r.ReadAt(word[:4], offsets+4*at); err != nil {
		return 0, false
	}
	offset := binary.BigEndian.Uint32(word[:4])
	if offset&largeMark == 0 {
		return int64(offset), true
	}
	if _, err := x.r.ReadAt(word[:], offsets+4*count+8*int64(offset&^largeMark)); err != nil {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(word[:])), true
}

// base implements index.
func (x *idxFile) base(_ int64, id object.ID) (int64, bool) { return x.find(id) }

// WriteIndex writes git's .idx file of a pack that was received with Options.Checksum.
func (p *Received) WriteIndex(w io.Writer) error {
	x := p.memory
	sum := checksum(p.format)
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	out.Write(idxMagic)
	var fanout [256]uint32
	for _, i := range x.byID {
		fanout[x.raw(int(i))[0]]++
	}
	total := uint32(0)
	for _, n := range fanout {
		total += n
		writeUint32(out, total)
	}
	for _, i := range x.byID {
		out.Write(x.raw(int(i)))
	}
	if err := p.writeCRCs(out); err != nil {
		return err
	}
	var large []int64
	for _, i := range x.byID {
		if offset := x.offsets[i]; offset < largeMark {
			writeUint32(out, uint32(offset))
		} else {
			writeUint32(out, largeMark|uint32(len(large)))
			large = append(large, offset)
		}
	}
	for _, offset := range large {
		writeUint32(out, uint32(offset>>32))
		writeUint32(out, uint32(offset))
	}
	out.Write(p.sum)
	return finish(w, out, sum)
}

// writeCRCs writes the CRC-32 of each entry as it is in the pack, in the order of the ids.
func (p *Received) writeCRCs(out *bufio.Writer) error {
	x := p.memory
	crcs := make([]uint32, len(x.offsets))
	r := bufio.NewReaderSize(io.NewSectionReader(p.file, 0, p.end), 64<<10)
	if len(x.offsets) > 0 {
		if _, err := r.Discard(int(x.offsets[0])); err != nil {
			return unexpected(err)
		}
	}
	buf := make([]byte, 32<<10)
	for i, offset := range x.offsets {
		end := p.end
		if i+1 < len(x.offsets) {
			end = x.offsets[i+1]
		}
		h := crc32.NewIEEE()
		if _, err := io.CopyBuffer(h, io.LimitReader(r, end-offset), buf); err != nil {
			return err
		}
		crcs[i] = h.Sum32()
	}
	for _, i := range x.byID {
		writeUint32(out, crcs[i])
	}
	return nil
}

// finish writes what is buffered, and the checksum of all.
func finish(w io.Writer, out *bufio.Writer, sum hash.Hash) error {
	if err := out.Flush(); err != nil {
		return fault.Output(err)
	}
	_, err := w.Write(sum.Sum(nil))
	return fault.Output(err)
}

// writeUint32 writes n; the writer keeps the error for Flush.
func writeUint32(w *bufio.Writer, n uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	w.Write(b[:])
}

// Sum returns the pack's checksum, by which its files are named; nil without Options.Checksum.
func (p *Received) Sum() []byte { return p.sum }
