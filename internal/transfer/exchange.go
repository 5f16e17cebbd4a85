package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-init/slipway/internal/fault"
)

// firstPart is what the first request asks for, in bytes. An object that is no larger takes one request.
const firstPart = 8 << 20

// firstConnections is with how many connections a fetch begins.
const firstConnections = 4

// exchange is the fetch of one version of an object.
type exchange struct {
	file    *File
	source  Source
	options Options

	journal  *journal // nil until the object's size is known
	schedule *schedule
	ahead    *ahead
	writing  sync.Mutex // the kernel lets one at a time write to a file, and whoever waits for it there holds up a CPU
	governor *governor
	result   Result
	sum      hash.Hash
	proofs   []Proof
	follower Follower

	received, requests, retries, stalls atomic.Int64
	continued, total                    atomic.Int64 // for progress
}

// run fetches and proves the object.
func (x *exchange) run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	x.governor = newGovernor(x)
	done := make(chan struct{})
	group.Go(func() error { x.governor.run(inner, done); return nil })
	group.Go(func() error { defer close(done); return x.fetchAll(inner) })
	err := group.Wait()
	x.result.Requests, x.result.Retries, x.result.Stalls = x.requests.Load(), x.retries.Load(), x.stalls.Load()
	if x.follower != nil {
		if followed := x.follower.Close(err); err == nil && followed != nil {
			err = fmt.Errorf("fetch %s: %w", x.source, followed)
		}
	}
	if err == nil {
		x.progress()
		err = x.prove(ctx)
	}
	return err
}

// fetchAll fetches the object by one answer where that has it all, and else by parts.
func (x *exchange) fetchAll(ctx context.Context) error {
	missing, resumed := x.resume()
	asked := Range{Length: firstPart}
	switch {
	case resumed && len(missing) == 0 && x.options.SHA256 != nil:
		return x.parallel(ctx, nil, nil) // all is there, and the digest tells whether it is right
	case resumed && len(missing) == 0:
		asked.Length = 1 // all is there, if it is still the same version
	case resumed:
		asked = Range{missing[0].from, min(missing[0].to-missing[0].from, firstPart)}
	case x.options.Whole:
		asked = Range{}
	}
	var first *Answer
	err := x.file.env.Retry(ctx, "", func(ctx context.Context) error {
		answer, err := x.get(ctx, asked)
		if err == nil {
			first, err = x.open(ctx, answer, asked)
		}
		return x.explain(err)
	})
	if err != nil || first == nil {
		return err
	}
	if !resumed {
		missing = []span{{0, x.result.Size}}
	}
	return x.parallel(ctx, first, missing)
}

// resume returns what an earlier run has left to do, or false if there is nothing of it that may be used.
func (x *exchange) resume() (missing []span, ok bool) {
	if !x.file.found {
		return nil, false
	}
	j, id, ok := openJournal(x.file.File)
	if !ok || id.Source != x.source.String() || id.Boot != bootID() || id.Boot == "" || id.Version == "" && x.options.SHA256 == nil {
		return nil, false
	}
	if missing, err := j.missing(); err == nil {
		x.journal = j
		x.result.Size, x.result.Version, x.result.Continued = id.Size, id.Version, id.Size
		for _, s := range missing {
			x.result.Continued -= s.to - s.from
		}
		x.continued.Store(x.result.Continued)
		x.total.Store(id.Size)
		return missing, true
	}
	return nil, false
}

// open looks at the first answer. One that has the whole object is received at once, and there is nothing more to do. Else
// the answer is returned, with the journal begun or continued.
func (x *exchange) open(ctx context.Context, answer *Answer, asked Range) (*Answer, error) {
	switch {
	case x.journal != nil && (answer.Size != x.result.Size || answer.Version != x.result.Version):
		answer.Body.Close()
		return nil, ErrChanged
	case answer.Offset == 0 && (answer.Size == Unknown || answer.Length == answer.Size):
		return nil, x.whole(ctx, answer)
	case answer.Offset != asked.Offset || answer.Length != min(asked.Length, answer.Size-asked.Offset):
		answer.Body.Close()
		return nil, misanswered(asked, answer)
	case x.journal == nil:
		x.result.Size, x.result.Version = answer.Size, answer.Version
		x.total.Store(answer.Size)
		j, err := newJournal(x.file.File, identity{x.source.String(), answer.Version, answer.Size, bootID()})
		if err != nil {
			answer.Body.Close()
			return nil, err
		}
		x.journal = j
	}
	return answer, nil
}

