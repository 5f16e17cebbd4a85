package s3

import (
	"context"
)

const (
	// maxParts is how many parts an upload may have.
	maxParts = 10000
	// maxAsked is of how many parts that differ in size S3 is asked, one request each.
	maxAsked = 1000
)

// PartSizes returns the sizes of the parts that an object was uploaded in, of which a composite checksum names the number.
// O says which object it is, size how many bytes it has. The sizes are nil where the server does not tell.
//
// Almost all uploads have parts of one size and a last one with the rest. So the first and the last part are asked for; if they
// lie where such parts would, the others are taken to be like the first. Else each is asked for, up to a thousand.
func (c *Client) PartSizes(ctx context.Context, key string, size int64, parts int, o GetOptions) ([]int64, error) {
	if parts < 1 || parts > maxParts {
		return nil, nil
	}
	if parts == 1 {
		return []int64{size}, nil
	}
	o.Offset, o.Length = 0, 0
	next := int64(0) // where the next part begins
	ask := func(part int) (*Object, error) {
		o.Part = part
		object, err := c.Head(ctx, key, o)
		if err != nil || object.Size != size || object.Length < 0 || (object.Parts != 0 && object.Parts != parts) {
			return nil, err
		}
		return object, nil
	}
	first, err := ask(1)
	if first == nil || first.Length == size || first.Offset != 0 {
		return nil, err
	}
	last, err := ask(parts)
	if last == nil || last.Offset+last.Length != size {
		return nil, err
	}
	sizes := make([]int64, 0, parts)
	if last.Offset == first.Length*int64(parts-1) {
		for range parts - 1 {
			sizes = append(sizes, first.Length)
		}
		return append(sizes, last.Length), nil
	}
	if parts > maxAsked {
		return nil, nil
	}
	sizes, next = append(sizes, first.Length), first.Length
	for part := 2; part < parts; part++ {
		object, err := ask(part)
		if object == nil || object.Offset != next {
			return nil, err
		}
		sizes, next = append(sizes, object.Length), next+object.Length
	}
	if next != last.Offset {
		return nil, nil
	}
	return append(sizes, last.Length), nil
}
