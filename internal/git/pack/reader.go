package pack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// maxChain is the longest chain of deltas that is followed. Git makes none over 4095.
const maxChain = 1 << 14

// Object is one object that is being read.
type Object struct {
	Type object.Type
	Size int64 // in bytes
	// Data is the content when Size is up to 256 KiB, else nil. It must not be changed, and that of a blob is good until
	// the reader is asked for another object.
	Data []byte

	stream func(w io.Writer) error
}

// WriteTo writes the content to w. It must be called before the reader is asked for another object, and once.
func (o *Object) WriteTo(w io.Writer) (int64, error) {
	if o.stream == nil {
		n, err := w.Write(o.Data)
		return int64(n), err
	}
	return o.Size, o.stream(w)
}

// Streamed returns an object that stream writes.
func Streamed(t object.Type, size int64, stream func(w io.Writer) error) *Object {
	return &Object{Type: t, Size: size, stream: stream}
}

// Bytes returns the content, of at most limit bytes; more is Data.
func (o *Object) Bytes(limit int64) ([]byte, error) {
	if o.Size > limit {
		return nil, fault.New(fault.Data, "a %s of %d bytes is too large: the limit is %d", o.Type, o.Size, limit)
	}
	if o.stream == nil {
		return o.Data, nil
	}
	var b bytes.Buffer
	b.Grow(int(o.Size))
	_, err := o.WriteTo(&b)
	return b.Bytes(), err
}

// Reader reads objects from a pack, one after the other. Several readers may read one pack side by side.
type Reader struct {
	ctx       context.Context
	p         *Pack
	temporary func() (*os.File, error)
	src       source
	in        *bufio.Reader // of src
	z         inflater
	delta     *bufio.Reader // of z
	cache     *cache
	spill     [2]spill // where large bases are
	buf       []byte
	blob      []byte // the blob that was asked for last; there are many, and few are the bases of others
}

// NewReader returns a reader of p, which stops in the middle of a large object, too, when ctx ends. Temporary makes files for
// what does not fit in memory; Close closes them.
func (p *Pack) NewReader(ctx context.Context, temporary func() (*os.File, error)) *Reader {
	r := &Reader{ctx: ctx, p: p, temporary: temporary, cache: newCache(), buf: make([]byte, 32<<10)}
	r.src.file = p.file
	r.in = bufio.NewReaderSize(&r.src, 32<<10)
	r.delta = bufio.NewReaderSize(&r.z, 4<<10)
	return r
}

// Close closes the reader's temporary files.
func (r *Reader) Close() {
	for _, s := range r.spill {
		if s.file != nil {
			_ = s.file.Close() // nothing in it is wanted any more
		}
	}
}

// until is a writer that stops when the reader's context ends.
func (r *Reader) until(w io.Writer) io.Writer { return &stoppable{ctx: r.ctx, w: w} }

type stoppable struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (s *stoppable) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.w.Write(p)
}

// spill is a file with the content of an entry that is too large for memory.
type spill struct {
	file   *os.File // nil until it is needed
	offset int64    // of the entry; 0 is none
	kind   object.Type
	size   int64
}

// spilled returns the spill file that has the entry at offset, or nil. Without it, what is made of the end of a chain would
// take the whole chain again.
func (r *Reader) spilled(offset int64) *spill {
	for i := range r.spill {
		if r.spill[i].offset == offset {
			return &r.spill[i]
		}
	}
	return nil
}

// source reads a file from an offset on: first little, because most objects are small, then more.
type source struct {
	file     io.ReaderAt
	at, left int64
	step     int
}

// firstStep is how much of an entry is read at first, in bytes.
const firstStep = 4 << 10

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	want := min(int64(len(p)), int64(s.step), s.left)
	if want <= 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:want], s.at)
	s.at += int64(n)
	s.left -= int64(n)
	s.step = min(4*s.step, 64<<10)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// open reads the beginning of the entry at offset; what is next in r.in is its compressed bytes.
func (r *Reader) open(offset int64) (header, error) {
	if offset < 0 || offset >= r.p.end {
		return header{}, malformed("an entry lies outside of it")
	}
	r.src.at, r.src.left, r.src.step = offset, r.p.end-offset, firstStep
	r.in.Reset(&r.src)
	return readHeader(r.in, r.p.format)
}

// Object returns the object with the given id. The error is ErrNotFound when it is not in the pack.
func (r *Reader) Object(id object.ID) (*Object, error) {
	offset, ok := r.p.index.find(id)
	if !ok {
		return nil, ErrNotFound
	}
	return r.at(offset)
}

// at returns the object whose entry is at offset.
func (r *Reader) at(offset int64) (*Object, error) {
	if e := r.cache.get(offset); e != nil {
		return &Object{Type: e.kind, Size: int64(len(e.data)), Data: e.data}, nil
	}
	h, err := r.open(offset)
	if err != nil {
		return nil, err
	}
	if !h.delta() {
		if h.size > small {
			return &Object{Type: h.kind, Size: h.size, stream: func(w io.Writer) error { return r.inflate(r.until(w), h) }}, nil
		}
		if h.kind == object.Blob {
			if int64(cap(r.blob)) < h.size {
				r.blob = make([]byte, h.size, small)
			}
			err := r.load(r.blob[:h.size], h)
			return &Object{Type: h.kind, Size: h.size, Data: r.blob[:h.size]}, err
		}
		data := make([]byte, h.size)
		if err := r.load(data, h); err != nil {
			return nil, err
		}
		r.cache.put(offset, h.kind, data)
		return &Object{Type: h.kind, Size: h.size, Data: data}, nil
	}
	base, err := r.base(offset, h)
	if err != nil {
		return nil, err
	}
	kind, from, err := r.content(base)
	if err != nil {
		return nil, err
	}
	size, err := r.openDelta(offset, from)
	if err != nil {
		return nil, err
	}
	if size > small {
		return &Object{Type: kind, Size: size, stream: func(w io.Writer) error { return apply(r.until(w), from, r.delta, size, r.buf) }}, nil
	}
	data, err := r.applied(from, size)
	if err != nil {
		return nil, err
	}
	r.cache.put(offset, kind, data)
	return &Object{Type: kind, Size: size, Data: data}, nil
}

