package run

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// defaultMaxBackoff is the longest delay of a policy that names none.
const defaultMaxBackoff = 30 * time.Second

// longestAsked is the longest delay that the other side may ask for (fault.RetryAfter).
const longestAsked = 5 * time.Minute

// longestDelay is longer than any pod waits, and far from where a duration overflows.
const longestDelay = 365 * 24 * time.Hour

// Retry is one attempt that failed and will be made again.
type Retry struct {
	Part    string        // the part of the step that failed; empty when the step was tried as a whole
	Attempt int           // the attempt that failed, from 1
	Err     error         // why it failed
	Delay   time.Duration // until the next one
}

// retrying calls attempt until it returns nil, fails in a way that time cannot mend, or policy is used up. It tells
// notify of each retry. When ctx ends first it returns the last real cause alone: why ctx ended is for the caller to add.
func retrying(ctx context.Context, policy step.Policy, part string, notify func(Retry), attempt func(context.Context) error) error {
	began := time.Now()
	var last error
	for n := 1; ; n++ {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return lastCause(last, err)
		}
		last = lastCause(last, err) // an attempt may see the end of ctx a moment before ctx has ended
		if !fault.KindOf(err).Transient() || (policy.Retries != step.Forever && n > policy.Retries) {
			return err
		}
		delay := max(backoff(policy, n, time.Since(began)), min(fault.AfterOf(err), longestAsked))
		notify(Retry{Part: part, Attempt: n, Err: err, Delay: delay})
		if sleep(ctx, delay) != nil {
			return last
		}
	}
}

// lastCause picks the error that tells most: an attempt cut short by the end of its context has nothing to say beside
// the real failure of an earlier one.
func lastCause(last, err error) error {
	if last != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return last
	}
	return err
}

// backoff returns the delay after the n-th attempt: the policy's pace, or its Backoff doubled n-1 times. Jitter adds
// up to a quarter, and never takes away, so that a floor on the delay is a ceiling on the rate.
func backoff(policy step.Policy, n int, elapsed time.Duration) time.Duration {
	longest := policy.MaxBackoff
	if longest == 0 {
		longest = defaultMaxBackoff
	}
	var delay time.Duration
	if policy.Pace != nil {
		delay = policy.Pace(elapsed)
	} else {
		delay = policy.Backoff
		for i := 1; i < n && delay < longest; i++ {
			delay *= 2
		}
		delay = min(delay, max(longest, policy.Backoff))
	}
	if delay <= 0 {
		return 0
	}
	delay = min(delay, longestDelay)
	return delay + rand.N(delay/4+1)
}

// sleep returns nil after d, or ctx's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
