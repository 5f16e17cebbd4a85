package pack

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/slipway-init/slipway/internal/git/object"
)

// resolvers is how many goroutines compute the ids of deltas. Each has a reader with its cache.
const resolvers = 2

// resolve computes the ids of all deltas. It goes from each object that is none to what is made of it, and on from
// there, so that a base is in the reader's cache when it is needed: with the order of the file it rarely would be, where
// a long history's chains lie in pieces all over the pack.
func (p *Received) resolve(ctx context.Context, o Options) error {
	x := p.memory
	if len(x.deltas) == 0 && len(x.byRef) == 0 {
		return nil
	}
	slices.SortFunc(x.deltas, func(a, b delta) int { return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.entry, b.entry)) })
	s := &resolution{index: x}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for range resolvers {
		all.Go(func() {
			reader := p.NewReader(ctx, o.Temporary)
			defer reader.Close()
			if err := s.work(ctx, reader); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	deltas := 0
	for _, kind := range x.kinds {
		if kind == 0 {
			deltas++
		}
	}
	if int64(deltas) != s.resolved.Load() {
		return malformed("the bases of %d deltas are not in it", int64(deltas)-s.resolved.Load())
	}
	return nil
}

// resolution is what the resolvers share.
type resolution struct {
	index    *memoryIndex
	next     atomic.Int64 // the entry that nobody has looked at
	resolved atomic.Int64 // how many deltas have their ids
}

// work resolves what is made of one object after the other.
func (s *resolution) work(ctx context.Context, r *Reader) error {
	hasher := object.NewHasher(s.index.format)
	for {
		i := int(s.next.Add(1)) - 1
		if i >= len(s.index.offsets) {
			return nil
		}
		if s.index.kinds[i] == 0 {
			continue
		}
		if err := s.descend(ctx, r, hasher, i); err != nil {
			return err
		}
	}
}

// descend resolves all that is made of entry root, directly or not.
func (s *resolution) descend(ctx context.Context, r *Reader, hasher *object.Hasher, root int) error {
	kind := s.index.kinds[root]
	stack := s.children(nil, root)
	for len(stack) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		o, err := r.at(s.index.offsets[i])
		if err != nil {
			return err
		}
		hasher.Reset(kind, o.Size)
		if _, err := o.WriteTo(hasher); err != nil {
			return err
		}
		id, err := hasher.ID()
		if err != nil {
			return err
		}
		s.index.name(i, id)
		s.resolved.Add(1)
		stack = s.children(stack, i)
	}
	return nil
}

// children adds the entries that are made of entry i to stack.
func (s *resolution) children(stack []int, i int) []int {
	for _, d := range s.index.children(i) {
		stack = append(stack, int(d.entry))
	}
	return append(stack, s.index.claim(i)...)
}
