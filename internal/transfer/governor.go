package transfer

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// The governor's measures. They are far from each other on purpose: a busy machine or a slow disk must not look like a
// broken network.
const (
	tick     = 250 * time.Millisecond // between two looks
	patience = 20 * time.Second       // after which a request that brought fewer bytes than floor is given up
	floor    = 16 << 10               // bytes in patience
	compared = 2 * time.Second        // over which connections are compared with each other
	slow     = 8                      // how many times slower than the others a connection may be
	settling = 2                      // ticks after a change of the number of connections until its effect is judged
	worth    = 1.1                    // by which factor more connections must be faster to stay
	calm     = 5 * time.Second        // without new connections after some were not worth it, or too many for the server
	few      = 2                      // connections that are enough where the digest is slower than the network
)

// errSlow ends a request whose connection is slow beside the others: what it misses is asked for again elsewhere.
var errSlow = errors.New("slow beside its neighbours")

// errStalled ends a request that brings nothing, or next to nothing.
var errStalled = fault.Hint(fault.New(fault.Unavailable, "fewer than %d bytes came in %s", floor, patience),
	"is the server overloaded, or something on the way to it?")

// governor looks at all requests from time to time: it gives up those that stall, and says how many there may be at once.
type governor struct {
	exchange *exchange

	mu      sync.Mutex
	watches []*watch
	typical float64 // bytes that a connection brings in compared

	compareSince time.Time // when connections were compared last
	compareBase  int64     // bytes received then

	schedule *schedule // nil while there is but one request
	most     int       // connections
	limit    int       // connections now
	before   int       // connections before the last change, 0 when it has been judged
	rate     float64   // bytes a tick before the last change
	ticks    int       // since the last change
	base     int64     // bytes received at the last change
	until    time.Time // no new connections
}

func newGovernor(x *exchange) *governor { return &governor{exchange: x} }

// watch is one request that is looked at.
type watch struct {
	governor *governor
	ctx      context.Context
	stop     context.CancelCauseFunc
	received atomic.Int64

	began       time.Time
	compareBase int64     // bytes received when connections were compared last
	stallSince  time.Time // when the look for a stall began
	stallBase   int64     // bytes received then
}

// watch begins to look at a request, whose context it ends when the request is to be given up.
func (g *governor) watch(ctx context.Context) (context.Context, *watch) {
	ctx, stop := context.WithCancelCause(ctx)
	now := time.Now()
	w := &watch{governor: g, ctx: ctx, stop: stop, began: now, stallSince: now}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watches = append(g.watches, w)
	return ctx, w
}

// end ends the look at a request.
func (w *watch) end() {
	w.stop(nil)
	w.governor.mu.Lock()
	defer w.governor.mu.Unlock()
	w.governor.watches = slices.DeleteFunc(w.governor.watches, func(other *watch) bool { return other == w })
}

// cause returns why the request ended, if that was the governor's will, and else err.
func (w *watch) cause(err error) error {
	if cause := context.Cause(w.ctx); err != nil && (cause == errSlow || cause == errStalled) {
		return cause
	}
	return err
}

// fill reads until p is full. Every byte counts when it comes, and not when a chunk is whole.
func (w *watch) fill(body io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = body.Read(p[n:])
		err = httpx.Garbled(err)
		n += more
		w.received.Add(int64(more))
		w.governor.exchange.received.Add(int64(more))
	}
	return n, err
}

// run looks until done is closed or ctx ends.
func (g *governor) run(ctx context.Context, done <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case now := <-ticker.C:
			g.look(now)
		}
	}
}

// look is one look.
func (g *governor) look(now time.Time) {
	g.exchange.progress()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.watches {
		if now.Sub(w.stallSince) >= patience {
			if w.received.Load()-w.stallBase < floor {
				w.stop(errStalled)
			}
			w.stallSince, w.stallBase = now, w.received.Load()
		}
	}
	if g.schedule != nil {
		g.compare(now)
		g.adapt(now)
		g.schedule.look()
	}
}

// compare gives up connections that are slow beside the others, of whatever age those are. A last one is compared with
// what was typical before.
func (g *governor) compare(now time.Time) {
	if now.Sub(g.compareSince) < compared || len(g.watches) == 0 {
		return
	}
	received := g.exchange.received.Load()
	mean := float64(received-g.compareBase) / float64(len(g.watches))
	// A network that has become slow as a whole is soon the new measure.
	g.typical = max(g.typical/4, mean)
	for _, w := range g.watches {
		own := w.received.Load() - w.compareBase
		// Where nothing came to anybody, nobody is slow beside the others: to ask a server again that is busy makes it worse.
		if mean > 0 && !w.began.After(g.compareSince) && float64(own)*slow < g.typical {
			w.stop(errSlow)
		}
		w.compareBase = w.received.Load()
	}
	g.compareSince, g.compareBase = now, received
}

// steer gives the number of connections into the governor's hands.
func (g *governor) steer(s *schedule, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.schedule, g.most, g.limit = s, most, s.limit
	g.base = g.exchange.received.Load()
	g.compareSince, g.compareBase = time.Now(), g.base
}

// adapt adds connections, twice as many each time, until that is not worth it any more. Where the follower is what takes the
// time there are few.
func (g *governor) adapt(now time.Time) {
	if g.ticks++; g.ticks < settling {
		return
	}
	received := g.exchange.received.Load()
	rate := float64(received-g.base) / float64(g.ticks)
	if g.schedule.behind() > g.exchange.kept()/2 {
		// More connections only take the CPUs from the digest.
		g.limit, g.before, g.until = min(g.limit, max(few, g.limit/2)), 0, now.Add(calm)
	} else if g.before > 0 && rate < g.rate*worth {
		g.limit, g.before, g.until = g.before, 0, now.Add(calm)
	} else {
		g.before = 0
		if now.After(g.until) && g.limit < g.most {
			g.before, g.limit = g.limit, min(2*g.limit, g.most)
		}
	}
	g.rate, g.ticks, g.base = rate, 0, received
	g.schedule.setLimit(g.limit)
}

// throttled halves the connections: the server has asked for patience.
func (g *governor) throttled() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.schedule == nil || now.Before(g.until) && g.before == 0 && g.ticks < settling {
		return // one storm is one reason
	}
	g.limit, g.before, g.until, g.ticks, g.base = max(1, g.limit/2), 0, now.Add(calm), 0, g.exchange.received.Load()
	g.schedule.setLimit(g.limit)
}
