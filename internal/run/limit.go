package run

import (
	"context"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// defaultGrace is how long a step may take to return after its context ended, where its policy names nothing.
const defaultGrace = time.Second

// limited calls f under the policy's timeout, and end with what it returned and the context it had. A step that
// does not return within its grace after the end of its context is left behind: the process is about to end, and a
// system call that hangs must not keep it.
func limited(ctx context.Context, policy step.Policy, f func(context.Context) error, end func(context.Context, error) error) error {
	cancel := context.CancelFunc(func() {})
	if policy.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, policy.Timeout, &timedOut{after: policy.Timeout})
	}
	defer cancel()
	returned := make(chan error, 1)
	go func() { returned <- f(ctx) }()
	select {
	case err := <-returned:
		return end(ctx, err)
	case <-ctx.Done():
	}
	grace := policy.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-returned:
		return end(ctx, err)
	case <-timer.C:
		return end(ctx, fault.New(fault.Unavailable, "did not stop within %s", grace))
	}
}
