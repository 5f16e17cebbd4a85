package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slipway-init/slipway/internal/archive"
	"github.com/slipway-init/slipway/internal/atomicdir"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/receipt"
	"github.com/slipway-init/slipway/internal/transfer"
)

// extraction is the option --extract: a format, of which "auto" may be written as a boolean in a plan.
type extraction struct{ format archive.Format }

// String returns the format, "" for none.
func (e *extraction) String() string { return string(e.format) }

// Set takes a format or a boolean.
func (e *extraction) Set(text string) error {
	if yes, err := strconv.ParseBool(text); err == nil {
		e.format = archive.None
		if yes {
			e.format = archive.Auto
		}
		return nil
	}
	return e.format.Set(text)
}

// Type returns "format".
func (*extraction) Type() string { return "format" }

// JSONSchema implements opt.Schemer.
func (e *extraction) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{map[string]any{"type": "boolean"}, e.format.JSONSchema()}}
}

// unpack fetches an archive and unpacks it into the folder dest, which appears whole, unless it is there and right.
func (f *Fetching) unpack(ctx context.Context, object Object, dest string, want []byte) error {
	path := f.Env.Path(dest)
	known, ok, err := f.recall(ctx, object, path, want)
	if err != nil {
		return err
	}
	if ok {
		atomicdir.Sweep(ctx, path)
		f.tell(known)
		return nil
	}
	packed, err := transfer.OpenScratch(f.Env, path)
	if err != nil {
		return err
	}
	defer packed.Close()
	u := &unpacking{fetching: f, path: path}
	defer u.abort(ctx)
	o := f.transferred()
	o.SHA256 = want
	o.Follow = func() transfer.Follower { return u.begin(ctx) }
	result, err := packed.Fetch(ctx, object, o)
	if err != nil {
		return err
	}
	if u.format == archive.ZipFile {
		// Only its end says what is in it.
		if u.totals, err = archive.Zip(ctx, u.dir.Root(), packed, result.Size, u.options()); err != nil {
			return fmt.Errorf("fetch %s: unpack: %w", object, err)
		}
	}
	fetched := outcomeOf(result)
	if before, same := f.holds(ctx, object, path, result.SHA256); same {
		before.Facts = f.receipt(object, fetched).Facts
		if err := receipt.Keep(ctx, f.Env, path, before); err != nil {
			return err
		}
		fetched.skipped = sameAsBefore
		f.tell(fetched)
		return nil
	}
	if err := u.dir.Commit(ctx, f.receipt(object, fetched)); err != nil {
		return err
	}
	f.tell(fetched)
	f.Env.Output("entries", strconv.Itoa(u.totals.Entries))
	f.Env.Output("unpacked", strconv.FormatInt(u.totals.Bytes, 10))
	return nil
}

// unpacking unpacks an archive while it arrives. Begin may be called again, when the archive is fetched again.
type unpacking struct {
	fetching *Fetching
	path     string
	format   archive.Format
	totals   archive.Totals
	dir      *atomicdir.Dir
}

func (u *unpacking) options() archive.Options {
	f := u.fetching
	return archive.Options{Format: u.format, Strip: f.strip, Filter: f.filter, Limits: f.limits}
}

// begin makes a new directory and starts to unpack into it.
func (u *unpacking) begin(ctx context.Context) transfer.Follower {
	u.abort(ctx)
	u.format = u.fetching.extract.format
	reader, writer := io.Pipe()
	s := &stream{unpacking: u, ctx: ctx, writer: writer, done: make(chan error, 1)}
	s.start = func() {
		go func() {
			err := s.tar(ctx, reader)
			reader.CloseWithError(err)
			s.done <- err
		}()
	}
	return s
}

// abort removes what was unpacked and not committed.
func (u *unpacking) abort(ctx context.Context) {
	if u.dir != nil {
		u.dir.Abort(ctx)
		u.dir = nil
	}
}

// stream takes an archive's bytes. It starts when it has seen enough of them to know the format.
type stream struct {
	*unpacking
	ctx     context.Context // of the fetch
	head    []byte
	started bool
	start   func()
	writer  *io.PipeWriter
	done    chan error
}

// Write implements transfer.Follower.
func (s *stream) Write(p []byte) (int, error) {
	if !s.started {
		s.head = append(s.head, p...)
		if len(s.head) < archive.HeadSize {
			return len(p), nil
		}
		head := s.head
		if err := s.settle(); err != nil {
			return 0, err
		}
		if s.format != archive.ZipFile {
			if _, err := s.writer.Write(head); err != nil {
				return 0, err
			}
		}
		return len(p), nil
	}
	if s.format == archive.ZipFile {
		return len(p), nil
	}
	return s.writer.Write(p)
}

// settle decides on the format, makes the directory, and starts to unpack.
func (s *stream) settle() error {
	s.started = true
	if s.format == archive.Auto {
		if s.format = archive.Detect(s.head[:min(len(s.head), archive.HeadSize)]); s.format == archive.None {
			return fault.Hint(fault.New(fault.Data, "unpack: it is no archive that slipway knows"), "it unpacks tar, tar.gz, tar.zst, tar.bz2 and zip")
		}
	}
	f := s.fetching
	mode := f.mode
	if mode == defaultMode {
		mode = 0 // it was not given
	}
	var err error
	s.dir, err = atomicdir.Create(s.ctx, f.Env, s.path, atomicdir.Attributes{Mode: mode, Owner: f.owner, Force: f.force, Option: "--force"})
	if err != nil {
		return err
	}
	if s.format != archive.ZipFile {
		s.start()
	}
	return nil
}

// tar unpacks what comes through the pipe.
func (s *stream) tar(ctx context.Context, r io.Reader) (err error) {
	s.totals, err = archive.Tar(ctx, s.dir.Root(), r, s.options())
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// Close implements transfer.Follower.
func (s *stream) Close(err error) error {
	if err == nil && !s.started {
		head := s.head
		if err = s.settle(); err != nil {
			return err
		}
		if s.format != archive.ZipFile {
			if _, err := s.writer.Write(head); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return <-s.done
			}
		}
	}
	if !s.started || s.dir == nil || s.format == archive.ZipFile {
		return err
	}
	if err == nil {
		s.writer.Close()
	} else {
		s.writer.CloseWithError(err)
	}
	return <-s.done
}
