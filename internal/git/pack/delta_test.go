package pack

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

// made returns what a delta, sizes included, makes of base.
func made(base, delta []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(delta))
	of, size, err := deltaSizes(r)
	if err != nil {
		return nil, err
	}
	if of != int64(len(base)) {
		return nil, malformed("of another base")
	}
	var b bytes.Buffer
	err = apply(&b, content{data: base, size: int64(len(base))}, r, size, make([]byte, 256))
	return b.Bytes(), err
}

func TestDelta(t *testing.T) {
	base := []byte("0123456789")
	for _, c := range []struct {
		name  string
		delta []byte
		want  string // "" is a Data fault
	}{
		{"copy and insert", []byte{10, 5, 0x91, 3, 3, 2, 'a', 'b'}, "345ab"},
		{"copy from the beginning", []byte{10, 4, 0x90, 4}, "0123"},
		{"beyond the base", []byte{10, 4, 0x91, 8, 4}, ""},
		{"64 KiB, which the base has not", []byte{10, 4, 0x80}, ""},
		{"more than it says", []byte{10, 2, 0x90, 4}, ""},
		{"less than it says", []byte{10, 6, 0x90, 4}, ""},
		{"inserts more than it says", []byte{10, 1, 2, 'a', 'b'}, ""},
		{"cut off in an insertion", []byte{10, 5, 5, 'a'}, ""},
		{"cut off in a copy", []byte{10, 5, 0x91}, ""},
		{"instruction 0", []byte{10, 5, 0}, ""},
		{"something follows", []byte{10, 4, 0x90, 4, 1, 'x'}, ""},
		{"no size", []byte{0x80}, ""},
		{"absurd size", bytes.Repeat([]byte{0xff}, 12), ""},
	} {
		got, err := made(base, c.delta)
		if c.want == "" && fault.KindOf(err) != fault.Data || c.want != "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func FuzzDelta(f *testing.F) {
	f.Add([]byte("0123456789"), []byte{10, 5, 0x91, 3, 3, 2, 'a', 'b'})
	f.Add([]byte{}, []byte{0, 1, 1, 'x'})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		got, err := made(base, delta)
		if err != nil {
			if fault.KindOf(err) != fault.Data {
				t.Errorf("got %v", err)
			}
			return
		}
		_, size, _ := deltaSizes(bufio.NewReader(bytes.NewReader(delta)))
		if int64(len(got)) != size {
			t.Errorf("got %d bytes, and the delta says %d", len(got), size)
		}
	})
}
