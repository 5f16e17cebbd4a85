package pack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"crypto/sha1" // #nosec: the pack's checksum is against accidents; ids are computed elsewhere

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// Options say how a pack is received.
type Options struct {
	Format object.Format
	// Checksum has the pack's own checksum verified, for one that will be kept. It adds nothing to what the objects' ids
	// prove, and costs.
	Checksum bool
	// Temporary makes a file for what does not fit in memory. It has no name any more, or is removed by the caller.
	Temporary func() (*os.File, error)
	// Progress is told how many objects of how many have come.
	Progress func(done, total int64)
}

// Receive reads a pack from r to its end and writes it to file, which must be empty. All ids are computed from the
// content; all deltas must have their bases in the pack. What is wrong with the pack is Data, and one that ends early
// io.ErrUnexpectedEOF.
func Receive(ctx context.Context, r io.Reader, file *os.File, o Options) (*Received, error) {
	s := &scanner{ctx: ctx, in: &tee{r: r, w: file}, options: o}
	if o.Checksum {
		s.in.sum, s.in.held = checksum(o.Format), make([]byte, 0, o.Format.Size())
	}
	s.r = bufio.NewReaderSize(s.in, 64<<10)
	s.hashes = newHashing(o.Format)
	index, err := s.scan()
	if stopped := s.hashes.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return nil, err
	}
	index.makeRoom(len(index.offsets))
	p := &Received{Pack: Pack{file: file, end: s.end, format: o.Format, index: index}, memory: index, sum: s.sum}
	if err := p.resolve(ctx, o); err != nil {
		return nil, err
	}
	index.sort()
	return p, nil
}

// Received is a pack that came over the wire.
type Received struct {
	Pack

	memory *memoryIndex
	sum    []byte // the pack's checksum, which names its files; nil without Options.Checksum
}

// Len returns the number of the pack's objects.
func (p *Received) Len() int { return len(p.memory.offsets) }

// checksum returns the hash that a pack's checksum is.
func checksum(f object.Format) hash.Hash {
	if f == object.SHA256 {
		return sha256.New()
	}
	return sha1.New() // #nosec: git's format
}

// tee copies what is read to a file, counts it, and keeps its checksum but for the last bytes, which are the checksum
// that the sender computed.
type tee struct {
	r    io.Reader
	w    io.Writer
	n    int64
	sum  hash.Hash // nil: none is wanted
	held []byte    // what may be the checksum
}

// Read implements io.Reader.
func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.n += int64(n)
		if t.sum != nil {
			t.add(p[:n])
		}
		if _, err := t.w.Write(p[:n]); err != nil {
			return 0, fault.Output(err)
		}
	}
	return n, err
}

func (t *tee) add(p []byte) {
	keep := cap(t.held)
	if excess := len(t.held) + len(p) - keep; excess > 0 {
		old := min(excess, len(t.held))
		t.sum.Write(t.held[:old])
		t.held = append(t.held[:0], t.held[old:]...)
		t.sum.Write(p[:excess-old])
		p = p[excess-old:]
	}
	t.held = append(t.held, p...)
}

// scanner reads a pack from its beginning to its end.
type scanner struct {
	ctx     context.Context
	in      *tee
	r       *bufio.Reader
	options Options
	z       inflater
	hashes  *hashing
	discard [16 << 10]byte
	end     int64
	sum     []byte
}

// offset returns where in the pack the scanner stands.
func (s *scanner) offset() int64 { return s.in.n - int64(s.r.Buffered()) }

// scan returns the index of the pack, with the ids of all that are no deltas.
func (s *scanner) scan() (*memoryIndex, error) {
	count, err := s.begin()
	if err != nil {
		return nil, err
	}
	index := newMemoryIndex(s.options.Format, count)
	s.hashes.index = index
	for i := range count {
		if i%256 == 0 {
			if err := s.ctx.Err(); err != nil {
				return nil, context.Cause(s.ctx)
			}
			if s.options.Progress != nil {
				s.options.Progress(int64(i), int64(count))
			}
		}
		if err := s.entry(index); err != nil {
			return nil, err
		}
	}
	return index, s.finish()
}

