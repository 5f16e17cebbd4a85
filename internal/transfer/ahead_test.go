package transfer

import (
	"bytes"
	"testing"
)

// filled returns a chunk from a that is told from others by its bytes.
func filled(a *ahead, with byte) []byte {
	p := a.buffer()
	copy(p, bytes.Repeat([]byte{with}, len(p)))
	return p
}

func TestAheadKeepsWhatIsNeededFirst(t *testing.T) {
	a := newAhead(2 * chunk)
	a.keep(3*chunk, filled(a, 3))
	a.keep(1*chunk, filled(a, 1))
	a.keep(2*chunk, filled(a, 2)[:100]) // there is no room, and 3 is further off
	own := filled(a, 4)
	if next := a.keep(4*chunk, own[:10]); &next[0] != &own[0] || len(next) != chunk {
		t.Error("a chunk that is further off than all others is kept")
	}
	if p := a.take(0); p != nil {
		t.Errorf("got a chunk of %d, want none", p[0])
	}
	for offset, size := range map[int64]int{1: chunk, 2: 100} {
		p := a.chunks[offset*chunk]
		if len(p) != size || p[0] != byte(offset) {
			t.Errorf("chunk %d: got %d bytes", offset, len(p))
		}
	}
	if p := a.take(2 * chunk); len(p) != 100 || p[0] != 2 {
		t.Errorf("got %d bytes", len(p))
	}
	if p := a.take(1 * chunk); p != nil {
		t.Error("what lies behind the follower is kept")
	}
	if len(a.free) != 1 { // that of chunk 3 was returned for what came after chunk 2
		t.Errorf("%d buffers wait to be used again, want that of chunk 1", len(a.free))
	}
}