// base returns the offset of the entry that the delta at offset is made of.
func (r *Reader) base(offset int64, h header) (int64, error) {
	if h.kind == offsetDelta {
		if h.back <= 0 || h.back > offset {
			return 0, malformed("a delta's base is not there")
		}
		return offset - h.back, nil
	}
	base, ok := r.p.index.base(offset, h.base)
	if !ok {
		return 0, malformed("the base %s of a delta is not in it", h.base)
	}
	return base, nil
}

// content returns the whole content of the entry at offset, in memory or in a spill file, where it is until the next
// call.
func (r *Reader) content(offset int64) (object.Type, content, error) {
	var chain []int64 // of deltas, the one that was asked for first
	var kind object.Type
	var c content
	for at := offset; ; {
		if e := r.cache.get(at); e != nil {
			kind, c = e.kind, content{data: e.data, size: int64(len(e.data))}
			break
		}
		if s := r.spilled(at); s != nil {
			kind, c = s.kind, content{file: s.file, size: s.size}
			break
		}
		h, err := r.open(at)
		if err != nil {
			return 0, content{}, err
		}
		if !h.delta() {
			kind = h.kind
			if c, err = r.hold(at, kind, h.size, func(w io.Writer) error { return r.inflate(w, h) }, content{}); err != nil {
				return 0, content{}, err
			}
			break
		}
		if len(chain) == maxChain {
			return 0, content{}, malformed("a chain of more than %d deltas", maxChain)
		}
		chain = append(chain, at)
		if at, err = r.base(at, h); err != nil {
			return 0, content{}, err
		}
	}
	for i := len(chain) - 1; i >= 0; i-- {
		size, err := r.openDelta(chain[i], c)
		if err != nil {
			return 0, content{}, err
		}
		from := c
		c, err = r.hold(chain[i], kind, size, func(w io.Writer) error { return apply(w, from, r.delta, size, r.buf) }, from)
		if err != nil {
			return 0, content{}, err
		}
	}
	return kind, c, nil
}

// hold keeps what write writes: in memory and in the cache if it is small, else in a spill file, and not in the one that from
// is in.
func (r *Reader) hold(offset int64, kind object.Type, size int64, write func(io.Writer) error, from content) (content, error) {
	if size <= small {
		b := bytes.NewBuffer(make([]byte, 0, size))
		if err := write(b); err != nil {
			return content{}, err
		}
		r.cache.put(offset, kind, b.Bytes())
		return content{data: b.Bytes(), size: size}, nil
	}
	s, err := r.emptySpill(from)
	if err != nil {
		return content{}, err
	}
	w := bufio.NewWriterSize(r.until(s.file), 64<<10)
	if err := write(w); err != nil {
		return content{}, err
	}
	if err := w.Flush(); err != nil {
		return content{}, fault.Output(err)
	}
	s.offset, s.kind, s.size = offset, kind, size
	return content{file: s.file, size: size}, nil
}

// emptySpill returns an empty spill file that is not the one that busy is in.
func (r *Reader) emptySpill(busy content) (*spill, error) {
	s := &r.spill[0]
	if s.file != nil && busy.file == io.ReaderAt(s.file) {
		s = &r.spill[1]
	}
	s.offset = 0
	if s.file == nil {
		f, err := r.temporary()
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	if err := s.file.Truncate(0); err != nil {
		return nil, fault.Output(err)
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return s, err
}

// inflate decompresses the entry that was opened with header h.
func (r *Reader) inflate(w io.Writer, h header) error {
	if err := r.z.reset(r.in, h.size); err != nil {
		return err
	}
	_, err := io.CopyBuffer(plainWriter{w}, &r.z, r.buf)
	return err
}

// load reads the bytes of the entry that was opened with header h; data is of its size.
func (r *Reader) load(data []byte, h header) error {
	if err := r.z.reset(r.in, h.size); err != nil {
		return err
	}
	if _, err := io.ReadFull(&r.z, data); err != nil {
		return err
	}
	return ended(&r.z)
}

// ended sees that r has nothing more.
func ended(r io.Reader) error {
	var more [1]byte
	n, err := r.Read(more[:])
	if n > 0 {
		return malformed("an object is larger than it says")
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// openDelta begins to read the delta at offset, whose base is from, and returns the size of what it makes.
func (r *Reader) openDelta(offset int64, from content) (int64, error) {
	h, err := r.open(offset)
	if err != nil {
		return 0, err
	}
	if err := r.z.reset(r.in, h.size); err != nil {
		return 0, err
	}
	r.delta.Reset(&r.z)
	base, size, err := deltaSizes(r.delta)
	if err != nil {
		return 0, err
	}
	if base != from.size {
		return 0, malformed("a delta is of %d bytes, its base has %d", base, from.size)
	}
	return size, nil
}

// applied returns what the opened delta makes of from.
func (r *Reader) applied(from content, size int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, size))
	err := apply(b, from, r.delta, size, r.buf)
	return b.Bytes(), err
}
