package console

import (
	"fmt"
	"time"
)

// pace is how fast a step gets on, over the last few seconds.
type pace struct {
	since time.Time // of the measure that is being taken
	base  int64     // what was done then
	rate  float64   // a second, of the last measure; 0 is not known yet
}

// measure is how long one is taken.
const measure = 2 * time.Second

// add notes that so much is done. What is less than before was begun again.
func (p *pace) add(now time.Time, done int64) {
	switch elapsed := now.Sub(p.since); {
	case p.since.IsZero(), done < p.base:
		*p = pace{since: now, base: done}
	case elapsed >= measure:
		*p = pace{since: now, base: done, rate: float64(done-p.base) / elapsed.Seconds()}
	}
}

// String returns the end of a live line: "  98.3 M/s, 12s left", or "" while nothing is known.
func (p *pace) String(done, total int64) string {
	if p.rate == 0 {
		return ""
	}
	text := fmt.Sprintf("  %s/s", magnitude(int64(p.rate)))
	if left, ok := timeLeft(done, total, p.rate); ok {
		text += fmt.Sprintf(", %s left", left)
	}
	return text
}

// timeLeft returns how long the rest takes at that rate, in whole seconds, or false if nobody can know.
func timeLeft(done, total int64, rate float64) (time.Duration, bool) {
	const longest = 100 * time.Hour
	if rate <= 0 || total <= done {
		return 0, false
	}
	left := float64(total-done) / rate
	if left > longest.Seconds() {
		return 0, false
	}
	return time.Duration(left+0.5) * time.Second, true
}
