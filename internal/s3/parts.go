package s3

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

const (
	// maxParts is how many parts an upload may have.
	maxParts = 10000
	// maxAsked is of how many parts S3 is asked one by one.
	maxAsked = 1000
	// maxAsking is of how many of them at the same time.
	maxAsking = 8
)

// PartSizes returns the sizes of the parts that an object was uploaded in, of which a composite checksum names the number.
// O says which object it is, size how many bytes it has. The sizes are nil where the server does not tell.
//
// Almost all uploads have parts of one size and a last one with the rest. So the first and the last part are asked for; if they
// lie where such parts would, the others are taken to be like the first, and unless there are none to be guessed the sizes are
// not certain. Should a checksum not hold then, EachPartSize says whether that was the reason.
func (c *Client) PartSizes(ctx context.Context, key string, size int64, parts int, o GetOptions) (sizes []int64, certain bool, err error) {
	if parts == 1 {
		return []int64{size}, true, nil
	}
	if parts < 1 || parts > maxParts {
		return nil, false, nil
	}
	first, err := c.part(ctx, key, size, parts, 1, o)
	if first == nil || first.Offset != 0 {
		return nil, false, err
	}
	last, err := c.part(ctx, key, size, parts, parts, o)
	if last == nil {
		return nil, false, err
	}
	between := last.Offset - first.Length
	if parts > 3 && between != first.Length*int64(parts-2) {
		sizes, err = c.EachPartSize(ctx, key, size, parts, o)
		return sizes, sizes != nil, err
	}
	sizes = append(sizes, first.Length)
	for range parts - 2 {
		sizes = append(sizes, between/int64(parts-2))
	}
	sizes = exactly(size, append(sizes, last.Length)...)
	return sizes, sizes != nil && parts <= 3, nil
}

// EachPartSize is PartSizes without a guess: each part is asked for, a few at a time, up to a thousand of them.
func (c *Client) EachPartSize(ctx context.Context, key string, size int64, parts int, o GetOptions) ([]int64, error) {
	if parts < 1 || parts > maxAsked {
		return nil, nil
	}
	all := make([]*Object, parts)
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(maxAsking)
	for n := range all {
		group.Go(func() error {
			part, err := c.part(asking, key, size, parts, n+1, o)
			if all[n] = part; part == nil && err == nil {
				err = errUntold
			}
			return err
		})
	}
	switch err := group.Wait(); {
	case errors.Is(err, errUntold):
		return nil, nil
	case err != nil:
		return nil, err
	}
	sizes, next := make([]int64, 0, parts), int64(0)
	for _, part := range all {
		if part.Offset != next {
			return nil, nil
		}
		sizes, next = append(sizes, part.Length), next+part.Length
	}
	return exactly(size, sizes...), nil
}

// errUntold ends the asking for parts of a server that does not tell.
var errUntold = errors.New("the server does not tell the parts")

// part returns one part of an object; nil if what the server says of it does not fit the object.
func (c *Client) part(ctx context.Context, key string, size int64, parts, n int, o GetOptions) (*Object, error) {
	o.Part, o.Offset, o.Length = n, 0, 0
	part, err := c.Head(ctx, key, o)
	if errors.Is(err, ErrRange) { // there is no such part
		return nil, nil
	}
	if err != nil || part.Size != size || part.Length <= 0 || (part.Parts != 0 && part.Parts != parts) {
		return nil, err
	}
	return part, nil
}

// exactly returns sizes if they are those of parts of size bytes in all, else nil.
func exactly(size int64, sizes ...int64) []int64 {
	for _, s := range sizes {
		if s <= 0 {
			return nil
		}
		size -= s
	}
	if size != 0 {
		return nil
	}
	return sizes
}
