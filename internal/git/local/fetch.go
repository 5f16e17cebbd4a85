package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
	"github.com/slipway-init/slipway/internal/git/wire"
)

// maxRead bounds a commit, a tag or a tree, in bytes.
const maxRead = 32 << 20

// maxDepth is how deep directories may be in each other.
const maxDepth = 512

// noBlobs is the one filter that is known.
const noBlobs = "blob:none"

// Fetch returns a pack of what is wanted, without deltas. Any object may be wanted; the one filter that is known is
// blob:none, which leaves files out unless they are wanted themselves.
func (r *Repository) Fetch(ctx context.Context, request wire.Request) (*wire.Fetched, error) {
	if request.Filter != "" && request.Filter != noBlobs {
		return nil, fault.New(fault.Internal, "the filter %q is not known", request.Filter)
	}
	e := &enumeration{ctx: ctx, repository: r, objects: r.NewReader(ctx), request: request, seen: make(map[object.ID]bool)}
	defer e.objects.Close()
	ends, err := r.shallowEnds()
	if err != nil {
		return nil, err
	}
	e.ends = ends
	for _, want := range request.Wants {
		if err := e.want(want); err != nil {
			return nil, fmt.Errorf("read %s: %w", want, err)
		}
	}
	if err := e.commits(); err != nil {
		return nil, err
	}
	if len(e.ids) > math.MaxInt32 {
		return nil, fault.New(fault.Unsupported, "the repository has %d objects", len(e.ids))
	}
	in, out := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = in.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		_ = out.CloseWithError(r.write(ctx, out, e.ids))
	}()
	return &wire.Fetched{Pack: in, Shallow: e.shallow}, nil
}

// shallowEnds returns the commits whose parents this repository does not have.
func (r *Repository) shallowEnds() (map[object.ID]bool, error) {
	ends := make(map[object.ID]bool)
	text, err := readSmall(filepath.Join(r.common, "shallow"), maxRead)
	if errors.Is(err, os.ErrNotExist) {
		return ends, nil
	}
	for line := range strings.Lines(text) {
		if id, ok := object.ParseID(strings.TrimSpace(line)); ok {
			ends[id] = true
		}
	}
	return ends, err
}

// write writes the pack.
func (r *Repository) write(ctx context.Context, w io.Writer, ids []object.ID) error {
	objects := r.NewReader(ctx)
	defer objects.Close()
	p, err := pack.NewWriter(w, r.format, uint32(len(ids)))
	if err != nil {
		return err
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		o, err := objects.Object(id)
		if err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
		if err := p.Add(o); err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
	}
	return p.Close()
}

// enumeration finds all that a pack has to hold.
type enumeration struct {
	ctx        context.Context
	repository *Repository
	objects    *reader
	request    wire.Request
	seen       map[object.ID]bool
	ids        []object.ID // in the order in which they are found
	ends       map[object.ID]bool
	shallow    []object.ID
	next       []object.ID // commits of the generation that is looked at
}

// want takes one object that is wanted.
func (e *enumeration) want(id object.ID) error {
	o, content, err := e.read(id)
	if err != nil {
		return err
	}
	switch o.Type {
	case object.Commit:
		e.next = append(e.next, id)
	case object.Tree:
		return e.tree(id, 0)
	case object.Tag:
		e.add(id)
		tag, err := object.ParseTag(content)
		if err != nil {
			return err
		}
		return e.want(tag.Object)
	default:
		e.add(id)
	}
	return nil
}

// read returns an object, and its content unless it is a blob.
func (e *enumeration) read(id object.ID) (*pack.Object, []byte, error) {
	if e.ctx.Err() != nil {
		return nil, nil, context.Cause(e.ctx)
	}
	o, err := e.objects.Object(id)
	if errors.Is(err, pack.ErrNotFound) {
		return nil, nil, fault.New(fault.NoInput, "the repository has no such object")
	}
	if err != nil || o.Type == object.Blob {
		return o, nil, err
	}
	content, err := o.Bytes(maxRead)
	return o, content, err
}

// add takes an object into the pack, once.
func (e *enumeration) add(id object.ID) bool {
	if e.seen[id] {
		return false
	}
	e.seen[id] = true
	e.ids = append(e.ids, id)
	return true
}

// commits goes through the history, a generation at a time, as deep as it is wanted.
func (e *enumeration) commits() error {
	for depth := 1; len(e.next) > 0; depth++ {
		generation := e.next
		e.next = nil
		for _, id := range generation {
			if !e.add(id) {
				continue
			}
			_, content, err := e.read(id)
			if err != nil {
				return fmt.Errorf("read %s: %w", id, err)
			}
			c, err := object.ParseCommit(content)
			if err != nil {
				return fmt.Errorf("read %s: %w", id, err)
			}
			if err := e.tree(c.Tree, 0); err != nil {
				return err
			}
			switch {
			case len(c.Parents) == 0:
			case e.ends[id], e.request.Depth > 0 && depth == e.request.Depth:
				e.shallow = append(e.shallow, id)
			default:
				e.next = append(e.next, c.Parents...)
			}
		}
	}
	return nil
}

// tree takes a tree and what is in it.
func (e *enumeration) tree(id object.ID, depth int) error {
	if !e.add(id) {
		return nil
	}
	if depth > maxDepth {
		return fault.New(fault.Data, "directories are nested deeper than %d", maxDepth)
	}
	_, content, err := e.read(id)
	if err != nil {
		return fmt.Errorf("read %s: %w", id, err)
	}
	for entry, err := range object.Entries(content, e.repository.format) {
		switch {
		case err != nil:
			return fmt.Errorf("read %s: %w", id, err)
		case entry.Mode == object.ModeDir:
			if err := e.tree(entry.ID, depth+1); err != nil {
				return err
			}
		case entry.Mode == object.ModeSubmodule, e.request.Filter == noBlobs:
		default:
			e.add(entry.ID)
		}
	}
	return nil
}

// peel returns what the tag at id stands for in the end; zero is no tag.
func peel(objects *reader, id object.ID) (object.ID, error) {
	peeled := object.ID{}
	for range 32 {
		o, err := objects.Object(id)
		if err != nil || o.Type != object.Tag {
			return peeled, err
		}
		content, err := o.Bytes(maxRead)
		if err != nil {
			return object.ID{}, err
		}
		tag, err := object.ParseTag(content)
		if err != nil {
			return object.ID{}, err
		}
		id, peeled = tag.Object, tag.Object
	}
	return object.ID{}, fault.New(fault.Data, "a tag of a tag, and so on")
}