// misanswered is the fault of an answer that is of other bytes than those asked for.
func misanswered(asked Range, answer *Answer) error {
	return fault.New(fault.IO, "%d bytes from %d on were asked for, and the answer has %d from %d on", asked.Length, asked.Offset, answer.Length, answer.Offset)
}

// get asks the source for a range of the version that is being fetched.
func (x *exchange) get(ctx context.Context, r Range) (*Answer, error) {
	x.requests.Add(1)
	return x.source.Get(ctx, r, x.result.Version)
}

// explain says of which object a failure is, and tells the governor of it.
func (x *exchange) explain(err error) error {
	if err == nil {
		return nil
	}
	if fault.KindOf(err).Transient() {
		x.retries.Add(1)
	}
	if fault.KindOf(err) == fault.Temporary {
		x.governor.throttled()
	}
	return fmt.Errorf("fetch %s: %w", x.source, err)
}

// parallel fetches what is missing by several connections, the first of which has its answer already. First is nil if
// nothing is missing and nobody was asked.
func (x *exchange) parallel(ctx context.Context, first *Answer, missing []span) error {
	most := x.options.Connections
	if most == 0 {
		most = defaultConnections
	}
	x.schedule = newSchedule(x.result.Size, missing, x.window(), min(most, firstConnections))
	x.ahead = newAhead(x.kept())
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, x.schedule.end)()
	if len(missing) == 0 && first != nil {
		first.Body.Close()
	}
	if len(missing) > 0 {
		segment := x.schedule.first(first.Length)
		x.governor.steer(x.schedule, most)
		for number := range most {
			group.Go(func() error {
				c := connection{exchange: x, number: number}
				if number == 0 {
					return c.run(ctx, segment, first)
				}
				return c.run(ctx, nil, nil)
			})
		}
	}
	group.Go(func() error { return x.follow(ctx, first) })
	if err := group.Wait(); err != nil {
		return err
	}
	x.result.Most = x.schedule.peak()
	return x.file.Truncate(x.result.Size)
}

// window returns how far ahead of the follower parts may begin, in bytes: so little that they are still in the page cache
// when it comes.
func (x *exchange) window() int64 {
	const least, most = 16 << 20, 128 << 20
	if x.options.Memory == 0 {
		return most
	}
	return min(max(x.options.Memory/3, least), most)
}

// kept returns how much may wait for the follower in memory, in bytes: about what the first connections have under way.
func (x *exchange) kept() int64 {
	const least, most = 4 << 20, 24 << 20
	if x.options.Memory == 0 {
		return most
	}
	return min(max(x.options.Memory/8, least), most)
}

// whole receives an answer that has the whole object: a small one, or one of a server that knows no ranges or does not tell
// the size. A later attempt begins again.
func (x *exchange) whole(ctx context.Context, answer *Answer) error {
	ctx, watch := x.governor.watch(ctx)
	defer watch.end()
	defer context.AfterFunc(ctx, func() { answer.Body.Close() })()
	defer answer.Body.Close()
	x.journal = nil
	x.result.Continued, x.result.Version, x.result.Most = 0, answer.Version, 1
	x.continued.Store(0)
	x.received.Store(0)
	x.total.Store(max(answer.Size, 0))
	x.begin()
	if err := x.ask(ctx, answer); err != nil {
		return err
	}
	if err := x.room(answer.Size); err != nil {
		return err
	}
	buffer := make([]byte, bufferFor(answer.Size))
	for pos := int64(0); ; {
		n, err := watch.fill(answer.Body, buffer)
		if n > 0 {
			if _, err := x.file.WriteAt(buffer[:n], pos); err != nil {
				return err
			}
			if err := x.digest(buffer[:n]); err != nil {
				return err
			}
			pos += int64(n)
		}
		switch {
		case err == io.EOF && answer.Size != Unknown && pos != answer.Size:
			return watch.cause(io.ErrUnexpectedEOF)
		case err == io.EOF:
			x.result.Size = pos
			return x.cut(pos)
		case err != nil:
			return watch.cause(err)
		}
	}
}

