package transfer

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// chunk is the unit of buffers and of the journal, in bytes. Parts begin at its multiples.
const chunk = 256 << 10

// span is a run of bytes, from the first to the one behind the last.
type span struct{ from, to int64 }

// segment is a span that a connection is at work on.
type segment struct {
	span
	pos   int64 // what is below is written
	began time.Time
}

// rest returns how many bytes of the segment are missing.
func (s *segment) rest() int64 { return s.to - s.pos }

// schedule says who fetches what. All its methods may be called by many goroutines.
type schedule struct {
	mu     sync.Mutex
	grown  sync.Cond // for the follower: more is written
	news   sync.Cond // for connections: there may be something to take
	wider  sync.Cond // for connections that are too many: the limit may be another one
	todo   []span    // what nobody is at work on, in order
	active []*segment

	size     int64 // of the object
	followed int64 // where the follower is
	window   int64 // how far before the follower a part may begin
	limit    int   // connections that may work at once
	most     int   // the highest limit there was
	over     bool  // somebody has failed
}

// newSchedule returns a schedule of what is missing of an object.
func newSchedule(size int64, missing []span, window int64, limit int) *schedule {
	s := &schedule{size: size, todo: missing, window: window, limit: limit, most: limit}
	s.grown.L, s.news.L, s.wider.L = &s.mu, &s.mu, &s.mu
	return s
}

// part returns how much a connection takes at once: the more there are, the less, so that they fit into the window, and never
// so much that a kill loses a great deal of what has been asked for.
func (s *schedule) part() int64 {
	const least, most = 1 << 20, 8 << 20
	return min(max(s.window/int64(s.limit+1), least), most) / chunk * chunk
}

// take returns the next segment for the connection of that number, nil when there will never be one again. It waits
// while the connection is one too many, while the follower is too far behind, and while the others will soon be done.
func (s *schedule) take(number int) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.over, len(s.todo) == 0 && len(s.active) == 0:
			return nil
		case number >= s.limit:
			s.wider.Wait()
			continue
		case len(s.todo) > 0 && s.todo[0].from < s.followed+s.window:
			return s.begin(s.cut(s.part()))
		default:
			if stolen, ok := s.steal(); ok {
				return s.begin(stolen)
			}
		}
		s.news.Wait()
	}
}

// cut takes at most length bytes off the front of what is left.
func (s *schedule) cut(length int64) span {
	next := &s.todo[0]
	part := span{next.from, next.to}
	if next.from+length < next.to {
		part.to = (next.from + length) / chunk * chunk
	}
	if next.from = part.to; next.from == next.to {
		s.todo = s.todo[1:]
	}
	return part
}

// first returns the segment of the first request, which is under way already.
func (s *schedule) first(length int64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(s.cut(length))
}

// left returns how long the segment will take, if it goes on as it did.
func (s *segment) left(now time.Time) time.Duration {
	if s.pos == s.from {
		return now.Sub(s.began)
	}
	return time.Duration(float64(now.Sub(s.began)) / float64(s.pos-s.from) * float64(s.rest()))
}

// steal takes the second half of what the segment that will take longest misses, if that is long.
func (s *schedule) steal() (span, bool) {
	const (
		least = 4 * chunk   // less is there before a new connection would be
		long  = time.Second // what is stolen has been asked for in vain
	)
	var victim *segment
	longest, now := long, time.Now()
	for _, a := range s.active {
		if left := a.left(now); a.rest() >= least && left > longest {
			victim, longest = a, left
		}
	}
	if victim == nil {
		return span{}, false
	}
	middle := (victim.pos + victim.rest()/2 + chunk - 1) / chunk * chunk
	stolen := span{middle, victim.to}
	victim.to = middle
	return stolen, true
}

func (s *schedule) begin(part span) *segment {
	a := &segment{span: part, pos: part.from, began: time.Now()}
	s.active = append(s.active, a)
	return a
}

// advance notes that n more bytes of a are written, and returns where it is and what is still missing.
func (s *schedule) advance(a *segment, n int) (pos, rest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		a.pos += int64(n)
		s.grown.Signal()
	}
	return a.pos, a.rest()
}

// finish takes a off the active ones; what it misses is to be done again.
func (s *schedule) finish(a *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = slices.DeleteFunc(s.active, func(other *segment) bool { return other == a })
	if a.rest() > 0 {
		s.todo = append(s.todo, span{a.pos, a.to})
		slices.SortFunc(s.todo, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	}
	s.tell()
}

// end makes everybody stop.
func (s *schedule) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.tell()
}

// tell makes everybody look again.
func (s *schedule) tell() {
	s.grown.Signal()
	s.news.Broadcast()
	s.wider.Broadcast()
}

// look makes connections look again for something to take: time passes, and the others may turn out to be slow.
func (s *schedule) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.Broadcast()
}

// setLimit changes how many connections may work at once.
func (s *schedule) setLimit(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.most = limit, max(s.most, limit)
	s.tell()
}

// peak returns the most connections that might work at once until now.
func (s *schedule) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// follow notes that the follower is at from and returns up to where it may read on, which is after from, or from at the
// object's end and when all is over.
func (s *schedule) follow(from int64) (to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followed = from
	s.news.Broadcast()
	for {
		to = s.whole()
		if to > from || s.over || (len(s.todo) == 0 && len(s.active) == 0) {
			return to
		}
		s.grown.Wait()
	}
}

// behind returns how many bytes the follower could take and has not.
func (s *schedule) behind() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole() - s.followed
}

// whole returns up to where the object is whole.
func (s *schedule) whole() int64 {
	whole := s.size
	if len(s.todo) > 0 {
		whole = s.todo[0].from
	}
	for _, a := range s.active {
		whole = min(whole, a.pos)
	}
	return whole
}
