package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-init/slipway/internal/fault"
)

// connection takes segments, one after the other, until there are none.
type connection struct {
	*exchange
	number int
	buffer []byte
	answer *Answer // of the segment at hand, where it was asked for already
}

// run fetches segments. The first one may be given, with its answer.
func (c *connection) run(ctx context.Context, a *segment, answer *Answer) error {
	c.answer = answer
	for ; ; a = nil {
		if a == nil {
			if a = c.schedule.take(c.number); a == nil {
				return nil
			}
		}
		if c.buffer == nil {
			c.buffer = c.ahead.buffer()
		}
		err := c.fetch(ctx, a)
		c.schedule.finish(a)
		if err != nil {
			return err
		}
	}
}

// fetch fetches a segment. It gives up when all the attempts that the policy allows have brought nothing.
func (c *connection) fetch(ctx context.Context, a *segment) error {
	for {
		before, _ := c.schedule.advance(a, 0)
		slow := false
		err := c.file.env.Retry(ctx, fmt.Sprintf("bytes %d-%d", a.from, a.to-1), func(ctx context.Context) error {
			err := c.attempt(ctx, a)
			if slow = errors.Is(err, errSlow); slow {
				return nil
			}
			return c.explain(err)
		})
		after, rest := c.schedule.advance(a, 0)
		switch {
		case slow:
			c.stalls.Add(1)
			return nil // what is missing goes back to the schedule
		case err == nil, ctx.Err() != nil, !fault.KindOf(err).Transient(), after == before, rest == 0:
			return err
		}
	}
}

// attempt asks for what is missing of a, unless it is answered already, and writes it.
func (c *connection) attempt(ctx context.Context, a *segment) error {
	ctx, watch := c.governor.watch(ctx)
	defer watch.end()
	answer := c.answer
	c.answer = nil
	if answer == nil {
		var err error
		if answer, err = c.ask(ctx, a); err != nil {
			return watch.cause(err)
		}
	} else {
		// It was asked for in another context.
		defer context.AfterFunc(ctx, func() { answer.Body.Close() })()
	}
	defer answer.Body.Close()
	return watch.cause(c.receive(a, answer.Body, watch))
}

// ask asks for what is missing of a, and checks that this is what is answered.
func (c *connection) ask(ctx context.Context, a *segment) (*Answer, error) {
	pos, rest := c.schedule.advance(a, 0)
	asked := Range{pos, rest}
	answer, err := c.get(ctx, asked)
	if err != nil {
		return nil, err
	}
	switch {
	case answer.Size != c.result.Size || answer.Version != c.result.Version:
		err = ErrChanged
	case answer.Offset != pos || answer.Length != rest:
		err = misanswered(asked, answer)
	}
	if err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// receive writes the body of an answer to where a is, chunk by chunk, and notes each one that is whole. The follower may
// have each from memory.
func (c *connection) receive(a *segment, body io.Reader, watch *watch) error {
	pos, rest := c.schedule.advance(a, 0)
	for rest > 0 {
		n, err := watch.fill(body, c.buffer[:min(chunk-pos%chunk, rest)])
		if n > 0 {
			if err := c.write(c.buffer[:n], pos); err != nil {
				return err
			}
			if end := pos + int64(n); end%chunk == 0 || end == c.result.Size {
				if err := c.journal.note(end); err != nil {
					return err
				}
			}
			c.buffer = c.ahead.keep(pos, c.buffer[:n])
			pos, rest = c.schedule.advance(a, n)
		}
		if err == io.EOF && rest > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil && rest > 0 {
			return err
		}
	}
	return nil
}

// write writes p to the file at pos.
func (c *connection) write(p []byte, pos int64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.file.WriteAt(p, pos)
	return err
}