// bufferFor returns the size of the buffer for an object of that size: there may be many small ones.
func bufferFor(size int64) int64 {
	if size == Unknown || size >= chunk {
		return chunk
	}
	return size + 1
}

// room empties the file, if anything is in it, and gives it room for size bytes, if that is known and much.
func (x *exchange) room(size int64) error {
	if err := x.cut(0); err != nil || size <= firstPart {
		return err
	}
	return x.file.Allocate(size)
}

// cut takes off what is behind size.
func (x *exchange) cut(size int64) error {
	if now, err := x.file.Size(); err != nil || now == size {
		return err
	}
	return x.file.Truncate(size)
}

// begin prepares what gets the object's bytes from first to last.
func (x *exchange) begin() {
	x.sum, x.proofs = sha256.New(), nil
	if x.follower != nil {
		_ = x.follower.Close(errors.New("it begins again"))
		x.follower = nil
	}
	if x.options.Follow != nil {
		x.follower = x.options.Follow()
	}
}

// ask asks for what the server itself says of the object, unless its digest is known.
func (x *exchange) ask(ctx context.Context, answer *Answer) (err error) {
	if x.options.SHA256 == nil && answer != nil && answer.Proofs != nil {
		x.proofs, err = answer.Proofs(ctx)
	}
	return err
}

// digest gives the object's next bytes to all that want them.
func (x *exchange) digest(p []byte) error {
	x.sum.Write(p)
	for _, proof := range x.proofs {
		if _, err := proof.Write(p); err != nil {
			return err
		}
	}
	if x.follower != nil {
		_, err := x.follower.Write(p)
		return err
	}
	return nil
}

// writtenBack is how much the follower reads before it asks the kernel to write it to the disk, in bytes.
const writtenBack = 8 << 20

// follow takes the object from its beginning as far as it is whole: from memory, or from the file.
func (x *exchange) follow(ctx context.Context, first *Answer) error {
	x.begin()
	err := x.file.env.Retry(ctx, "proof", func(ctx context.Context) error { return x.explain(x.ask(ctx, first)) })
	if err != nil {
		return err
	}
	buffer := x.ahead.buffer()
	pos, settled := int64(0), int64(0)
	for pos < x.result.Size {
		to := x.schedule.follow(pos)
		if to == pos {
			return ctx.Err()
		}
		for pos < to {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n, err := x.next(buffer, pos, to)
			if err != nil {
				return fmt.Errorf("fetch %s: %w", x.source, err)
			}
			pos += int64(n)
			if pos-settled >= writtenBack {
				x.file.Writeback(settled, pos-settled)
				settled = pos
			}
		}
	}
	return nil
}

// next gives the bytes from pos on, up to to at most, to all that want them, and returns how many they were.
func (x *exchange) next(buffer []byte, pos, to int64) (int, error) {
	if kept := x.ahead.take(pos); kept != nil {
		defer x.ahead.giveBack(kept)
		return len(kept), x.digest(kept)
	}
	p := buffer[:min(chunk-pos%chunk, to-pos)]
	if _, err := x.file.ReadAt(p, pos); err != nil {
		return 0, fault.As(fault.IO, fmt.Errorf("read back what was written: %w", err))
	}
	return len(p), x.digest(p)
}

// progress tells how much is there. What an earlier run has fetched is there from the beginning.
func (x *exchange) progress() {
	if tell := x.options.Progress; tell != nil {
		tell(x.continued.Load()+x.received.Load(), x.total.Load())
	}
}

// prove compares the digests.
func (x *exchange) prove(ctx context.Context) error {
	x.result.SHA256 = x.sum.Sum(nil)
	if want := x.options.SHA256; want != nil {
		if string(want) != string(x.result.SHA256) {
			return fault.Hint(fault.New(fault.Data, "%s: its SHA-256 is %x, not %x", x.source, x.result.SHA256, want),
				"nothing was written; if the object was replaced on purpose, give the digest of the new one")
		}
		x.result.Proven = true
	}
	for _, proof := range x.proofs {
		if err := proof.Verify(ctx, io.NewSectionReader(x.file, 0, x.result.Size)); err != nil {
			return fmt.Errorf("%s: %w", x.source, err)
		}
		x.result.Proven = true
	}
	return nil
}
