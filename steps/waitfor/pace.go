package waitfor

import "time"

// The bounds of pace: 50 looks a second at most, and at least 4.
const (
	shortest = 20 * time.Millisecond
	longest  = 250 * time.Millisecond
)

// pace returns the delay after a look that ended elapsed after the first one began: elapsed²/100s, between 20 and 250 ms.
//
// A look comes late by half the delay on average. A constant delay is either late for what takes a moment or a burden
// for what takes minutes; a delay that doubles is late by a quarter of the wait. Here the delay is the share
// elapsed/100s of the wait, so that the mean lateness is 0.5 % of a wait of one second and 2.5 % of one of five seconds,
// after which the delay stays at 250 ms and the share falls. The first 1.4 seconds are looked at 50 times a second, which
// is when containers of one pod find each other; from 5 seconds on 4 times, because a thousand pods may wait for one
// server. The runner adds up to a quarter of jitter and takes nothing away, so the rates are ceilings.
func pace(elapsed time.Duration) time.Duration {
	seconds := min(elapsed, time.Minute).Seconds() // beyond the bound anyway, and its square is no overflow
	return min(max(time.Duration(seconds*seconds/100*float64(time.Second)), shortest), longest)
}