// begin reads the pack's header and returns the number of its objects.
func (s *scanner) begin() (int, error) {
	var head [12]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, unexpected(err)
	}
	version := binary.BigEndian.Uint32(head[4:])
	if !bytes.Equal(head[:4], []byte("PACK")) || (version != 2 && version != 3) {
		return 0, malformed("it begins with %q", head[:8])
	}
	count := binary.BigEndian.Uint32(head[8:])
	if count >= 1<<31 {
		return 0, malformed("it says that it has %d objects", count)
	}
	return int(count), nil
}

// entry reads one entry.
func (s *scanner) entry(index *memoryIndex) error {
	at := s.offset()
	h, err := readHeader(s.r, s.options.Format)
	if err != nil {
		return err
	}
	if err := s.z.reset(s.r, h.size); err != nil {
		return err
	}
	if !h.delta() {
		i := index.add(at, h.kind)
		return s.hashes.object(i, h, &s.z)
	}
	if h.kind == offsetDelta {
		base, ok := slices.BinarySearch(index.offsets, at-h.back)
		if !ok {
			return malformed("a delta's base is not there")
		}
		index.addDelta(at, base)
	} else {
		index.addRefDelta(at, h.base)
	}
	_, err = io.CopyBuffer(plainWriter{io.Discard}, &s.z, s.discard[:])
	return err
}

// finish reads the checksum at the end, and sees that nothing follows.
func (s *scanner) finish() error {
	s.end = s.offset()
	trailer := make([]byte, s.options.Format.Size())
	if _, err := io.ReadFull(s.r, trailer); err != nil {
		return unexpected(err)
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = malformed("something follows it")
		}
		return err
	}
	if s.in.sum == nil {
		return nil
	}
	if s.sum = s.in.sum.Sum(nil); !bytes.Equal(s.sum, trailer) {
		return malformed("its checksum is %x, and it says %x", s.sum, trailer)
	}
	return nil
}

// hashing computes the ids of objects beside the scanner: to hash takes as long as to decompress, and there is more than
// one processor, often. Small objects go over together, because waking the other side costs more than to hash one.
type hashing struct {
	index *memoryIndex
	full  chan portion
	empty chan portion
	next  portion // what is being filled
	done  chan struct{}
	err   error // of the goroutine, to be read after done
}

// portion is a part of an object, or some objects, on their way to be hashed.
type portion struct {
	data   []byte // of capacity portionSize
	pieces []piece
}

// piece is what a portion has of one object.
type piece struct {
	object      int // the number in the index
	kind        object.Type
	size        int64 // of the object, in bytes
	n           int   // of the piece
	first, last bool
}

// portionSize is the size of a portion in bytes, and portions how many there are.
const (
	portionSize = 64 << 10
	portions    = 8
)

func newHashing(f object.Format) *hashing {
	h := &hashing{full: make(chan portion, portions), empty: make(chan portion, portions), done: make(chan struct{})}
	for range portions {
		h.empty <- portion{data: make([]byte, 0, portionSize)}
	}
	h.next = <-h.empty
	go h.run(object.NewHasher(f))
	return h
}

// object hands an object's content over.
func (h *hashing) object(i int, head header, content io.Reader) error {
	p := piece{object: i, kind: head.kind, size: head.size, first: true}
	for !p.last {
		at := len(h.next.data)
		n, err := readUp(content, h.next.data[at:portionSize])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		p.n, p.last = n, err != nil
		h.next.data = h.next.data[:at+n]
		h.next.pieces = append(h.next.pieces, p)
		if len(h.next.data) > portionSize*3/4 {
			h.full <- h.next
			h.next = <-h.empty
		}
		p.first = false
	}
	return nil
}

// readUp fills p, or reads to the end, which it tells as io.EOF.
func readUp(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

func (h *hashing) run(hasher *object.Hasher) {
	defer close(h.done)
	for p := range h.full {
		data := p.data
		for _, piece := range p.pieces {
			if piece.first {
				hasher.Reset(piece.kind, piece.size)
			}
			hasher.Write(data[:piece.n])
			data = data[piece.n:]
			if !piece.last || h.err != nil {
				continue
			}
			id, err := hasher.ID()
			if err != nil {
				h.err = fmt.Errorf("receive the pack: %w", err)
			}
			h.index.name(piece.object, id)
		}
		h.empty <- portion{data: p.data[:0], pieces: p.pieces[:0]}
	}
}

// stop waits until all that was handed over is hashed.
func (h *hashing) stop() error {
	h.full <- h.next
	close(h.full)
	<-h.done
	return h.err
}
