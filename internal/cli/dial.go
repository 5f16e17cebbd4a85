package cli

import (
	"context"
	"log/slog"
	"net"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/netfilter"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// dialer returns how the plan's steps connect, nil for as usual, and a function to call when they are done. In a pod that
// slipway has redirected on an earlier run the proxy may not be up again yet, so connections are marked, and the rules
// let them pass. Another mesh's do not: that is said when the first step begins, and again by the hint of whichever
// connection fails.
//
// Both need NET_ADMIN. Without it, or for a plan that connects to nothing, this costs one system call at most; with it,
// the kernel's rules are looked at beside the first step.
func dialer(p *plan.Plan, log *slog.Logger) (dial func(ctx context.Context, network, addr string) (net.Conn, error), done func()) {
	if !dials(p) || !netfilter.Privileged() {
		return nil, func() {}
	}
	var hint string
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		meshes, err := netfilter.Detect()
		if err != nil {
			log.Debug("who redirects this pod is not known", "error", err)
		}
		for _, m := range meshes {
			hint = m.Hint()
			log.Warn("another mesh redirects this pod", "mesh", m.Name, "hint", hint)
		}
	}()
	plain := netfilter.Dialer().DialContext
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := plain(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		if <-looked; hint != "" {
			err = fault.Hint(err, "%s", hint)
		}
		return nil, err
	}, func() { <-looked }
}

// dials reports whether a step of the plan connects to something, or runs what may.
func dials(p *plan.Plan) bool {
	for t := range p.Tasks() {
		for _, e := range t.Effects {
			if e.Verb == step.Dial {
				return true
			}
		}
	}
	return false
}
