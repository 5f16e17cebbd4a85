package pack

import (
	"bytes"
	"slices"
	"sort"
	"sync"

	"github.com/slipway-init/slipway/internal/git/object"
)

// memoryIndex holds the places and ids of a pack's objects.
type memoryIndex struct {
	format  object.Format
	offsets []int64       // of the entries, in the order of the file
	kinds   []object.Type // of the entries; 0 is a delta
	ids     []byte        // of the objects, one after the other; see name
	byID    []uint32      // the numbers of the entries in the order of their ids; set by sort

	deltas []delta // by offset; sorted by base once all are there

	mu       sync.Mutex
	byRef    map[object.ID][]int // entries that are deltas of an object by its id
	refBases map[int64]int64     // the offsets of the bases of those, as far as they are known
}

// delta is an entry that is made of another.
type delta struct{ base, entry uint32 }

// believed is how many objects of those that a pack promises are made room for at once.
const believed = 1 << 16

func newMemoryIndex(f object.Format, count int) *memoryIndex {
	room := min(count, believed)
	return &memoryIndex{
		format: f, offsets: make([]int64, 0, room), kinds: make([]object.Type, 0, room), ids: make([]byte, 0, room*f.Size()),
		byRef: make(map[object.ID][]int), refBases: make(map[int64]int64),
	}
}

// add adds the entry at offset and returns its number.
func (x *memoryIndex) add(offset int64, kind object.Type) int {
	x.offsets = append(x.offsets, offset)
	x.kinds = append(x.kinds, kind)
	return len(x.offsets) - 1
}

func (x *memoryIndex) addDelta(offset int64, base int) {
	i := x.add(offset, 0)
	x.deltas = append(x.deltas, delta{base: uint32(base), entry: uint32(i)})
}

func (x *memoryIndex) addRefDelta(offset int64, base object.ID) {
	i := x.add(offset, 0)
	x.byRef[base] = append(x.byRef[base], i)
}

// name gives the entry its id. The goroutine that names is the only one that touches the ids.
func (x *memoryIndex) name(i int, id object.ID) {
	x.makeRoom(i + 1)
	copy(x.ids[i*x.format.Size():], id.Bytes())
}

// makeRoom makes the ids those of n entries at least.
func (x *memoryIndex) makeRoom(n int) {
	if missing := n*x.format.Size() - len(x.ids); missing > 0 {
		x.ids = append(x.ids, make([]byte, missing)...)
	}
}

func (x *memoryIndex) raw(i int) []byte {
	size := x.format.Size()
	return x.ids[i*size : (i+1)*size]
}

// sort makes find possible.
func (x *memoryIndex) sort() {
	x.byID = make([]uint32, len(x.offsets))
	for i := range x.byID {
		x.byID[i] = uint32(i)
	}
	slices.SortFunc(x.byID, func(a, b uint32) int { return bytes.Compare(x.raw(int(a)), x.raw(int(b))) })
	x.deltas, x.byRef, x.refBases = nil, nil, nil
}

// claim returns the entries that are deltas of entry i by its id, once: another copy of the same object gets none.
func (x *memoryIndex) claim(i int) []int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.byRef) == 0 {
		return nil
	}
	id := object.RawID(x.raw(i))
	claimed := x.byRef[id]
	delete(x.byRef, id)
	for _, entry := range claimed {
		x.refBases[x.offsets[entry]] = x.offsets[i]
	}
	return claimed
}

// base implements index. Before sort it knows the bases that were claimed.
func (x *memoryIndex) base(offset int64, id object.ID) (int64, bool) {
	if x.byID != nil {
		return x.find(id)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	base, ok := x.refBases[offset]
	return base, ok
}

// find implements index.
func (x *memoryIndex) find(id object.ID) (int64, bool) {
	raw := id.Bytes()
	i := sort.Search(len(x.byID), func(i int) bool { return bytes.Compare(x.raw(int(x.byID[i])), raw) >= 0 })
	if i == len(x.byID) || !bytes.Equal(x.raw(int(x.byID[i])), raw) {
		return 0, false
	}
	return x.offsets[x.byID[i]], true
}

// children returns the entries that are deltas of entry i; deltas must be sorted.
func (x *memoryIndex) children(i int) []delta {
	from := sort.Search(len(x.deltas), func(k int) bool { return x.deltas[k].base >= uint32(i) })
	to := from
	for to < len(x.deltas) && x.deltas[to].base == uint32(i) {
		to++
	}
	return x.deltas[from:to]
}
