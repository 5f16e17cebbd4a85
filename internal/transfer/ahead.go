package transfer

import "sync"

// ahead keeps chunks in memory, beside the file that they are written to, until it is the follower's turn to take them.
// What it has no room for the follower reads back. The chunks that are needed first stay.
type ahead struct {
	mu     sync.Mutex
	chunks map[int64][]byte // by the offset of their first byte
	room   int              // chunks that may be kept
	free   [][]byte
}

func newAhead(bytes int64) *ahead {
	return &ahead{chunks: make(map[int64][]byte), room: int(bytes / chunk)}
}

// buffer returns a buffer of a chunk.
func (a *ahead) buffer() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reused()
}

func (a *ahead) reused() []byte {
	last := len(a.free) - 1
	if last < 0 {
		return make([]byte, chunk)
	}
	b := a.free[last]
	a.free = a.free[:last]
	return b
}

// keep keeps what was written at offset, if there is room for it or for nothing further off, and returns a buffer for what
// comes next.
func (a *ahead) keep(offset int64, p []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.chunks) >= a.room {
		furthest := offset
		for other := range a.chunks {
			furthest = max(furthest, other)
		}
		if furthest == offset {
			return p[:cap(p)]
		}
		a.drop(furthest)
	}
	a.chunks[offset] = p
	return a.reused()
}

// take returns what was kept at offset, nil if nothing was, and forgets what is before it. The caller gives it back.
func (a *ahead) take(offset int64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other := range a.chunks {
		if other < offset {
			a.drop(other)
		}
	}
	p := a.chunks[offset]
	delete(a.chunks, offset)
	return p
}

func (a *ahead) drop(offset int64) {
	a.free = append(a.free, a.chunks[offset][:chunk])
	delete(a.chunks, offset)
}

// giveBack makes a buffer that take returned available again.
func (a *ahead) giveBack(p []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, p[:chunk])
}
