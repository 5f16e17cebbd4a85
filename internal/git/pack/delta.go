package pack

import (
	"errors"
	"io"
)

// content is an object's bytes: in memory, or a part of a file.
type content struct {
	data []byte
	file io.ReaderAt // when data is nil
	size int64
}

// copyTo writes a part of the content to w. The part is known to be inside.
func (c content) copyTo(w io.Writer, at, n int64, buf []byte) error {
	if c.file == nil {
		_, err := w.Write(c.data[at : at+n])
		return err
	}
	_, err := io.CopyBuffer(plainWriter{w}, io.NewSectionReader(c.file, at, n), buf)
	return err
}

// plainWriter hides a writer's ReadFrom, which would allocate.
type plainWriter struct{ io.Writer }

// deltaReader is what a delta is read from.
type deltaReader interface {
	io.Reader
	io.ByteReader
}

// deltaSizes reads the beginning of a delta: the sizes of its base and of its result, in bytes.
func deltaSizes(delta io.ByteReader) (base, result int64, err error) {
	if base, err = deltaSize(delta); err != nil {
		return 0, 0, err
	}
	result, err = deltaSize(delta)
	return base, result, err
}

func deltaSize(delta io.ByteReader) (n int64, err error) {
	for shift := 0; shift < 63; shift += 7 {
		b, err := delta.ReadByte()
		if err != nil {
			return 0, cutOff(err)
		}
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, malformed("a delta's size is absurd")
}

// apply reads the instructions of a delta, after its sizes, and writes what it makes of base to w: size bytes exactly.
// Buf is for copying.
func apply(w io.Writer, base content, delta deltaReader, size int64, buf []byte) error {
	for size > 0 {
		op, err := delta.ReadByte()
		if err != nil {
			return cutOff(err)
		}
		var n int64
		switch {
		case op&0x80 != 0:
			var at int64
			if at, n, err = copyArguments(op, delta); err != nil {
				return err
			}
			if at > base.size || n > base.size-at || n > size {
				return malformed("a delta copies what is not there")
			}
			err = base.copyTo(w, at, n, buf)
		case op != 0:
			n = int64(op)
			if n > size {
				return malformed("a delta makes more than it says")
			}
			literal := buf[:n]
			if _, err = io.ReadFull(delta, literal); err != nil {
				return cutOff(err)
			}
			_, err = w.Write(literal)
		default:
			return malformed("a delta has an instruction that is not known")
		}
		if err != nil {
			return err
		}
		size -= n
	}
	if _, err := delta.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return malformed("a delta makes more than it says")
		}
		return err
	}
	return nil
}

// copyArguments reads the offset and size of a copy instruction: the bits of op say which of their bytes are there.
func copyArguments(op byte, delta io.ByteReader) (at, n int64, err error) {
	for bit := range 7 {
		if op&(1<<bit) == 0 {
			continue
		}
		b, err := delta.ReadByte()
		if err != nil {
			return 0, 0, cutOff(err)
		}
		if bit < 4 {
			at |= int64(b) << (8 * bit)
		} else {
			n |= int64(b) << (8 * (bit - 4))
		}
	}
	if n == 0 {
		n = 0x10000
	}
	return at, n, nil
}

// cutOff says of the end of a stream that it came too early.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("a delta is cut off")
	}
	return err
}
