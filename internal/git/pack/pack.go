// Package pack receives packs, the form in which git sends and keeps its objects, and reads objects from them, with a
// bounded use of memory whatever the pack holds.
//
// receive.go writes a pack to a file as it arrives and computes the ids of the objects in it; resolve.go those of the
// deltas. reader.go reads objects back, one at a time, and stream.go is how a single entry is read. index.go and idx.go
// find an object by its id: in memory, or in git's own .idx files. The format is gitformat-pack(5).
//
// # Memory
//
// Of each object a pack in memory keeps its place and its id: 33 bytes with SHA-1. Objects up to 256 KiB may be in memory
// while others are made of them, 4 MiB in all for each reader; larger ones are streams, and where one is the base of a
// delta it is written to a temporary file first. go-git keeps all objects that are deltas' bases, and the whole pack
// besides.
package pack

import (
	"errors"
	"io"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
)

// small is the size of an object, in bytes, up to which it may be held in memory.
const small = 256 << 10

// ErrNotFound says that an object is in none of the packs.
var ErrNotFound = errors.New("no such object")

// Pack is a pack that can be read.
type Pack struct {
	file   io.ReaderAt
	end    int64 // of the entries, in bytes
	format object.Format
	index  index
}

// index finds the entry of an object: its offset in the pack.
type index interface {
	find(id object.ID) (offset int64, ok bool)
	// base is find for the base of the delta at offset.
	base(offset int64, id object.ID) (int64, bool)
}

// Contains reports whether the pack has the object.
func (p *Pack) Contains(id object.ID) bool {
	_, ok := p.index.find(id)
	return ok
}

// Offset returns where the object's entry begins, for those who want to read many in the order of the file; -1 when it
// is not there.
func (p *Pack) Offset(id object.ID) int64 {
	if offset, ok := p.index.find(id); ok {
		return offset
	}
	return -1
}

// malformed returns the error of a pack that is none.
func malformed(format string, args ...any) error {
	return fault.New(fault.Data, "the pack is malformed: "+format, args...)
}
