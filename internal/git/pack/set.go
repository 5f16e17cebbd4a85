package pack

import (
	"context"
	"errors"
	"os"

	"github.com/slipway-init/slipway/internal/git/object"
)

// Set is several packs as one. The zero value has none.
type Set struct {
	packs     []*Pack
	temporary func() (*os.File, error)
}

// NewSet returns an empty set. Temporary is for its readers, see Pack.NewReader.
func NewSet(temporary func() (*os.File, error)) *Set { return &Set{temporary: temporary} }

// Add adds a pack.
func (s *Set) Add(p *Pack) { s.packs = append(s.packs, p) }

// Contains reports whether an object is in one of the packs.
func (s *Set) Contains(id object.ID) bool {
	for _, p := range s.packs {
		if p.Contains(id) {
			return true
		}
	}
	return false
}

// Offset returns where the object's entry begins in its pack; -1 when there is none.
func (s *Set) Offset(id object.ID) int64 {
	for _, p := range s.packs {
		if offset := p.Offset(id); offset >= 0 {
			return offset
		}
	}
	return -1
}

// NewReader returns a reader of all packs that are in the set now. It stops when ctx ends.
func (s *Set) NewReader(ctx context.Context) *SetReader {
	r := &SetReader{}
	for _, p := range s.packs {
		r.readers = append(r.readers, p.NewReader(ctx, s.temporary))
	}
	return r
}

// SetReader reads objects of a Set, one after the other.
type SetReader struct{ readers []*Reader }

// Object returns the object with the given id, or ErrNotFound.
func (r *SetReader) Object(id object.ID) (*Object, error) {
	for _, one := range r.readers {
		o, err := one.Object(id)
		if !errors.Is(err, ErrNotFound) {
			return o, err
		}
	}
	return nil, ErrNotFound
}

// Close closes the readers' temporary files.
func (r *SetReader) Close() {
	for _, one := range r.readers {
		one.Close()
	}
}
